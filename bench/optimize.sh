#!/usr/bin/env bash
# optimize.sh FERRY [FLAGS of bench/optimize.py] - nodes, time and error of ferry optimize, onnxsim, onnxslim and ONNX Runtime's basic level, on ResNet-50,
# MobileNetV2, ViT-B/16 and BERT from both exporters of PyTorch and from ferry export, and on PP-OCRv4.
# FERRY_TORCH names a Python with torch, torchvision, transformers, onnxscript: it makes the models, once, in $FERRY_BENCH_MODELS (default build/bench-models). FERRY_PEERS names one
# with onnx, onnxruntime, onnxsim, onnxslim; without it a virtual environment for them is made beside the models.
set -euo pipefail
cd "$(dirname "$0")/.."
ferry=${1:-build/ferry}
shift || true
models=${FERRY_BENCH_MODELS:-build/bench-models}
mkdir -p "$models"
if ! ls "$models"/*-script.onnx >/dev/null 2>&1; then
    python=${FERRY_TORCH:-python3}
    "$python" -c 'import torch, torchvision, transformers, onnxscript' 2>/dev/null || { echo "set FERRY_TORCH to a Python with torch, torchvision, transformers, onnxscript" >&2; exit 2; }
    "$python" bench/optimize_models.py "$models"
fi
peers=${FERRY_PEERS:-$models/venv/bin/python}
if [ ! -x "$peers" ]; then
    python3 -m venv "$models/venv"
    "$models/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 onnxsim==0.8.1 onnxslim==0.1.98
fi
if ! ls "$models"/ch_PP-OCRv4*.onnx >/dev/null 2>&1; then        # the three models in the wheel, without what it needs to run
    "$peers" -m pip download -q --no-deps -d "$models" rapidocr-onnxruntime==1.4.4
    "$peers" -c 'import sys, zipfile, glob, os
for wheel in glob.glob(sys.argv[1] + "/rapidocr*.whl"):
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if name.endswith(".onnx"):
                open(os.path.join(sys.argv[1], os.path.basename(name)), "wb").write(z.read(name))' "$models"
fi
exec "$peers" bench/optimize.py "$ferry" "$models" "$@"
