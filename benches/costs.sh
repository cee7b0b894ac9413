#!/bin/sh
# Instructions of hostile input, by callgrind. Rows in which one thing grows: the
# exponent of the cost from 1 to 64 KiB has to be at most 1.1, that of the last
# step is shown, which may be more where a limit is passed and another answer made. Pairs that an attacker must not tell apart, or gain by: the ratio.
set -eu
cd "$(dirname "$0")/.."
# COSTS names a program that is built already.
bench=${COSTS:-$(cargo bench --bench costs --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"costs".*"executable":"\([^"]*\)".*/\1/p' | tail -1)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count() {
    valgrind --tool=callgrind --toggle-collect='*measured_region*' \
        --callgrind-out-file="$work/out" "$bench" --count "$1" "$2" >/dev/null 2>"$work/log" ||
        { cat "$work/log" >&2; exit 1; }
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$work/log"
}
"$bench" --rows | while read -r row; do
    echo "$row $(count "$row" 1024) $(count "$row" 4096) $(count "$row" 16384) $(count "$row" 65536)"
done >"$work/growing"
"$bench" --pairs | while read -r row a b; do
    echo "$row $a $b $(count "$row" "$a") $(count "$row" "$b")"
done >"$work/pairs"
awk 'BEGIN { printf "%-22s %9s %9s %9s %10s %8s %8s\n", "growing", "1 KiB", "4 KiB", "16 KiB", "64 KiB", "all", "last" }
{
    all = log($5 / $2) / log(64); last = log($5 / $4) / log(4)
    printf "%-22s %9d %9d %9d %10d %8.2f %8.2f\n", $1, $2, $3, $4, $5, all, last
    if (all > 1.1 || last > 1.2) { failed = 1; print "    grows faster than its input: " $1 }
}
END { exit failed }' "$work/growing" || failed=1
# The wrong digit at each place of a digest, or none.
for at in $(seq 0 64); do count digest-right "$at"; done | sort -u >"$work/places"
echo "digest, each of 65 places: $(tr '\n' ' ' <"$work/places")"
[ "$(wc -l <"$work/places")" = 1 ] || failed=1
awk 'BEGIN { printf "%-22s %9s %9s %12s %12s %8s\n", "pair", "one", "other", "", "", "ratio" }
{ printf "%-22s %9s %9s %12d %12d %8.4f\n", $1, $2, $3, $4, $5, $5 / $4 }' "$work/pairs"
exit "${failed:-0}"
