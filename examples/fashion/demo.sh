#!/usr/bin/env bash
# demo.sh FERRY [FOLDER] - the main job on real data: a trained .pt2 becomes a verified .onnx and classifies 500 pictures. Offline, without
# Python. Everything is written to FOLDER (demo/ beside FERRY), which stays for you to play with.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
ferry=$(realpath "${1:-build/ferry}")
folder=${2:-$(dirname "$ferry")/demo}
fashion=$(dirname "$ferry")/examples/fashion
[ -x "$ferry" ] && [ -x "$fashion" ] || { echo "demo: $ferry or $fashion is missing: make build" >&2; exit 2; }

mkdir -p "$folder"
cp "$here/fashion.pt2" "$here/images.npz" "$here/labels.txt" "$folder"
cd "$folder"
rm -f fashion.onnx
PATH=$(dirname "$ferry"):$(dirname "$fashion"):$PATH
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' off=$'\e[0m'; else bold= dim= off=; fi

step() { printf '\n%s%s%s\n' "$bold" "$1" "$off"; }
try() {
    local from=$EPOCHREALTIME to code=0
    printf '%s$%s %s\n' "$dim" "$off" "$*"
    "$@" || code=$?
    to=$EPOCHREALTIME
    printf '%s(%d ms)%s\n' "$dim" $(((${to/[.,]/} - ${from/[.,]/}) / 1000)) "$off"
    return "$code"
}

step "0. This machine"
try ferry doctor
step "1. Export: a trained .pt2 becomes ONNX. The file appears only if its numbers agree with the .pt2"
try ferry export fashion.pt2
step "2. Check: is the file valid, does it hold a known pitfall?"
try ferry check fashion.onnx
step "3. Verify once more, at further batch sizes, against the .pt2 in double precision"
try ferry verify fashion.onnx
step "4. Run: 500 test pictures that the model was not trained on"
fashion unpack images.npz in.npz .
try ferry run fashion.onnx --inputs in.npz --outputs scores.npz
fashion score images.npz scores.npz
step "5. Run: one picture"
try ferry run fashion.onnx --image shirt.png --top 3 --labels labels.txt
printf '\nmodel, pictures and scores are in %s\n' "$folder"
