"""The example `resolve`, and a name server small enough to lie as told."""

import socket
import struct
import subprocess
import threading

from .harness import LOOPBACK, check, expect, free_port

TYPES = {"A": 1, "AAAA": 28, "SRV": 33, "NAPTR": 35}


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def word(text):
    return bytes([len(text)]) + text.encode()


def data(kind, value):
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "SRV":
        priority, weight, port, target = value
        return struct.pack(">HHH", priority, weight, port) + name(target)
    order, preference, service, replacement = value
    return struct.pack(">HH", order, preference) + word("s") + word(service) + word("") + name(replacement)


class NameServer:
    """Answers from `zone`: name to kind to values. Names that it does not have do not exist."""

    def __init__(self, context, zone):
        self.zone, self.port, self.asked = zone, free_port(), []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, self.port))
        context.on_close(self.socket.close)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, source = self.socket.recvfrom(4096)
                self.socket.sendto(self.answer(query), source)
            except OSError:
                return

    def answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question = query[12:at + 5]
        number = struct.unpack_from(">H", query, at + 1)[0]
        kind = next((kind for kind, code in TYPES.items() if code == number), None)
        here = self.zone.get(".".join(labels))
        self.asked.append((".".join(labels), kind))
        values = (here or {}).get(kind, [])
        head = query[:2] + struct.pack(">HHHHH", 0x8580 if here is not None else 0x8583, 1, len(values), 0, 0)
        records = b""
        for value in values:
            octets = data(kind, value)
            records += b"\xc0\x0c" + struct.pack(">HHIH", number, 1, 60, len(octets)) + octets
        return head + question + records


ZONE = {
    "example.test": {"NAPTR": [(20, 0, "SIP+D2T", "_sip._tcp.example.test"), (10, 0, "SIP+D2U", "_sip._udp.example.test")]},
    "_sip._udp.example.test": {"SRV": [(2, 0, 5080, "b.example.test"), (1, 0, 5070, "a.example.test")]},
    "_sip._tcp.example.test": {"SRV": [(1, 0, 5090, "a.example.test")]},
    "a.example.test": {"A": ["127.0.0.7"], "AAAA": ["::1"]},
    "b.example.test": {"A": ["127.0.0.8", "127.0.0.9"]},
    "plain.example.test": {"A": ["127.0.0.10"]},
}


def destinations(context, uri):
    server = NameServer(context, ZONE)
    argv = [context._example("resolve"), uri, "--server", f"{LOOPBACK}:{server.port}"]
    done = subprocess.run(argv, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
    context.file("resolve.stdout", done.stdout)
    context.file("resolve.stderr", done.stderr)
    expect(done.returncode == 0, f"resolve ended with {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
    lines = done.stdout.decode().splitlines()
    return server, [line.removeprefix("send to ") for line in lines if line.startswith("send to ")]


@check("names-naptr")
def naptr(context):
    """NAPTR, SRV by priority, addresses: all destinations in the order of RFC 3263."""
    server, found = destinations(context, "sip:alice@example.test")
    # The addresses of one host come in any order.
    expect(set(found[:2]) == {"UDP 127.0.0.7:5070", "UDP [::1]:5070"}, f"first {found}")
    expect(set(found[2:4]) == {"UDP 127.0.0.8:5080", "UDP 127.0.0.9:5080"}, f"then {found}")
    expect(server.asked[0] == ("example.test", "NAPTR"), f"asked {server.asked}")


@check("names-srv")
def srv(context):
    """transport=tcp: no NAPTR, the SRV records of TCP."""
    server, found = destinations(context, "sip:alice@example.test;transport=tcp")
    expect(set(found[:2]) == {"TCP 127.0.0.7:5090", "TCP [::1]:5090"}, f"{found}")
    expect(not any(kind == "NAPTR" for _, kind in server.asked), f"asked {server.asked}")


@check("names-addresses-only")
def addresses(context):
    """A name with neither NAPTR nor SRV records: its addresses, port 5060."""
    _, found = destinations(context, "sip:alice@plain.example.test")
    expect(found[:1] == ["UDP 127.0.0.10:5060"], f"{found}")


@check("names-port")
def port(context):
    """A port in the URI: addresses are all that is asked for."""
    server, found = destinations(context, "sip:alice@a.example.test:5099")
    expect(set(found[:2]) == {"UDP 127.0.0.7:5099", "UDP [::1]:5099"}, f"{found}")
    expect({kind for _, kind in server.asked} <= {"A", "AAAA"}, f"asked {server.asked}")
