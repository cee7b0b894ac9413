"""A Kamailio presence server of our own, started once a run and minimum interval."""

import os
import re
import sqlite3
import threading
import time

from .harness import HERE, LOOPBACK, Context, Failed, Process, free_port, wait_listening

SQL = "/usr/share/kamailio/db_sqlite"
_lock = threading.Lock()
_servers = {}


class Kamailio:
    def __init__(self, context, min_expires, algorithm, nonce_expire):
        self.port = free_port()
        state = context.dir
        database = os.path.join(state, "kamailio.db")
        connection = sqlite3.connect(database)
        for part in ("standard", "presence"):
            with open(f"{SQL}/{part}-create.sql") as script:
                connection.executescript(script.read())
        connection.commit()
        connection.close()
        os.mkdir(os.path.join(state, "run"))
        self.process = context.start(Process, "kamailio", [
            "kamailio", "-f", os.path.join(HERE, "kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "8",
            "-w", state, "-Y", os.path.join(state, "run"), "-P", os.path.join(state, "kamailio.pid"),
            "-l", f"udp:{LOOPBACK}:{self.port}", "-l", f"tcp:{LOOPBACK}:{self.port}",
            "-A", f"MIN_EXPIRES={min_expires}", "-A", f"NONCE_EXPIRE={nonce_expire}",
            *(["-A", "WITH_AUTH"] if algorithm else []),
            "--substdef", f"!AUTH_ALGORITHM!{algorithm or 'MD5'}!",
            "--substdef", f"!STATE_DB!sqlite:///{database}!",
            "--substdef", f"!STATE_CONTACT!sip:presence@{LOOPBACK}:{self.port}!",
        ])
        wait_listening(self.process, self.port)

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


def kamailio(options, min_expires=0, algorithm=None, nonce_expire=300):
    """The run's server with this minimum interval; the first caller starts it. With an algorithm it asks for
    credentials: the password of every user is "secret"."""
    kind = (min_expires, algorithm, nonce_expire)
    with _lock:
        server = _servers.get(kind)
        if server is None:
            name = f"kamailio-min-{min_expires}" + (f"-{algorithm}-{nonce_expire}" if algorithm else "")
            server = _servers[kind] = Kamailio(Context(options, name), *kind)
        return server
