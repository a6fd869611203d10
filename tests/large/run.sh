#!/usr/bin/env bash
# run.sh FERRY - full-size ResNet-50, MobileNetV2, ViT-B/16 and BERT: made by PyTorch with random weights, exported, checked, verified by
# ferry and, where it is installed, by ONNX Runtime. FERRY_TORCH names a Python with torch, torchvision and transformers.
set -euo pipefail
cd "$(dirname "$0")/../.."
ferry=$(realpath "${1:-build/ferry}")
python=${FERRY_TORCH:-python3}
"$python" -c 'import torch, torchvision, transformers' 2>/dev/null || {
    echo "set FERRY_TORCH to a Python with torch, torchvision and transformers" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
make=$(realpath tests/large/make.py)
cd "$folder"
"$python" -W ignore "$make"
engines=(ferry)
"$ferry" doctor | grep -q 'ok   engine.*onnxruntime' && engines+=(onnxruntime) || echo "skipped: onnxruntime is not installed"
passed=0 failed=0
step() { if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $*"; fi; }
for model in *.pt2; do
    name=${model%.pt2}
    for opset in 13 17 21; do
        step "$ferry" export "$model" -o "$name.onnx" --opset "$opset" -q
    done
    step "$ferry" check "$name.onnx" -q
    for engine in "${engines[@]}"; do
        echo "$name by $engine"
        step "$ferry" verify "$name.onnx" --engine "$engine"
    done
    rm -f "$name.onnx"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
