#!/usr/bin/env python3
"""What an app notices of its neighbours: the 99th percentile of its answers' times while another app is built, is a fork
bomb, runs out of memory, fills its disk or floods its log, over what it is in quiet. Run it as root: the build's limits
are host-guard's work."""
import argparse
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
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
# A crate that keeps cargo busy for about a minute: each of these makes the compiler write a map and a sort of its own.
HEAVY = """fn work_{n}(seed: u8) -> usize {{
    let mut map = std::collections::BTreeMap::<[u8; {n}], String>::new();
    for step in 0..seed {{ *map.entry([step; {n}]).or_default() += &format!("{{step:?}} of {n}"); }}
    let mut all: Vec<_> = map.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    all.iter().map(|(key, value)| key.len() + value.len()).sum()
}}
"""
HEAVY_COUNT = 1500
# The sick samples: what they do, the request that sets them off, and how often it is made, in seconds.
NEIGHBOURS = {
    "fork-bomb": ("fork bomb", "/bomb", 1000),
    "memory-bomb": ("memory bomb", "/bomb", 0.2),
    "disk-filler": ("disk filler", "/fill", 1000),
    "log-flood": ("log flood", "/flood", 6.5),
}
WHATS = ["build", "Rust build", *(what for what, *_ in NEIGHBOURS.values())]


class Units:
    """Puts engine and server into control groups as their systemd units would, with the weight that these give them, where
    nobody else did: in one group with everything else, the engine's threads would each weigh as much as all apps together."""

    ROOT = pathlib.Path("/sys/fs/cgroup/cpu")
    # CPUWeight= of paas.service over that of docker.service, which has the usual one.
    WEIGHTS = {"engine": 1, "server": 5}

    def __init__(self, server):
        self.members = {"server": [server], "engine": []}
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                name, groups = (process / "comm").read_text().strip(), (process / "cgroup").read_text()
            except OSError:
                continue
            if name in ("dockerd", "containerd") or name.startswith("containerd-shim"):
                if ":cpu:/\n" in groups:
                    self.members["engine"].append(int(process.name))

    def __enter__(self):
        if not (self.ROOT / "cpu.shares").exists():
            return
        for unit, processes in self.members.items():
            group = self.ROOT / f"paas-bench-{unit}"
            group.mkdir(exist_ok=True)
            (group / "cpu.shares").write_text(str(1024 * self.WEIGHTS[unit]))
            self.move(processes, group)

    def __exit__(self, *_):
        for unit in self.members:
            group = self.ROOT / f"paas-bench-{unit}"
            if group.exists():
                self.move(map(int, (group / "cgroup.procs").read_text().split()), self.ROOT)
                group.rmdir()

    @staticmethod
    def move(processes, group):
        for process in processes:
            try:
                (group / "cgroup.procs").write_text(str(process))
            except ProcessLookupError:
                pass


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
    """Over one connection that is kept alive; counted from when a request was due. Visitors are not on this machine: the one
    here gets the processor at once, so that its own waiting is not counted."""
    usual = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    try:
        return measured_p99_ms(house, seconds)
    finally:
        os.sched_setscheduler(0, *usual)


def measured_p99_ms(house, seconds):
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
    return while_pushing(house, work, seconds, number)


def while_compiling(house, work, seconds, number):
    heavy = "".join(HEAVY.format(n=n) for n in range(1, HEAVY_COUNT + 1))
    calls = " + ".join(f"work_{n}(3)" for n in range(1, HEAVY_COUNT + 1))
    (work / "src" / "main.rs").write_text(f'{heavy}fn main() {{\n    println!("round {number}: {{}}", {calls});\n}}\n')
    return while_pushing(house, work, seconds, number)


def while_pushing(house, work, seconds, number):
    """The push is given up at the end of the measurement."""
    house.change(work, f"round {number}")
    words = ["git", "push", "-q", "paas", "main"]
    push = subprocess.Popen(words, cwd=work, env=house.env, stderr=subprocess.DEVNULL)
    time.sleep(3)
    if push.poll() is not None:
        raise RuntimeError("the build ended at once")
    measured = p99_ms(house, seconds)
    if push.poll() is not None:
        raise RuntimeError("the build ended before the measurement")
    house.command("builds:cancel", "-a", work.name.removeprefix("work-"))
    push.wait()
    return measured


def provoke(house, sample, path):
    """One request that sets a sick neighbour off; it may be down just then."""
    request = f"GET {path} HTTP/1.1\r\nHost: {sample}.localhost\r\nConnection: close\r\n\r\n".encode()
    try:
        with socket.create_connection(("127.0.0.1", house.http), 5) as connection:
            connection.sendall(request)
            connection.settimeout(5)
            connection.recv(100)
    except OSError:
        pass


def beside(house, sample, path, again_s, seconds):
    """Sets the neighbour off, and again every so often while it is measured."""
    is_over = threading.Event()

    def keep_provoking():
        provoke(house, sample, path)
        while not is_over.wait(again_s):
            provoke(house, sample, path)

    provoker = threading.Thread(target=keep_provoking)
    provoker.start()
    time.sleep(2)
    measured = p99_ms(house, seconds)
    is_over.set()
    provoker.join()
    house.command("ps:stop", "-a", sample)
    house.command("ps:start", "-a", sample)
    Visitor(("127.0.0.1", house.http), f"{sample}.localhost", " 200 ").when()
    return measured


def measure(house, options):
    victim, builder = house.sample(VICTIM, "victim"), house.sample("hello-docker", "builder")
    compiler = house.sample("hello-rust", "compiler")
    if "Rust build" in options.only:
        # The stack image is there from then on.
        house.change(compiler, "small")
        house.git(compiler, "push", "-q", "paas", "main")
    for sample in [sample for sample in NEIGHBOURS if NEIGHBOURS[sample][0] in options.only]:
        work = house.sample(sample, sample)
        house.change(work, sample)
        house.git(work, "push", "-q", "paas", "main")
    house.change(victim, "victim")
    house.git(victim, "push", "-q", "paas", "main")
    found = {"quiet": []} | {what: [] for what in options.only}
    for number in range(options.rounds):
        found["quiet"].append(p99_ms(house, options.seconds))
        if "build" in options.only:
            found["build"].append(while_building(house, builder, options.seconds, number))
        if "Rust build" in options.only:
            found["quiet"].append(p99_ms(house, options.seconds))
            found["Rust build"].append(while_compiling(house, compiler, options.seconds, number))
        for sample, (what, path, again_s) in NEIGHBOURS.items():
            if what in options.only:
                found["quiet"].append(p99_ms(house, options.seconds))
                found[what].append(beside(house, sample, path, again_s, options.seconds))
        print({what: [round(ms, 1) for ms in times] for what, times in found.items()}, file=sys.stderr)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paas", required=True, metavar="PATH", help="the program to measure")
    parser.add_argument("--rounds", type=int, default=5, help="of quiet and each neighbour, in turn [5]")
    parser.add_argument("--seconds", type=float, default=10, help="each of them [10]")
    parser.add_argument("--unguarded", action="store_true", help="without host-guard, to see what it is for")
    parser.add_argument("--only", nargs="+", choices=WHATS, default=WHATS, help="which neighbours [all]")
    options = parser.parse_args()
    say_machine(options.paas)
    with House(options.paas) as house:
        # docker0 stays as it is: what else runs here is not to be disturbed.
        words = [house.paas, "host-guard", "--data-dir", house.data, "--build-bridge", "off"]
        guard = None if options.unguarded else subprocess.Popen(words, stderr=subprocess.DEVNULL)
        try:
            with Units(house.process.pid):
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
    for what in options.only:
        kept &= judge(f"p99 beside a {what}, over quiet", statistics.median(found[what]) / quiet, RATIO_MAX, "×")
    sys.exit(0 if kept else 1)


main()
