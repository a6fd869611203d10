#!/usr/bin/env bash
# export.sh FERRY - export of ResNet-50 by ferry, by torch.onnx.export, and a plain copy with the same flush, in one alternating run.
# FERRY_TORCH names a Python with torch, torchvision, onnx and onnxscript.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${FERRY_TORCH:-python3}
"$python" -c 'import torch, torchvision, onnxscript' 2>/dev/null || { echo "set FERRY_TORCH to a Python with torch, torchvision, onnx, onnxscript" >&2; exit 2; }
exec "$python" bench/export.py "${1:-build/ferry}"
