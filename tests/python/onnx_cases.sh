#!/usr/bin/env bash
# onnx_cases.sh PYTHON FERRY_CASES FOLDER - the node cases of the installed onnx package, run by the reference kernels. Every case passes, but
# for those that onnx_left_out.txt names; a line there that is no longer needed is an error too, so the list can only shrink.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
left_out=$here/onnx_left_out.txt
[ -e "$3/.complete" ] || { "$1" -W ignore "$here/../../tools/dump_onnx_cases.py" "$3" && touch "$3/.complete"; }
"$2" "$3" >"$3.log" || true
tail -1 "$3.log"
awk -v list="$left_out" '
    BEGIN {
        while ((getline line < list) > 0) {
            if (line ~ /^#/ || line == "") continue
            split(line, word, " ")
            known[word[1] " " word[2]] = 0
            if (line ~ /random numbers/) chance[word[1] " " word[2]] = 1
        }
    }
    /^FAIL / {
        name = $2
        sub(/:$/, "", name)
        key = "case " name
        if (!(key in known) && /no kernel for operator/) { op = $0; sub(/.*no kernel for operator /, "", op); sub(/ .*/, "", op); key = "operator " op }
        if (key in known) { known[key]++; left++ } else { print; bad = 1 }
    }
    / passed, / { passed = $1; counted = 1 }
    END {
        for (key in known) if (!known[key] && !(key in chance)) { print list ": \"" key "\" passes now: remove the line"; bad = 1 }
        if (!counted || passed < 1000) { print "the cases did not run"; bad = 1 }
        exit bad
    }' "$3.log"
