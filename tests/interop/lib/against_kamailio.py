"""The example `watch` as a subscriber of a real presence server."""

from .harness import LOOPBACK, check, expect
from .kamailio import kamailio

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
