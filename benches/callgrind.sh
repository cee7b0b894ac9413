#!/bin/sh
# Instructions of each row of `cargo bench`, by callgrind, held against
# benches/instructions.txt: more than 3 % growth fails. `--bless` writes the file,
# with ONLY=TEXT the rows alone whose name has that in it.
# The numbers belong to one compiler version: bless with each new one. Needs
# valgrind; exits 3 without it, 4 with another compiler.
set -eu
cd "$(dirname "$0")/.."
list=benches/instructions.txt
command -v valgrind >/dev/null || { echo "valgrind is missing (Debian package valgrind)"; exit 3; }
if [ "${1:-}" != --bless ] && [ "$(head -1 "$list")" != "# $(rustc --version)" ]; then
    echo "$list was counted with another compiler than $(rustc --version): run $0 --bless and commit it"
    exit 4
fi
bench=$(cargo bench --bench bench --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"bench".*"executable":"\([^"]*\)".*/\1/p' | tail -1)
[ -x "$bench" ] || { echo "the bench does not build"; exit 1; }
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
    if [ -n "${ONLY:-}" ]; then
        # The rest stays as it is.
        awk -F '\t' 'NR == FNR { now[$2] = $1; next } $2 in now { $0 = now[$2] "\t" $2 } { print }' \
            "$work/now" "$list" >"$work/list"
        { echo "# $(rustc --version)"; sed 1d "$work/list"; } >"$list"
    else
        { echo "# $(rustc --version)"; cat "$work/now"; } >"$list"
    fi
    exit
fi
awk -F '\t' -v some="${ONLY:-}" '
    NR == FNR { if (!/^#/) known[$2] = $1; next }
    !($2 in known) { printf "%8d %8s        %s\n", $1, "new", $2; next }
    {
        seen[$2] = 1
        change = 100 * ($1 - known[$2]) / known[$2]
        printf "%8d %8d %+6.1f%% %s\n", $1, known[$2], change, $2
        if (change > 3) { failed = 1; print "         grew by more than 3 %: " $2 }
    }
    END {
        for (row in known) if (some == "" && !(row in seen)) { failed = 1; print "         is gone: " row }
        exit failed
    }
' "$list" "$work/now"
