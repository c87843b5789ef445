#!/usr/bin/env python3
"""200 apps in the store, 20 of them running: how fast a killed `paas` accepts again, and what a deploy costs beside one app."""
import argparse
import json
import statistics
import sys
import time

from house import House, Visitor, judge, say_machine, spread

SAMPLE = "hello-docker"
ACCEPTING_MS_MAX = 300
DEPLOY_RATIO_MAX = 1.1


def deploy(house, work, app, version):
    """Seconds from the start of the push to the first answer of the new version."""
    house.change(work, version)
    began = time.monotonic()
    visitor = Visitor(("127.0.0.1", house.http), f"{app}.localhost", version)
    house.git(work, "push", "-q", "paas", "main")
    return visitor.when() - began


def deploys(house, work, app, turn, times):
    return [deploy(house, work, app, f"{app} {turn} {n}") for n in range(times)]


def instances(house):
    """Ids and starts of everything that runs for this house."""
    found = {}
    for repository in house.data.glob("repos/*.git"):
        filters = json.dumps({"label": [f"paas.app-key={repository.stem}"]})
        for one in house.engine.get("/containers/json", filters=filters):
            found[one["Id"]] = house.engine.get(f"/containers/{one['Id']}/json")["State"]["StartedAt"]
    return found


def restart(house, apps):
    """Kills it and starts it again at the same addresses: milliseconds from exec to an answer, and to all answers."""
    house.process.kill()
    house.process.wait()
    began = time.monotonic()
    visitors = [Visitor(("127.0.0.1", house.http), f"{app}.localhost", app) for app in apps]
    house.launch(f"127.0.0.1:{house.http}", f"127.0.0.1:{house.ssh}")
    whens = [visitor.when() for visitor in visitors]
    return (min(whens) - began) * 1000, (max(whens) - began) * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paas", required=True, metavar="PATH", help="the program to measure")
    parser.add_argument("--apps", type=int, default=200, help="how many apps [200]")
    parser.add_argument("--running", type=int, default=20, help="how many of them run [20]")
    parser.add_argument("--times", type=int, default=10, help="deploys of each kind, and restarts [10]")
    options = parser.parse_args()
    say_machine(options.paas)
    with House(options.paas) as house:
        works = {"app-1": house.sample(SAMPLE, "app-1")}
        deploy(house, works["app-1"], "app-1", "app-1 first")
        alone = deploys(house, works["app-1"], "app-1", "alone", options.times)
        for number in range(2, options.apps + 1):
            house.command("apps:create", f"app-{number}")
        for app in [f"app-{number}" for number in range(2, options.running + 1)]:
            works[app] = house.sample(SAMPLE, app)
            deploy(house, works[app], app, f"{app} v1")
        crowded = deploys(house, works["app-1"], "app-1", "crowded", options.times)
        before = instances(house)
        # The first answer of any app shows that it accepts; the last one that all routes are back.
        restarts = [restart(house, list(works)) for _ in range(options.times)]
        untouched = instances(house) == before
    first, last = [first for first, _ in restarts], [last for _, last in restarts]
    print(f"### {options.apps} apps, {options.running} of them running\n")
    print("| what | measured |\n|---|---|")
    print(f"| killed, started: exec → first answer | {spread(first, 'ms', 0)} |")
    print(f"| … → every running app has answered | {spread(last, 'ms', 0)} |")
    print(f"| instances restarted by that | {'none' if untouched else 'SOME'} |")
    print(f"| deploy with one app | {spread(alone)} |\n| deploy with {options.apps} apps | {spread(crowded)} |\n")
    kept = judge("accepting after exec", statistics.median(first), ACCEPTING_MS_MAX, "ms")
    ratio = statistics.median(crowded) / statistics.median(alone)
    kept &= judge(f"deploy with {options.apps} apps over one", ratio, DEPLOY_RATIO_MAX, "×")
    sys.exit(0 if kept and untouched else 1)


main()
