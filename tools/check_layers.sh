#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_layers.sh [root] - fails if a file of src/<layer>/ includes a header of a layer that tools/layers.txt does not grant
# it, or if the layers have a cycle.
root=${1:-$(dirname "$0")/..}
cd "$root" || exit 2
find src -mindepth 2 \( -name '*.c' -o -name '*.h' -o -name '*.def' \) | LC_ALL=C sort | xargs awk '
    BEGIN {
        while ((getline line < "tools/layers.txt") > 0) {
            if (line ~ /^#/ || line !~ /:/) continue
            name = line
            sub(/:.*/, "", name)
            sub(/^[^:]*:/, "", line)
            known[name] = 1
            order[++layers] = name
            n = split(line, word, " ")
            for (i = 1; i <= n; i++) { may[name, word[i]] = 1; asked[name, i] = word[i] }
            asked[name, 0] = n
        }
        for (l = 1; l <= layers; l++)                  # a cycle: peel off layers whose grants are all peeled off
            for (k = 1; k <= layers; k++) {
                if (done[order[k]]) continue
                open = 0
                for (i = 1; i <= asked[order[k], 0]; i++) {
                    if (!(asked[order[k], i] in known)) fault("tools/layers.txt: " order[k] ": there is no layer " asked[order[k], i])
                    else if (!done[asked[order[k], i]]) open = 1
                }
                if (!open) done[order[k]] = 1
            }
        for (k = 1; k <= layers; k++) if (!done[order[k]]) fault("tools/layers.txt: " order[k] " is part of a cycle")
    }
    function fault(text) { if (!(text in said)) print text; said[text] = 1; bad = 1 }
    FNR == 1 {
        split(FILENAME, part, "/")
        layer = part[2]
        if (!(layer in known)) fault(FILENAME ": there is no layer " layer " in tools/layers.txt")
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, quoted, "\"")
        target = quoted[2]
        if (target !~ /\//) next                       # beside the file
        sub(/\/.*/, "", target)
        if (target == layer || target == "ferry" || (layer, target) in may) next
        fault(FILENAME ":" FNR ": " layer " may not include " quoted[2])
    }
    END { exit bad }
'
