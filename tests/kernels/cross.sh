#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cross.sh FOLDER - the kernels built for AArch64 (NEON) and tested by their own checker under qemu-user. Skipped (77) where the cross compiler or
# the emulator is missing: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
set -euo pipefail
folder=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
cc=$(command -v aarch64-linux-gnu-gcc || true)
run=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
[ -n "$cc" ] && [ -n "$run" ] || { echo "skipped: no aarch64-linux-gnu-gcc or no qemu-aarch64"; exit 77; }
mkdir -p "$folder"
cd "$source"
flags=(-std=c11 -D_GNU_SOURCE -O1 -ffunction-sections -fdata-sections -ffp-contract=off -Wall -Wextra -Iinclude -Isrc)
# What selftest kernels needs, and no library but libc, libm and threads.
sources=(src/check/kernels.c src/check/kernel_*.c src/kernels/*.c src/base/*.c src/tensor/*.c src/formats/json.c tests/kernels/cross_main.c)
for f in "${sources[@]}"; do
    "$cc" "${flags[@]}" -c "$f" -o "$folder/${f//\//_}.o" || exit 1
done
"$cc" -static -Wl,--gc-sections "$folder"/*.o -o "$folder/kernels" -lm -lpthread
"$run" "$folder/kernels"
