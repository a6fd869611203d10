#!/usr/bin/env bash
# check_readme.sh FERRY - the texts are true: README.md and README.zh-CN.md show the same blocks, and every transcript (```console) in the
# texts below prints what it says it prints. Figures with a decimal point are not compared; words and whole numbers are.
set -euo pipefail
ferry=$(realpath "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
texts=(README.md docs/dynamic-shapes.md docs/recipe.md docs/plugins.md)
failed=0

blocks() { awk '/^```/ {inside = !inside; print; next} inside' "$1"; }
diff -u <(blocks "$root/README.md") <(blocks "$root/README.zh-CN.md") || { echo "README.md and README.zh-CN.md differ in their blocks"; failed=1; }

"$root/examples/fashion/demo.sh" "$ferry" "$work/demo" >"$work/demo.txt" 2>&1 || { cat "$work/demo.txt"; echo "the demo fails"; exit 1; }
grep -q '^461 of 500 right' "$work/demo.txt" || { cat "$work/demo.txt"; echo "the demo does not get 461 of 500 right"; exit 1; }
cp "$root"/tests/fixtures/pt2/t215/{gpt2,resnet18,vit_b_16}.pt2 "$work/demo"
cd "$work/demo"
cp "$root"/examples/plugin/{distance.c,nearest.onnx} .
cp "$root"/tests/fixtures/pt2/custom/custom.{pt2,map} .
export PATH=$(dirname "$ferry"):$PATH NO_COLOR=1
export CPATH=$root/include PKG_CONFIG_PATH=$(dirname "$ferry")/src        # the headers as if they were installed

# One transcript on standard input: "$ command", then what it prints; "..." stands for lines left out.
mask() { sed -E 's/[0-9]+\.[0-9]+(e[-+]?[0-9]+)?/N/g; s/ +/ /g; s/ $//'; }
try() {
    local command=$1 want=$2 got ok
    got=$(sh -c "$command" 2>&1 | mask || true)
    want=$(mask <<<"$want")
    ok=$(WANT=$want GOT=$got awk 'BEGIN {                  # lines of WANT in order in GOT; without "..." nothing may be between them
        n = split(ENVIRON["WANT"], want, "\n"); m = split(ENVIRON["GOT"], got, "\n"); j = 1; gap = 0
        for (i = 1; i <= n; i++) {
            if (want[i] == "..." || want[i] == " ...") { gap = 1; continue }
            while (gap && j <= m && got[j] != want[i]) j++
            if (j > m || got[j] != want[i]) { print "no"; exit }
            j++; gap = 0
        }
        print ((gap || j > m) ? "yes" : "no") }')
    [ "$ok" = yes ] && { count=$((count + 1)); return; }
    printf '%s: $ %s\n' "$text" "$command"
    diff -u --label text --label program <(echo "$want") <(echo "$got") || true
    failed=1
}
count=0
for text in "${texts[@]}"; do
    command= want=
    while IFS= read -r line; do
        case $line in
        '$ '*|END) [ -z "$command" ] || try "$command" "$want"; command=${line#'$ '} want= ;;
        *) want=${want:+$want$'\n'}$line ;;
        esac
        [ "$line" != END ] || command=
    done < <(awk '/^```console/ {inside = 1; next} /^```/ {if (inside) print "END"; inside = 0; next} inside' "$root/$text")
done
echo "$count commands of ${#texts[@]} texts"
[ $failed = 0 ] && [ $count -ge 5 ]
