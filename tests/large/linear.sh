#!/usr/bin/env bash
# linear.sh TEST_GRAPH_LINEAR [KIND...] - instructions of every stage at N and 10 N nodes (N=2000, or as the environment says), counted by callgrind (so that a loaded
# machine does not matter): a stage that takes more than 12.5 times as many for ten times the nodes fails. Needs valgrind.
set -euo pipefail
program=$1
small=${N:-2000}
large=$((small * 10))
shift
kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(chain fan init concat shape nest same dead data)
command -v valgrind >/dev/null || { echo "skipped: valgrind is not installed"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
for kind in "${kinds[@]}"; do
    for n in $small $large; do
        valgrind --tool=callgrind --callgrind-out-file="$folder/$n" "$program" "$kind" "$n" >"$folder/held.$n" 2>"$folder/log" || { cat "$folder/log"; exit 1; }
        # inclusive cost of what starts with stage_ or fy_pass_ (one line a function; recursion is not met here)
        callgrind_annotate --inclusive=yes --threshold=100 "$folder/$n" |
            sed -nE 's/^ *([0-9,]+) .*:(stage_[a-z]+|fy_pass_[a-z_]+) .*/\2 \1/p' | tr -d , | sort -u -k1,1 >"$folder/cost.$n"
    done
    echo "$kind: $(tail -1 "$folder/held.$large")"
    join "$folder/cost.$small" "$folder/cost.$large" | awk -v kind="$kind" '
        { ratio = $3 / $2; bad = ratio > 12.5 && $3 > 20000000; printf "  %-22s %12d %13d  %6.1f%s\n", $1, $2, $3, ratio, bad ? "  SUPERLINEAR" : ""; f += bad }
        END { exit f > 0 }' || failed=1
done
exit $failed
