#!/usr/bin/env python3
"""What an app notices of its neighbours: the 99th percentile of its answers' times while another app is built, and while
another one is a fork bomb, over what it is in quiet. Run it as root: the build's limits are host-guard's work."""
import argparse
import os
import socket
import statistics
import subprocess
import sys
import time

from house import House, Visitor, judge, say_machine, spread

VICTIM = "hello-node"
RATIO_MAX = 1.5
# Asked for at this pace whatever the answers take, so that a slow answer does not thin out the others.
PACE_S = 0.005
BUSY = """FROM debian:trixie-slim
COPY VERSION /
RUN end=$(( $(date +%s) + {seconds} )); for i in $(seq {jobs}); do \\
    ( while [ $(date +%s) -lt $end ]; do head -c 3000000 /dev/urandom | sha256sum >/dev/null; done ) & \\
    done; while [ $(date +%s) -lt $end ]; do dd if=/dev/zero of=/big bs=1M count=64 conv=fsync 2>/dev/null; done; wait; exit 1
"""


def ask(connection, request):
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += (part := connection.recv(65536))
        if not part:
            raise RuntimeError("the victim hung up")
    if b" 200 " not in answer.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"the victim answered {answer[:80]!r}")


def p99_ms(house, seconds):
    """Over one connection that is kept alive; counted from when a request was due."""
    request = b"GET / HTTP/1.1\r\nHost: victim.localhost\r\n\r\n"
    times = []
    with socket.create_connection(("127.0.0.1", house.http), 5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = time.monotonic()
        for number in range(int(seconds / PACE_S)):
            due = begun + number * PACE_S
            time.sleep(max(0, due - time.monotonic()))
            ask(connection, request)
            times.append(time.monotonic() - due)
    return statistics.quantiles(times, n=100)[98] * 1000


def while_building(house, work, seconds, number):
    (work / "Dockerfile").write_text(BUSY.format(seconds=int(seconds) + 4, jobs=2 * os.cpu_count()))
    house.change(work, f"round {number}")
    words = ["git", "push", "-q", "paas", "main"]
    push = subprocess.Popen(words, cwd=work, env=house.env, stderr=subprocess.DEVNULL)
    time.sleep(3)
    if push.poll() is not None:
        raise RuntimeError("the build ended at once")
    measured = p99_ms(house, seconds)
    if push.poll() is not None:
        raise RuntimeError("the build ended before the measurement")
    push.wait()
    return measured


def while_bombed(house, seconds):
    Visitor(("127.0.0.1", house.http), "bomb.localhost", "fork-bomb").when()
    with socket.create_connection(("127.0.0.1", house.http), 5) as connection:
        connection.sendall(b"GET /bomb HTTP/1.1\r\nHost: bomb.localhost\r\nConnection: close\r\n\r\n")
        connection.recv(100)
    time.sleep(2)
    measured = p99_ms(house, seconds)
    house.command("ps:stop", "-a", "bomb")
    house.command("ps:start", "-a", "bomb")
    return measured


def measure(house, options):
    victim, builder = house.sample(VICTIM, "victim"), house.sample("hello-docker", "builder")
    bomb = house.sample("fork-bomb", "bomb")
    for work, version in ((victim, "victim"), (bomb, "fork-bomb")):
        house.change(work, version)
        house.git(work, "push", "-q", "paas", "main")
    found = {"quiet": [], "build": [], "fork bomb": []}
    for number in range(options.rounds):
        found["quiet"].append(p99_ms(house, options.seconds))
        found["build"].append(while_building(house, builder, options.seconds, number))
        found["quiet"].append(p99_ms(house, options.seconds))
        found["fork bomb"].append(while_bombed(house, options.seconds))
        print({what: [round(ms, 1) for ms in times] for what, times in found.items()}, file=sys.stderr)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paas", required=True, metavar="PATH", help="the program to measure")
    parser.add_argument("--rounds", type=int, default=5, help="of quiet, build, quiet, bomb [5]")
    parser.add_argument("--seconds", type=float, default=10, help="each of them [10]")
    parser.add_argument("--unguarded", action="store_true", help="without host-guard, to see what it is for")
    options = parser.parse_args()
    say_machine(options.paas)
    with House(options.paas) as house:
        # docker0 stays as it is: what else runs here is not to be disturbed.
        words = [house.paas, "host-guard", "--data-dir", house.data, "--build-bridge", "off"]
        guard = None if options.unguarded else subprocess.Popen(words, stderr=subprocess.DEVNULL)
        try:
            found = measure(house, options)
        finally:
            if guard:
                guard.kill()
                guard.wait()
                subprocess.run([*words, "--remove"], check=True)
    print(f"### p99 of an app, {options.rounds} rounds of {options.seconds:.0f} s each, {'un' if options.unguarded else ''}guarded\n")
    print("| beside it | p99 |\n|---|---|")
    for what, times in found.items():
        print(f"| {what} | {spread(times, 'ms', 1)} |")
    print()
    quiet = statistics.median(found["quiet"])
    kept = True
    for what in ("build", "fork bomb"):
        kept &= judge(f"p99 beside a {what}, over quiet", statistics.median(found[what]) / quiet, RATIO_MAX, "×")
    sys.exit(0 if kept else 1)


main()
