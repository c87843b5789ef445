#!/usr/bin/env python3
"""What `paas` costs while it does nothing: 20 apps, deployed twice, then memory after a wait and CPU over a minute."""
import argparse
import sys
import time

from house import House, Visitor, judge, say_machine

SAMPLE = "hello-shell"
RESIDENT_MB_MAX = 40
CPU_PERCENT_MAX = 0.5


def deploy(house, work, app, version):
    house.change(work, version)
    house.git(work, "push", "-q", "paas", "main")
    Visitor(("127.0.0.1", house.http), f"{app}.localhost", version).when()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paas", required=True, metavar="PATH", help="the program to measure")
    parser.add_argument("--apps", type=int, default=20, help="how many apps [20]")
    parser.add_argument("--wait", type=float, default=300, metavar="SECONDS", help="before memory is read [300]")
    parser.add_argument("--watch", type=float, default=60, metavar="SECONDS", help="over which CPU is counted [60]")
    options = parser.parse_args()
    say_machine(options.paas)
    with House(options.paas) as house:
        fresh = house.resident_mb()
        works = {f"idle-{number}": house.sample(SAMPLE, f"idle-{number}") for number in range(1, options.apps + 1)}
        for turn in ("v1", "v2"):
            for app, work in works.items():
                deploy(house, work, app, f"{app} {turn}")
                print(f"{app} {turn}: {house.resident_mb():.1f} MB resident", file=sys.stderr)
        busy = house.resident_mb()
        time.sleep(options.wait)
        resident, cpu = house.resident_mb(), house.cpu_s()
        time.sleep(options.watch)
        percent = (house.cpu_s() - cpu) / options.watch * 100
        print(f"### {options.apps} apps, each deployed twice\n")
        print("| resident memory of paas | MB |\n|---|---|")
        print(f"| just started | {fresh:.1f} |\n| after the last deploy | {busy:.1f} |")
        print(f"| {options.wait:.0f} s later | {resident:.1f} |\n")
        print(f"CPU over {options.watch:.0f} s: {percent:.2f} % of one core\n")
        kept = judge("resident memory", resident, RESIDENT_MB_MAX, "MB")
        kept &= judge("idle CPU", percent, CPU_PERCENT_MAX, "% of one core")
    sys.exit(0 if kept else 1)


main()
