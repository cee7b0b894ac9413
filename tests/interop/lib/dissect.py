"""Wireshark's SIP dissector as a judge."""

import collections
import glob
import os
import subprocess

from .capture import frames as sip_frames
from .capture import packets
from .harness import Failed

# Where Harness.free_port takes ports from.
PORTS = "16000-30000"
FIELDS = ("frame.number", "frame.protocols", "_ws.malformed", "_ws.expert.message", "_ws.expert.severity", "sip.Method", "sip.Status-Code",
          "frame.len", "_ws.expert.group")
Frame = collections.namedtuple("Frame", "number protocols malformed expert severity methods statuses length group")
ERROR = 0x00800000  # Wireshark's PI_ERROR; warnings are 0x00600000


def dissect(path, folder, checksums=False):
    argv = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=,",
            "-d", f"udp.port=={PORTS},sip", "-d", f"tcp.port=={PORTS},sip"]
    if checksums:
        argv += [word for layer in ("ip", "udp", "tcp") for word in ("-o", f"{layer}.check_checksum:TRUE")]
    for field in FIELDS:
        argv += ["-e", field]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Failed("tshark did not end within 120 s")
    with open(os.path.join(folder, "tshark.stderr"), "wb") as out:
        out.write(done.stderr)
    return [Frame(*line.split("|")[:len(FIELDS)]) for line in done.stdout.decode("utf-8", "replace").splitlines()]


def everything(state):
    """All that the examples recorded in a run. Returns (messages, of which tshark found, complaints)."""
    files = sorted(glob.glob(os.path.join(state, "*", "*.pcap")))
    # Wireshark does not look behind blank lines between two messages of a segment, which one check sends.
    files = [path for path in files if os.path.basename(path) != "datagrams.pcap" and "/notifier-tcp-framing/" not in path
             and os.path.getsize(path) > 24]
    if not files:
        return 0, 0, []
    merged = os.path.join(state, "all.pcap")
    # Not in order of time: the connections of one recording stay together.
    done = subprocess.run(["mergecap", "-a", "-F", "pcap", "-w", merged, *files], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failed(f"mergecap: {done.stderr.decode(errors='replace').strip()}")
    want = 0
    for path in files:
        streams = {}
        for _, protocol, source, destination, payload in packets(path):
            if protocol == 17:
                want += bool(payload.strip())
            else:
                pieces, streams[source, destination] = sip_frames(streams.get((source, destination), b"") + payload)
                want += len(pieces)
    have, complaints = 0, []
    # Of headers that the examples made up.
    for frame in dissect(merged, state, checksums=True):
        have += sum(len(values.split(",")) for values in (frame.methods, frame.statuses) if values)
        severities = [int(value, 0) for value in frame.severity.split(",") if value]
        if frame.malformed or (any(value >= ERROR for value in severities) and ":sip" in frame.protocols):
            complaints.append(f"{frame.expert or 'malformed'} in frame {frame.number} of {merged}: {frame.methods or frame.statuses}")
    return want, have, complaints
