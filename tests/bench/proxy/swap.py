"""The row of the swap: releases of an app replace each other while it is visited, and no visitor may notice."""
import asyncio
import contextlib
import dataclasses
import datetime
import math
import os
import re
import statistics
import time

import report
from ours import ORIGIN

APP = "swapped"
HOST = f"{APP}.localhost"
KEPT_ALIVE, FRESH = 16, 8
# Of each visitor; together they ask about a thousand times a second, whatever the answers take.
PACE_S = 0.025
ANSWER_S_MAX = 10
ADDED_MS_MAX, EFFECT_MS_MAX = 50, 10
PROMOTED = re.compile(r"^(\S+)Z .*promoted swapped v\d+", re.MULTILINE)
KINDS = ["refused", "cut", "retryable", "slow", "other_status"]


@dataclasses.dataclass
class Tally:
    """What the visitors met: answers as (begun, seconds, version), and failures by kind."""

    answers: list = dataclasses.field(default_factory=list)
    failures: dict = dataclasses.field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    is_over: bool = False


@dataclasses.dataclass
class Pace:
    """When a visitor asks next; late, it does not catch up."""

    due: float

    async def keep(self):
        now = time.monotonic()
        self.due += PACE_S * max(1, math.ceil((now - self.due) / PACE_S))
        await asyncio.sleep(self.due - now)


class Swap:
    title = "a release replaces another under load"

    def round(self, world, number):
        house = world.house
        if number == 0:
            # An app of its own: the peers lead to the instance of `origin`, which has to stay.
            work = house.work(ORIGIN, APP)
            for version in ("v1", "v2"):
                house.push(work, APP, version)
        with first_on_the_processor():
            return {"paas": asyncio.run(swap(house, world.seconds))}

    def report(self, taken):
        swaps = taken["paas"]
        print(f"{len(swaps)} swaps, {sum(one['requests'] for one in swaps)} requests\n")
        print("| what | measured |\n|---|---|")
        print(f"| p99 in quiet | {report.spread_of(swaps, 'quiet_ms', 'ms', 1)} |")
        print(f"| p99 while instances change | {report.spread_of(swaps, 'swap_ms', 'ms', 1)} |")
        print(f"| promotion → begin of the old release's last request | {report.spread_of(swaps, 'old_until_ms', 'ms', 1)} |")
        print(f"| promotion → first answer of the new release | {report.spread_of(swaps, 'new_from_ms', 'ms', 1)} |\n")
        kept = True
        for kind in KINDS:
            kept &= report.judge(f"requests that failed: {kind}", sum(one[kind] for one in swaps), 0, "")
        added = statistics.median(one["swap_ms"] - one["quiet_ms"] for one in swaps)
        kept &= report.judge("added to p99", added, ADDED_MS_MAX, "ms")
        latest = max(one["old_until_ms"] for one in swaps)
        kept &= report.judge("greatest time until nobody gets the old release", latest, EFFECT_MS_MAX, "ms")
        first = report.median_of(swaps, "new_from_ms")
        return kept & report.judge("median time until the new release answers", first, EFFECT_MS_MAX, "ms")


@contextlib.contextmanager
def first_on_the_processor():
    """Visitors are not on this machine: their own waiting does not count. What they start has the usual priority."""
    usual = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(50))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *usual)


async def swap(house, seconds):
    """Quiet, then `paas rollback`, which starts the other release, promotes it and ends this one; no build disturbs."""
    tally = Tally()
    kinds = [visit_kept_alive] * KEPT_ALIVE + [visit_afresh] * FRESH
    begun = time.monotonic()
    # Evenly spread over the pace, so that there is hardly a millisecond without a request.
    paces = [Pace(begun + number * PACE_S / len(kinds)) for number in range(len(kinds))]
    visitors = [asyncio.create_task(kind(house.http, pace, tally)) for kind, pace in zip(kinds, paces)]
    await asyncio.sleep(1)
    quiet_from = time.time()
    await asyncio.sleep(seconds)
    swap_from = time.time()
    words = [str(word) for word in (house.paas, "--data-dir", house.data, "rollback", "-a", APP)]
    command = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.DEVNULL)
    if await command.wait() != 0:
        raise RuntimeError("paas rollback failed")
    swap_until = time.time()
    await asyncio.sleep(1)
    tally.is_over = True
    await asyncio.gather(*visitors)
    found = {"requests": len(tally.answers), **tally.failures, **times_of_effect(house, tally)}
    found["quiet_ms"] = p99_ms(tally, quiet_from, swap_from)
    found["swap_ms"] = p99_ms(tally, swap_from, swap_until)
    return found


def times_of_effect(house, tally):
    """From the server's own word that the new release is promoted; what comes before that word is negative."""
    *_, stamp = PROMOTED.findall((house.folder / "server.log").read_text())
    promoted = datetime.datetime.fromisoformat(f"{stamp}+00:00").timestamp()
    new = max(tally.answers)[2]
    last_old = max(begun for begun, _, version in tally.answers if version != new)
    first_new = min(begun + took for begun, took, version in tally.answers if version == new)
    return {"old_until_ms": (last_old - promoted) * 1000, "new_from_ms": (first_new - promoted) * 1000}


def p99_ms(tally, begin, until):
    return statistics.quantiles([took for begun, took, _ in tally.answers if begin <= begun < until], n=100)[98] * 1000


async def visit_kept_alive(port, pace, tally):
    request = f"GET /1k HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    while not tally.is_over:
        await pace.keep()
        streams = await connect(port, tally)
        is_used, is_open = False, streams is not None
        while is_open and not tally.is_over:
            is_open = await ask(*streams, request, is_used, tally)
            is_used = True
            await pace.keep()
        if streams:
            streams[1].close()


async def visit_afresh(port, pace, tally):
    request = f"GET /1k HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    while not tally.is_over:
        await pace.keep()
        if streams := await connect(port, tally):
            await ask(*streams, request, False, tally)
            streams[1].close()


async def connect(port, tally):
    try:
        return await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        tally.failures["refused"] += 1
        return None


async def ask(reader, writer, request, is_used, tally):
    """One request; returns whether the connection can take another."""
    begun, head = time.time(), b""
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
    except TimeoutError:
        tally.failures["slow"] += 1
        return False
    except (OSError, asyncio.IncompleteReadError) as error:
        # A browser would repeat such a request by itself; here it counts all the same.
        is_retryable = is_used and not head and not getattr(error, "partial", b"")
        tally.failures["retryable" if is_retryable else "cut"] += 1
        return False
    if head[9:12] != b"200":
        tally.failures["other_status"] += 1
    else:
        version = re.search(rb"(?i)x-version: ([^\r]+)", head)[1].decode()
        tally.answers.append((begun, time.time() - begun, version))
    return not re.search(rb"(?i)\r\nconnection: close", head)
