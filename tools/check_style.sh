#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_style.sh [root] - fails on functions that we do not use, unfinished business, tabs, trailing blanks, overlong files.
# Comments and string literals do not count as uses.
root=${1:-$(dirname "$0")/..}
cd "$root" || exit 2
find src include apps tests tools fuzz bench examples python -type f \( -name '*.c' -o -name '*.h' -o -name '*.hpp' -o -name '*.def' -o -name '*.sh' -o -name '*.py' -o -name '*.txt' \
    -o -name '*.md' -o -name '*.cmake' \) 2>/dev/null | LC_ALL=C sort | xargs awk '
    function fault(text) { print FILENAME ":" FNR ": " text; bad = 1 }
    function uses(name) { return code ~ ("(^|[^A-Za-z0-9_])" name "[ ]*\\(") }
    # the line without its comments and literals; `inside` carries a block comment over lines
    function strip(s,    out, i, c, d) {
        out = ""
        for (i = 1; i <= length(s); i++) {
            c = substr(s, i, 1)
            d = substr(s, i, 2)
            if (inside) { if (d == "*/") { inside = 0; i++ } continue }
            if (d == "/*") { inside = 1; i++; continue }
            if (d == "//") break
            if (c == "\"" || c == "\047") {
                for (i++; i <= length(s) && substr(s, i, 1) != c; i++) if (substr(s, i, 1) == "\\") i++
                out = out c c
                continue
            }
            out = out c
        }
        return out
    }
    BEGIN {
        n = split("sprintf vsprintf strcpy strcat stpcpy atoi atol atof gets alloca strtok", banned, " ")
        m = split("printf puts putchar perror abort exit malloc calloc realloc strdup", library, " ")
    }
    FNR == 1 {
        inside = 0
        is_c = FILENAME ~ /\.[ch]$/
        in_library = FILENAME ~ /^src\// && FILENAME != "src/base/os.c"
        fixture = FILENAME ~ /^tests\/fixtures\//
    }
    fixture { next }
    FNR == 1501 && FILENAME !~ /\.(txt|md)$/ { fault("more than 1500 lines") }
    /\t/ { fault("tab") }
    /[ \t]$/ { fault("trailing blank") }
    FILENAME !~ /^tools\// && /(TODO|FIXME)/ { fault("unfinished business") }
    is_c {
        code = strip($0)
        if (code !~ /[(]/) next
        for (i = 1; i <= n; i++) if (uses(banned[i])) fault(banned[i] " is not used here")
        if (uses("getenv") && FILENAME ~ /^src\// && FILENAME != "src/base/knobs.c") fault("getenv: the environment is read by base/knobs.c only")
        if (in_library) for (i = 1; i <= m; i++) if (uses(library[i])) fault(library[i] ": the library does not print, exit, or allocate past base/os.h")
    }
    END { exit bad }
'
