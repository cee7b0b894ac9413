"""Just enough SIP to say what SIPp cannot: raw octets over UDP or TCP, and a capture file of them."""

import os
import re
import socket
import struct
import time

from .harness import LOOPBACK, Failed, free_port


class Message:
    def __init__(self, raw):
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")
        self.start = lines[0]
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if ":" in line]

    def get(self, name):
        for have, value in self.headers:
            if have.lower() == name.lower():
                return value
        return None

    @property
    def status(self):
        return int(self.start.split(" ")[1]) if self.start.startswith("SIP/2.0 ") else None

    @property
    def method(self):
        return None if self.status else self.start.split(" ")[0]

    @property
    def cseq(self):
        return int((self.get("CSeq") or "0").split()[0])

    def tag(self, name):
        found = re.search(r";\s*tag=([^;>\s]+)\s*(?:;|$)", self.get(name) or "")
        return found.group(1) if found else None

    def target(self):
        contact = self.get("Contact") or ""
        found = re.search(r"<([^>]+)>", contact)
        return found.group(1) if found else contact


HEADERS = {
    "SUBSCRIBE": ("Contact", "Event", "Expires", "Max-Forwards"),
    "NOTIFY": ("Contact", "Event", "Subscription-State", "Max-Forwards"),
    ("SUBSCRIBE", 200): ("Contact", "Expires"),
    ("SUBSCRIBE", 423): ("Min-Expires",),
    ("SUBSCRIBE", 489): ("Allow-Events",),
}


def faults(message):
    """What a message lacks that RFC 3261 and RFC 6665 want of every one of its kind."""
    wrong = []
    cseq = (message.get("CSeq") or "").split()
    method = message.method or (cseq[1] if len(cseq) == 2 else None)
    kind = message.method or (method, message.status)
    for name in ("Via", "From", "To", "Call-ID", "CSeq", "Content-Length", *HEADERS.get(kind, ())):
        have = [value for header, value in message.headers if header.lower() == name.lower()]
        if not have or (len(have) > 1 and name != "Via"):
            wrong.append(f"{len(have)} times {name}")
    if len(cseq) != 2 or not cseq[0].isdigit() or (message.method and cseq[1] != message.method):
        wrong.append(f"CSeq {message.get('CSeq')!r}")
    if not message.tag("From"):
        wrong.append("no From tag")
    if (message.status or 0) > 100 and not message.tag("To"):
        wrong.append("no To tag")
    if not re.search(r";\s*branch=z9hG4bK[^;,\s]+", message.get("Via") or ""):
        wrong.append(f"Via {message.get('Via')!r}")
    if message.method and not re.fullmatch(r"\d{1,2}", message.get("Max-Forwards") or ""):
        wrong.append(f"Max-Forwards {message.get('Max-Forwards')!r}")
    if message.get("Content-Length") != str(len(message.body)):
        wrong.append(f"Content-Length {message.get('Content-Length')!r} for {len(message.body)} octets")
    if message.body and not message.get("Content-Type"):
        wrong.append("a body without Content-Type")
    return wrong


class Peer:
    """One end of a conversation with a program on 127.0.0.1; remembers all octets in `.log`."""

    def __init__(self, transport, peer_port=None, port=None):
        self.transport = transport
        self.peer_port = peer_port
        self.port = port or free_port()
        self.log = []
        self._buffer = b""
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self.socket = socket.socket(socket.AF_INET, kind)
        if transport == "tcp":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((LOOPBACK, self.port))
        if transport == "tcp":
            self.socket.settimeout(3)
            self.socket.connect((LOOPBACK, peer_port))

    def close(self):
        self.socket.close()

    def send(self, raw):
        self.log.append((time.time(), self.port, self.peer_port, raw))
        if self.transport == "udp":
            self.socket.sendto(raw, (LOOPBACK, self.peer_port))
        else:
            self.socket.sendall(raw)

    def receive(self, seconds, what="a message"):
        """The next message, or Failed."""
        message = self.poll(seconds)
        if message is None:
            raise Failed(f"{what} did not come within {seconds} s")
        return message

    def poll(self, seconds):
        """The next message, or None when none comes in time."""
        end = time.monotonic() + seconds
        while True:
            raw = self._framed() if self.transport == "tcp" else None
            if raw is None:
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self.socket.settimeout(left)
                try:
                    raw, source = self.socket.recvfrom(65535)
                except (socket.timeout, BlockingIOError):
                    return None
                if self.transport == "tcp":
                    if not raw:
                        raise Failed("the connection was closed")
                    self._buffer += raw
                    continue
                if self.peer_port is None:
                    self.peer_port = source[1]
            if not raw.strip():
                continue
            self.log.append((time.time(), self.peer_port, self.port, raw))
            message = Message(raw)
            wrong = faults(message)
            if wrong:
                raise Failed(f"{message.start!r}: {'; '.join(wrong)}")
            return message

    def _framed(self):
        self._buffer = self._buffer.lstrip(b"\r\n")
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return None
        length = re.search(rb"(?im)^(?:content-length|l)[ \t]*:[ \t]*(\d+)", head)
        if not length:
            raise Failed("a message without Content-Length over TCP")
        total = len(head) + 4 + int(length.group(1))
        if len(self._buffer) < total:
            return None
        raw, self._buffer = self._buffer[:total], self._buffer[total:]
        return raw

    def answer(self, request, status="200 OK", headers=(), to_tag=None):
        """The response to a request, with the headers that it must copy."""
        lines = [f"SIP/2.0 {status}"]
        for name, value in request.headers:
            if name.lower() in ("via", "v", "from", "f", "call-id", "i", "cseq"):
                lines.append(f"{name}: {value}")
            elif name.lower() in ("to", "t"):
                lines.append(f"{name}: {value}" + (f";tag={to_tag}" if to_tag else ""))
        self.send(("\r\n".join([*lines, *headers, "Content-Length: 0"]) + "\r\n\r\n").encode())

    def contact(self):
        return f"<sip:python@{LOOPBACK}:{self.port};transport={self.transport}>"


class Subscription:
    """The requests of one subscriber dialog."""

    def __init__(self, peer, resource, event="presence", accept="application/pidf+xml"):
        self.peer = peer
        self.uri = f"sip:{resource}@{LOOPBACK}:{peer.peer_port}"
        self.remote = f"<{self.uri}>"
        self.target = self.uri
        self.event, self.accept = event, accept
        self.call_id = os.urandom(8).hex()
        self.tag = os.urandom(4).hex()
        self.cseq = 0

    def request(self, expires, extra=()):
        """The octets of the next SUBSCRIBE."""
        self.cseq += 1
        via = f"SIP/2.0/{self.peer.transport.upper()} {LOOPBACK}:{self.peer.port}"
        return ("\r\n".join([
            f"SUBSCRIBE {self.target} SIP/2.0",
            f"Via: {via};branch=z9hG4bK{os.urandom(8).hex()};rport",
            "Max-Forwards: 70",
            f"From: <sip:python@{LOOPBACK}>;tag={self.tag}",
            f"To: {self.remote}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} SUBSCRIBE",
            f"Contact: {self.peer.contact()}",
            f"Event: {self.event}",
            f"Accept: {self.accept}",
            f"Expires: {expires}",
            *extra,
            "Content-Length: 0",
        ]) + "\r\n\r\n").encode()

    def established(self, response):
        self.remote = f"<{self.uri}>;tag={response.tag('To')}"
        self.target = response.target()


def settled(notifier, package, body_path):
    """Waits until the notifier has done all commands it was given, by a state of another resource that it is told last."""
    with open(body_path, "rb") as file:
        body = file.read()
    peer = Peer("udp", notifier.port)
    try:
        fetches = [Subscription(peer, notifier.HIDDEN, package, "*/*")]
        notifier.say(f"set {fetches[0].uri} {package} {body_path}")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            peer.send(fetches[-1].request(0))
            while (message := peer.poll(0.2)) is not None:
                if message.method == "NOTIFY":
                    peer.answer(message)
                    if message.body == body:
                        return
                    break
            fetches.append(Subscription(peer, notifier.HIDDEN, package, "*/*"))
    finally:
        peer.close()
    raise Failed("the notifier does not serve the state that it was told to")


def write_pcap(path, log):
    """A capture file of UDP datagrams, for Wireshark's dissectors."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))  # 101: raw IP
        for when, source, destination, raw in log:
            udp = struct.pack(">HHHH", source, destination, 8 + len(raw), 0) + raw
            address = socket.inet_aton(LOOPBACK)
            packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, address, address) + udp
            out.write(struct.pack("<IIII", int(when), int(when % 1 * 1e6), len(packet), len(packet)) + packet)
