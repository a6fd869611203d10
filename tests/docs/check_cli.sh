#!/usr/bin/env bash
# check_cli.sh FERRY - docs/cli.md is what the program says today.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
"$root/tools/gen_cli.sh" "$1" | diff -u "$root/docs/cli.md" - || { echo "docs/cli.md is old: tools/gen_cli.sh build/ferry > docs/cli.md"; exit 1; }
