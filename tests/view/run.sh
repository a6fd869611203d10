#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh FERRY FIXTURES PAGES - the page of `ferry view` in headless Chromium: it draws, it finds, names stay text. Skipped (77) where there is no Chromium.
set -u
ferry=$(realpath "$1")
fixtures=$(realpath "$2")
pages=$(realpath "$3")
browser=${FERRY_BROWSER:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)} || { echo "view: skipped, there is no chromium here"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
ran=0

# dom PAGE: what the browser made of it, once its script has run.
dom() {
    timeout 100 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$dir/profile" --virtual-time-budget=10000 --dump-dom "file://$1" 2>/dev/null
}
# holds TEXT PATTERN FILE: the file matches.
holds() {
    ran=$((ran + 1))
    grep -Eq -- "$2" "$3" && return
    failed=$((failed + 1))
    echo "FAIL: $1: no \"$2\""
}
lacks() {
    ran=$((ran + 1))
    grep -Eq -- "$2" "$3" || return
    failed=$((failed + 1))
    echo "FAIL: $1: there is \"$2\""
}

"$ferry" view "$fixtures/weights/net.pt2" -o "$dir/net.html" -q || exit 1
dom "$dir/net.html" >"$dir/net.dom"
holds 'a small model is drawn whole' 'data-shown="1[0-9]"' "$dir/net.dom"
holds 'inputs have their types' 'f32\[1,3,6,6\]' "$dir/net.dom"
holds 'the panel sums up' '[0-9]+ nodes, [0-9,]+ parameters' "$dir/net.dom"
dom "$dir/net.html#0" >"$dir/node.dom"
holds 'a node shows its attributes' '<td[^>]*>kernel_shape</td>' "$dir/node.dom"
holds 'its weights with figures' 'mean . std' "$dir/node.dom"
holds 'and a histogram' 'class="hist"' "$dir/node.dom"
holds 'and its source' 'make_weights.py:[0-9]+ in forward' "$dir/node.dom"
"$ferry" view "$fixtures/onnx/control.onnx" -o "$dir/control.html" -q || exit 1
dom "$dir/control.html#unfolded" >"$dir/control.dom"
holds 'bodies are unfolded inside their node' 'box node c5 open' "$dir/control.dom"
dom "$dir/net.html#q=mix.weight" >"$dir/found.dom"
holds 'a weight is found by its name' 'MatMul  mix/MatMul|mix.weight' "$dir/found.dom"
holds 'and what has it is marked' 'box node c[0-9] sel hit|box node c[0-9] hit sel' "$dir/found.dom"
dom "$pages/hostile.html#unfolded" >"$dir/hostile.dom"
holds 'a hostile model is drawn' 'data-ready=' "$dir/hostile.dom"
holds 'its name is text' '<title>&lt;/script&gt;' "$dir/hostile.dom"
lacks 'nothing of it is run' '<title>owned|<img' "$dir/hostile.dom"
dom "$pages/flat.html" >"$dir/flat.dom"
holds '5,000 nodes are folded' 'data-shown="[0-9]{2}"' "$dir/flat.dom"
dom "$pages/flat.html#unfolded" >"$dir/flat.dom"
holds 'and all unfolded' 'data-shown="50[0-9]{2}"' "$dir/flat.dom"
echo "view: $ran checks, $failed failures"
[ "$failed" -eq 0 ]
