#!/usr/bin/env python3
"""Draws the pictures of the README: layers.svg and flow.svg beside this file.

    python3 docs/img/draw.py            writes them
    python3 docs/img/draw.py --check    exits 1 if a written one differs

Only the standard library is used. Each picture brings its own background, and
follows the reader's choice of light or dark.
"""

import pathlib
import sys
from xml.sax.saxutils import escape

STYLE = """
  svg { font-family: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
  .card { fill: #fbfcfe; stroke: #d5dbe5; }
  .box { fill: #ffffff; stroke: #b9c3d3; stroke-width: 1.4; }
  .yours { fill: #f1f4f9; stroke: #8592a6; stroke-width: 1.4; stroke-dasharray: 6 4; }
  .sub { fill: #f4f6fa; stroke: none; }
  .bar1 { fill: #2563eb; } .bar2 { fill: #0d9488; } .bar3 { fill: #b45309; } .bar4 { fill: #7c3aed; } .bar5 { fill: #be185d; }
  .name { fill: #16202f; font-size: 19px; font-weight: 650; }
  .text { fill: #3c4a5e; font-size: 13.5px; }
  .dim { fill: #64748b; font-size: 12.5px; }
  .code { fill: #16202f; font-size: 12.5px; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
  .call { fill: #1d4ed8; font-size: 12.5px; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
  .event { fill: #0f766e; font-size: 12.5px; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
  .msg { fill: #16202f; font-size: 13.5px; }
  .line { stroke: #64748b; stroke-width: 1.6; fill: none; }
  .answer { stroke: #94a3b8; stroke-width: 1.4; fill: none; }
  .life { stroke: #cbd5e1; stroke-width: 2; }
  .tip { fill: #64748b; } .tip2 { fill: #94a3b8; }
  .rule { stroke: #dfe5ee; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #10161f; stroke: #2b3646; }
    .box { fill: #182130; stroke: #3d4b60; }
    .yours { fill: #131b27; stroke: #62718a; }
    .sub { fill: #1f2a3b; }
    .bar1 { fill: #60a5fa; } .bar2 { fill: #2dd4bf; } .bar3 { fill: #fbbf24; } .bar4 { fill: #a78bfa; } .bar5 { fill: #f472b6; }
    .name, .code, .msg { fill: #e6ecf5; }
    .text { fill: #b7c3d4; }
    .dim { fill: #8b9ab0; }
    .call { fill: #7fb2ff; }
    .event { fill: #4fd8c7; }
    .line { stroke: #8b9ab0; }
    .answer { stroke: #64748b; }
    .life { stroke: #334155; }
    .tip { fill: #8b9ab0; } .tip2 { fill: #64748b; }
    .rule { stroke: #263143; }
  }
"""


class Picture:
    def __init__(self, width, height, title, description):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="t d">',
            f'<title id="t">{escape(title)}</title>',
            f'<desc id="d">{escape(description)}</desc>',
            f"<style>{STYLE}</style>",
            "<defs>",
            '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0 L8 4 L0 8 z"/></marker>',
            '<marker id="tip2" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'markerUnits="userSpaceOnUse" orient="auto"><path class="tip2" d="M0 0 L8 4 L0 8 z"/></marker>',
            "</defs>",
        ]
        self.rect("card", 0.5, 0.5, width - 1, height - 1, 14)

    def rect(self, kind, x, y, width, height, radius=10):
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>')

    def text(self, kind, x, y, text, anchor="start"):
        end = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.parts.append(f'<text class="{kind}" x="{x}" y="{y}"{end}>{escape(text)}</text>')

    def line(self, kind, x1, y1, x2, y2, tip=None):
        end = f' marker-end="url(#{tip})"' if tip else ""
        self.parts.append(f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"{end}/>')

    def finish(self):
        return "\n".join([*self.parts, "</svg>", ""])


def layers():
    left, width = 30, 596
    p = Picture(
        900,
        640,
        "The layers of sip-events",
        "Your program owns sockets, clock, DNS and entropy. Below it stand endpoint, agent with package, "
        "machine and wire; each uses only what is below it.",
    )

    def layer(y, height, bar, name, lines, width=width, left=left):
        p.rect("box", left, y, width, height)
        if bar:
            p.rect(bar, left, y + 12, 5, height - 24, 2.5)
        p.text("name", left + 22, y + 31, name)
        for at, line in enumerate(lines):
            p.text("text", left + 22, y + 54 + 20 * at, line)

    def between(y, down, up):
        p.line("line", 74, y + 5, 74, y + 41, "tip")
        p.text("dim", 90, y + 28, down)
        p.line("line", 356, y + 41, 356, y + 5, "tip")
        p.text("dim", 372, y + 28, up)

    p.rect("yours", left, 28, width, 84)
    p.text("name", 52, 59, "your program")
    p.text("text", 52, 82, "driver: sockets, clock, DNS, a seed")
    p.text("text", 52, 102, "application: whom to accept, what the state is")
    p.text("dim", 650, 62, "std, tokio, embassy, a simulator:")
    p.text("dim", 650, 82, "whatever moves bytes for you")

    between(112, "bytes and time, commands", "messages to send, events, deadline")
    layer(158, 92, "bar1", "endpoint", [
        "framing · transactions · retransmission · Via and rport",
        "connections · back-pressure · location of servers",
    ])
    p.text("code", 650, 192, "sip_events::Endpoint")
    p.text("dim", 650, 214, "Start here: a whole user agent")
    p.text("dim", 650, 232, "without sockets.")

    between(250, "parsed requests and responses", "requests and responses to send")
    layer(296, 112, "bar2", "agent", [
        "dialogs · subscriptions and forks · watchers",
        "resources · NOTIFY fan-out · retry governor",
        "timers · explain",
    ], width=396)
    layer(296, 112, "bar3", "package", ["presence, message-", "summary, your own:", "bodies and rules"], width=184, left=442)
    p.text("code", 650, 330, "sip_events::Agent")
    p.text("dim", 650, 352, "Use it alone under a SIP stack that")
    p.text("dim", 650, 370, "owns transactions and transports.")

    between(408, "the inputs of one subscription", "what to send, what it came to")
    layer(454, 112, "bar4", "machine", [
        "subscriber · notifier (RFC 6665)",
        "client and server transaction",
        "(RFC 3261): printable tables",
    ], width=290)
    layer(454, 112, "bar5", "wire", [
        "parser and serialiser of messages,",
        "typed header values, URIs, framer:",
        "text in, text out, no state",
    ], width=290, left=336)
    p.text("code", 650, 488, "sip_events::machine")
    p.text("dim", 650, 508, "One state machine, no bytes.")
    p.text("code", 650, 538, "sip_events::wire")
    p.text("dim", 650, 558, "The codec alone.")

    p.line("rule", 30, 588, 870, 588)
    p.text("dim", 450, 615, "A layer uses only what is below it. Nothing here reads a clock, opens a socket or asks the system for randomness.", "middle")
    return p.finish()


def flow():
    ann, bob = 300, 660
    steps = [
        # kind, text, left, right
        ("note", "ann subscribes", "", ""),
        (">", "SUBSCRIBE  Expires: 600", "subscribe()", "Event::Subscribe"),
        ("<", "200", "Event::Accepted", "accept()"),
        ("<", "NOTIFY  active, the state", "Event::Notify", ""),
        (">", "200", "", ""),
        ("note", "bob's state changes", "", ""),
        ("<", "NOTIFY  active, the new state", "Event::Notify", "set_state()"),
        (">", "200", "", ""),
        ("note", "most of the 600 seconds have passed", "", ""),
        (">", "SUBSCRIBE  Expires: 600", "handle_timeout()", "Event::Refreshed"),
        ("<", "200", "Event::Accepted", ""),
        ("<", "NOTIFY  active, the state", "Event::Notify", ""),
        (">", "200", "", ""),
        ("note", "ann has seen enough", "", ""),
        (">", "SUBSCRIBE  Expires: 0", "unsubscribe()", ""),
        ("<", "200", "Event::Accepted", ""),
        ("<", "NOTIFY  terminated, the state", "Event::Notify", ""),
        (">", "200", "Event::Terminated", "Event::WatcherGone"),
    ]
    top, gap, note_gap = 76, 29, 40
    height = top + sum(note_gap if kind == "note" else gap for kind, *_ in steps) + 78
    p = Picture(
        960,
        height,
        "The life of a subscription",
        "A subscriber and a notifier: SUBSCRIBE, 200, NOTIFY, 200; a change of state; a refresh; an "
        "unsubscription. Beside each message stands the call that caused it or the event that it causes.",
    )
    for x, name, role in [(ann, "ann", "subscriber"), (bob, "bob", "notifier")]:
        p.rect("box", x - 80, 24, 160, 46)
        p.text("name", x - 12, 53, name, "end")
        p.text("dim", x + 2, 53, role)
        p.line("life", x, 70, x, height - 58)
    y = top
    for kind, text, left, right in steps:
        if kind == "note":
            y += note_gap
            p.rect("sub", ann + 40, y - 20, bob - ann - 80, 24, 12)
            p.text("dim", (ann + bob) / 2, y - 4, text, "middle")
            continue
        y += gap
        answer = text == "200"
        line, tip = ("answer", "tip2") if answer else ("line", "tip")
        x1, x2 = (ann + 4, bob - 4) if kind == ">" else (bob - 4, ann + 4)
        p.line(line, x1, y, x2, y, tip)
        p.text("dim" if answer else "msg", (ann + bob) / 2, y - 6, text, "middle")
        if left:
            p.text("event" if left.startswith("Event") else "call", ann - 16, y + 4, left, "end")
        if right:
            p.text("event" if right.startswith("Event") else "call", bob + 16, y + 4, right)
    p.line("rule", 30, height - 46, 930, height - 46)
    p.rect("bar1", 300, height - 30, 10, 10, 2)
    p.text("dim", 317, height - 20, "a call that the program makes")
    p.rect("bar2", 540, height - 30, 10, 10, 2)
    p.text("dim", 557, height - 20, "an event that it polls")
    return p.finish()


def main():
    here = pathlib.Path(__file__).resolve().parent
    stale = False
    for name, picture in [("layers.svg", layers()), ("flow.svg", flow())]:
        path = here / name
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text(encoding="utf-8") != picture:
                print(f"{name} is not what draw.py draws", file=sys.stderr)
                stale = True
        else:
            path.write_text(picture, encoding="utf-8")
    sys.exit(1 if stale else 0)


if __name__ == "__main__":
    main()
