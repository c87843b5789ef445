#!/usr/bin/env python3
"""From a pushed tree to an image, beside the raw tool doing the same work on the same machine, in turn, in one run.

The raw tool is what a build is made of and no more: the commands of the plan (`paas plan --json`), in a container of the same
stack image that runs already, over the same files, with the caches that it left there itself. Cold is a new app and a new
container; warm is a one-line change of the same ones. A build lasts from the start of `git push` to the line that begins
the release, so the push itself is in it.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

from house import CA_BUNDLE, GIT, House, judge, run, say_machine, spread

# Samples, and whether their one-line change has a build step: what may be spent beyond the tool is in build.md's budgets.
SAMPLES = {
    "hello-static": False,
    "hello-docker": False,
    "hello-node": False,
    "node-deps": False,
    "hello-flask": False,
    "hello-go": True,
    "hello-rust": True,
}
BEYOND_S = {False: 1.0, True: 1.5}
UNCHANGED_S_MAX, FIRST_LINE_S_MAX, LINE_S_MAX = 0.1, 0.3, 0.1
FILES = 10_000
LABEL = "paas.bench=raw"


def push(house, work):
    """Pushes; returns what was said as (seconds since the push began, line)."""
    start = time.monotonic()
    pushing = subprocess.Popen([GIT, "push", "paas", "main"], cwd=work, env=house.env, stderr=subprocess.PIPE, text=True)
    said = [(time.monotonic() - start, line) for line in pushing.stderr]
    if pushing.wait() != 0:
        raise RuntimeError("git push failed:\n" + "".join(line for _, line in said))
    return said


def when(said, mark):
    found = next((at for at, line in said if mark in line), None)
    if found is None:
        raise RuntimeError(f"nobody said {mark!r}:\n" + "".join(line for _, line in said))
    return found


class Raw:
    """The commands of a plan, in containers that run already."""

    def __init__(self, house, work):
        plan = json.loads(run([house.paas, "plan", work, "--json"]))
        self.work, self.steps, self.containers = work, [], {}
        for stage in plan.get("stages", []):
            commands = [step["run"]["command"] for step in stage["steps"] if isinstance(step, dict) and "run" in step]
            if commands:
                self.steps.append((self.container(house, stage["from"]), commands))

    def container(self, house, image):
        if image not in self.containers:
            words = ["docker", "run", "--detach", "--label", LABEL, "--user", "0", "--env", f"CARGO_HTTP_CAINFO={CA_BUNDLE}"]
            for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE"):
                words += ["--env", f"{name}={CA_BUNDLE}"]
            words += ["--network", "host", image, "sleep", "3600"]
            self.containers[image] = run(words).strip()
            run(["docker", "cp", "-L", CA_BUNDLE, f"{self.containers[image]}:{CA_BUNDLE}"])
        return self.containers[image]

    def take(self):
        """Runs everything over the files as they are; returns seconds on the clock and of processor time."""
        wall = cpu = 0.0
        for container, commands in self.steps:
            run(["docker", "cp", f"{self.work}/.", f"{container}:/app"])
            line = " && ".join(f"({command})" for command in commands)
            script = f"cd /app && a=$(date +%s.%N) && {{ {line}; }} >/tmp/said 2>&1 || {{ cat /tmp/said >&2; exit 1; }}; b=$(date +%s.%N); times; echo $a $b"
            # Dash's `times` tells its own time, then that of its children.
            words = run(["docker", "exec", container, "sh", "-c", script]).split()
            wall += float(words[-1]) - float(words[-2])
            cpu += sum(minutes(word) for word in words[2:4])
        return wall, cpu

    def end(self):
        for container in self.containers.values():
            run(["docker", "rm", "--force", "--volumes", container])


def minutes(text):
    """`0m1.230s` as seconds."""
    whole, _, rest = text.rstrip("s").partition("m")
    return int(whole) * 60 + float(rest)


def measure(house, sample, rounds):
    """Figures of one sample: name → values."""
    figures = {}
    note = lambda name, value: figures.setdefault(name, []).append(value)
    for turn in range(rounds):
        app = f"{sample}-{turn}"
        work = house.sample(sample, app)
        raw = Raw(house, work)
        try:
            for kind in ("cold", "warm", "warm", "warm"):
                house.change(work, f"{app} {time.time_ns()}")
                if not (work / "VERSION").exists():
                    raise RuntimeError(f"{sample} has no VERSION")
                wall, cpu = raw.take()
                note(f"{kind} tool", wall)
                note(f"{kind} tool CPU", cpu)
                before = house.cpu_s()
                said = push(house, work)
                note(f"{kind} build", when(said, "-----> Release"))
                note(f"{kind} paas CPU", house.cpu_s() - before)
                note("first line", said[0][0])
            house.git(work, "commit", "-q", "--allow-empty", "-m", "nothing")
            said = push(house, work)
            note("unchanged", when(said, "-----> Release") - when(said, "app detected"))
        finally:
            raw.end()
            house.command("apps:destroy", app, "--confirm", app)
    return figures


def line_latency(house):
    """Seconds from when a step says a line to when its pusher reads it: both look at the machine's one clock."""
    work = house.sample("hello-docker", "lines")
    (work / "Dockerfile").write_text(
        f"FROM debian:trixie-slim\nRUN : {time.time_ns()}; for n in 1 2 3 4 5 6 7 8 9 10; do echo at $(date +%s.%N); sleep 0.3; done\n"
        + "".join((work / "Dockerfile").read_text().splitlines(keepends=True)[2:])
    )
    house.change(work, f"lines {time.time_ns()}")
    pushing = subprocess.Popen([GIT, "push", "paas", "main"], cwd=work, env=house.env, stderr=subprocess.PIPE, text=True)
    late = []
    for line in pushing.stderr:
        words = line.split()
        if len(words) == 3 and words[1] == "at":
            late.append(time.time() - float(words[2]))
    if pushing.wait() != 0 or len(late) < 10:
        raise RuntimeError(f"the push of timed lines failed, {len(late)} were read")
    return late


def plan_times(house, rounds):
    """`paas plan` of a commit with many files, and of one with a handful: the difference is what the files cost."""
    times = {}
    for name, count in (("few", 0), ("many", FILES)):
        work = house.sample("node-deps", f"plan-{name}")
        for n in range(count):
            folder = work / "src" / f"d{n // 100:03}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"f{n:05}.js").write_text(f"export default {n}\n")
        house.change(work, name)
        # As they lie in a repository that was pushed to.
        house.git(work, "repack", "-adq")
        words = [house.paas, "plan", work, "--commit", "HEAD", "--json"]
        run(words)
        for _ in range(rounds):
            start = time.monotonic()
            run(words)
            times.setdefault(name, []).append(time.monotonic() - start)
    return times


def report(sample, has_step, figures):
    print(f"| {sample} | " + " | ".join(
        spread(figures[name]) for name in ("cold tool", "cold build", "warm tool", "warm build", "unchanged")
    ) + " | " + " | ".join(f"{statistics.median(figures[name]):.2f}" for name in ("warm tool CPU", "warm paas CPU")) + " |")
    middle = {name: statistics.median(values) for name, values in figures.items()}
    # Without a build step nothing of a one-line change is the tool's to do.
    tool = middle["warm tool"] if has_step else 0.0
    return [
        (f"{sample}, one-line change", middle["warm build"], tool + BEYOND_S[has_step], "s"),
        (f"{sample}, cold", middle["cold build"], middle["cold tool"] + BEYOND_S[middle["cold tool"] > 0], "s"),
        (f"{sample}, tree unchanged", middle["unchanged"], UNCHANGED_S_MAX, "s"),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paas", required=True, metavar="PATH", help="the program to measure")
    parser.add_argument("--rounds", type=int, default=2, help="new apps of each kind, with three changes each [2]")
    parser.add_argument("--sample", action="append", choices=SAMPLES, help="only this one")
    options = parser.parse_args()
    say_machine(options.paas)
    budgets, firsts = [], []
    print("| app | cold: tool | build | one-line change: tool | build | unchanged | CPU of the tool | of paas |")
    print("|---|---|---|---|---|---|---|---|")
    with House(options.paas) as house:
        try:
            for sample in options.sample or SAMPLES:
                figures = measure(house, sample, options.rounds)
                firsts += figures["first line"]
                budgets += report(sample, SAMPLES[sample], figures)
            late = line_latency(house)
            plans = plan_times(house, 10)
        finally:
            house.engine.remove_labelled(LABEL)
    print(f"\nfirst line since the push began {spread(firsts)}; a line's way to its pusher {spread(late, digits=3)}")
    print(f"`paas plan` of {FILES} files {spread(plans['many'], digits=3)}, of a handful {spread(plans['few'], digits=3)}\n")
    budgets += [
        ("first line, the push itself in it", statistics.median(firsts), FIRST_LINE_S_MAX, "s"),
        ("a line's way to its pusher", statistics.median(late), LINE_S_MAX, "s"),
    ]
    kept = [judge(*budget) for budget in budgets]
    sys.exit(0 if all(kept) else 1)


main()
