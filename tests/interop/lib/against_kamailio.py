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
