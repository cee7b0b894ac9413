"""Writes docs/interop.md from the results of a run."""

import os
import re
import subprocess

from .harness import HERE

PACKAGES = ("kamailio", "sip-tester", "baresip-core", "linphone-cli", "tshark")
GROUPS = (
    ("kamailio", "`watch` and Kamailio", "Kamailio as presence server, and as resource list server that subscribes at `notifier`."),
    ("proxy", "Through Kamailio as a proxy", "`watch`, a proxy that record-routes, `notifier`."),
    ("phone", "`notifier` and phones", "Real clients subscribe."),
    ("peer-notifier", "`watch` and SIPp as notifier", "One scenario each; what is checked is what `watch` sent and told."),
    ("peer-subscriber", "`notifier` and SIPp as subscriber", "One scenario each; what is checked is what `notifier` sent."),
    ("notifier", "`notifier`, SIPp and raw octets", "With `--self-test` Kamailio takes the place of `notifier`, which proves the checks."),
    ("ours", "`watch` and `notifier`", "Both ends are ours."),
    ("names", "`resolve` and a name server", "A name server of the checks' own answers; where a SUBSCRIBE would go is printed."),
    ("dissect", "Wireshark", "What its SIP dissector says of single kinds of messages."),
)


def version(package):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
    return done.stdout or "not a Debian package"


def folded(checks):
    """Checks that differ in the transport alone share a row."""
    rows = {}
    for one in checks:
        base, found = re.subn(r"-(udp|tcp)$", "", one.name)
        rows.setdefault((base, one.about), []).append((one.name, one.name[-3:].upper() if found else ""))
    return rows


def write(checks, results, dissected):
    want, have, complaints = dissected
    passed = sum(why is None for why in results.values())
    lines = [
        "# Interoperability",
        "",
        "Written by `tests/interop/run --table`, which runs the example programs against others on loopback; how is told in",
        "[tests/interop](../tests/interop/README.md). Do not edit.",
        "",
        f"{passed} of {len(checks)} checks passed. Wireshark dissected {have} of the {want} messages that the examples recorded, with "
        f"{complaints} marked malformed or as an error.",
        "",
        "| Program | Version |",
        "|---|---|",
        *(f"| {package} | {version(package)} |" for package in PACKAGES),
        "",
    ]
    for prefix, title, about in GROUPS:
        group = [one for one in checks if one.name.startswith(prefix + "-")]
        lines += [f"## {title}", "", about, "", "| Check | Transport | Shows | Result |", "|---|---|---|---|"]
        for (base, shows), names in folded(group).items():
            failed = [name for name, _ in names if results[name] is not None]
            transports = ", ".join(filter(None, (transport for _, transport in names))) or "UDP"
            shows = shows.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
            lines.append(f"| {base} | {transports} | {shows} | {'**failed**' if failed else 'passed'} |")
        lines.append("")
    with open(os.path.join(HERE, "..", "..", "docs", "interop.md"), "w") as out:
        out.write("\n".join(lines).rstrip() + "\n")
