#!/usr/bin/env python3
"""What the proxy inside `paas` costs beside nginx, HAProxy and Caddy, against the bars of its design. For root only."""
import argparse
import json
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import machine
from beside_build import Build
from hosts import Hosts
from house import run, say_machine
from memory import Idle
from peers import PEERS, check_installed
from rows import ROWS
from swap import Swap
from world import World

ALL = ROWS | {
    "hosts": Hosts(),
    "idle": Idle("an idle connection, kept alive", is_websocket=False, kib_stretch=4),
    "websocket": Idle("an idle WebSocket", is_websocket=True, kib_stretch=6),
    "swap": Swap(),
    "build": Build(),
}


def measure(world, options):
    """Rounds of all rows, so that what the machine does besides falls on all of them."""
    taken = {name: {} for name in options.only}
    for number in range(options.rounds):
        for name in options.only:
            for who, found in ALL[name].round(world, number).items():
                taken[name].setdefault(who, []).append(found)
                print(f"round {number + 1}, {name}: {who}", tell(found), file=sys.stderr)
    return taken


def tell(found):
    return {key: round(value, 2) for key, value in found.items()}


def say_packages(peers):
    words = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *peers, "wrk", "nghttp2-client"]
    print(", ".join(run(words).splitlines()) + "\n")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paas", required=True, metavar="PATH", help="the program to measure")
    names = list(ALL)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names) + " [all]")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="beside which [all]")
    parser.add_argument("--rounds", type=int, default=5, help="of each row, with all proxies in turn [5]")
    parser.add_argument("--seconds", type=int, default=5, help="of load in each of them [5]")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="where the raw numbers go")
    return parser.parse_args()


def main():
    options = read_options()
    machine.check_root_and_cores()
    check_installed(options.peers)
    machine.raise_open_files()
    # Else nothing of what follows would be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    say_machine(options.paas)
    say_packages(options.peers)
    with World(options.paas, options.peers, options.seconds) as world:
        taken = measure(world, options)
    if options.json:
        raw = {"rounds": options.rounds, "seconds": options.seconds, "taken": taken}
        options.json.write_text(json.dumps(raw, indent=1))
    kept = True
    for name in options.only:
        print(f"\n### {name}: {ALL[name].title}\n")
        kept &= ALL[name].report(taken[name])
    sys.exit(0 if kept else 1)


main()
