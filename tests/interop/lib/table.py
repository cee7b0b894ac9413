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

# What was seen of four subscribers (pjsua, baresip, linphone, Sofia-SIP) and three notifiers (Kamailio, pjsua, Sofia-SIP), and
# the checks that show that we do otherwise.
OTHERS = (
    ("none of four subscribers gives up when no NOTIFY comes (Timer N)", "peer-notifier-no-notify"),
    ("two of four honour 423", "peer-notifier-423 peer-notifier-refresh-423"),
    ("two of four cope with SHA-256 beside MD5", "peer-notifier-401-sha256-first peer-notifier-401-unknown-algorithm-first"),
    ("one of four keeps its subscription over a 500 to a refresh", "peer-notifier-refresh-500"),
    ("one answers an endless row of challenges with three requests, one with four", "peer-notifier-401-endless"),
    ("one does not answer a stale nonce at a refresh", "peer-notifier-401-stale kamailio-digest-stale"),
    ("one goes by the 2xx alone where the NOTIFY grants less", "peer-notifier-shortened-by-notify"),
    ("one takes NOTIFYs that are late, of another Event or id, or without Subscription-State",
     "peer-notifier-reordered peer-notifier-wrong-event peer-notifier-wrong-id peer-notifier-no-state"),
    ("none of three notifiers takes two ids in one dialog", "peer-subscriber-two-ids peer-subscriber-two-ids-refused"),
    ("none of three refuses an unknown Require", "peer-subscriber-420"),
    ("two of three forget the CSeq of a subscription", "peer-subscriber-old-cseq"),
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
    lines += ["## Where others fall", "", "Seen of pjsua, baresip, linphone, Sofia-SIP and Kamailio in the same situations.", "",
              "| Seen | Our check | Result |", "|---|---|---|"]
    for seen, names in OTHERS:
        failed = any(results[name] is not None for name in names.split())
        lines.append(f"| {seen} | {', '.join(names.split())} | {'**failed**' if failed else 'passed'} |")
    with open(os.path.join(HERE, "..", "..", "docs", "interop.md"), "w") as out:
        out.write("\n".join(lines).rstrip() + "\n")
