#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_wide.sh LIBRARY - fails if an object of the static library that is not made for AVX2 or AVX-512 holds an instruction on ymm or zmm
# registers: ferry must run on every CPU of its architecture. Where there is no objdump for the library's architecture, nothing is checked.
library=$1
objdump=${OBJDUMP:-objdump}
command -v "$objdump" >/dev/null 2>&1 || { echo "no objdump: not checked"; exit 0; }
"$objdump" -f "$library" 2>/dev/null | grep -q x86-64 || { echo "no x86-64 objects: not checked"; exit 0; }
"$objdump" -d --no-show-raw-insn "$library" | awk '
    / file format / {
        member = $1
        sub(/:$/, "", member)
        members++
        wide_file = member ~ /_(avx2|avx512|avx512bf16)[.]c[.]o$/
        next
    }
    /^[0-9a-f]+ <.*>:$/ { name = $2; next }
    /%[yz]mm[0-9]/ {
        if (wide_file) { found++; next }
        if (!((member, name) in said)) print member ": " name " " $0
        said[member, name] = 1
        bad = 1
    }
    END {
        if (!members || !found) { print "nothing found: " members + 0 " objects, " found + 0 " wide instructions where they belong"; exit 1 }
        if (!bad) print members " objects, " found " wide instructions where they belong"
        exit bad
    }
'
