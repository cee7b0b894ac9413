#!/usr/bin/env python3
"""Writes tests/golden/captures.txt from tests/captures/*.sip.

A second reader, made of plain string operations and sharing nothing with the
crate: the test `captures` compares what the crate's parser finds with what
stands here. Run it again only when captures are added.
"""
import pathlib

HERE = pathlib.Path(__file__).parent
COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact",
           "l": "content-length", "c": "content-type", "o": "event"}


def read(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    text = head.decode("utf-8").replace("\r\n ", " ").replace("\r\n\t", " ")
    start, *lines = text.split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        fields.setdefault(COMPACT.get(name, name), []).append(value.strip())
    length = fields.get("content-length")
    return start, fields, body[:int(length[0])] if length else body


def params(text):
    found = {}
    for part in text.split(";")[1:]:
        name, _, value = part.partition("=")
        found[name.strip().lower()] = value.strip()
    return found


def tag(value):
    return params(value[value.rfind(">") + 1:]).get("tag", "-")


def address(value):
    if "<" in value:
        return value[value.index("<") + 1:value.index(">")]
    return value.split(";")[0].strip()


def fnv1a(octets):
    state = 0xcbf29ce484222325
    for octet in octets:
        state = (state ^ octet) * 0x100000001b3 % 2**64
    return f"{state:016x}"


def line(path):
    start, fields, body = read(path.read_bytes())
    one = lambda name: fields.get(name, ["-"])[0]
    event, state = one("event"), one("subscription-state")
    number, method = one("cseq").split()
    return "\t".join([
        path.name,
        start,
        f"fields={sum(map(len, fields.values()))}",
        f"vias={sum(value.count(',') + 1 for value in fields['via'])}",
        f"from={tag(one('from'))}",
        f"to={tag(one('to'))}",
        f"call-id={one('call-id')}",
        f"cseq={int(number)} {method}",
        f"event={event.split(';')[0].strip()}",
        f"id={params(event).get('id', '-')}",
        f"state={state.split(';')[0].strip()}",
        *(f"{name}={params(state).get(name, '-')}" for name in ("reason", "expires", "retry-after")),
        f"Expires={one('expires')}",
        f"contact={address(one('contact'))}",
        f"body={len(body)} {fnv1a(body)}",
    ])


lines = [line(path) for path in sorted(HERE.glob("*.sip"))]
(HERE.parent / "golden" / "captures.txt").write_text("\n".join(lines) + "\n", newline="\n")
