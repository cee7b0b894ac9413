"""`watch` against SIPp as a notifier that does what a notifier may do, or must not."""

import time

from .capture import sent
from .harness import LOOPBACK, check, expect
from .scenario import BODY, CONTACT, PIDF, Notifier


def peer(name, *args, transport="udp", calls=1, seconds=15, event="presence", over=None):
    """A check: the decorated function writes the steps of the notifier, and returns what then has to be so.

    `args` are watch's; `calls` how many Call-IDs it comes with; `over`: what watch's exit code has to be."""

    def register(build):
        def run(context):
            script = Notifier(context.name, event)
            verify = build(script)
            sipp = context.play(script, transport=transport, calls=calls, seconds=seconds)
            watch = context.watch(f"sip:alice@{LOOPBACK}:{sipp.port}", "--event", event, *args, transport=transport)
            if verify:
                verify(watch)
            context.sipp_done(sipp, seconds)
            if over is not None:
                code = watch.wait(5)
                expect(code == over, f"watch ended with {code}, not {over}")

        run.__doc__ = build.__doc__
        check(name)(run)
        return build

    return register


def starts(watch):
    return [one for one in sent(watch, "SUBSCRIBE") if not one.tag("To")]


def gap(first, second):
    return second.time - first.time


def wait_for(watch, seconds, what, find):
    """Until `find` gives something of what was recorded."""
    end = time.monotonic() + seconds
    while True:
        found = find()
        if found:
            return found
        expect(time.monotonic() < end, f"no {what} within {seconds} s")
        time.sleep(0.05)


# How a subscription begins.

for _transport in ("udp", "tcp"):

    @peer(f"peer-notifier-plain-{_transport}", "--notifies", "1", transport=_transport, over=0)
    def plain(n):
        """200, NOTIFY, unsubscription, NOTIFY terminated."""
        n.established()
        n.unsubscribed()

        def verify(watch):
            watch.event("accepted", status=200, expires=600)
            watch.event("notify", state="active", body=BODY.format("here"))
            watch.event("terminated", reason=None, will_retry=False)

        return verify

    @peer(f"peer-notifier-notify-first-{_transport}", "--notifies", "1", transport=_transport, over=0)
    def notify_first(n):
        """A NOTIFY before the 2xx sets the dialog up (RFC 6665 section 4.1.2.4)."""
        answer = before_the_2xx(n)
        answer()
        n.unsubscribed()
        return lambda watch: watch.event("notify", state="active", body=BODY.format("early"))


def before_the_2xx(n):
    """A NOTIFY in place of the answer; what is returned writes the answer."""
    n.subscribe(keep={"via": ("^ *(.*)$", "Via"), "cs": ("^ *(.*)$", "CSeq")})
    n.notify("active;expires=600", body=BODY.format("early"))
    return lambda: late_answer(n, "a")


def late_answer(n, tag):
    n.send("SIP/2.0 200 OK", "Via: [$via]", "From: [$from]", f"To: [$to];tag={tag}", "Call-ID: [call_id]", "CSeq: [$cs]",
           CONTACT.format(user="sipp"), "Expires: 600")


@peer("peer-notifier-notify-before-late-2xx", "--notifies", "2", over=0)
def late_2xx(n):
    """The same, and the 200 comes after the first copy of the SUBSCRIBE."""
    answer = before_the_2xx(n)
    n.recv("SUBSCRIBE", CSeq="SUBSCRIBE")
    answer()
    n.pause(1500)
    n.notify("active;expires=590", body=BODY.format("later"))
    n.unsubscribed()

    def verify(watch):
        watch.event("accepted", status=200)
        watch.event("notify", body=BODY.format("later"))
        watch.event("terminated")
        copies = starts(watch)
        expect(len(copies) == 2 and copies[0].raw == copies[1].raw, f"{len(copies)} copies, or not the same octets")

    return verify


@peer("peer-notifier-202", "--notifies", "1", over=0)
def accepted_202(n):
    """202, the answer of RFC 3265."""
    n.subscribe()
    n.answer("202 Accepted")
    n.notify("active;expires=600")
    n.unsubscribed()
    return lambda watch: watch.event("accepted", status=202)


@peer("peer-notifier-100-first", "--notifies", "1", over=0)
def trying(n):
    """100 Trying, then 200."""
    n.subscribe()
    n.respond("100 Trying")
    n.pause(300)
    n.answer()
    n.notify("active;expires=600")
    n.unsubscribed()
    return lambda watch: watch.event("accepted", status=200)


@peer("peer-notifier-2xx-twice", "--notifies", "1", over=0)
def twice_2xx(n):
    """The 200 comes three times: the copies have no effect."""
    n.subscribe()
    n.answer()
    n.answer()
    n.notify("active;expires=600")
    n.unsubscribed()

    def verify(watch):
        watch.event("terminated")
        expect(len(watch.events("accepted")) == 2, f"accepted {len(watch.events('accepted'))} times, not for two requests")

    return verify


@peer("peer-notifier-silent-at-first", "--notifies", "1", over=0)
def silent(n):
    """No answer until the third copy: 0.5 s and then 1 s apart, octet for octet the same (Timer E)."""
    n.subscribe()
    n.recv("SUBSCRIBE")
    n.recv("SUBSCRIBE")
    n.answer()
    n.notify("active;expires=600")
    n.unsubscribed()

    def verify(watch):
        watch.event("accepted", 5)
        copies = [one for one in sent(watch, "SUBSCRIBE") if not one.tag("To")]
        expect(len(copies) == 3 and len({one.raw for one in copies}) == 1, f"{len(copies)} copies, or not the same octets")
        first, second = gap(*copies[:2]), gap(*copies[1:3])
        expect(0.45 < first < 0.8 and 0.95 < second < 1.4, f"{first:.2f} and {second:.2f} s apart")

    return verify


@peer("peer-notifier-pending", "--notifies", "2", over=0)
def pending(n):
    """Pending, then active."""
    n.subscribe()
    n.answer()
    n.notify("pending;expires=600")
    n.notify("active;expires=599", body=BODY.format("approved"))
    n.unsubscribed()

    def verify(watch):
        watch.event("pending")
        watch.event("active")
        watch.event("notify", body=BODY.format("approved"))

    return verify


@peer("peer-notifier-pending-rejected", over=1)
def pending_rejected(n):
    """Pending, then refused for good."""
    n.subscribe()
    n.answer()
    n.notify("pending;expires=600")
    n.notify("terminated;reason=rejected")
    return lambda watch: watch.event("terminated", reason="rejected", will_retry=False)


@peer("peer-notifier-no-notify", seconds=45)
def no_notify(n):
    """200 and then nothing: given up when Timer N fires, 64*T1 after the SUBSCRIBE (RFC 6665 section 4.1.2.4)."""
    n.subscribe()
    n.answer()

    def verify(watch):
        watch.event("accepted")
        began = time.monotonic()
        watch.event("terminated", 40, reason="no NOTIFY came")
        waited = time.monotonic() - began
        expect(31 < waited < 34, f"it took {waited:.1f} s")

    return verify


# Forks.

MAIL, SUMMARY = "Messages-Waiting: no\nMessage-Account: sip:", "application/simple-message-summary"


def forked(n, first, second, answered):
    n.subscribe(keep={"via": ("^ *(.*)$", "Via"), "cs": ("^ *(.*)$", "CSeq")})
    for tag in (first, second):
        if tag == answered:
            late_answer(n, tag)
        n.notify("active;expires=600", tag=tag, cseq=1, body=MAIL + tag, type=SUMMARY)
    # Both unsubscriptions may come before the first is answered.
    for end in "12":
        n.recv("SUBSCRIBE", Expires="^ *0 *$", keep={
            f"via{end}": ("^ *(.*)$", "Via"), f"cseq{end}": ("^ *(.*)$", "CSeq"), f"end{end}": (";tag=([ab])", "To")})
    for end in "12":
        n.send("SIP/2.0 200 OK", f"Via: [$via{end}]", "From: [$from]", f"To: [$to];tag=[$end{end}]", "Call-ID: [call_id]",
               f"CSeq: [$cseq{end}]", CONTACT.format(user="sipp"), "Expires: 0")
        n.notify("terminated;reason=timeout", tag=f"[$end{end}]", cseq=2)

    def verify(watch):
        watch.event("forked")
        for _ in range(2):
            watch.event("terminated")
        ends = {one.tag("To") for one in sent(watch, "SUBSCRIBE", Expires="0")}
        expect(ends == {"a", "b"}, f"unsubscribed from {ends}")
        texts = {note.get("body").replace("\r\n", "\n") for note in watch.events("notify")}
        expect({MAIL + "a", MAIL + "b"} <= texts, f"bodies {texts}")

    return verify


@peer("peer-notifier-fork-refused", "--notifies", "1", over=0)
def fork_refused(n):
    """Presence has one notifier (RFC 3856 section 6.9): the NOTIFY of a second one gets 481."""
    n.established()
    n.recv("SUBSCRIBE", Expires="^ *0 *$", To="tag=a")
    n.answer(expires=0, in_dialog=True)
    n.notify("active;expires=600", tag="b", cseq=1, expect=481)
    n.notify("terminated;reason=timeout", cseq=2)


@peer("peer-notifier-fork-first-answered", "--notifies", "2", event="message-summary", over=0)
def fork_first(n):
    """Two notifiers; the 200 is from the one whose NOTIFY comes first. Both are left at the end."""
    return forked(n, "a", "b", "a")


@peer("peer-notifier-fork-second-answered", "--notifies", "2", event="message-summary", over=0)
def fork_second(n):
    """Two notifiers; the NOTIFY of the one without a 200 comes first."""
    return forked(n, "a", "b", "b")


@peer("peer-notifier-fork-one-ends", "--notifies", "3", event="message-summary", over=0)
def fork_one_ends(n):
    """One of two forks ends; the other goes on."""
    n.subscribe()
    n.answer()
    n.notify("active;expires=600", cseq=1)
    n.notify("active;expires=600", tag="b", cseq=1)
    n.notify("terminated;reason=noresource", tag="b", cseq=2)
    n.unsubscribed()

    def verify(watch):
        watch.event("forked")
        watch.event("terminated", reason="noresource", will_retry=False)
        watch.event("terminated", reason=None)

    return verify


# Order and copies.


@peer("peer-notifier-reordered", "--notifies", "2", over=0)
def reordered(n):
    """CSeq 5 before CSeq 4: the late one is refused with 500 and not shown (RFC 3261 section 12.2.2)."""
    n.subscribe()
    n.answer()
    n.notify("active;expires=600", cseq=3)
    n.notify("active;expires=600", cseq=2, body=BODY.format("old"), expect=500)
    n.notify("active;expires=599", cseq=9, body=BODY.format("new"))
    n.unsubscribed()

    def verify(watch):
        watch.event("notify", body=BODY.format("new"))
        shown = [note["cseq"] for note in watch.events("notify")]
        expect(2 not in shown and shown[:2] == [3, 9], f"showed CSeq {shown}")

    return verify


@peer("peer-notifier-duplicated", "--notifies", "2", over=0)
def duplicated(n):
    """The same NOTIFY twice: the same answer twice, shown once."""
    n.subscribe()
    n.answer()
    n.notify("active;expires=600", branch="z9hG4bK-[pid]-same", body=BODY.format("once"))
    n.notify("active;expires=600", branch="z9hG4bK-[pid]-same", cseq=1, body=BODY.format("once"))
    n.notify("active;expires=599")
    n.unsubscribed()

    def verify(watch):
        watch.event("terminated")
        shown = [note["cseq"] for note in watch.events("notify")]
        expect(shown == [1, 2, 3], f"showed CSeq {shown}")
        answers = [one for one in sent(watch, status=200) if one.cseq == 1]
        expect(len(answers) == 2 and answers[0].raw == answers[1].raw, f"{len(answers)} answers, or different ones")

    return verify


# Durations.


@peer("peer-notifier-shortened-by-2xx", "--expires", "600", "--notifies", "2", over=0)
def shortened_by_2xx(n):
    """The 200 says 4 s: the refresh comes before they are over."""
    n.subscribe(Expires="^ *600 *$")
    n.answer(expires=4)
    n.notify("active;expires=4")
    n.subscribe(To="tag=a")
    n.answer(expires=600, in_dialog=True)
    n.notify("active;expires=600")
    n.unsubscribed()

    def verify(watch):
        watch.event("terminated", 8)
        first, refresh = sent(watch, "SUBSCRIBE")[:2]
        expect(1.0 < gap(first, refresh) < 4.0, f"refresh after {gap(first, refresh):.2f} s")
        expect(refresh.cseq == first.cseq + 1 and refresh.get("Call-ID") == first.get("Call-ID"), "not a refresh")

    return verify


@peer("peer-notifier-shortened-by-notify", "--expires", "600", "--notifies", "2", over=0)
def shortened_by_notify(n):
    """The 200 says 600 s, the NOTIFY says 4: the NOTIFY counts (RFC 6665 section 4.1.2.4)."""
    n.subscribe()
    n.answer(expires=600)
    n.notify("active;expires=4")
    n.subscribe(To="tag=a")
    n.answer(expires=600, in_dialog=True)
    n.notify("active;expires=600")
    n.unsubscribed()

    def verify(watch):
        watch.event("terminated", 8)
        first, refresh = sent(watch, "SUBSCRIBE")[:2]
        expect(1.0 < gap(first, refresh) < 4.0, f"refresh after {gap(first, refresh):.2f} s")

    return verify


@peer("peer-notifier-no-expires", "--expires", "5", "--notifies", "2", over=0)
def no_expires(n):
    """A 200 without Expires: what was asked for counts."""
    n.subscribe()
    n.answer(expires=None)
    n.notify("active")
    n.subscribe(To="tag=a")
    n.answer(expires=5, in_dialog=True)
    n.notify("active;expires=5")
    n.unsubscribed()

    def verify(watch):
        watch.event("terminated", 8)
        first, refresh = sent(watch, "SUBSCRIBE")[:2]
        expect(1.0 < gap(first, refresh) < 5.0, f"refresh after {gap(first, refresh):.2f} s")

    return verify


@peer("peer-notifier-423", "--expires", "10", "--notifies", "1", over=0)
def too_brief(n):
    """423: again with Min-Expires."""
    n.subscribe(Expires="^ *10 *$")
    n.answer("423 Interval Too Brief", "Min-Expires: 300")
    n.subscribe(Expires="^ *300 *$")
    n.answer(expires=300)
    n.notify("active;expires=300")
    n.unsubscribed()
    return lambda watch: watch.event("accepted", expires=300)


@peer("peer-notifier-423-without-min-expires", "--expires", "10", over=1)
def too_brief_without(n):
    """423 that does not say how long: no guess, no loop."""
    n.subscribe()
    n.answer("423 Interval Too Brief")

    def verify(watch):
        watch.event("terminated", status=423)
        time.sleep(1)
        expect(len(sent(watch, "SUBSCRIBE")) == 1, f"{len(sent(watch, 'SUBSCRIBE'))} SUBSCRIBEs")

    return verify


# Refreshes.


def refresh_answered(n, *answer, **kwargs):
    n.subscribe()
    n.answer(expires=4)
    n.notify("active;expires=4")
    n.subscribe(To="tag=a")
    n.answer(*answer, in_dialog=True, **kwargs)


@peer("peer-notifier-refresh-500")
def refresh_500(n):
    """500 to a refresh: the subscription lives on until it expires, and NOTIFYs are taken (RFC 6665 section 4.1.2.2)."""
    refresh_answered(n, "500 Server Internal Error")
    n.notify("active;expires=3", body=BODY.format("still here"))

    def verify(watch):
        watch.event("refresh_failed", 8, status=500)
        watch.event("notify", body=BODY.format("still here"))

    return verify


@peer("peer-notifier-refresh-481")
def refresh_481(n):
    """481 to a refresh: a new subscription in a new dialog (RFC 6665 section 4.1.2.2)."""
    refresh_answered(n, "481 Subscription Does Not Exist")

    def verify(watch):
        gone = watch.event("terminated", 8, status=481)
        expect(gone["will_retry"] is True, f"will_retry {gone['will_retry']}")
        first, second = wait_for(watch, 8, "second attempt", lambda: starts(watch)[1:] and starts(watch)[:2])
        expect(first.get("Call-ID") != second.get("Call-ID"), "the same Call-ID again")

    return verify


@peer("peer-notifier-refresh-423", "--expires", "10", "--notifies", "2", over=0)
def refresh_423(n):
    """423 to a refresh: again with Min-Expires, in the dialog."""
    refresh_answered(n, "423 Interval Too Brief", "Min-Expires: 700")
    n.subscribe(To="tag=a", Expires="^ *700 *$")
    n.answer(expires=700, in_dialog=True)
    n.notify("active;expires=700")
    n.unsubscribed()
    return lambda watch: watch.event("terminated", 8, reason=None)


@peer("peer-notifier-refresh-302", "--notifies", "2", over=0)
def refresh_302(n):
    """302 to a refresh: followed inside the dialog."""
    refresh_answered(n, "302 Moved Temporarily", f"Contact: <sip:moved@[local_ip]:[local_port]>")
    n.subscribe(To="tag=a")
    n.answer(in_dialog=True)
    n.notify("active;expires=600")
    n.unsubscribed()

    def verify(watch):
        watch.event("terminated", 10, reason=None)
        again = sent(watch, "SUBSCRIBE")[2]
        expect(again.start.startswith("SUBSCRIBE sip:moved@") and again.tag("To") == "a", again.start)

    return verify


@peer("peer-notifier-unsubscribe-481", "--notifies", "1", over=0)
def unsubscribe_481(n):
    """481 to the unsubscription: it is over, as asked."""
    n.established()
    n.recv("SUBSCRIBE", Expires="^ *0 *$")
    n.answer("481 Subscription Does Not Exist", in_dialog=True)
    return lambda watch: watch.event("terminated", will_retry=False)


# Dialogs and routes.


@peer("peer-notifier-new-target", "--notifies", "2", over=0)
def new_target(n):
    """A NOTIFY with another Contact: the next request goes there (target refresh)."""
    n.subscribe()
    n.answer()
    n.notify("active;expires=600")
    n.notify("active;expires=600", user="moved")
    n.unsubscribed()

    def verify(watch):
        watch.event("terminated")
        end = sent(watch, "SUBSCRIBE", Expires="0")[0]
        expect(end.start.startswith("SUBSCRIBE sip:moved@"), end.start)

    return verify


@peer("peer-notifier-loose-route", "--notifies", "1", over=0)
def loose_route(n):
    """Record-Route with lr: Route names the nearest proxy first, Request-URI is the Contact."""
    near, far = ("<sip:[local_ip]:[local_port];lr;n=1>", "<sip:[local_ip]:[local_port];lr=on;n=2>")
    n.subscribe()
    n.answer("200 OK", f"Record-Route: {far}, {near}")
    n.notify("active;expires=600", f"Record-Route: {near}", f"Record-Route: {far}")
    n.unsubscribed(Route="n=1>.*n=2>")

    def verify(watch):
        watch.event("terminated")
        end = sent(watch, "SUBSCRIBE", Expires="0")[0]
        expect(end.start.startswith("SUBSCRIBE sip:sipp@"), end.start)

    return verify


@peer("peer-notifier-strict-route", "--notifies", "1", over=0)
def strict_route(n):
    """Record-Route without lr: the router is the Request-URI, the Contact the last Route (RFC 3261 section 12.2.1.1)."""
    routes = ["Record-Route: <sip:strict@[local_ip]:[local_port]>"]
    n.subscribe()
    n.answer("200 OK", *routes)
    n.notify("active;expires=600", *routes)
    n.unsubscribed(Route="<sip:sipp@")

    def verify(watch):
        watch.event("terminated")
        end = sent(watch, "SUBSCRIBE", Expires="0")[0]
        expect(end.start.startswith("SUBSCRIBE sip:strict@"), end.start)

    return verify


# NOTIFYs that do not fit.


@peer("peer-notifier-unknown-dialog", "--notifies", "1", over=0)
def unknown_dialog(n):
    """A NOTIFY with a To tag that is none of ours: 481."""
    n.established()
    n.recv("SUBSCRIBE", Expires="^ *0 *$", keep={"user": ("<([^>]*)>", "From")})
    n.answer(expires=0, in_dialog=True)
    n.send("NOTIFY [$target] SIP/2.0", "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK-stray", "Max-Forwards: 70",
           "From: [$to];tag=a", "To: <[$user]>;tag=nobody", "Call-ID: [call_id]", "CSeq: 77 NOTIFY",
           "Contact: <sip:sipp@[local_ip]:[local_port]>", f"Event: {n.event}", "Subscription-State: active")
    n.recv(481)
    n.notify("terminated;reason=timeout", cseq=80)


def wrong(expected, **how):
    def build(n):
        n.subscribe()
        n.answer()
        n.notify("active;expires=600")
        n.notify(how.pop("state", "active;expires=600"), *how.pop("lines", ()), expect=expected, **how)
        n.notify("active;expires=600", body=BODY.format("right"))
        n.unsubscribed()

        def verify(watch):
            watch.event("terminated")
            shown = len(watch.events("notify"))
            expect(shown == 3, f"{shown} NOTIFYs shown, not 3")

        return verify

    build.__doc__ = f"A NOTIFY that does not fit is refused with {expected}, and the subscription goes on."
    return build


peer("peer-notifier-wrong-event", "--notifies", "2", over=0)(wrong(481, event="message-summary"))
peer("peer-notifier-unknown-event", "--notifies", "2", over=0)(wrong(489, event="dialog"))
peer("peer-notifier-wrong-id", "--notifies", "2", over=0)(wrong(481, event="presence;id=7"))
peer("peer-notifier-no-state", "--notifies", "2", over=0)(wrong(400, state=None))
peer("peer-notifier-unknown-require", "--notifies", "2", over=0)(wrong(420, lines=("Require: teleport",)))


@peer("peer-notifier-unknown-type", "--notifies", "2", over=0)
def unknown_type(n):
    """A body of a type that was not asked for: 415 with Accept."""
    n.subscribe(Accept="application/pidf")
    n.answer()
    n.notify("active;expires=600")
    n.notify("active;expires=600", body="odd", type="application/x-odd", wait=False)
    n.recv(415, Accept="application/pidf")
    n.notify("active;expires=600")
    n.unsubscribed()


@peer("peer-notifier-after-the-end", over=1)
def after_the_end(n):
    """A NOTIFY after the last one: 481."""
    n.subscribe()
    n.answer()
    n.notify("terminated;reason=noresource")
    n.notify("active;expires=600", wait=False)

    def verify(watch):
        watch.event("terminated", reason="noresource")

    return verify


@peer("peer-notifier-other-state-word", "--notifies", "2", over=0)
def other_state(n):
    """A state that is not known: the subscription goes on."""
    n.subscribe()
    n.answer()
    n.notify("dozing;expires=600")
    n.notify("active;expires=600", body=BODY.format("awake"))
    n.unsubscribed()

    def verify(watch):
        watch.event("notify", body=BODY.format("awake"))

    return verify


@peer("peer-notifier-compact", "--notifies", "1", over=0)
def compact(n):
    """A NOTIFY in compact form and odd case, with an id and parameters nobody knows."""
    n.subscribe()
    n.answer()
    n.cseq += 1
    n.send("NOTIFY [$target] SIP/2.0", "v: SIP/2.0/[transport] [local_ip]:[local_port] ;branch=z9hG4bK-compact", "max-forwards: 70",
           "f: [$to];x=y;tag=a", "t: [$from]", "i: [call_id]", "cseq: 1 NOTIFY", "m: <sip:sipp@[local_ip]:[local_port]>;x",
           f"o: {n.event};future=1", "SUBSCRIPTION-STATE: ACTIVE;future;Expires=600", f"c: {PIDF};charset=utf-8",
           body=BODY.format("compact"), type=None)
    n.recv(200)
    n.unsubscribed()
    return lambda watch: watch.event("notify", state="active", body=BODY.format("compact"))
