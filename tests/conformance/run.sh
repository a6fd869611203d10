#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh FERRY FOLDER - every case of onnx.backend.test in FOLDER (tools/onnx_cases.py makes it), kind by kind, at the suite's own tolerances and
# once more at rtol 1e-5, atol 1e-7. What may fail, and why, is in exceptions.txt and strict.txt; a line that is no longer needed is a failure.
set -u
here=$(cd "$(dirname "$0")" && pwd)
bad=0
for kind in node simple pytorch-operator pytorch-converted light; do
    for strict in "" --strict; do
        echo "$kind $strict"
        "$1" selftest onnx "$2/$kind" --exceptions "$here/exceptions.txt" $strict ${strict:+--exceptions "$here/strict.txt"} >"$2/$kind.log" || bad=1
        grep -v '^skip' "$2/$kind.log" | tail -30
    done
done
exit $bad
