"""The example `watch` against the example `notifier`."""

import time

from .against_kamailio import TYPES, bodies
from .harness import LOOPBACK, check, expect
from .sip import settled


class Pair:
    """A notifier, and watches of one of its resources."""

    def __init__(self, context, *args, package="presence", transport="udp"):
        self.context = context
        self.package, self.transport = package, transport
        self.notifier = context.notifier("--package", package, "--min-expires", "1", *args)
        self.uri = f"sip:alice@{LOOPBACK}:{self.notifier.port}"

    def watch(self, *args):
        return self.context.watch(self.uri, "--event", self.package, *args, transport=self.transport)

    def set_file(self, body):
        path = self.context.file("state", body)
        self.notifier.say(f"set {self.uri} {self.package} {path}")
        return path

    def subscribed(self, seconds=3):
        """How the notifier calls the next new watcher."""
        event = self.notifier.event("subscribe", seconds, package=self.package)
        watcher = event.get("watcher")
        expect(isinstance(watcher, str) and " " not in watcher, f"no word to call the watcher by in {event}")
        return watcher


def ended(watch, want, seconds=5):
    code = watch.wait(seconds)
    expect(code == want, f"watch ended with {code}, not {want}")


@check("ours-state-udp", transport="udp", package="presence")
@check("ours-state-tcp", transport="tcp", package="presence")
@check("ours-message-summary-udp", transport="udp", package="message-summary")
@check("ours-message-summary-tcp", transport="tcp", package="message-summary")
def state(context, transport, package):
    """Each state that is set arrives octet for octet; after the third NOTIFY watch unsubscribes."""
    pair = Pair(context, package=package, transport=transport)
    watch = pair.watch("--notifies", "3")
    watch.event("accepted", status=200)
    watch.event("notify", state="active")
    if package == "presence":
        inline = f'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="{pair.uri}"><note>"caf\u00e9" \\ &lt;</note></presence>'
    else:
        inline = "Messages-Waiting: yes"
    pair.notifier.say(f"set {pair.uri} {package} -inline {inline}")
    # A line cannot carry the line's end; message-summary needs one.
    note = watch.event("notify", 8, state="active", body=lambda text: (text or "").rstrip("\r\n") == inline)
    expect(note.get("content_type") == TYPES[package], f"content_type is {note.get('content_type')!r}")
    body = bodies(package, "alice")[0]
    pair.set_file(body)
    watch.event("notify", 8, state="active", body=body.decode())
    watch.event("notify", state="terminated")
    gone = watch.event("terminated")
    expect(gone.get("reason") in (None, "timeout") and not gone.get("will_retry"), f"after unsubscribing: {gone}")
    watch.event("done")
    ended(watch, 0)
    cseqs = [note.get("cseq") for note in watch.events("notify")]
    expect(cseqs == sorted(set(cseqs)), f"CSeq of the NOTIFYs do not rise: {cseqs}")
    # watch may be gone before the notifier has read its last answer.
    for kind in ("subscribe", "notified", "gone"):
        pair.notifier.event(kind)
    expect(not pair.notifier.events("dropped"), "notifier says dropped")


@check("ours-fetch-udp", transport="udp")
@check("ours-fetch-tcp", transport="tcp")
def fetch(context, transport):
    pair = Pair(context, transport=transport)
    body = bodies("presence", "alice")[0]
    settled(pair.notifier, "presence", pair.set_file(body))
    watch = pair.watch("--fetch")
    watch.event("notify", state="terminated", body=body.decode())
    ended(watch, 0)
    expect(len(pair.notifier.events("subscribe")) <= 1, "more than one subscription for a fetch")


@check("ours-refresh-udp", transport="udp")
@check("ours-refresh-tcp", transport="tcp")
def refresh(context, transport):
    """Two refreshes of 3 s."""
    pair = Pair(context, transport=transport)
    watch = pair.watch("--expires", "3", "--seconds", "7")
    watch.event("accepted", expires=3)
    for _ in range(2):
        pair.notifier.event("refreshed", 5)
    watch.event("done", 10)
    ended(watch, 0)
    pair.notifier.event("gone")
    expect(len(pair.notifier.events("subscribe")) == 1, "subscribed anew instead of refreshing")


@check("ours-too-brief-udp", transport="udp")
@check("ours-too-brief-tcp", transport="tcp")
def too_brief(context, transport):
    """watch follows Min-Expires of a 423."""
    pair = Pair(context, "--min-expires", "60", transport=transport)
    watch = pair.watch("--expires", "10", "--notifies", "1")
    accepted = watch.event("accepted")
    expect(accepted.get("expires") == 60, f"accepted says expires {accepted.get('expires')}, not 60")
    watch.event("done")
    ended(watch, 0)


# reason, what to tell the notifier as retry-after, whether a subscriber tries again (None: may do either)
REASONS = (
    ("deactivated", None, True),
    ("probation", 1, True),
    ("giveup", 1, True),
    ("timeout", None, None),
    ("rejected", None, False),
    ("noresource", None, False),
    ("invariant", 3600, False),
)


def terminate(context, reason, retry_after, retries, transport):
    """The notifier ends the subscription: watch reports it, and comes back or not, as RFC 6665 4.1.3 has it."""
    pair = Pair(context, transport=transport)
    watch = pair.watch()
    watch.event("notify", state="active")
    watcher = pair.subscribed()
    # By watcher or by resource: both are to work.
    whom = pair.uri if reason in ("deactivated", "noresource") else watcher
    pair.notifier.say(" ".join(filter(None, ["terminate", whom, reason, retry_after and str(retry_after)])))
    gone = watch.event("terminated")
    when = time.monotonic()
    expect(gone.get("reason") == reason, f"terminated says reason {gone.get('reason')!r}")
    expect(gone.get("retry_after") in (retry_after, None if reason == "invariant" else retry_after),
           f"terminated says retry_after {gone.get('retry_after')!r}")
    will = gone.get("will_retry")
    expect(isinstance(will, bool), f"terminated says will_retry {will!r}")
    expect(retries in (None, will), f"terminated says will_retry {will}")
    pair.notifier.event("gone")
    if will:
        again = pair.subscribed(5)
        waited = time.monotonic() - when
        expect(waited >= (retry_after or 0) - 0.1, f"came back after {waited:.2f} s in spite of retry-after {retry_after}")
        expect(again != watcher, "came back in the same dialog")
        watch.event("accepted")
        watch.event("notify", state="active")
    else:
        watch.event("done")
        ended(watch, 1)
        expect(len(pair.notifier.events("subscribe")) == 1, "came back")


for _reason, _retry_after, _retries in REASONS:
    for _transport in ("udp", "tcp"):
        check(f"ours-terminate-{_reason}-{_transport}", reason=_reason, retry_after=_retry_after, retries=_retries,
              transport=_transport)(terminate)


def pending_watch(context, transport):
    """A watch that waits for approval and has seen nothing of the state."""
    pair = Pair(context, "--policy", "pending", transport=transport)
    body = bodies("presence", "alice")[0]
    pair.set_file(body)
    watch = pair.watch("--seconds", "3")
    watch.event("pending")
    watcher = pair.subscribed()
    early = [note for note in watch.events("notify") if note.get("state") != "pending" or note.get("body") == body.decode()]
    expect(not early, f"before the approval came {early}")
    return pair, watch, watcher, body


@check("ours-pending-approve-udp", transport="udp")
@check("ours-pending-approve-tcp", transport="tcp")
def approve(context, transport):
    pair, watch, watcher, body = pending_watch(context, transport)
    pair.notifier.say(f"approve {watcher}")
    watch.event("active")
    expect(any(note.get("body") == body.decode() and note.get("state") == "active" for note in watch.events("notify"))
           or watch.event("notify", state="active", body=body.decode()), "no state after the approval")
    watch.event("done")
    ended(watch, 0)


@check("ours-pending-reject-udp", transport="udp")
@check("ours-pending-reject-tcp", transport="tcp")
def reject(context, transport):
    pair, watch, watcher, _ = pending_watch(context, transport)
    pair.notifier.say(f"reject {watcher}")
    gone = watch.event("terminated", reason="rejected")
    expect(gone.get("will_retry") is False, f"terminated says will_retry {gone.get('will_retry')}")
    ended(watch, 1)


@check("ours-policy-reject-udp", transport="udp")
@check("ours-policy-reject-tcp", transport="tcp")
def policy_reject(context, transport):
    """A refused SUBSCRIBE: the status is reported and watch fails."""
    pair = Pair(context, "--policy", "reject", transport=transport)
    watch = pair.watch()
    gone = watch.event("terminated")
    expect(gone.get("status") in (403, 603), f"terminated says status {gone.get('status')}")
    expect(gone.get("will_retry") is False, f"terminated says will_retry {gone.get('will_retry')}")
    ended(watch, 1)


@check("ours-quit")
def quit_notifier(context):
    """The notifier ends all subscriptions before it goes, over either transport."""
    pair = Pair(context)
    watches = []
    for transport in ("udp", "tcp"):
        pair.transport = transport
        watches.append(pair.watch())
        watches[-1].event("notify", state="active")
    pair.notifier.say("list")
    pair.notifier.say(f"explain {pair.subscribed()}")
    pair.notifier.say("quit")
    for watch in watches:
        watch.event("terminated")
    code = pair.notifier.wait(5)
    expect(code == 0, f"notifier ended with {code}")


@check("ours-digest-udp", transport="udp")
@check("ours-digest-tcp", transport="tcp")
def digest(context, transport):
    """notifier asks for credentials; watch has them, has wrong ones, has none."""
    users = context.file("users", b"alice:se:cret\ncarol:other\n")
    pair = Pair(context, "--users", users, "--realm", "example.org", transport=transport)
    watch = pair.watch("--user", "alice", "--password", "se:cret", "--expires", "4", "--seconds", "7")
    watch.event("accepted", status=200)
    watch.event("notify", state="active")
    known = pair.notifier.event("subscribe")
    expect(known.get("user") == "alice", f"subscribe says user {known.get('user')!r}")
    for _ in range(2):
        pair.notifier.event("refreshed", 5)
    watch.event("done", 10)
    ended(watch, 0)
    for credentials in (("--user", "alice", "--password", "guess"), ("--user", "mallory", "--password", "se:cret"), ()):
        refused = pair.watch(*credentials)
        end = refused.event("terminated", 6)
        expect(end.get("status") == 401, f"{credentials}: terminated says status {end.get('status')}")
        ended(refused, 1)
    expect(len(pair.notifier.events("subscribe")) == 1, "somebody without credentials was let in")
