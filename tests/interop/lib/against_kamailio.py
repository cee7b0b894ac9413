"""The example `watch` as a subscriber of a real presence server."""

from .capture import sent
from .harness import LOOPBACK, check, expect
from .kamailio import Proxy, kamailio
from .scenario import Subscriber
from .sip import Peer

PRESENCE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:{user}@127.0.0.1">\n'
    '<tuple id="t1"><status><basic>{basic}</basic></status><note>caf\u00e9 \\ "now" \u2603</note></tuple>\n'
    "</presence>\n"
)
MAILBOX = "Messages-Waiting: {waiting}\r\nMessage-Account: sip:{user}@127.0.0.1\r\nVoice-Message: {count}/8 (0/2)\r\n"
TYPES = {"presence": "application/pidf+xml", "message-summary": "application/simple-message-summary"}


def bodies(package, user):
    """Two states of a resource, as bytes."""
    if package == "presence":
        pair = (PRESENCE.format(user=user, basic=basic) for basic in ("open", "closed"))
    else:
        pair = (MAILBOX.format(user=user, waiting=waiting, count=count) for waiting, count in (("yes", 3), ("no", 0)))
    return [body.encode() for body in pair]


def body_of(event):
    return (event.get("body") or "").encode()


@check("kamailio-presence-udp", package="presence", transport="udp")
@check("kamailio-presence-tcp", package="presence", transport="tcp")
@check("kamailio-message-summary-udp", package="message-summary", transport="udp")
@check("kamailio-message-summary-tcp", package="message-summary", transport="tcp")
def subscribe_refresh_unsubscribe(context, package, transport):
    """A PUBLISH by SIPp comes out of watch octet for octet; two refreshes; the server forgets us at the end."""
    server = kamailio(context.options)
    user = f"{package}-{transport}"
    first, second = bodies(package, user)
    context.file("body1", first)
    context.file("body2", second)
    uri = f"sip:{user}@{LOOPBACK}:{server.port}"

    watch = context.watch(uri, "--event", package, "--expires", "4", "--seconds", "9", transport=transport, user=f"w-{user}")
    accepted = watch.event("accepted", 5)
    expect(accepted.get("status") == 200, f"accepted says status {accepted.get('status')}")
    expect(accepted.get("expires") == 4, f"accepted says expires {accepted.get('expires')}")
    watch.event("notify", 5, state="active")

    context.sipp("publish", server.port, resource=user, keys={"event": package, "type": TYPES[package]})
    for body in (first, second):
        note = watch.event("notify", 5, state="active", body=lambda text: text is not None and text.encode() == body)
        expect(note.get("content_type") == TYPES[package], f"content_type is {note.get('content_type')!r}")

    ended = watch.event("terminated", 15)
    expect(ended.get("reason") in (None, "timeout"), f"terminated says reason {ended.get('reason')!r}")
    expect(not ended.get("will_retry"), "terminated says will_retry after our own unsubscription")
    watch.event("done", 5)
    code = watch.wait(5)
    expect(code == 0, f"watch ended with {code}")
    notes = watch.events("notify")
    cseqs = [note.get("cseq") for note in notes]
    expect(cseqs == sorted(set(cseqs)), f"CSeq of the NOTIFYs do not rise: {cseqs}")
    stale = [note for note in notes[3:] if note.get("state") == "active" and body_of(note) != second]
    expect(not stale, f"after a refresh the body is {stale[:1]}")

    # What the server saw, whatever watch says.
    requests = server.seen("seen", method="SUBSCRIBE", **{"from": f"w-{user}"})
    expect(all(entry["proto"] == transport for entry in requests), f"not all requests came over {transport}")
    expect(len({entry["callid"] for entry in requests}) == 1, "more than one Call-ID")
    shape = ["start" if not in_dialog(entry) else "end" if entry["expires"] == "0" else "refresh" for entry in requests]
    refreshes = shape.count("refresh")
    expect(shape == ["start"] + ["refresh"] * refreshes + ["end"], f"the server saw {shape}")
    expect(2 <= refreshes <= 6, f"{refreshes} refreshes of 4 s in 9 s")
    answers = server.seen("notify-reply", callid=requests[0]["callid"])
    expect(answers and all(entry["status"] == "200" for entry in answers), f"NOTIFYs were answered {answers}")


@check("kamailio-fetch-udp", transport="udp")
@check("kamailio-fetch-tcp", transport="tcp")
def fetch(context, transport):
    """One look: the state arrives in the NOTIFY that ends the subscription."""
    server = kamailio(context.options)
    user = f"fetched-{transport}"
    first, second = bodies("presence", user)
    context.file("body1", first)
    context.file("body2", second)
    context.sipp("publish", server.port, resource=user, keys={"event": "presence", "type": TYPES["presence"]})
    watch = context.watch(f"sip:{user}@{LOOPBACK}:{server.port}", "--fetch", transport=transport, user=f"w-{user}")
    watch.event("notify", 5, state="terminated", body=lambda text: text is not None and text.encode() == second)
    code = watch.wait(5)
    expect(code == 0, f"watch ended with {code}")
    expect(len(server.seen("seen", method="SUBSCRIBE", **{"from": f"w-{user}"})) == 1, "more than one SUBSCRIBE")


def in_dialog(entry):
    return entry["totag"] not in ("", "<null>")


@check("kamailio-digest-md5-udp", algorithm="MD5", transport="udp")
@check("kamailio-digest-md5-tcp", algorithm="MD5", transport="tcp")
@check("kamailio-digest-sha256-udp", algorithm="SHA-256", transport="udp")
@check("kamailio-digest-sha256-tcp", algorithm="SHA-256", transport="tcp")
def digest(context, algorithm, transport):
    """One challenge, then refreshes and the unsubscription with credentials at once."""
    server = kamailio(context.options, algorithm=algorithm)
    user = f"digest-{algorithm}-{transport}"
    uri = f"sip:{user}@{LOOPBACK}:{server.port}"
    watch = context.watch(uri, "--user", "anybody", "--password", "secret", "--expires", "4", "--seconds", "9",
                          transport=transport, user=f"w-{user}")
    watch.event("accepted", 5, status=200)
    watch.event("notify", 5, state="active")
    watch.event("done", 15)
    code = watch.wait(5)
    expect(code == 0, f"watch ended with {code}")
    requests = server.seen("seen", method="SUBSCRIBE", **{"from": f"w-{user}"})
    expect(len({entry["callid"] for entry in requests}) == 1, "more than one Call-ID")
    cseqs = [int(entry["cseq"]) for entry in requests]
    expect(cseqs == list(range(cseqs[0], cseqs[0] + len(cseqs))), f"CSeq is {cseqs}")
    starts = [entry for entry in requests if not in_dialog(entry)]
    expect(len(starts) == 2, f"{len(starts)} SUBSCRIBEs outside the dialog, not one and its repetition")
    within = len(requests) - 2
    expect(3 <= within <= 7, f"{within} SUBSCRIBEs in the dialog: they were challenged")


@check("kamailio-digest-stale", algorithm="SHA-256", transport="udp")
def digest_stale(context, algorithm, transport):
    """A nonce that lives shorter than the subscription: refreshes are challenged and stay in the dialog."""
    server = kamailio(context.options, algorithm=algorithm, nonce_expire=1)
    uri = f"sip:stale@{LOOPBACK}:{server.port}"
    watch = context.watch(uri, "--user", "anybody", "--password", "secret", "--expires", "4", "--seconds", "9",
                          transport=transport, user="w-stale")
    watch.event("accepted", 5, status=200)
    watch.event("done", 15)
    code = watch.wait(5)
    expect(code == 0, f"watch ended with {code}")
    requests = server.seen("seen", method="SUBSCRIBE", **{"from": "w-stale"})
    expect(len([entry for entry in requests if not in_dialog(entry)]) == 2, "it subscribed anew")
    within = len([entry for entry in requests if in_dialog(entry)])
    # Not always two for each: one that follows at once still has a good nonce.
    expect(within >= 6, f"{within} SUBSCRIBEs in the dialog: none was challenged")


@check("kamailio-digest-wrong", transport="udp")
def digest_wrong(context, transport):
    """A wrong password is tried once."""
    server = kamailio(context.options, algorithm="MD5")
    uri = f"sip:wrong@{LOOPBACK}:{server.port}"
    watch = context.watch(uri, "--user", "anybody", "--password", "guess", "--seconds", "3", transport=transport, user="w-wrong")
    ended = watch.event("terminated", 5)
    expect(ended.get("status") == 401, f"terminated says status {ended.get('status')}")
    code = watch.wait(5)
    expect(code == 1, f"watch ended with {code}")
    requests = server.seen("seen", method="SUBSCRIBE", **{"from": "w-wrong"})
    expect(len(requests) == 2, f"{len(requests)} SUBSCRIBEs")


@check("kamailio-dialog-udp", transport="udp")
@check("kamailio-dialog-tcp", transport="tcp")
def dialog(context, transport):
    """The package dialog (RFC 4235): what was published comes out, and is refreshed. Kamailio rewrites these documents."""
    server = kamailio(context.options)
    user = f"dialog-{transport}"
    for name, state in (("body1", "early"), ("body2", "confirmed")):
        context.file(name, (f'<?xml version="1.0"?>\n<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" '
                            f'entity="sip:{user}@127.0.0.1"><dialog id="d1"><state>{state}</state></dialog></dialog-info>\n').encode())
    watch = context.watch(f"sip:{user}@{LOOPBACK}:{server.port}", "--event", "dialog", "--accept", "application/dialog-info+xml",
                          "--expires", "4", "--seconds", "6", transport=transport, user=f"w-{user}")
    watch.event("notify", 5, state="active")
    context.sipp("publish", server.port, resource=user, keys={"event": "dialog", "type": "application/dialog-info+xml"})
    for state in ("early", "confirmed"):
        watch.event("notify", 5, content_type="application/dialog-info+xml", body=lambda text: f"<state>{state}</state>" in (text or ""))
    watch.event("done", 10)
    code = watch.wait(5)
    expect(code == 0, f"watch ended with {code}")
    requests = server.seen("seen", method="SUBSCRIBE", **{"from": f"w-{user}"})
    answers = server.seen("notify-reply", callid=requests[0]["callid"])
    expect(answers and all(entry["status"] == "200" for entry in answers), f"NOTIFYs were answered {answers}")


@check("kamailio-rules")
def rules(context):
    """Who may watch is decided by a document: pending, then active; refused; and presence.winfo, which tells of all."""
    server = kamailio(context.options, rules=True)
    uri = f"sip:alice@{LOOPBACK}:{server.port}"
    winfo = context.watch(uri, "--event", "presence.winfo", "--accept", "application/watcherinfo+xml", "--expires", "60", user="alice")
    winfo.event("active", 5)
    asker = context.watch(uri, "--expires", "60", "--seconds", "8", user="asker")
    asker.event("pending", 5)
    winfo.event("notify", 8, body=lambda text: "asker" in (text or "") and "pending" in text, content_type="application/watcherinfo+xml")
    blocked = context.watch(uri, "--expires", "60", user="blocked")
    gone = blocked.event("terminated", 8, reason="rejected")
    expect(gone.get("will_retry") is False, "blocked comes back")
    server.allow("asker")
    asker.event("active", 5)
    asker.event("done", 15)
    code = asker.wait(5)
    expect(code == 0, f"watch ended with {code}")


@check("kamailio-list-server")
def list_server(context):
    """Kamailio's resource list server subscribes at notifier for two friends, and tells SIPp of both in one NOTIFY."""
    notifier = context.notifier("--package", "presence")
    server = kamailio(context.options, backend=f"sip:{LOOPBACK}:{notifier.port}")
    for user in ("alice", "bob"):
        path = context.file(user, PRESENCE.format(user=user, basic="open").encode())
        notifier.say(f"set sip:{user}@{LOOPBACK} presence {path}")
    s = Subscriber("list-server", accept="application/pidf+xml, application/rlmi+xml, multipart/related")
    s.subscribe(60, "Supported: eventlist", uri=f"sip:friends@{LOOPBACK}")
    s.steps[-1] = s.steps[-1].replace("sip:sipp@", "sip:watcher@")
    s.response(200, Require="eventlist")
    for _ in range(2):
        s.recv("NOTIFY", Require="eventlist", Content_Type="multipart/related")
        s.respond("200 OK")
    s.recv("NOTIFY", body="closed")
    s.respond("200 OK")
    sipp = context.play(s, server.port, resource="friends")
    watched = {notifier.event("subscribe", 8)["resource"] for _ in range(2)}
    expect(watched == {f"sip:alice@{LOOPBACK}", f"sip:bob@{LOOPBACK}"}, f"it watches {watched}")
    for _ in range(2):
        notifier.event("notified", 5, result="Answered(200)")
    path = context.file("alice2", PRESENCE.format(user="alice", basic="closed").encode())
    notifier.say(f"set sip:alice@{LOOPBACK} presence {path}")
    notifier.event("notified", 8, resource=f"sip:alice@{LOOPBACK}", result="Answered(200)")
    context.sipp_done(sipp)


class Between:
    """A notifier behind a proxy that record-routes."""

    def __init__(self, context, *args, auth=False, old=False, count=1):
        self.notifiers = [context.notifier("--package", "presence", "--package", "message-summary", "--min-expires", "1", *args)
                          for _ in range(count)]
        self.proxy = Proxy(context, *(notifier.port for notifier in self.notifiers), auth=auth, old=old)
        self.uri = f"sip:alice@{LOOPBACK}:{self.proxy.port}"

    def routed(self, notifier):
        """Every NOTIFY goes to the proxy."""
        ports = {one.port for one in sent(notifier, "NOTIFY")}
        expect(ports == {self.proxy.port}, f"NOTIFYs went to the ports {ports}, not {self.proxy.port}")


@check("proxy-udp", transport="udp")
@check("proxy-tcp", transport="tcp")
@check("proxy-rfc3265-udp", "--rfc3265", transport="udp")
@check("proxy-rfc3265-tcp", "--rfc3265", transport="tcp")
def proxied(context, *args, transport):
    """Ours against ours through Kamailio as a proxy: every request of the dialog takes the way by Route. A proxy older than
    RFC 6665 has Record-Route in SUBSCRIBE and its 2xx only."""
    between = Between(context, old=bool(args))
    notifier, body = between.notifiers[0], bodies("presence", "alice")[0]
    path = context.file("state", body)
    notifier.say(f"set {between.uri.replace(str(between.proxy.port), str(notifier.port))} presence {path}")
    watch = context.watch(between.uri, "--expires", "4", "--seconds", "7", *args, transport=transport, user=f"p-{transport}")
    watch.event("accepted", 5, status=200)
    watch.event("notify", 5, state="active", body=body.decode())
    notifier.event("refreshed", 5)
    watch.event("terminated", 10, reason=None)
    watch.event("done", 5)
    code = watch.wait(5)
    expect(code == 0, f"watch ended with {code}")
    between.routed(notifier)
    within = [one for one in sent(watch, "SUBSCRIBE") if one.tag("To")]
    expect(len(within) >= 2 and all(";lr" in (one.get("Route") or "") for one in within), "requests in the dialog without Route")
    expect(len(between.proxy.seen("seen", method="SUBSCRIBE")) >= 3, "SUBSCRIBEs passed the proxy by")
    expect(len(between.proxy.seen("seen", method="NOTIFY")) >= 3, "NOTIFYs passed the proxy by")


@check("proxy-fork")
def proxy_fork(context):
    """A proxy that forks to two notifiers: one 2xx, two subscriptions, both left at the end."""
    between = Between(context, count=2)
    watch = context.watch(between.uri, "--event", "message-summary", "--expires", "60", "--seconds", "4", user="forked")
    watch.event("forked", 5)
    watch.event("terminated", 10)
    watch.event("terminated", 5)
    watch.event("done", 5)
    for notifier in between.notifiers:
        notifier.event("subscribe")
        notifier.event("gone", why="Unsubscribed")
        between.routed(notifier)


@check("proxy-407")
def proxy_auth(context):
    """The proxy asks for credentials, the notifier for others: both get theirs, in one request."""
    users = context.file("users", b"alice:se:cret\n")
    between = Between(context, "--users", users, "--realm", "example.org", auth=True)
    watch = context.watch(between.uri, "--credentials", "proxy.example.org:anybody:secret", "--credentials", "example.org:alice:se:cret",
                          "--expires", "4", "--seconds", "7", user="p-407")
    watch.event("accepted", 5, status=200)
    expect(between.notifiers[0].event("subscribe").get("user") == "alice", "not as alice")
    between.notifiers[0].event("refreshed", 5)
    watch.event("done", 10)
    code = watch.wait(5)
    expect(code == 0, f"watch ended with {code}")
    last = sent(watch, "SUBSCRIBE")[-1]
    expect(last.get("Authorization") and last.get("Proxy-Authorization"), "not both credentials")


@check("proxy-outbound-udp", transport="udp")
@check("proxy-outbound-tcp", transport="tcp")
def outbound(context, transport):
    """--outbound: the resource is elsewhere, and the way is by the proxy."""
    between = Between(context)
    uri = f"sip:alice@{LOOPBACK}:{between.notifiers[0].port}"
    watch = context.watch(uri, "--outbound", f"{LOOPBACK}:{between.proxy.port}", "--notifies", "1", transport=transport, user="out")
    watch.event("notify", 5, state="active")
    watch.event("done", 5)
    code = watch.wait(5)
    expect(code == 0, f"watch ended with {code}")
    expect(len(between.proxy.seen("seen", method="SUBSCRIBE")) == 2, "a SUBSCRIBE went past the proxy")
    between.routed(between.notifiers[0])


@check("proxy-outbound-notifier")
def outbound_notifier(context):
    """notifier --outbound: NOTIFYs go by the proxy, though no Route says so."""
    peer = Peer("udp")
    context.on_close(peer.close)
    notifier = context.notifier("--package", "presence", "--outbound", f"localhost:{peer.port}")
    watch = context.watch(f"sip:alice@{LOOPBACK}:{notifier.port}", user="past")
    watch.event("accepted", 5)
    notify = peer.receive(5, "a NOTIFY")
    expect(notify.method == "NOTIFY" and f":{watch.port}" in notify.start, notify.start)
