#!/usr/bin/env bash
# gen_cli.sh FERRY - docs/cli.md from the program's own help: tools/gen_cli.sh build/ferry > docs/cli.md. `ctest -R docs/cli` compares.
set -euo pipefail
ferry=$1
printf '# The program\n\n'
printf 'Written by `tools/gen_cli.sh` from the help of the program; do not edit.\n\n```text\n'
"$ferry" help
printf '```\n'
for command in $("$ferry" help | awk '/^  [a-z]+ / && $1 != "ferry" {print $1}'); do
    printf '\n## ferry %s\n\n```text\n' "$command"
    "$ferry" help "$command"
    printf '```\n'
done
printf '\n## Error codes\n\nEvery failure carries one; `ferry explain CODE` says the same.\n\n| code | exit | what | and now |\n|---|---|---|---|\n'
"$ferry" explain | awk '!last && /^  / && $1 == toupper($1) && !/_/ {print $1} $1 == "INTERNAL" {last = 1}' | while read -r code; do
    "$ferry" explain "$code" | awk -v code="$code" 'NR == 1 {sub(code ": ", ""); what = $0} NR == 2 {sub(/^ +/, ""); now = $0} NR == 3 {exit_code = $3}
        END {printf "| %s | %s | %s | %s |\n", code, exit_code, what, now}'
done
printf '\n## Settings from the environment\n\n'
"$ferry" explain | awk '/^  FERRY_/ {print $1}' | while read -r knob; do
    "$ferry" explain "$knob" | sed -n "1s/^$knob (environment): /- \`$knob\`: /p"
done
