#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_size.sh PROGRAM LIBRARY - fails if the stripped program or runtime library is larger than it may be, or if the library needs more than libc,
# libm and what comes with them.
program=$1
library=$2
strip=${STRIP:-strip}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
bad=0
look() {
    "$strip" -o "$work/stripped" "$1" || exit 2
    bytes=$(wc -c <"$work/stripped")
    echo "$(basename "$1"): $bytes bytes stripped, at most $2"
    [ "$bytes" -le "$2" ] || bad=1
}
# The program is below 3,000,000 bytes; the library below 1,500,000. Neither may grow.
look "$program" 2604000
look "$library" 1490100
needs=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for n in $needs; do
    case $n in
    libc.so.*|libm.so.*|libpthread.so.*|libdl.so.*|ld-linux*) ;;
    *) echo "$(basename "$library") needs $n"; bad=1 ;;
    esac
done
exit $bad
