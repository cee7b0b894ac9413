"""Two notifiers behind Kamailio's dispatcher, as docs/scaling.md has it."""

import os
import re
import subprocess

from .against_kamailio import bodies
from .capture import sent
from .harness import HERE, LOOPBACK, Failed, check, expect
from .kamailio import Server

USERS = ("ann", "bob", "cid", "dora", "eve", "fred")


class Dispatcher(Server):
    def __init__(self, context, nodes):
        self.context, self.ctl = context, f"unix:{context.dir}/dispatcher.sock"
        self.list(nodes)
        with open(os.path.join(HERE, "dispatcher.cfg")) as start, open(os.path.join(HERE, "..", "..", "docs", "scaling.md")) as page:
            told = re.search(r"```text\n(loadmodule \"dispatcher.so\".*?)```", page.read(), re.S)
            expect(told, "docs/scaling.md has no dispatcher")
            text = start.read() + told[1].replace("/etc/kamailio/dispatcher.list", f"{context.dir}/dispatcher.list")
        self.launch(context, context.file("dispatcher.cfg", text.encode()), [], {"STATE_CTL": self.ctl})

    def list(self, nodes):
        self.context.file("dispatcher.list", "".join(f"1 sip:{LOOPBACK}:{node.port}\n" for node in nodes).encode())

    def reload(self):
        done = subprocess.run(["kamcmd", "-s", self.ctl, "dispatcher.reload"], capture_output=True, timeout=10, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Failed(f"kamcmd: {(done.stdout + done.stderr).decode(errors='replace').strip()}")


def uri(user, server):
    return f"sip:{user}@{LOOPBACK}:{server.port}"


@check("proxy-dispatcher")
def dispatcher(context):
    """Two notifiers behind Kamailio's dispatcher, by the text of docs/scaling.md: all watchers of a resource are with one node,
    refreshes go where the subscription is, and when a node leaves its watchers subscribe again at the other."""
    nodes = [context.notifier("--package", "presence", "--min-expires", "1") for _ in range(2)]
    server = Dispatcher(context, nodes)
    for node in nodes:
        for user in USERS:
            path = context.file(f"state-{user}", bodies("presence", user)[0])
            node.say(f"set {uri(user, server)} presence {path}")
    watches = []
    for user in USERS:
        for number in range(2):
            watch = context.watch(uri(user, server), "--expires", "4", "--seconds", "14", user=f"d{number}")
            watches.append((user, watch))
    owner = {}
    for user, watch in watches:
        watch.event("accepted", 8, status=200)
        watch.event("notify", 8, state="active", body=bodies("presence", user)[0].decode())
    for node in nodes:
        for event in node.events("subscribe"):
            user = re.match(r"sip:(\w+)@", event["resource"])[1]
            expect(owner.setdefault(user, node) is node, f"both nodes have watchers of {user}")
    expect(len(owner) == len(USERS) and len({id(node) for node in owner.values()}) == 2, "one node has nothing to do")
    # In the dialog: refreshes reach the node that has it, and make no new subscription there.
    for node in nodes:
        node.event("refreshed", 8)
    stays, leaves = nodes
    here = sum(2 for node in owner.values() if node is stays)
    expect(len(stays.events("subscribe")) == here, "a refresh made a new subscription")
    for _, watch in watches:
        within = [one for one in sent(watch, "SUBSCRIBE") if one.tag("To")]
        expect(all(";lr" in (one.get("Route") or "") for one in within), "a request in the dialog went past the proxy")
    # A node leaves.
    server.list([stays])
    server.reload()
    for user in (user for user, node in owner.items() if node is leaves):
        leaves.say(f"terminate {uri(user, server)} deactivated")
    for user, watch in watches:
        if owner[user] is leaves:
            watch.event("terminated", 5, reason="deactivated", will_retry=True)
            watch.event("accepted", 8, status=200)
            watch.event("notify", 5, state="active", body=bodies("presence", user)[0].decode())
    leaves.say("quit")
    expect(len(stays.events("subscribe")) == 2 * len(USERS), "not all watchers are with the node that stayed")
    for _, watch in watches:
        watch.event("done", 20)
        code = watch.wait(5)
        expect(code == 0, f"watch ended with {code}")
