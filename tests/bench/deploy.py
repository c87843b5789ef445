#!/usr/bin/env python3
"""From `git push` to the first answer of the new version, beside the floor of the same app on the same machine.

The floor is what remains without any platform: a bare `git push` into a local repository, a BuildKit build over the
engine's API, create and start of a container on a bridge, and the first answer. Both are measured in turn, in one run. A
visitor asks the old version every 2 ms until the new one answers, on both sides.
"""
import argparse
import io
import json
import statistics
import subprocess
import sys
import tarfile
import time

from house import GIT, House, Visitor, judge, say_machine, spread

SAMPLES = ["hello-docker", "hello-node"]
# What the floor's deploys are built with, where the sample has no Dockerfile: the same image, the same one COPY.
FLOOR_DOCKERFILES = {
    "hello-node": "FROM {node}\nCOPY --chown=1000:1000 . /app/\nWORKDIR /app\nUSER app\nCMD exec node server.js\n",
}
# Lines of the push's output that end a phase.
MARKS = {"received": "app detected", "planned": "-----> Building", "built": "-----> Release", "ready": "healthy after"}
# (ratio, seconds beyond) of the floor that a deploy may take.
BUDGETS = {"hello-docker": (1.25, 0.0), "hello-node": (1.0, 0.5)}
CPU_S_MAX = 1.0
LABEL = "paas.bench=floor"


class Ours:
    """Deploys by `paas`."""

    def __init__(self, house, sample):
        self.house, self.sample = house, sample
        self.work = house.sample(sample, sample)

    def deploy(self, version):
        """Returns phase → seconds since the push began; `cpu` is CPU seconds."""
        house = self.house
        house.change(self.work, version)
        cpu = house.cpu_s()
        visitor = Visitor(("127.0.0.1", house.http), f"{self.sample}.localhost", version)
        start = time.monotonic()
        words = [GIT, "push", "paas", "main"]
        push = subprocess.Popen(words, cwd=self.work, env=house.env, stderr=subprocess.PIPE, text=True)
        phases, said = {}, []
        for line in push.stderr:
            said.append(line)
            ended = next((name for name, mark in MARKS.items() if mark in line), None)
            if ended:
                phases.setdefault(ended, time.monotonic() - start)
        if push.wait() != 0:
            raise RuntimeError("git push failed:\n" + "".join(said))
        phases["pushed"] = time.monotonic() - start
        phases["answer"] = visitor.when() - start
        phases["cpu"] = house.cpu_s() - cpu
        phases["failed"] = visitor.failed
        return phases

    def settle(self):
        """Waits until the old instance is gone."""
        deadline = time.monotonic() + 30
        while len(json.loads(self.house.command("ps", "-a", self.sample, "--json"))) > 1 and time.monotonic() < deadline:
            time.sleep(0.1)


class Floor:
    """Deploys by nothing but git and the engine."""

    def __init__(self, house, sample):
        self.house, self.sample, self.engine = house, sample, house.engine
        self.work = house.sample(sample, f"floor-{sample}")
        self.bare = house.folder / f"floor-{sample}.git"
        house.git(house.folder, "init", "-q", "--bare", self.bare)
        house.git(self.work, "remote", "set-url", "paas", self.bare)
        network = {"Name": f"bench-{time.time_ns()}", "Labels": labels()}
        self.network = json.loads(self.engine.ask("POST", "/networks/create", network))["Id"]
        self.old = None

    def make_dockerfile(self):
        recipe = FLOOR_DOCKERFILES.get(self.sample)
        if recipe:
            images = self.engine.get("/images/json", filters=json.dumps({"reference": ["paas-stack/node20"]}))
            (self.work / "Dockerfile").write_text(recipe.format(node=images[0]["RepoTags"][0]))

    def deploy(self, version):
        self.house.change(self.work, version)
        visitor = Visitor(self.old[1], "floor", version) if self.old else None
        start = time.monotonic()
        self.house.git(self.work, "push", "-q", "paas", "main")
        phases = {"pushed": time.monotonic() - start}
        reference = f"paas-bench/{self.sample}:latest"
        self.engine.build(self.tar(), reference)
        phases["built"] = time.monotonic() - start
        container, address = self.run(reference)
        phases["started"] = time.monotonic() - start
        if visitor:
            # The visitor of the old version becomes the new one's.
            visitor.address = address
        else:
            visitor = Visitor(address, "floor", version)
        phases["answer"] = visitor.when() - start
        self.drop_old()
        self.old = (container, address)
        return phases

    def tar(self):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            archive.add(self.work, ".", filter=lambda entry: None if entry.name.startswith("./.git") else entry)
        return buffer.getvalue()

    def run(self, reference):
        """Creates and starts a container; returns its id and where it will listen."""
        settings = {
            "Image": reference,
            "Env": ["PORT=5000"],
            "Labels": labels(),
            "HostConfig": {"Init": True, "NetworkMode": self.network},
        }
        container = json.loads(self.engine.ask("POST", "/containers/create", settings))["Id"]
        self.engine.ask("POST", f"/containers/{container}/start")
        networks = self.engine.get(f"/containers/{container}/json")["NetworkSettings"]["Networks"]
        return container, (next(iter(networks.values()))["IPAddress"], 5000)

    def drop_old(self):
        if self.old:
            self.engine.ask("DELETE", f"/containers/{self.old[0]}?force=1&v=1")


def labels():
    return dict([LABEL.split("=")])


def measure(house, samples, count):
    """Sample → ([ours], [floor]): `count` of each, in turn, after one of each that is not counted."""
    pairs = {}
    for sample in samples:
        ours, floor = Ours(house, sample), Floor(house, sample)
        ours.deploy(f"{sample} first")
        floor.make_dockerfile()
        floor.deploy(f"{sample} first")
        pairs[sample] = (ours, floor, [], [])
    for turn in range(count):
        for sample, (ours, floor, ours_times, floor_times) in pairs.items():
            ours_times.append(ours.deploy(f"{sample} turn {turn}"))
            ours.settle()
            time.sleep(0.5)
            floor_times.append(floor.deploy(f"{sample} turn {turn}"))
            time.sleep(0.5)
            last, least = ours_times[-1]["answer"], floor_times[-1]["answer"]
            print(f"{sample} {turn + 1}/{count}: {last:.2f} s, floor {least:.2f} s", file=sys.stderr)
    return {sample: (ours, floor) for sample, (_, _, ours, floor) in pairs.items()}


def report(results):
    """Prints the figures; returns whether every budget was kept."""
    kept = True
    for sample, (ours, floor) in results.items():
        print(f"### {sample}, {len(ours)} deploys of each kind, in turn\n")
        for who, times in (("paas", ours), ("floor", floor)):
            print(f"| {who}: since the push began | median (least–greatest) |\n|---|---|")
            for phase in [phase for phase in times[0] if phase not in ("cpu", "failed")]:
                values = [one[phase] for one in times if phase in one]
                print(f"| {phase} | {spread(values)} |")
            print()
        middle, least = (statistics.median(one["answer"] for one in times) for times in (ours, floor))
        cpu = statistics.median(one["cpu"] for one in ours)
        failed = sum(one["failed"] for one in ours)
        print(f"ratio {middle / least:.2f}, difference {middle - least:+.2f} s")
        print(f"CPU of paas and its children {spread([one['cpu'] for one in ours])}, failed requests {failed}\n")
        ratio, beyond = BUDGETS[sample]
        kept &= judge(f"{sample}, push to answer", middle, least * ratio + beyond, "s")
        kept &= judge(f"{sample}, CPU per deploy", cpu, CPU_S_MAX, "CPU seconds")
        kept &= judge(f"{sample}, failed requests", failed, 0, "requests")
        print()
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paas", required=True, metavar="PATH", help="the program to measure")
    parser.add_argument("-n", type=int, default=10, help="deploys of each kind [10]")
    parser.add_argument("--sample", action="append", choices=SAMPLES, help="only this one")
    options = parser.parse_args()
    say_machine(options.paas)
    with House(options.paas) as house:
        try:
            results = measure(house, options.sample or SAMPLES, options.n)
        finally:
            house.engine.remove_labelled(LABEL)
            for sample in SAMPLES:
                house.engine.forget_image(f"paas-bench/{sample}:latest")
    sys.exit(0 if report(results) else 1)


main()
