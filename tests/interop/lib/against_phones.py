"""Real clients as subscribers of `notifier`: baresip and linphone."""

import os
import re
import time

from .against_kamailio import PRESENCE
from .capture import received
from .harness import LOOPBACK, Process, check, expect, free_port

MODULES = "/usr/lib/baresip/modules"


class Baresip:
    """Subscribes to the presence of its contacts; `status(text)` waits until it says that one changed to it."""

    def __init__(self, context, uri, seconds, user, transport):
        os.makedirs(os.path.join(context.dir, "baresip"), exist_ok=True)
        self.port = free_port()
        modules = ("account", "contact", "presence", "menu")
        context.file("baresip/config", "\n".join([f"sip_listen {LOOPBACK}:{self.port}", f"module_path {MODULES}",
                                                  *(f"module_app {name}.so" for name in modules), ""]).encode())
        context.file("baresip/accounts", f"<sip:watcher@{LOOPBACK}>;regint=0;auth_user={user};auth_pass=secret\n".encode())
        context.file("baresip/contacts", f'"alice" <{uri}>;presence=p2p\n'.encode())
        self.process = context.start(Process, "baresip", ["env", f"HOME={context.dir}", "baresip", "-f", os.path.join(context.dir, "baresip"),
                                                          "-t", str(seconds), "-v"])

    def status(self, text, seconds=8):
        wanted = "Online" if text == "open" else "Offline"
        self.process.wait_line(lambda line: re.search(rf"changed status from .* to .*{wanted}", line), seconds, what=f"status {wanted}")

    def wait(self):
        return self.process.wait(15)


class Linphone:
    """Subscribes to the presence of its friends."""

    def __init__(self, context, uri, seconds, user, transport):
        for folder in (".local/share/linphone", ".config/linphone"):
            os.makedirs(os.path.join(context.dir, folder), exist_ok=True)
        self.log = os.path.join(context.dir, "linphone.log")
        # It drops ";transport=tcp" from a friend's URI.
        assert transport == "udp"
        rc = context.file("linphonerc", (
            f"[sip]\nsip_port={free_port()}\nsip_tcp_port=-1\nsip_tls_port=-1\nbind_address={LOOPBACK}\ndefault_proxy=-1\n"
            f"guess_hostname=0\ncontact=\"watcher\" <sip:watcher@{LOOPBACK}>\nsubscribe_expires=4\n"
            "subscribe_presence_only_when_registered=0\n[net]\nfirewall_policy=0\n"
            f'[friend_0]\nurl="alice" <{uri}>\npol=accept\nsubscribe=1\n'
            f"[auth_info_0]\nusername={user}\npasswd=secret\nrealm=example.org\n").encode())
        self.process = context.start(Process, "linphone", ["env", f"HOME={context.dir}", "linphonec", "-c", rc, "-d", "6", "-l", self.log])
        self.until = time.monotonic() + seconds

    def status(self, text, seconds=8):
        end = time.monotonic() + seconds
        wanted = f"<basic>{text}</basic>"
        while True:
            with open(self.log, errors="replace") as log:
                if wanted in log.read():
                    return
            expect(time.monotonic() < end, f"linphone never read {wanted}")
            time.sleep(0.1)

    def wait(self):
        time.sleep(max(0, self.until - time.monotonic()))
        self.process.say("quit")
        return self.process.wait(10)


@check("phone-baresip-udp", Baresip)
@check("phone-baresip-tcp", Baresip, transport="tcp")
@check("phone-baresip-digest", Baresip, users=True)
@check("phone-linphone-udp", Linphone)
@check("phone-linphone-digest", Linphone, users=True)
def phone(context, kind, transport="udp", users=False):
    """It subscribes, reads a state and the next one, refreshes, and leaves. linphone leaves without a word when it has just
    refreshed."""
    # baresip reads the first challenge alone, and knows MD5 only.
    known = ["--users", context.file("users", b"watcher:secret\n"), "--realm", "example.org", "--algorithm", "MD5"] if users else []
    notifier = context.notifier("--package", "presence", "--min-expires", "1", "--max-expires", "5", *known)
    uri = f"sip:alice@{LOOPBACK}:{notifier.port}"
    for number, basic in ((1, "open"), (2, "closed")):
        context.file(f"state{number}", PRESENCE.format(user="alice", basic=basic).encode())
    notifier.say(f"set {uri} presence {context.dir}/state1")
    client = kind(context, uri + (f";transport={transport}" if transport == "tcp" else ""), 9, "watcher", transport)
    event = notifier.event("subscribe", 20)
    expect(event.get("user") == ("watcher" if users else None), f"the user is {event.get('user')}")
    notifier.event("notified", 5, result="Answered(200)")
    if kind is Linphone:
        client.status("open")
    notifier.say(f"set {uri} presence {context.dir}/state2")
    notifier.event("notified", 8, result="Answered(200)")
    client.status("closed")
    if kind is Linphone and users:
        # It does not answer a challenge to a refresh, and comes back in a new dialog.
        notifier.event("subscribe", 20, user="watcher")
    else:
        notifier.event("refreshed", 8)
        expect(len(notifier.events("subscribe")) == 1, "it subscribed anew instead of refreshing")
    client.wait()
    if kind is Baresip:
        notifier.event("gone", 5, why="Unsubscribed")
    via = {one.get("Via").split()[0] for one in received(notifier, "SUBSCRIBE")}
    expect(via == {f"SIP/2.0/{transport.upper()}"}, f"SUBSCRIBEs came by {via}")
    refused = [one.start for one in received(notifier) if (one.status or 0) >= 300]
    # linphone forgets a dialog at once, and answers the NOTIFY that ends it with 481.
    expect(not refused or (kind is Linphone and all(" 481 " in start for start in refused)), f"it answered {refused}")
