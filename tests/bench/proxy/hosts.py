"""The row of random hosts: a route table of 10,000 beside one of ten, `paas` against itself."""
import functools

import load
import report
from rows import measure

RATIO_MAX, RATIO_STRETCH = 1.4, 1.15
# Each request is for any of the hosts; wrk reads all of them before it starts.
SCRIPT = """
local requests = {}
for line in io.lines("%s") do
    requests[#requests + 1] = wrk.format("GET", "/1k", { ["Host"] = line })
end
request = function() return requests[math.random(#requests)] end
"""


class Hosts:
    title = "1 KiB, keep-alive, a random host of 10,000 and of 10"

    def round(self, world, number):
        houses = [("10 hosts", world.house), ("10,000 hosts", world.crowded_house())]
        return {name: self.ask(world, house) for name, house in report.turned(houses, number)}

    def ask(self, world, house):
        names, script = (world.folder / f"{len(house.hosts)}.{ending}" for ending in ("hosts", "lua"))
        names.write_text("".join(f"{host}\n" for host in house.hosts))
        script.write_text(SCRIPT % names)
        return measure(house, functools.partial(load.wrk, more=["-s", script]), world.seconds)

    def report(self, taken):
        print("| route table | processor time per request | requests |\n|---|---|---|")
        for name, times in sorted(taken.items()):
            cost, pace = report.spread_of(times, "cpu_us", "µs", 1), report.spread_of(times, "per_s", "/s", 0)
            print(f"| {name} | {cost} | {pace} |")
        print()
        kept = report.judge_failures(taken["10 hosts"] + taken["10,000 hosts"])
        found = report.ratios(taken["10,000 hosts"], taken["10 hosts"], "cpu_us")
        return kept & report.judge_ratios("10,000 hosts over 10", found, RATIO_MAX, RATIO_STRETCH)
