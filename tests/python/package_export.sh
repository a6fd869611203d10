#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# package_export.sh BUILD FOLDER DOCUMENT - ferry.export on modules of PyTorch, and the examples of the document that need it: FERRY_TORCH names a Python
# with torch and torchvision. Without it this is skipped.
set -euo pipefail
[ -n "${FERRY_TORCH:-}" ] || { echo "skipped: FERRY_TORCH names no Python with torch and torchvision"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd) document=$(realpath "$3")
"$here/wheel.sh" "$1" "$FERRY_TORCH" "$2"
"$here/wheel.sh" "$1" "$FERRY_TORCH" "$2" "$here/test_package_export.py"
"$here/wheel.sh" "$1" "$FERRY_TORCH" "$2" "$here/doctests.py" "$document" torch
