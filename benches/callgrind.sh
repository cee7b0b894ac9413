#!/bin/sh
# Instructions of each row of `cargo bench`, by callgrind, held against
# benches/instructions.txt: more than 3 % growth fails. `--bless` writes the file.
# The numbers belong to one compiler version: bless with each new one.
set -eu
cd "$(dirname "$0")/.."
list=benches/instructions.txt
bench=$(cargo bench --bench bench --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"bench".*"executable":"\([^"]*\)".*/\1/p' | tail -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$bench" --rows | while IFS= read -r row; do
    case "$row" in *"${ONLY:-}"*) ;; *) continue ;; esac
    times=$(valgrind --tool=callgrind --toggle-collect='*measured_region*' \
        --callgrind-out-file="${OUT:-$work/out}" "$bench" --count "$row" 2>"$work/log")
    total=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$work/log")
    printf '%s\t%s\n' "$((total / times))" "$row"
done >"$work/now"
if [ "${1:-}" = --bless ]; then
    { echo "# $(rustc --version)"; cat "$work/now"; } >"$list"
    exit
fi
awk -F '\t' '
    NR == FNR { if (!/^#/) known[$2] = $1; next }
    !($2 in known) { printf "%8d %8s        %s\n", $1, "new", $2; next }
    {
        change = 100 * ($1 - known[$2]) / known[$2]
        printf "%8d %8d %+6.1f%% %s\n", $1, known[$2], change, $2
        if (change > 3) { failed = 1; print "         grew by more than 3 %: " $2 }
    }
    END { exit failed }
' "$list" "$work/now"
