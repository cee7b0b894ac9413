"""Kamailio as a presence server, as a resource list server, and as a proxy; each kind is started once a run."""

import os
import re
import shutil
import sqlite3
import subprocess
import threading
import time

from .harness import HERE, LOOPBACK, Context, Failed, Process, free_port, wait_listening

SHARE = "/usr/share/kamailio"
_lock = threading.Lock()
_servers = {}

# Who may watch any resource of alice's: "allowed" may, "blocked" may not, and nobody has said what of the others.
RULES = """<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns="urn:ietf:params:xml:ns:pres-rules">
<cr:rule id="allow"><cr:conditions><cr:identity><cr:one id="sip:allowed@127.0.0.1"/>{allowed}</cr:identity></cr:conditions>
<cr:actions><sub-handling>allow</sub-handling></cr:actions><cr:transformations><provide-persons><all-persons/></provide-persons>
<provide-services><all-services/></provide-services><provide-all-attributes/></cr:transformations></cr:rule>
<cr:rule id="block"><cr:conditions><cr:identity><cr:one id="sip:blocked@127.0.0.1"/></cr:identity></cr:conditions>
<cr:actions><sub-handling>block</sub-handling></cr:actions></cr:rule>
</cr:ruleset>"""
LIST = """<?xml version="1.0" encoding="UTF-8"?>
<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">
<service uri="sip:friends@127.0.0.1"><list name="friends"><rl:entry uri="sip:alice@127.0.0.1"/><rl:entry uri="sip:bob@127.0.0.1"/></list>
<packages><package>presence</package></packages></service></rls-services>"""
PRES_RULES, RLS_SERVICES = 2, 8  # Kamailio's numbers of document types


class Server:
    """What Kamailio logs: the requests seen, the answers to its NOTIFYs."""

    def seen(self, kind, **fields):
        """The requests (kind "seen") or answers ("notify-reply") in the server's log that have these fields."""
        found = []
        for line in self.process.stderr().splitlines():
            at = line.find(f" {kind} ")
            if at < 0:
                continue
            entry = dict(re.findall(r"(\S+?)=(\S*)", line[at:]))
            if all(entry.get(key) == str(value) for key, value in fields.items()):
                found.append(entry)
        return found

    def wait_seen(self, count, seconds, kind, **fields):
        end = time.monotonic() + seconds
        while True:
            found = self.seen(kind, **fields)
            if len(found) >= count:
                return found
            if time.monotonic() >= end:
                raise Failed(f"kamailio saw {len(found)} of {count} {kind} {fields} within {seconds} s")
            time.sleep(0.1)

    def launch(self, context, config, defines, substitutions):
        self.port = free_port()
        run = os.path.join(context.dir, "run")
        os.makedirs(run, exist_ok=True)
        argv = ["kamailio", "-f", os.path.join(HERE, config), "-DD", "-E", "-m", "32", "-M", "8", "-w", context.dir, "-Y", run,
                "-P", os.path.join(context.dir, "kamailio.pid"),
                "-l", f"udp:{LOOPBACK}:{self.port}", "-l", f"tcp:{LOOPBACK}:{self.port}"]
        for define in defines:
            argv += ["-A", define]
        for name, value in {**substitutions, "STATE_CONTACT": f"sip:presence@{LOOPBACK}:{self.port}"}.items():
            argv += ["--substdef", f"!{name}!{value}!"]
        self.process = context.start(Process, "kamailio", argv)
        wait_listening(self.process, self.port)


class Kamailio(Server):
    """A presence server, or, with `backend`, a resource list server."""

    def __init__(self, context, min_expires, algorithm, nonce_expire, rules, backend):
        self.dir = context.dir
        self.database = os.path.join(context.dir, "kamailio.db")
        connection = sqlite3.connect(self.database)
        for part in ("standard", "presence", *(["rls"] if backend else [])):
            with open(f"{SHARE}/db_sqlite/{part}-create.sql") as script:
                connection.executescript(script.read())
        documents = [("alice", RULES.format(allowed=""), PRES_RULES)] if rules else [("watcher", LIST, RLS_SERVICES)] if backend else []
        for number, (user, document, kind) in enumerate(documents, 1):
            uri = f"/{'pres-rules' if kind == PRES_RULES else 'rls-services'}/users/sip:{user}@{LOOPBACK}/index"
            row = (number, user, LOOPBACK, document, kind, "e1", 1, uri, 0)
            connection.execute("INSERT INTO xcap (id,username,domain,doc,doc_type,etag,source,doc_uri,port) VALUES (?,?,?,?,?,?,?,?,?)", row)
            if backend:
                self.text_tables(row)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.commit()
        connection.close()
        self.ctl = f"unix:{context.dir}/ctl.sock"
        stored = 1 if rules else 0
        self.launch(context, "kamailio.cfg", [
            f"MIN_EXPIRES={min_expires}", f"NONCE_EXPIRE={nonce_expire}", f"SUBS_DB_MODE={stored}", f"PUBL_CACHE={1 if rules else 2}",
            f"FORCE_ACTIVE={0 if rules else 1}",
            *(["WITH_AUTH"] if algorithm else []), *(["WITH_RULES"] if rules else []), *(["WITH_RLS"] if backend else []),
        ], {
            "AUTH_ALGORITHM": algorithm or "MD5", "STATE_DB": f"sqlite:///{self.database}", "STATE_CTL": self.ctl,
            "STATE_TEXTDB": f"text://{context.dir}/text", "BACKEND": backend or "sip:127.0.0.1:9",
        })

    def text_tables(self, row):
        """The list server's tables: with SQLite it calls a function that the driver lacks, and ends."""
        folder = os.path.join(self.dir, "text")
        os.mkdir(folder)
        for table in ("version", "rls_presentity", "rls_watchers", "xcap"):
            shutil.copy(f"{SHARE}/dbtext/kamailio/{table}", folder)
        with open(f"{folder}/xcap", "a") as out:
            escaped = (str(value).replace("\\", "\\\\").replace(":", "\\:").replace("\n", "\\n") for value in row)
            out.write(":".join(escaped) + "\n")

    def allow(self, user):
        """Alice lets this user watch, and the server tells whom it concerns."""
        connection = sqlite3.connect(self.database, timeout=5)
        document = RULES.format(allowed=f'<cr:one id="sip:{user}@127.0.0.1"/>')
        connection.execute("UPDATE xcap SET doc=? WHERE username='alice'", (document,))
        connection.commit()
        connection.close()
        done = subprocess.run(["kamcmd", "-s", self.ctl, "presence.refreshWatchers", f"sip:alice@{LOOPBACK}", "presence", "0"],
                              capture_output=True, timeout=10, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Failed(f"kamcmd: {(done.stdout + done.stderr).decode(errors='replace').strip()}")


class Proxy(Server):
    def __init__(self, context, *targets, auth=False, old=False):
        self.launch(context, "proxy.cfg", [*(["WITH_FORK"] if len(targets) > 1 else []), *(["WITH_AUTH"] if auth else []),
                                            *(["WITH_RFC3265"] if old else [])],
                    {"TARGET_1": f"{LOOPBACK}:{targets[0]}", "TARGET_2": f"{LOOPBACK}:{targets[-1]}"})


def kamailio(options, min_expires=0, algorithm=None, nonce_expire=300, rules=False, backend=None):
    """The run's server with this minimum interval; the first caller starts it. With an algorithm it asks for
    credentials: the password of every user is "secret"."""
    kind = (min_expires, algorithm, nonce_expire, rules, backend)
    with _lock:
        server = _servers.get(kind)
        if server is None:
            name = f"kamailio-min-{min_expires}" + (f"-{algorithm}-{nonce_expire}" if algorithm else "") + ("-rules" if rules else "")
            name += "-rls" if backend else ""
            server = _servers[kind] = Kamailio(Context(options, name), *kind)
        return server
