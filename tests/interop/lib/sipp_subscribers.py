"""`notifier` against SIPp as a subscriber that does what a subscriber may do, or must not."""

import os
import re
import time

from .capture import sent
from .harness import HERE, LOOPBACK, check, expect
from .scenario import BODY, CONTACT, VIA, Subscriber
from .sip import settled

USERS = os.path.join(HERE, "users")


def peer(name, *args, transport="udp", seconds=15, event="presence", state="here", settle=True, act=None):
    """A check: the decorated function writes the subscriber's steps, and returns what has to be so after them.

    `args` are the notifier's; `state`: the note that the resource has, None for nothing at all; `act` is done meanwhile."""

    def register(build):
        def run(context):
            script = Subscriber(context.name, event)
            verify = build(script)
            notifier = context.notifier("--package", "presence", "--package", "message-summary", "--min-expires", "60", *args)
            uri = f"sip:alice@{LOOPBACK}:{notifier.port}"
            if state is not None:
                path = context.file("state", BODY.format(state).encode())
                notifier.say(f"set {uri} presence {path}")
                if settle:
                    settled(notifier, "presence", path)
                else:
                    time.sleep(0.2)
            notifier.uri, notifier.context = uri, context
            sipp = context.play(script, notifier.port, transport=transport, seconds=seconds)
            if act:
                act(notifier)
            context.sipp_done(sipp, seconds)
            if verify:
                verify(notifier)

        run.__doc__ = build.__doc__
        check(name)(run)
        return build

    return register


def notifies(notifier):
    """What the notifier sent to SIPp, copies left out, and without what `settled` has seen."""
    found = {}
    for one in sent(notifier, "NOTIFY"):
        if notifier.HIDDEN not in (one.get("From") or ""):
            found.setdefault(one.raw, one)
    return list(found.values())


def told(notifier):
    """The states of Subscription-State, in order."""
    return [one.get("Subscription-State").split(";")[0] for one in notifies(notifier)]


def told_first(notifier):
    """Waits until the first NOTIFY is answered: a change before that takes its place. Returns the watcher."""
    watcher = notifier.event("subscribe")["watcher"]
    notifier.event("notified", watcher=watcher)
    return watcher


# The usual.

for _transport in ("udp", "tcp"):

    @peer(f"peer-subscriber-plain-{_transport}", transport=_transport)
    def plain(s):
        """Subscribe, refresh, unsubscribe; each 200 is followed by a NOTIFY with the state."""
        s.established(body="here")
        s.subscribe(300)
        s.response(200, Expires="^ *300 *$")
        s.take_notify("active;(.*;)?expires=(300|299)", body="here")
        s.unsubscribed()

        def verify(notifier):
            numbers = [one.cseq for one in notifies(notifier)]
            expect(numbers == list(range(numbers[0], numbers[0] + 3)), f"CSeq {numbers}")

        return verify

    def change(notifier):
        told_first(notifier)
        path = notifier.context.file("state2", BODY.format("there").encode())
        notifier.say(f"set {notifier.uri} presence {path}")

    @peer(f"peer-subscriber-changes-{_transport}", transport=_transport, act=change)
    def changes(s):
        """A new state comes out in a NOTIFY of its own."""
        s.established(body="here")
        s.recv("NOTIFY", body="there", Subscription_State="^ *active")
        s.respond("200 OK")
        s.unsubscribed()

        def verify(notifier):
            expect(told(notifier) == ["active", "active", "terminated"], f"{told(notifier)}")

        return verify


@peer("peer-subscriber-no-state", state=None)
def no_state(s):
    """A resource without a state: a NOTIFY comes all the same (RFC 6665 section 4.2.1.1)."""
    s.established(body="<presence[^>]*(/>|> *</presence>)")
    s.unsubscribed()


@peer("peer-subscriber-default-expires")
def default_expires(s):
    """No Expires: the package's default, 3600 s (RFC 3856 section 6.4)."""
    s.subscribe(None)
    s.response(200, Expires="^ *3600 *$")
    s.take_notify("active;(.*;)?expires=3[56]")
    s.unsubscribed()


@peer("peer-subscriber-long-expires", "--max-expires", "120")
def long_expires(s):
    """More than the longest duration is shortened."""
    s.subscribe(86_400)
    s.response(200, Expires="^ *120 *$")
    s.take_notify("active;(.*;)?expires=1[12][0-9]")
    s.unsubscribed()


@peer("peer-subscriber-huge-expires")
def huge_expires(s):
    """2**32 - 1 is a legal duration (RFC 3261 section 20.19), and is shortened."""
    s.subscribe(4_294_967_295)
    s.response(200, Expires="^ *[1-9][0-9]{1,8} *$")
    s.take_notify("active")
    s.unsubscribed()


@peer("peer-subscriber-fetch")
def fetch(s):
    """Expires 0 without a subscription: the state in a terminated NOTIFY."""
    s.subscribe(0)
    s.response(200, Expires="^ *0 *$")
    s.take_notify("terminated;(.*;)?reason=timeout", body="here")
    return lambda notifier: expect(told(notifier) == ["terminated"], f"{told(notifier)}")


@peer("peer-subscriber-expires", "--min-expires", "1")
def expires(s):
    """Nobody refreshes: terminated;reason=timeout when the time is over."""
    s.subscribe(2)
    s.response(200, Expires="^ *2 *$")
    s.take_notify("active;(.*;)?expires=[12]")
    s.take_notify("terminated;(.*;)?reason=timeout")

    def verify(notifier):
        first, last = notifies(notifier)
        expect(1.5 < last.time - first.time < 3.5, f"expired after {last.time - first.time:.2f} s")

    return verify


@peer("peer-subscriber-event-id")
def event_id(s):
    """The id of Event comes back in every NOTIFY."""
    s.event = "presence;id=a7"
    s.established(Event="^ *presence *;(.*;)?id=a7")
    s.subscribe(0)
    s.response(200)
    s.take_notify("terminated", Event="^ *presence *;(.*;)?id=a7")


@peer("peer-subscriber-shortens")
def shortens(s):
    """A refresh may shorten the subscription."""
    s.established()
    s.subscribe(60)
    s.response(200, Expires="^ *60 *$")
    s.take_notify("active;(.*;)?expires=(60|59)")
    s.unsubscribed()


# What is refused.


def refused(status, *lines, expires=600, checks=None, **how):
    def build(s):
        s.subscribe(expires, *lines, **how)
        s.response(status, **(checks or {}))

        def verify(notifier):
            time.sleep(0.5)
            expect(not told(notifier), f"refused, and yet NOTIFYs: {told(notifier)}")

        return verify

    build.__doc__ = f"Refused with {status}, and no NOTIFY."
    return build


peer("peer-subscriber-423")(refused(423, expires=2, checks={"Min-Expires": "^ *60 *$"}))
peer("peer-subscriber-489")(refused(489, event="nobody-has-this", checks={"Allow-Events": "presence"}))
peer("peer-subscriber-406")(refused(406, accept="application/x-odd"))
peer("peer-subscriber-420")(refused(420, "Require: teleport, warp", checks={"Unsupported": "teleport"}))
peer("peer-subscriber-no-event")(refused(489, leave_out=("Event",)))
peer("peer-subscriber-no-contact")(refused(400, leave_out=("Contact",)))
peer("peer-subscriber-481-unknown-tag")(refused(481, to=";tag=nobody"))
peer("peer-subscriber-403", "--policy", "reject", settle=False)(refused(403))
peer("peer-subscriber-503-full", "--max-watchers", "0", settle=False)(refused(503, checks={"Retry-After": "^ *[0-9]+"}))


@peer("peer-subscriber-last-hop")
def last_hop(s):
    """Max-Forwards 0 says where a request may not go any further, which it need not."""
    s.subscribe(forwards=0)
    s.response(200)
    s.take_notify("active")
    s.unsubscribed()


@peer("peer-subscriber-bad-expires")
def bad_expires(s):
    """An Expires that is no number counts as none."""
    s.subscribe("soon")
    s.response(200, Expires="^ *3600 *$")
    s.take_notify("active")
    s.unsubscribed()


@peer("peer-subscriber-refresh-423")
def refresh_423(s):
    """423 to a refresh leaves the subscription as it is."""
    s.established()
    s.subscribe(2)
    s.response(423, Min_Expires="^ *60 *$")
    s.subscribe(600)
    s.response(200)
    s.take_notify("active")
    s.unsubscribed()


@peer("peer-subscriber-old-cseq")
def old_cseq(s):
    """A request with a lower CSeq: 500 (RFC 3261 section 12.2.2); the subscription goes on."""
    s.cseq = 10
    s.established()
    s.subscribe(600, cseq=5)
    s.response(500)
    s.unsubscribed()


@peer("peer-subscriber-unsubscribes-twice")
def unsubscribes_twice(s):
    """After the end the dialog is gone: 481."""
    s.established()
    s.unsubscribed()
    s.subscribe(0)
    s.response(481)


@peer("peer-subscriber-other-event-in-dialog")
def other_event(s):
    """Another package in the dialog of a subscription: refused, and the first one goes on."""
    s.established()
    s.subscribe(600, event="nobody-has-this")
    s.response(489)
    s.unsubscribed()


@peer("peer-subscriber-two-ids", "--rfc3265")
def two_ids(s):
    """Two subscriptions in one dialog, told apart by the id of Event (RFC 3265 section 3.1.2): each has its NOTIFYs, and ends alone."""
    s.event = "presence;id=one"
    s.established(Event=";id=one")
    s.subscribe(600, event="presence;id=two")
    s.response(200)
    s.take_notify("active", Event=";id=two")
    s.subscribe(0, event="presence;id=two")
    s.response(200)
    s.take_notify("terminated", Event=";id=two")
    s.subscribe(300)
    s.response(200)
    s.take_notify("active", Event=";id=one")
    s.unsubscribed()


@peer("peer-subscriber-two-ids-refused")
def two_ids_refused(s):
    """The same as RFC 6665 has it: the second one is refused, and the first one goes on."""
    s.event = "presence;id=one"
    s.established(Event=";id=one")
    s.subscribe(600, event="presence;id=two")
    s.response(403)
    s.unsubscribed()


# Copies.


@peer("peer-subscriber-retransmits")
def retransmits(s):
    """The SUBSCRIBE again, after the NOTIFY: the same 200, no other NOTIFY."""
    s.subscribe(branch="z9hG4bK-[pid]-same")
    s.response(200)
    s.take_notify("active")
    s.tag = None
    s.subscribe(branch="z9hG4bK-[pid]-same", cseq=1)
    s.tag = True
    s.recv(200)
    s.unsubscribed()

    def verify(notifier):
        answers = [one for one in sent(notifier, status=200) if one.cseq == 1 and notifier.HIDDEN not in one.get("To")]
        expect(len(answers) == 2 and answers[0].raw == answers[1].raw, f"{len(answers)} answers, or different ones")
        expect(told(notifier) == ["active", "terminated"], f"{told(notifier)}")

    return verify


@peer("peer-subscriber-slow-to-answer")
def slow(s):
    """The answer to the NOTIFY takes 1.2 s: the NOTIFY is sent again, octet for octet, and once answered no more."""
    s.subscribe()
    s.response(200)
    s.recv("NOTIFY", Subscription_State="^ *active")
    s.recv("NOTIFY")
    s.respond("200 OK")
    s.pause(1500)
    s.unsubscribed()

    def verify(notifier):
        active = [one for one in sent(notifier, "NOTIFY") if "active" in one.get("Subscription-State")]
        expect(len(active) == 2 and active[0].raw == active[1].raw, f"{len(active)} copies, or different ones")
        expect(0.45 < active[1].time - active[0].time < 0.9, f"sent again after {active[1].time - active[0].time:.2f} s")

    return verify


# Answers to NOTIFY.


def answers(status, *lines, lives):
    def build(s):
        s.subscribe()
        s.response(200)
        s.take_notify("active", status, *lines)
        if lives:
            s.unsubscribed()
        else:
            s.pause(300)
            s.subscribe()
            s.response(481)

        def verify(notifier):
            expect(told(notifier) == (["active", "terminated"] if lives else ["active"]), f"{told(notifier)}")

        return verify

    build.__doc__ = f"{status} to a NOTIFY: the subscription {'lives on' if lives else 'is removed'} (RFC 6665 section 4.2.2)."
    return build


for _status, _lives in (("404 Not Found", False), ("405 Method Not Allowed", False), ("410 Gone", False), ("416 Unsupported URI Scheme", False),
                        ("480 Temporarily Unavailable", False), ("481 Subscription Does Not Exist", False), ("489 Bad Event", False),
                        ("501 Not Implemented", False), ("604 Does Not Exist Anywhere", False),
                        ("500 Server Internal Error", True), ("400 Bad Request", True)):
    peer(f"peer-subscriber-answers-{_status.split()[0]}")(answers(_status, lives=_lives))
peer("peer-subscriber-answers-503-retry-after")(answers("503 Service Unavailable", "Retry-After: 30", lives=True))


@peer("peer-subscriber-never-answers", seconds=45)
def never_answers(s):
    """No answer to the NOTIFY at all: given up when Timer F fires, after 64*T1, and the subscription is removed."""
    s.subscribe()
    s.response(200)
    for _ in range(10):  # after 0, 0.5, 1.5, 3.5 s, and then every 4 s
        s.recv("NOTIFY", Subscription_State="^ *active")

    def verify(notifier):
        notifier.event("gone", 10, why="NoAnswer(Timeout)")
        copies = [one for one in sent(notifier, "NOTIFY") if "active" in one.get("Subscription-State")]
        expect(len({one.raw for one in copies}) == 1 and 10 <= len(copies) <= 11, f"{len(copies)} copies, or different ones")

    return verify


# Dialogs and routes.


@peer("peer-subscriber-moves")
def moves(s):
    """A refresh with another Contact: NOTIFYs go there (target refresh)."""
    s.established()
    s.subscribe(contact="moved")
    s.response(200)
    s.take_notify("active")
    s.subscribe(0, contact="moved")
    s.response(200)
    s.take_notify("terminated")

    def verify(notifier):
        targets = [re.match(r"NOTIFY sip:(\w+)@", one.start).group(1) for one in notifies(notifier)]
        expect(targets == ["sipp", "moved", "moved"], f"NOTIFYs went to {targets}")

    return verify


@peer("peer-subscriber-loose-route")
def loose_route(s):
    """Record-Route comes back in the 200; NOTIFYs have Route in the same order."""
    routes = ["Record-Route: <sip:[local_ip]:[local_port];lr;n=1>, <sip:[local_ip]:[local_port];lr=on;n=2>"]
    s.subscribe(600, *routes)
    s.response(200, Record_Route="n=1>.*n=2>")
    s.take_notify("active", Route="n=1>.*n=2>")
    s.subscribe(0)
    s.response(200)
    s.take_notify("terminated", Route="n=1>")

    def verify(notifier):
        expect(all(one.start.startswith("NOTIFY sip:sipp@") for one in notifies(notifier)), "Request-URI is not the Contact")

    return verify


@peer("peer-subscriber-strict-route")
def strict_route(s):
    """Record-Route without lr: the router is the Request-URI of NOTIFYs, the Contact the last Route."""
    s.subscribe(600, "Record-Route: <sip:strict@[local_ip]:[local_port]>")
    s.response(200)
    s.take_notify("active", Route="<sip:sipp@")
    s.unsubscribed()

    def verify(notifier):
        expect(all(one.start.startswith("NOTIFY sip:strict@") for one in notifies(notifier)), "Request-URI is not the router")

    return verify


@peer("peer-subscriber-two-vias")
def two_vias(s):
    """Both Vias come back in the answer, in order; NOTIFYs have one of their own."""
    s.subscribe(600, "Via: SIP/2.0/UDP 192.0.2.1:5999;branch=z9hG4bKfar")
    s.response(200)
    s.take_notify("active")
    s.unsubscribed()

    def verify(notifier):
        first = [one for one in sent(notifier, status=200) if one.cseq == 1 and notifier.HIDDEN not in one.get("To")][0]
        vias = [value for name, value in first.headers if name == "Via"]
        joined = ",".join(vias)
        expect(joined.count("branch=") == 2 and joined.index("z9hG4bK-") < joined.index("z9hG4bKfar"), f"{vias}")

    return verify


# Approval, ends.


def approve(notifier):
    notifier.say(f"approve {told_first(notifier)}")


def reject(notifier):
    notifier.say(f"reject {told_first(notifier)}")


@peer("peer-subscriber-pending-approved", "--policy", "pending", settle=False, act=approve)
def approved(s):
    """pending with a neutral state, then active with the right one (RFC 3856 section 6.7)."""
    s.subscribe()
    s.response(200)
    s.take_notify("pending;(.*;)?expires=", body="<presence[^>]*(/>|> *</presence>)")
    s.take_notify("active;(.*;)?expires=", body="here")
    s.unsubscribed()


@peer("peer-subscriber-pending-rejected", "--policy", "pending", settle=False, act=reject)
def rejected(s):
    """pending, then terminated;reason=rejected."""
    s.subscribe()
    s.response(200)
    s.take_notify("pending")
    s.take_notify("terminated;(.*;)?reason=rejected")
    return lambda notifier: expect(not any(b"here" in one.body for one in notifies(notifier)), "the state was shown")


def ended(name, reason, after=None):
    def end(notifier):
        told_first(notifier)
        notifier.say(" ".join(filter(None, ["terminate", notifier.uri, reason, after])))

    def build(s):
        s.established()
        s.take_notify(f"terminated;(.*;)?reason={reason}" + (f".*retry-after={after}" if after else ""))
        s.subscribe()
        s.response(481)

    build.__doc__ = f"The notifier ends it: reason={reason}" + (f", retry-after={after}" if after else "") + "; 481 to a refresh after that."
    peer(name, act=end)(build)


for _reason, _after in (("deactivated", None), ("probation", "30"), ("rejected", None), ("timeout", None), ("giveup", "30"),
                        ("noresource", None), ("invariant", None), ("sunspots", None)):
    ended(f"peer-subscriber-ended-{_reason}", _reason, _after)


# Credentials.


@peer("peer-subscriber-digest", "--users", USERS, "--realm", "example.org", settle=False)
def digest(s):
    """401 with a challenge for SHA-256 before one for MD5, the same for whoever asks; without credentials nobody watches."""
    s.subscribe()
    s.recv(401, WWW_Authenticate='realm="example.org".*algorithm=SHA-256|algorithm=SHA-256.*realm="example.org"')
    s.subscribe(600, 'Authorization: Digest username="alice", realm="example.org", nonce="made-up", uri="sip:alice@127.0.0.1", '
                'response="00000000000000000000000000000000"')
    s.recv(401)
    return lambda notifier: expect(not told(notifier), "it was let in")


# Other methods.


def request(s, method, status, *lines, uri=None, cseq=1, **headers):
    s.send(f"{method} {uri or 'sip:[service]@[remote_ip]:[remote_port]'} SIP/2.0", VIA.format(branch=s.branch()) + ";rport", "Max-Forwards: 70",
           "From: <sip:sipp@[local_ip]>;tag=[pid]s[call_number]", "To: <sip:[service]@[remote_ip]:[remote_port]>", "Call-ID: [call_id]",
           f"CSeq: {cseq} {method}", CONTACT.format(user="sipp"), *lines)
    s.recv(status, **headers)


@peer("peer-subscriber-options")
def options(s):
    """OPTIONS: 200 with what there is."""
    request(s, "OPTIONS", 200, Allow="SUBSCRIBE", Allow_Events="presence", Accept="application/pidf")


def other_method(method, status, *lines, **headers):
    def build(s):
        request(s, method, status, *lines, **headers)

    build.__doc__ = f"{method} is refused with {status}."
    return build


peer("peer-subscriber-publish")(other_method("PUBLISH", 405, "Event: presence", Allow="SUBSCRIBE"))
peer("peer-subscriber-message")(other_method("MESSAGE", 405, Allow="SUBSCRIBE"))
peer("peer-subscriber-stray-notify")(other_method("NOTIFY", 481, "Event: presence", "Subscription-State: active"))
