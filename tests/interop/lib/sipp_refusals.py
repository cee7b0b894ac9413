"""`watch` against SIPp as a notifier that refuses, redirects, challenges, and ends what it accepted."""

import time

from .capture import received, sent
from .harness import expect
from .scenario import BODY
from .sipp_notifiers import gap, peer, starts, wait_for

# Refusals.


def refused(status, *lines, after=None):
    def build(n):
        n.subscribe()
        n.answer(status, *lines)

        def verify(watch):
            gone = watch.event("terminated", status=int(status.split()[0]), retry_after=after, will_retry=False)
            expect(gone["may_retry"] or not after, "may not be tried again")
            expect(len(sent(watch, "SUBSCRIBE")) == 1, "more than one SUBSCRIBE")

        return verify

    build.__doc__ = f"{status} to the first SUBSCRIBE: reported, and not sent again."
    return build


for _status in ("400 Bad Request", "403 Forbidden", "404 Not Found", "405 Method Not Allowed", "406 Not Acceptable", "410 Gone",
                "481 Subscription Does Not Exist", "489 Bad Event", "501 Not Implemented", "603 Decline"):
    _code = _status.split()[0]
    peer(f"peer-notifier-{_code}", over=1)(refused(_status, *(["Allow-Events: dialog"] if _code == "489" else [])))

# Then the program may subscribe again, and is told when.
for _status in ("480 Temporarily Unavailable", "486 Busy Here", "500 Server Internal Error", "503 Service Unavailable", "600 Busy Everywhere"):
    _code = _status.split()[0]
    peer(f"peer-notifier-{_code}-retry-after", over=1)(refused(_status, "Retry-After: 2", after=2))


# Redirections.

HERE, MOVED, SPARE = ("sip:alice@[local_ip]:[local_port]", "sip:moved@[local_ip]:[local_port]", "sip:spare@[local_ip]:[local_port]")


def redirected(status, follow):
    proxy = status.startswith("305")

    def build(n):
        n.subscribe()
        n.answer(status, f"Contact: <{SPARE}>;q=0.2, <{MOVED}>;q=0.9")
        if follow:
            n.subscribe()
            n.answer()
            n.notify("active;expires=600")
            n.unsubscribed()

        def verify(watch):
            told = watch.event("redirected", status=int(status.split()[0]), followed=follow)
            uris = [uri.split("@")[0] for uri in told["contacts"].split()]
            expect(uris == ["sip:moved", "sip:spare"], f"told {told['contacts']}")
            if follow:
                watch.event("terminated", reason=None)
                again = sent(watch, "SUBSCRIBE")[1]
                uri, route = again.start.split()[1], again.get("Route") or ""
                expect("sip:moved@" in (route if proxy else uri), "not to the best one")
                expect(uri.startswith("sip:alice@") or not proxy, f"by a proxy, and yet to {uri}")
            else:
                watch.event("terminated", status=int(status.split()[0]), will_retry=False)

        return verify

    followed = "the Contact with the highest q becomes a Route." if proxy else "followed, the Contact with the highest q first."
    build.__doc__ = f"{status}: {followed if follow else 'told, and left to the program.'}"
    return build


for _status in ("301 Moved Permanently", "302 Moved Temporarily", "305 Use Proxy"):
    peer(f"peer-notifier-{_status.split()[0]}", "--notifies", "1", over=0)(redirected(_status, True))
for _status in ("300 Multiple Choices", "380 Alternative Service"):
    peer(f"peer-notifier-{_status.split()[0]}", over=1)(redirected(_status, False))


@peer("peer-notifier-302-second-choice", "--notifies", "1", over=0)
def second_choice(n):
    """The best Contact refuses with 404: the next one is tried."""
    n.subscribe()
    n.answer("302 Moved Temporarily", f"Contact: <{SPARE}>;q=0.2, <{MOVED}>;q=0.9")
    n.subscribe()
    n.answer("404 Not Found")
    n.subscribe()
    n.answer()
    n.notify("active;expires=600")
    n.unsubscribed()

    def verify(watch):
        watch.event("terminated", reason=None)
        tried = [one.start.split()[1].split("@")[0] for one in sent(watch, "SUBSCRIBE")[:3]]
        expect(tried == ["sip:alice", "sip:moved", "sip:spare"], f"tried {tried}")

    return verify


@peer("peer-notifier-302-loop", over=1)
def redirect_loop(n):
    """A redirects to B, B to A: each is asked once."""
    n.subscribe()
    n.answer("302 Moved Temporarily", f"Contact: <{MOVED}>")
    n.subscribe()
    n.answer("302 Moved Temporarily", f"Contact: <{HERE}>")

    def verify(watch):
        watch.event("terminated", status=302, will_retry=False)
        expect(len(sent(watch, "SUBSCRIBE")) == 2, f"{len(sent(watch, 'SUBSCRIBE'))} SUBSCRIBEs")

    return verify


# Challenges.


def challenge(header, *fields):
    return f'{header}: Digest realm="peer", nonce="n1", ' + ", ".join(fields)


def challenged(status, *challenges, answer, then=()):
    """One challenge, and what the answer must hold; `then` are challenges to the refresh."""

    def build(n):
        n.subscribe(Authorization=None, Proxy_Authorization=None)
        n.answer(status, *challenges)
        n.subscribe(**answer)
        n.answer(expires=4 if then else 600)
        n.notify("active;expires=600" if not then else "active;expires=4")
        if then:
            n.subscribe(To="tag=a", **answer)
            n.answer(status, *then, in_dialog=True)
            n.subscribe(To="tag=a", **{**answer, next(iter(answer)): 'nonce="n2".*nc=00000001|nc=00000001.*nonce="n2"'})
            n.answer(in_dialog=True)
            n.notify("active;expires=600")
        n.unsubscribed()

        def verify(watch):
            watch.event("terminated", 10, reason=None)
            expect(len({one.get("Call-ID") for one in sent(watch, "SUBSCRIBE")}) == 1, "more than one Call-ID")

        return verify

    build.__doc__ = f"{status} with {len(challenges)} challenges: answered, in the same dialog or call."
    return build


KNOWN = ("--user", "bob", "--password", "secret")
MD5 = 'username="bob".*realm="peer".*nonce="n1".*response="[0-9a-f]{32}"'
SHA256 = 'username="bob".*realm="peer".*nonce="n1".*response="[0-9a-f]{64}"'

peer("peer-notifier-401-md5", *KNOWN, "--notifies", "1", over=0)(
    challenged("401 Unauthorized", challenge("WWW-Authenticate", 'algorithm=MD5', 'qop="auth"'), answer={"Authorization": MD5}))
peer("peer-notifier-401-no-qop", *KNOWN, "--notifies", "1", over=0)(
    challenged("401 Unauthorized", challenge("WWW-Authenticate", 'opaque="op"'), answer={"Authorization": 'opaque="op"'}))
peer("peer-notifier-407", *KNOWN, "--notifies", "1", over=0)(
    challenged("407 Proxy Authentication Required", challenge("Proxy-Authenticate", 'qop="auth"'), answer={"Proxy-Authorization": MD5}))
peer("peer-notifier-401-sha256-first", *KNOWN, "--notifies", "1", over=0)(
    challenged("401 Unauthorized", challenge("WWW-Authenticate", "algorithm=SHA-256", 'qop="auth"'),
               challenge("WWW-Authenticate", "algorithm=MD5", 'qop="auth"'), answer={"Authorization": SHA256}))
peer("peer-notifier-401-unknown-algorithm-first", *KNOWN, "--notifies", "1", over=0)(
    challenged("401 Unauthorized", challenge("WWW-Authenticate", "algorithm=FUTURE-1", 'qop="auth"'),
               challenge("WWW-Authenticate", "algorithm=MD5", 'qop="auth"'), answer={"Authorization": MD5}))
peer("peer-notifier-401-stale", *KNOWN, "--notifies", "2", over=0)(
    challenged("401 Unauthorized", challenge("WWW-Authenticate", "algorithm=MD5", 'qop="auth"'), answer={"Authorization": 'username="bob"'},
               then=['WWW-Authenticate: Digest realm="peer", nonce="n2", stale=true, algorithm=MD5, qop="auth"']))


@peer("peer-notifier-401-endless", *KNOWN, over=1)
def endless(n):
    """401 whatever one says: two attempts and no more."""
    n.subscribe()
    n.answer("401 Unauthorized", challenge("WWW-Authenticate", 'qop="auth"'))
    n.subscribe(Authorization="bob")
    n.answer("401 Unauthorized", 'WWW-Authenticate: Digest realm="peer", nonce="n2", qop="auth"')

    def verify(watch):
        watch.event("terminated", status=401, will_retry=False)
        expect(len(sent(watch, "SUBSCRIBE")) <= 3, f"{len(sent(watch, 'SUBSCRIBE'))} SUBSCRIBEs")

    return verify


@peer("peer-notifier-401-without-challenge", *KNOWN, over=1)
def no_challenge(n):
    """401 without WWW-Authenticate."""
    n.subscribe()
    n.answer("401 Unauthorized")
    return lambda watch: watch.event("terminated", status=401, will_retry=False)


# How a subscription ends.


def ends(state, reason, again, least=0.0, most=6.0):
    def build(n):
        n.subscribe()
        n.answer()
        n.notify("active;expires=600")
        n.notify(state, body=BODY.format("last"))

        def verify(watch):
            gone = watch.event("terminated", reason=reason)
            expect(gone["will_retry"] is again, f"will_retry {gone['will_retry']}")
            if again:
                first, second = wait_for(watch, most + 2, "second attempt", lambda: starts(watch)[1:] and starts(watch)[:2])
                ended = [one for one in received(watch, "NOTIFY") if "terminated" in one.get("Subscription-State")][0]
                expect(least <= gap(ended, second) <= most, f"came back after {gap(ended, second):.2f} s")
                expect(first.get("Call-ID") != second.get("Call-ID"), "the same Call-ID again")
            else:
                time.sleep(0.3)
                expect(len(sent(watch, "SUBSCRIBE")) == 1, "it came back")

        return verify

    build.__doc__ = f"{state}: watch {'comes back' if again else 'does not come back'}."
    return build


peer("peer-notifier-ends-deactivated", calls=2)(ends("terminated;reason=deactivated", "deactivated", True))
peer("peer-notifier-ends-probation", calls=2)(ends("terminated;reason=probation", "probation", True))
peer("peer-notifier-ends-probation-after", calls=2)(ends("terminated;reason=probation;retry-after=2", "probation", True, 2.0))
peer("peer-notifier-ends-giveup", calls=2)(ends("terminated;reason=giveup", "giveup", True))
peer("peer-notifier-ends-giveup-after", calls=2)(ends("terminated;reason=giveup;retry-after=2", "giveup", True, 2.0))
peer("peer-notifier-ends-timeout", calls=2)(ends("terminated;reason=timeout", "timeout", True))
peer("peer-notifier-ends-rejected", over=1)(ends("terminated;reason=rejected", "rejected", False))
peer("peer-notifier-ends-rejected-after", over=1)(ends("terminated;reason=rejected;retry-after=1", "rejected", False))
peer("peer-notifier-ends-noresource", over=1)(ends("terminated;reason=noresource", "noresource", False))
peer("peer-notifier-ends-invariant", over=1)(ends("terminated;reason=invariant", "invariant", False))
peer("peer-notifier-ends-unknown-reason", calls=2)(ends("terminated;reason=sunspots", "sunspots", True))
peer("peer-notifier-ends-unknown-reason-after", calls=2)(ends("terminated;reason=sunspots;retry-after=2", "sunspots", True, 2.0))
peer("peer-notifier-ends-no-reason", calls=2)(ends("terminated", None, True))


@peer("peer-notifier-ends-at-once", over=1)
def ends_at_once(n):
    """The first NOTIFY is the last."""
    n.subscribe()
    n.answer()
    n.notify("terminated;reason=noresource")
    return lambda watch: watch.event("terminated", reason="noresource", will_retry=False)


@peer("peer-notifier-fetch", "--fetch", over=0)
def fetch(n):
    """Expires 0: one NOTIFY, no more."""
    n.subscribe(Expires="^ *0 *$")
    n.answer(expires=0)
    n.notify("terminated;reason=timeout", body=BODY.format("now"))

    def verify(watch):
        watch.event("notify", state="terminated", body=BODY.format("now"))

    return verify
