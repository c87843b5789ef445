"""The row of the build: how fast `paas` serves on its core while a build that it runs keeps the other cores busy."""
import functools
import subprocess
import time

import load
import machine
import report
from rows import measure

RATIO_MIN = 0.8
# The load is not on this machine in truth: wrk has the processor at once, and the app before the build.
FIRST = ["chrt", "-f", "50"]
APP_SHARES = 262144
# How long after a push its build surely runs; it writes to its log all the while, which `paas` reads.
UNDER_WAY_S = 3
SPARE_S = 4
BUSY = """FROM debian:trixie-slim
COPY VERSION /
RUN end=$(( $(date +%s) + {seconds} )); for core in $(echo {cores} | tr , ' '); do for twice in 1 2; do \\
    ( while [ $(date +%s) -lt $end ]; do taskset -c $core sh -c 'head -c 3000000 /dev/urandom | sha256sum'; done ) & \\
    done; done; wait; exit 1
"""


class Build:
    title = "1 KiB, keep-alive, beside a build on the other cores"

    def round(self, world, number):
        house = world.house
        if number == 0:
            self.work = house.sample("hello-docker", "builder")
        house.weigh("origin", APP_SHARES)
        quiet = self.serve(world)
        seconds = UNDER_WAY_S + world.seconds + SPARE_S
        (self.work / "Dockerfile").write_text(BUSY.format(seconds=seconds, cores=machine.LOAD_CORES))
        house.change(self.work, f"round {number}")
        words = ["git", "push", "-q", "paas", "main"]
        push = subprocess.Popen(words, cwd=self.work, env=house.env, stderr=subprocess.DEVNULL)
        try:
            time.sleep(UNDER_WAY_S)
            before = push.poll()
            busy = self.serve(world)
            if before is not None or push.poll() is not None:
                raise RuntimeError("the build ended before the measurement")
        finally:
            push.wait()
        return {"quiet": quiet, "build": busy}

    def serve(self, world):
        idle = machine.load_cores_idle_s()
        taken = measure(world.house, functools.partial(load.wrk, before=FIRST), world.seconds)
        cores_s = len(machine.LOAD_CORES.split(",")) * taken["wall_s"]
        return taken | {"idle_percent": 100 * (machine.load_cores_idle_s() - idle) / cores_s}

    def report(self, taken):
        print("| beside it | requests | p99 | processor time per request | other cores idle |\n|---|---|---|---|---|")
        for what, times in taken.items():
            pace, p99 = report.spread_of(times, "per_s", "/s", 0), report.spread_of(times, "p99_ms", "ms", 1)
            cost, idle = report.spread_of(times, "cpu_us", "µs", 1), report.spread_of(times, "idle_percent", "%", 0)
            print(f"| {what} | {pace} | {p99} | {cost} | {idle} |")
        print()
        kept = report.judge_failures(taken["quiet"] + taken["build"])
        found = report.ratios(taken["build"], taken["quiet"], "per_s")
        return kept & report.judge_least_ratio("requests per second beside a build, over quiet", found, RATIO_MIN)
