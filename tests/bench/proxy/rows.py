"""The rows that compare processor time per request: what is asked for, and what `paas` may cost beside each peer."""
import dataclasses
import functools
import time
import typing

import load
import machine
import report


@dataclasses.dataclass(frozen=True)
class Row:
    """`bars` are those of router.md: at most so many times a peer's processor time. No bar: only shown."""

    title: str
    ask: typing.Callable
    bars: dict
    stretch: float | None = None

    def round(self, world, number):
        """All proxies once, one after the other; each round another one begins."""
        return {proxy.name: measure(proxy, self.ask, world.seconds) for proxy in report.turned(world.proxies, number)}

    def report(self, taken):
        """Prints what was found; returns whether all bars were kept."""
        print("| proxy | processor time per request | requests | failed |\n|---|---|---|---|")
        for name, times in taken.items():
            cost, pace = report.spread_of(times, "cpu_us", "µs", 1), report.spread_of(times, "per_s", "/s", 0)
            print(f"| {name} | {cost} | {pace} | {sum(one['failed'] for one in times)} |")
        print()
        kept = report.judge_failures(taken["paas"])
        for peer in [name for name in taken if name != "paas"]:
            ratios = report.ratios(taken["paas"], taken[peer], "cpu_us")
            stretch = self.stretch if peer == "nginx" else None
            kept &= report.judge_ratios(f"paas over {peer}", ratios, self.bars.get(peer), stretch)
        return kept


def measure(proxy, ask, seconds):
    """One round against one proxy: requests, failures, wall and processor time, and microseconds of it per request."""
    used, began = machine.cpu_s(proxy.pid), time.monotonic()
    taken = ask(proxy, seconds)
    taken["wall_s"], taken["cpu_s"] = time.monotonic() - began, machine.cpu_s(proxy.pid) - used
    taken["cpu_us"] = taken["cpu_s"] / max(taken["requests"], 1) * 1e6
    taken["per_s"] = taken["requests"] / taken["wall_s"]
    return taken


NEW_CONNECTIONS = functools.partial(load.wrk, connections=32, more=["-H", "Connection: close"])
BIG = functools.partial(load.wrk, path="/1m", connections=16)
BIG_BY_TLS = functools.partial(load.h2load, path="/1m", connections=8, more=["--h1"])
TLS = functools.partial(load.h2load, more=["--h1"])
FULL_HANDSHAKES = functools.partial(load.handshakes, is_resumed=False)
RESUMED_HANDSHAKES = functools.partial(load.handshakes, is_resumed=True)
H2 = functools.partial(load.h2load, connections=8, streams=16)

# router.md has one figure of HAProxy and Caddy for 1 MiB, read here as meant for both; where it has fewer figures than
# rows for TLS they are read as those of the first rows.
ROWS = {
    "keep-alive": Row("1 KiB, keep-alive", load.wrk, {"nginx": 1.00, "haproxy": 0.95, "caddy": 0.20}, 0.88),
    "connection": Row("1 KiB, new connections", NEW_CONNECTIONS, {"nginx": 1.15, "haproxy": 1.05, "caddy": 0.40}, 1.05),
    "big": Row("1 MiB", BIG, {"nginx": 0.60, "haproxy": 0.75, "caddy": 0.95}, 0.38),
    "big-tls": Row("1 MiB by TLS", BIG_BY_TLS, {"nginx": 0.62, "haproxy": 0.75, "caddy": 0.95}),
    "tls": Row("1 KiB, TLS, keep-alive", TLS, {"nginx": 0.90, "haproxy": 0.87, "caddy": 0.25}, 0.77),
    "handshake": Row("1 KiB, full handshake", FULL_HANDSHAKES, {"nginx": 0.65, "haproxy": 0.62}, 0.58),
    "resumed": Row("1 KiB, resumed handshake", RESUMED_HANDSHAKES, {"nginx": 0.75}),
    "h2": Row("1 KiB, HTTP/2 in, HTTP/1.1 out", H2, {"nginx": 1.10, "haproxy": 1.45, "caddy": 0.20}, 1.00),
}
