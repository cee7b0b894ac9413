#!/usr/bin/python3
"""Runs the checks; `run` calls this once packages and examples are there."""

import argparse
import concurrent.futures
import fnmatch
import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import dissect, harness, table
from lib import against_dispatcher, against_kamailio, against_notifier, against_phones, names, ours  # noqa: F401  (each registers
from lib import sipp_notifiers, sipp_refusals, sipp_subscribers  # noqa: F401  its checks)

JOBS = 12  # most of a check is waiting


def parse():
    parser = argparse.ArgumentParser(prog="run")
    parser.add_argument("--bin", default="target/release/examples", help="where the examples are")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--table", action="store_true", help="write docs/interop.md; with all checks only")
    parser.add_argument("--self-test", action="store_true", help="Kamailio stands in for the notifier")
    parser.add_argument("names", nargs="*", metavar="NAME")
    return parser.parse_args()


def chosen(options):
    if not options.names:
        return harness.CHECKS
    for name in options.names:
        if not fnmatch.filter([one.name for one in harness.CHECKS], name):
            sys.exit(f"run: no check is called {name}; --list names them")
    return [one for one in harness.CHECKS if any(fnmatch.fnmatch(one.name, name) for name in options.names)]


def show_logs(folder):
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not name.endswith((".db", ".pcap")):
            with open(path, errors="replace") as log:
                print(f"    --- {name}", *("    " + line for line in log.read().splitlines()[-60:]), sep="\n", flush=True)


def dissect_all(options):
    """Wireshark reads every message that the examples recorded; 1 if it complains."""
    for context in list(harness.Context.open):
        context.close()
    try:
        want, have, complaints = dissect.everything(options.state)
    except harness.Failed as failure:
        want, have, complaints = 0, 0, [str(failure)]
    options.dissected = (want, have, len(complaints))
    if want == 0 and not complaints:
        print("ok dissect-all: nothing was recorded", flush=True)
        return 0
    if want == have and not complaints:
        print(f"ok dissect-all: {have} messages, nothing malformed, no error mark", flush=True)
        return 0
    print(f"FAIL dissect-all: {have} of {want} messages dissected", *complaints[:20], sep="\n    ", flush=True)
    return 1


def main():
    options = parse()
    if options.list:
        print(*(one.name for one in harness.CHECKS), sep="\n")
        return 0
    checks = chosen(options)
    options.state = harness.state_dir()

    def stop(*_):
        raise SystemExit(130)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    failed, finished, results = 0, False, {}
    pool = concurrent.futures.ThreadPoolExecutor(JOBS)
    try:
        for done in concurrent.futures.as_completed([pool.submit(harness.run_check, options, one) for one in checks]):
            name, why, seconds = done.result()
            results[name] = why
            if why is None:
                print(f"ok {name} ({seconds:.1f} s)", flush=True)
            else:
                failed += 1
                print(f"FAIL {name} {why}", flush=True)
                if options.verbose:
                    show_logs(os.path.join(options.state, name))
        finished = True
        if len(checks) > 1:
            failed += dissect_all(options)
        if options.table and len(checks) == len(harness.CHECKS):
            table.write(harness.CHECKS, results, options.dissected)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for context in list(harness.Context.open):
            context.close()
        if finished and not failed and not options.keep:
            shutil.rmtree(options.state, ignore_errors=True)
        else:
            print(f"logs: {options.state}", flush=True)
    print(f"{len(checks) + (len(checks) > 1) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
