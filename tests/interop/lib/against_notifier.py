"""The example `notifier` asked by SIPp, and by raw octets where SIPp cannot say it.

With --self-test Kamailio stands in for the notifier, which proves the checks themselves."""

import os
import re
import time

from .against_kamailio import TYPES, bodies
from .dissect import dissect
from .harness import LOOPBACK, check, expect
from .kamailio import kamailio
from .sip import Peer, Subscription, settled, write_pcap

KEYS = {package: {"event": package, "type": type} for package, type in TYPES.items()}


class Served:
    """A notifier on `.port` that has a state, `.body`, for the resource `.resource`."""

    def __init__(self, context, *args, package="presence"):
        self.resource = context.name
        self.body = bodies(package, self.resource)[1]
        if context.options.self_test:
            server = kamailio(context.options, min_expires=60)
            self.port = server.port
            context.file("body1", self.body)
            context.file("body2", self.body)
            context.sipp("publish", self.port, resource=self.resource, keys=KEYS[package])
            self.process = None
        else:
            self.process = context.notifier("--package", "presence", "--package", "message-summary", "--min-expires", "60", *args)
            self.port = self.process.port
            path = context.file("state", self.body)
            self.process.say(f"set sip:{self.resource}@{LOOPBACK}:{self.port} {package} {path}")
            settled(self.process, package, path)

    def event(self, *args, **kwargs):
        """What the notifier must have printed."""
        if self.process:
            self.process.event(*args, **kwargs)


def received(context, name):
    with open(os.path.join(context.dir, f"{name}.messages"), "rb") as messages:
        return messages.read()


def rising_cseqs(octets, least):
    cseqs = [int(number) for number in re.findall(rb"(?im)^CSeq *: *(\d+) +NOTIFY", octets)]
    expect(cseqs == sorted(cseqs), f"CSeq of the NOTIFYs: {cseqs}")
    expect(len(set(cseqs)) >= least, f"{len(set(cseqs))} NOTIFYs, not {least}")


@check("notifier-subscribe-udp", transport="udp", package="presence")
@check("notifier-subscribe-tcp", transport="tcp", package="presence")
@check("notifier-message-summary-udp", transport="udp", package="message-summary")
def subscribe(context, transport, package):
    """Subscribe, refresh, unsubscribe: a 2xx and a NOTIFY with the state each time."""
    served = Served(context, package=package)
    context.sipp("subscribe", served.port, resource=served.resource, transport=transport, keys=KEYS[package])
    served.event("subscribe", 2, package=package)
    served.event("refreshed", 2)
    served.event("gone", 2)
    octets = received(context, "sipp-subscribe")
    rising_cseqs(octets, 3)
    expect(octets.count(served.body) == 3, f"the state came {octets.count(served.body)} times, not 3")


@check("notifier-fetch-udp", transport="udp")
@check("notifier-fetch-tcp", transport="tcp")
def fetch(context, transport):
    """Expires 0: 200 with Expires 0, and one NOTIFY with the state, terminated;reason=timeout."""
    served = Served(context)
    context.sipp("fetch", served.port, resource=served.resource, transport=transport, keys=KEYS["presence"])
    octets = received(context, "sipp-fetch")
    expect(octets.count(served.body) == 1, f"the state came {octets.count(served.body)} times, not once")


@check("notifier-unknown-package-udp", transport="udp", scenario="unknown-package", event="nobody-has-this")
@check("notifier-unknown-package-tcp", transport="tcp", scenario="unknown-package", event="nobody-has-this")
@check("notifier-too-brief-udp", transport="udp", scenario="too-brief")
@check("notifier-too-brief-tcp", transport="tcp", scenario="too-brief")
@check("notifier-unknown-dialog-udp", transport="udp", scenario="unknown-dialog")
@check("notifier-unknown-dialog-tcp", transport="tcp", scenario="unknown-dialog")
def refused(context, transport, scenario, event="presence"):
    """489 with Allow-Events, 423 with Min-Expires, 481: the scenario says which."""
    served = Served(context)
    context.sipp(scenario, served.port, resource=served.resource, transport=transport, keys={"event": event, "type": TYPES["presence"]})


def take_notify(peer, seconds=3):
    """The next NOTIFY, answered 200."""
    notify = peer.receive(seconds, "a NOTIFY")
    expect(notify.method == "NOTIFY", f"not a NOTIFY but {notify.start!r}")
    peer.answer(notify)
    return notify


def take_response(peer, status, seconds=3):
    response = peer.receive(seconds, f"a {status}")
    expect(response.status == status, f"not a {status} but {response.start!r}")
    return response


@check("notifier-retransmission-udp", event="presence", status=200)
@check("notifier-retransmission-489-udp", event="nobody-has-this", status=489)
def retransmission(context, event, status):
    """A SUBSCRIBE sent again gets the same octets again, and no NOTIFY of its own."""
    served = Served(context)
    peer = Peer("udp", served.port)
    context.on_close(peer.close)
    request = Subscription(peer, served.resource, event).request(600)
    peer.send(request)
    first = take_response(peer, status)
    if status == 200:
        take_notify(peer)
    for _ in range(2):
        peer.send(request)
        again = take_response(peer, status)
        expect(again.raw == first.raw, f"the response differs: {again.raw!r}")
    more = peer.poll(1.5)
    expect(more is None, f"after the retransmissions came {more and more.start!r}")


@check("notifier-retransmission-early-udp")
def retransmission_early(context):
    """The same while the NOTIFY is still unanswered: that NOTIFY may be sent again, no other one."""
    served = Served(context)
    peer = Peer("udp", served.port)
    context.on_close(peer.close)
    request = Subscription(peer, served.resource).request(600)
    peer.send(request)
    first = take_response(peer, 200)
    notify = peer.receive(3, "a NOTIFY")
    peer.send(request)
    end = time.monotonic() + 1.5
    responses = 0
    while (left := end - time.monotonic()) > 0:
        message = peer.poll(left)
        if message is None:
            break
        expect(message.raw in (first.raw, notify.raw), f"new octets: {message.start!r}, CSeq {message.get('CSeq')!r}")
        responses += message.raw == first.raw
    expect(responses == 1, f"{responses} responses to the retransmission")
    peer.answer(notify)


@check("notifier-tcp-framing")
def framing(context):
    """Requests cut into pieces, and two in one piece with blank lines between, over TCP."""
    served = Served(context)
    peer = Peer("tcp", served.port)
    context.on_close(peer.close)
    slow = Subscription(peer, served.resource).request(600)
    for at in range(0, len(slow), 97):
        peer.send(slow[at:at + 97])
        time.sleep(0.01)
    take_response(peer, 200)
    expect(take_notify(peer).body == served.body, "the NOTIFY does not have the state")
    pair = [Subscription(peer, served.resource) for _ in range(2)]
    peer.send(b"\r\n\r\n" + pair[0].request(600) + b"\r\n" + pair[1].request(0))
    got = {"response": {}, "NOTIFY": {}}
    while sum(map(len, got.values())) < 4:
        message = peer.receive(3, "a response or a NOTIFY")
        if message.method == "NOTIFY":
            peer.answer(message)
        got[message.method or "response"][message.get("Call-ID")] = message
    for subscription, state in zip(pair, ("active", "terminated")):
        response = got["response"].get(subscription.call_id)
        expect(response and response.status == 200, f"no 200 for the one that becomes {state}")
        notify = got["NOTIFY"].get(subscription.call_id)
        expect(notify and notify.get("Subscription-State").startswith(state), f"no NOTIFY {state}")


def dissected(context, log):
    """Wireshark finds nothing wrong in these datagrams, and all of them are SIP."""
    path = os.path.join(context.dir, "datagrams.pcap")
    write_pcap(path, log)
    frames = dissect(path, context.dir)
    expect(len(frames) == len(log), f"tshark read {len(frames)} of {len(log)} datagrams")
    for frame in frames:
        expect(":sip" in frame.protocols and not frame.malformed and not frame.expert, f"tshark: {frame}")


@check("dissect-notifier")
def dissect_notifier(context):
    """Every kind of message of the notifier passes Wireshark's SIP dissector."""
    served = Served(context)
    peer = Peer("udp", served.port)
    context.on_close(peer.close)
    subscription = Subscription(peer, served.resource)
    for expires in (600, 600, 0):
        peer.send(subscription.request(expires))
        subscription.established(take_response(peer, 200))
        take_notify(peer)
    for event, expires, status in (("nobody-has-this", 600, 489), ("presence", 2, 423)):
        peer.send(Subscription(peer, served.resource, event).request(expires))
        take_response(peer, status)
    peer.send(subscription.request(600))
    take_response(peer, 481)
    dissected(context, peer.log)


@check("dissect-watch")
def dissect_watch(context):
    """Every kind of message of watch passes Wireshark's SIP dissector."""
    peer = Peer("udp")
    context.on_close(peer.close)
    watch = context.watch(f"sip:alice@{LOOPBACK}:{peer.port}", "--expires", "600", "--notifies", "1")
    body = bodies("presence", "alice")[0]
    tag, cseq = "notifier1", 0
    for state in ("active;expires=600", "terminated;reason=timeout"):
        request = peer.receive(5, "a SUBSCRIBE")
        expect(request.method == "SUBSCRIBE", f"not a SUBSCRIBE but {request.start!r}")
        ours = [f"Contact: {peer.contact()}", f"Expires: {request.get('Expires')}"]
        peer.answer(request, headers=ours, to_tag=None if request.tag("To") else tag)
        remote = request.get("To") if request.tag("To") else f"{request.get('To')};tag={tag}"
        cseq += 1
        peer.send(("\r\n".join([
            f"NOTIFY {request.target()} SIP/2.0",
            f"Via: SIP/2.0/UDP {LOOPBACK}:{peer.port};branch=z9hG4bK{os.urandom(8).hex()}",
            "Max-Forwards: 70", f"From: {remote}", f"To: {request.get('From')}", f"Call-ID: {request.get('Call-ID')}",
            f"CSeq: {cseq} NOTIFY", f"Contact: {peer.contact()}", "Event: presence", f"Subscription-State: {state}",
            "Content-Type: application/pidf+xml", f"Content-Length: {len(body)}",
        ]) + "\r\n\r\n").encode() + body)
        take_response(peer, 200)
    code = watch.wait(5)
    expect(code == 0, f"watch ended with {code}")
    dissected(context, peer.log)
