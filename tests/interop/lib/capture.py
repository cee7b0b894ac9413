"""What an example recorded with --pcap, as messages."""

import struct

from .sip import Message


def packets(path):
    """(time, protocol, source port, destination port, payload) of each packet; only what `--pcap` writes for IPv4."""
    with open(path, "rb") as file:
        data = file.read()
    at = 24
    while at + 16 <= len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, at)
        packet = data[at + 16:at + 16 + length]
        at += 16 + length
        if len(packet) < length:
            break  # still being written
        protocol, segment = packet[9], packet[20:]
        source, destination = struct.unpack_from(">HH", segment)
        head = 8 if protocol == 17 else (segment[12] >> 4) * 4
        yield seconds + micros / 1e6, protocol, source, destination, segment[head:]


def messages(process):
    """The messages so far, in order, each with `.sent`, `.time` and the other side's `.port`."""
    found, streams = [], {}
    for time, protocol, source, destination, payload in packets(process.pcap):
        sent = source == process.port
        if protocol == 17:
            pieces = [payload] if payload.strip() else []
        else:
            key = (source, destination)
            pieces, streams[key] = frames(streams.get(key, b"") + payload)
        for raw in pieces:
            message = Message(raw)
            message.sent, message.time, message.port = sent, time, destination if sent else source
            found.append(message)
    return found


def frames(data):
    """The whole messages at the front of a stream, and the rest."""
    pieces = []
    while True:
        data = data.lstrip(b"\r\n")
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank:
            return pieces, data
        length = int(Message(head + blank).get("Content-Length") or 0)
        if len(rest) < length:
            return pieces, data
        pieces.append(head + blank + rest[:length])
        data = rest[length:]


def sent(process, method=None, status=None, **fields):
    """What the process sent: requests of a method, or responses with a status; `fields` as header names with _ for -."""
    return _pick(process, True, method, status, fields)


def received(process, method=None, status=None, **fields):
    return _pick(process, False, method, status, fields)


def _pick(process, out, method, status, fields):
    wanted = {name.replace("_", "-"): value for name, value in fields.items()}
    return [one for one in messages(process) if one.sent == out
            and (method is None or one.method == method)
            and (status is None or one.status == status)
            and all(one.get(name) == value for name, value in wanted.items())]
