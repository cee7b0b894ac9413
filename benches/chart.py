#!/usr/bin/env python3
"""Draws docs/img/performance.svg from what benches/peers measured.

    cargo run --release --manifest-path benches/peers/Cargo.toml -- --tsv benches/peers.tsv
    python3 benches/chart.py            draws it
    python3 benches/chart.py --check    exits 1 if the drawn one differs

Only the standard library is used.
"""

import csv
import math
import pathlib
import sys
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIGURES = ROOT / "benches" / "peers.tsv"
PICTURE = ROOT / "docs" / "img" / "performance.svg"
TABLES = {
    "parse: NOTIFY": "Parse a NOTIFY of 1,301 octets",
    "parse the NOTIFY and read": "The same, and read typed headers (how many)",
    "write the NOTIFY": "Write that NOTIFY",
    "later NOTIFY to a subscriber, 10000": "Later NOTIFY to a subscriber with 10,000 subscriptions",
}
WIDTH, LEFT, RIGHT, ROW = 880, 300, 90, 26
STYLE = """
  svg { font-family: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
  .card { fill: #fbfcfe; stroke: #d5dbe5; }
  .limit { fill: #94a3b8; } .ours { fill: #2563eb; } .peer { fill: #b45309; }
  .name { fill: #16202f; font-size: 17px; font-weight: 650; }
  .text { fill: #3c4a5e; font-size: 13px; }
  .rule { stroke: #dfe5ee; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #10161f; stroke: #2b3646; }
    .limit { fill: #64748b; } .ours { fill: #60a5fa; } .peer { fill: #fbbf24; }
    .name { fill: #e6ecf5; } .text { fill: #b7c3d4; } .rule { stroke: #263143; }
  }
"""


def read():
    with FIGURES.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for start, title in TABLES.items():
        chosen = [(row["library"], float(row["ns"])) for row in rows if row["table"].startswith(start)]
        assert chosen, f"{FIGURES} has no table that starts with {start!r}"
        yield title, chosen


def time(nanos):
    if nanos < 10_000:
        return f"{nanos:,.0f} ns"
    return f"{nanos / 1e3:,.0f} µs" if nanos < 1_000_000 else f"{nanos / 1e6:,.1f} ms"


def draw(tables):
    longest = max(nanos for _, rows in tables for _, nanos in rows)
    decades = math.ceil(math.log10(longest))
    scale = (WIDTH - LEFT - RIGHT) / (decades - 1)
    x = lambda nanos: LEFT + scale * max(math.log10(nanos) - 1, 0)
    height = 30 + sum(46 + ROW * len(rows) for _, rows in tables) + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t d">',
        '<title id="t">What one message costs</title>',
        '<desc id="d">Bars on a logarithmic scale: the limit of the machine, this library, and other SIP libraries.</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
    ]
    foot = height - 34
    for decade in range(1, decades + 1):
        at = x(10**decade)
        out.append(f'<line class="rule" x1="{at:.1f}" y1="24" x2="{at:.1f}" y2="{foot}"/>')
        out.append(f'<text class="text" x="{at:.1f}" y="{foot + 20}" text-anchor="middle">{time(10**decade)}</text>')
    out.append(f'<text class="text" x="24" y="{foot + 20}">times on a logarithmic scale</text>')
    y = 30
    for title, rows in tables:
        out.append(f'<text class="name" x="24" y="{y + 18}">{escape(title)}</text>')
        y += 34
        for library, nanos in rows:
            kind = "limit" if library.startswith("limit") else "ours" if library.startswith("sip-events") else "peer"
            out.append(f'<text class="text" x="{LEFT - 10}" y="{y + 14}" text-anchor="end">{escape(library)}</text>')
            out.append(
                f'<rect class="{kind}" x="{LEFT}" y="{y + 2}" width="{x(nanos) - LEFT:.1f}" height="16" rx="3"/>'
            )
            out.append(f'<text class="text" x="{x(nanos) + 8:.1f}" y="{y + 14}">{time(nanos)}</text>')
            y += ROW
        y += 12
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    picture = draw(list(read()))
    if "--check" in sys.argv[1:]:
        sys.exit(PICTURE.read_text() != picture)
    PICTURE.write_text(picture)


main()
