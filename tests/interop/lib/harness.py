"""Processes, ports and the bookkeeping of checks."""

import collections
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOOPBACK = "127.0.0.1"


class Failed(Exception):
    """A check's expectation was not met."""


def expect(condition, why):
    if not condition:
        raise Failed(why)


_ports_lock = threading.Lock()
_ports_given = set()


def free_port():
    """A port that is free on 127.0.0.1 for UDP and for TCP and that no other check was given.

    Below the ephemeral range, so that no outgoing connection takes it before its owner binds it.
    """
    with _ports_lock:
        for _ in range(1000):
            port = 16000 + int.from_bytes(os.urandom(2), "big") % 14000
            if port in _ports_given:
                continue
            try:
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind((LOOPBACK, port))
            except OSError:
                continue
            _ports_given.add(port)
            return port
    raise Failed("no free port")


class Process:
    """A child whose stdout is collected line by line; stdout and stderr are kept in log files."""

    def __init__(self, name, argv, log_dir, cwd=None):
        self.name = name
        self.lines = []
        self._changed = threading.Condition()
        self._closed = False
        log_stem = os.path.join(log_dir, name)
        self.stdout_log = open(log_stem + ".stdout", "wb")
        with open(log_stem + ".stderr", "wb") as stderr:
            stderr.write(("$ " + " ".join(argv) + "\n").encode())
            stderr.flush()
            self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, cwd=cwd)
        self.stderr_path = log_stem + ".stderr"
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.stdout_log.write(line)
            self.stdout_log.flush()
            with self._changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        self.stdout_log.close()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def say(self, line):
        """Writes one line to the child's stdin."""
        try:
            self.child.stdin.write(line.encode() + b"\n")
            self.child.stdin.flush()
        except OSError:
            raise Failed(f"{self.name} no longer reads its stdin")

    def wait_line(self, match, seconds, start=0, what=""):
        """The first line from index `start` on for which `match` gives something; returns (index, that)."""
        end = time.monotonic() + seconds
        at = start
        with self._changed:
            while True:
                while at < len(self.lines):
                    found = match(self.lines[at])
                    if found:
                        return at, found
                    at += 1
                left = end - time.monotonic()
                if self._closed:
                    raise Failed(f"{self.name} ended without {what}")
                if left <= 0:
                    raise Failed(f"{self.name}: no {what} within {seconds} s")
                self._changed.wait(left)

    def wait(self, seconds):
        """The exit code, once the child ended by itself."""
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end within {seconds} s")
        with self._changed:
            self._changed.wait_for(lambda: self._closed, 2)
        return code

    def stderr(self):
        with open(self.stderr_path, "rb") as log:
            return log.read().decode("utf-8", "replace")

    def running(self):
        return self.child.poll() is None

    def end(self):
        """Ends the child by its own id, and what it started if it does not go by itself."""
        if self.child.stdin:
            try:
                self.child.stdin.close()
            except OSError:
                pass
        if not self.running():
            return
        self.child.terminate()
        try:
            self.child.wait(3)
        except subprocess.TimeoutExpired:
            for pid in _children(self.child.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.child.kill()
            self.child.wait(3)


def _children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as listing:
            return [int(child) for child in listing.read().split()]
    except OSError:
        return []


class JsonProcess(Process):
    """An example program started with --json: one object with "event" a line."""

    # Events of a resource with this in its name are the harness's own doing, see sip.settled.
    HIDDEN = "barrier"

    def __init__(self, *args, **kwargs):
        self.next = 0
        super().__init__(*args, **kwargs)

    def _parsed(self, line):
        try:
            event = json.loads(line)
        except ValueError:
            raise Failed(f"{self.name} printed a line that is no JSON: {line!r}")
        expect(isinstance(event, dict) and "event" in event, f"{self.name}: a line without event: {line!r}")
        return event

    def _hidden(self, event):
        return self.HIDDEN in str(event.get("resource"))

    def events(self, kind):
        """All events of this kind so far."""
        events = [self._parsed(line) for line in list(self.lines)]
        return [event for event in events if event["event"] == kind and not self._hidden(event)]

    def event(self, kind, seconds=5, **fields):
        """Waits for the next event of this kind whose fields equal `fields`; skips what comes before it.

        A callable in `fields` is asked instead of compared."""

        def match(line):
            event = self._parsed(line)
            if event["event"] != kind or self._hidden(event):
                return None
            for key, want in fields.items():
                have = event.get(key)
                if not (want(have) if callable(want) else have == want):
                    return None
            return event

        shown = {key: "..." if callable(want) else want for key, want in fields.items()}
        at, event = self.wait_line(match, seconds, self.next, f"event {kind} {shown}")
        self.next = at + 1
        return event


class Context:
    """What one check has: a folder, its processes, and how to start the usual ones."""

    open = []  # those with processes that may still run

    def __init__(self, options, name):
        self.options = options
        self.name = name
        self.dir = os.path.join(options.state, re.sub(r"[^\w.-]", "_", name))
        os.makedirs(self.dir, exist_ok=True)
        self._processes = []
        self._counts = collections.Counter()
        self._closers = []
        self._closed = False
        Context.open.append(self)

    def start(self, kind, name, argv, **kwargs):
        self._counts[name] += 1
        if self._counts[name] > 1:
            name = f"{name}-{self._counts[name]}"
        try:
            if self._closed:
                raise Failed("stopped")
            process = kind(name, [str(word) for word in argv], self.dir, **kwargs)
        except OSError as error:
            raise Failed(f"cannot start {argv[0]}: {error.strerror}")
        self._processes.append(process)
        return process

    def on_close(self, closer):
        self._closers.append(closer)

    def close(self):
        self._closed = True
        for process in reversed(self._processes):
            process.end()
        for closer in self._closers:
            closer()
        if self in Context.open:
            Context.open.remove(self)

    def file(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as out:
            out.write(content)
        return path

    def _example(self, name):
        return os.path.join(self.options.bin, name)

    def _recorded(self, name):
        """The arguments that make an example record and draw its messages; the drawing goes to its stderr."""
        path = os.path.join(self.dir, f"{name}-{self._counts[name] + 1}.pcap")
        return path, ["--json", "--ladder", "--pcap", path]

    def watch(self, uri, *args, transport="udp", user="watcher"):
        port = free_port()
        path, record = self._recorded("watch")
        process = self.start(JsonProcess, "watch", [
            self._example("watch"), uri, "--from", f"sip:{user}@{LOOPBACK}", "--bind", f"{LOOPBACK}:{port}",
            "--transport", transport, *record, *args,
        ])
        process.port, process.pcap = port, path
        return process

    def notifier(self, *args):
        """Starts the notifier example; its port is in `.port`. It is ready once TCP answers (UDP is on the same port)."""
        port = free_port()
        path, record = self._recorded("notifier")
        process = self.start(JsonProcess, "notifier", [
            self._example("notifier"), "--bind", f"{LOOPBACK}:{port}", *record, *args,
        ])
        process.port, process.pcap = port, path
        wait_listening(process, port)
        return process

    def sipp(self, scenario, peer_port, *, transport="udp", resource="alice", seconds=20, keys=None, name=None, wait=True):
        """Runs a scenario of sipp/ as a client once; returns its process."""
        name = name or f"sipp-{scenario}"
        port = free_port()
        argv = [
            "sipp", f"{LOOPBACK}:{peer_port}", "-sf", os.path.join(HERE, "sipp", scenario + ".xml"),
            "-m", "1", "-i", LOOPBACK, "-p", port, "-ci", LOOPBACK, "-mi", LOOPBACK, "-t", {"udp": "u1", "tcp": "t1"}[transport],
            "-s", resource, "-nostdin", "-timeout", f"{seconds}s", "-timeout_error", "-trace_err",
            "-error_file", f"{name}.errors", "-trace_msg", "-message_file", f"{name}.messages",
        ]
        for key, value in (keys or {}).items():
            argv += ["-key", key, value]
        process = self.start(Process, name, argv, cwd=self.dir)
        process.errors_path = os.path.join(self.dir, f"{name}.errors")
        if wait:
            self.sipp_done(process, seconds)
        return process

    def play(self, scenario, peer_port=None, *, transport="udp", resource="alice", calls=1, seconds=20, name="sipp", args=()):
        """Runs a scenario written by `scenario`: as a client of `peer_port`, or, without one, as a server, whose port is
        `.port`. `calls`: how many Call-IDs it serves."""
        port = free_port()
        path = self.file(f"{name}.xml", scenario.xml())
        argv = [
            "sipp", *([f"{LOOPBACK}:{peer_port}"] if peer_port else []), "-sf", path, "-m", calls, "-i", LOOPBACK, "-p", port,
            "-ci", LOOPBACK, "-mi", LOOPBACK, "-t", {"udp": "u1", "tcp": "t1"}[transport], "-s", resource, "-nostdin", "-nr",
            "-timeout", f"{seconds}s", "-timeout_error", "-trace_err", "-error_file", f"{name}.errors", "-trace_msg",
            "-message_file", f"{name}.messages", *args,
        ]
        process = self.start(Process, name, argv, cwd=self.dir)
        process.port, process.seconds = port, seconds
        process.errors_path = os.path.join(self.dir, f"{name}.errors")
        if not peer_port:
            wait_bound(process, transport, port)
        return process

    def sipp_done(self, process, seconds=20):
        code = process.wait(seconds + 5)
        if code != 0:
            try:
                with open(process.errors_path, errors="replace") as errors:
                    lines = re.sub(r"\d{4}-\d\d-\d\d\t\S+\t[\d.]+: ", "\n", errors.read()).splitlines()
            except OSError:
                lines = []
            why = [line.strip() for line in lines if line.strip() and "following events occurred" not in line]
            why = why[0] if why else "see its messages"
            raise Failed(f"{process.name} ended with {code}: {why[:300]}")


def wait_listening(process, port, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not process.running():
            break
        try:
            socket.create_connection((LOOPBACK, port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    last = process.stderr().strip().splitlines()
    raise Failed(f"{process.name} did not come up: {last[-1] if last else 'no word on stderr'}")


def wait_bound(process, transport, port, seconds=5):
    """Until somebody has bound the port: of a program that a probe would disturb."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.running():
        with open(f"/proc/net/{transport}") as table:
            if any(line.split()[1].endswith(f":{port:04X}") for line in list(table)[1:]):
                return
        time.sleep(0.02)
    raise Failed(f"{process.name} did not bind its port")


Check = collections.namedtuple("Check", "name run about")
CHECKS = []


def check(name, *values, **arguments):
    """Registers a function as a check; may be given several times, with different arguments."""

    def register(function):
        about = " ".join((function.__doc__ or "").split())
        CHECKS.append(Check(name, lambda context: function(context, *values, **arguments), about))
        return function

    return register


def run_check(options, one):
    """Runs a check; returns (name, None or why it failed, seconds)."""
    began = time.monotonic()
    context = Context(options, one.name)
    why = None
    try:
        one.run(context)
    except Failed as failure:
        why = str(failure)
    except Exception as error:  # a mistake in the check itself must not stop the others
        context.file("traceback", traceback.format_exc().encode())
        why = f"{type(error).__name__}: {error}"
    finally:
        try:
            context.close()
        except Exception as error:
            why = why or f"clean-up: {error}"
    return one.name, why, time.monotonic() - began


def state_dir():
    """A fresh folder, in memory where there is /dev/shm: SQLite waits for a disk."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.mkdtemp(prefix="sip-events-interop.", dir=os.environ.get("TMPDIR") or base)
