#!/usr/bin/env bash
# graphs.sh FERRY - graphs of a million nodes (and of 100,000 initialisers, inputs of one node, outputs) are read, checked, inferred, shown
# and converted within 2 GB of memory and two minutes each. tests/large/make_graph.py writes them.
set -euo pipefail
ferry=$(realpath "${1:-build/ferry}")
make=$(realpath "$(dirname "$0")/make_graph.py")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
failed=0
step() {
    local begin=$SECONDS
    if (ulimit -v 2000000; timeout 120 "$@" >out.txt 2>err.txt); then echo "  ok      $((SECONDS - begin)) s  ${*:2:3}"
    else echo "  FAILED  ${*:2:3}: $(head -1 err.txt)"; failed=1; fi
}
for kind in chain:1000000 fan:1000000 nest:1000000 shape:1000000 same:1000000 init:100000 concat:100000 wide:100000; do
    python3 "$make" "${kind%:*}" "${kind#*:}" m.onnx
    echo "$kind, $(($(stat -c %s m.onnx) / 1000000)) MB"
    step "$ferry" check m.onnx
    step "$ferry" info m.onnx --shapes
    step "$ferry" convert m.onnx -o out.onnx --opset 18 --no-verify
    step "$ferry" check out.onnx
done
exit $failed
