#!/usr/bin/env bash
# deps.sh - what ferry needs on Debian 12: prints the one apt line, and installs what is missing as root or through sudo.
# `deps.sh --python DIR` makes a virtual environment with the pinned oracles of the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(gcc g++ make cmake ninja-build pkg-config libminizip-dev libyajl-dev libssl-dev zlib1g-dev libpng-dev libjpeg62-turbo-dev
          libtiff-dev libwebp-dev libopenjp2-7-dev libre2-dev
          libcmocka-dev python3 python3-venv
          gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)

if [ "${1:-}" = --python ]; then
    dir=$2
    stamp=$dir/.requirements
    cmp -s tests/requirements.txt "$stamp" && exit 0
    echo "python: python3 -m venv $dir && $dir/bin/pip install -r tests/requirements.txt"
    python3 -m venv "$dir"
    "$dir/bin/pip" install -q -r tests/requirements.txt
    cp tests/requirements.txt "$stamp"
    exit 0
fi

missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
line="apt-get install -y --no-install-recommends ${missing[*]}"
echo "$line"
if [ "$(id -u)" = 0 ]; then run=(); elif command -v sudo >/dev/null; then run=(sudo); else
    echo "not root and no sudo: run the line above as root, then try again" >&2
    exit 1
fi
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" $line -qq >/dev/null
