"""The rows of connections that do nothing: what each of 2,000 adds to a proxy's memory, and whether all live on."""
import base64
import os
import socket
import time

import machine
import report
from peers import PLAIN, SOCKETS

CONNECTIONS = 2000
# Used and closed first, so that what a proxy makes once is not divided among the connections.
WARM_UP = 20
HOLD_S = 10
ANSWER_S_MAX = 10
KIB_MAX = 12
KEY = base64.b64encode(os.urandom(16)).decode()
GET = f"GET /1k HTTP/1.1\r\nHost: {PLAIN}\r\n\r\n".encode()
UPGRADE = (
    f"GET /ws HTTP/1.1\r\nHost: {SOCKETS}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
).encode()
# A frame of text, masked with zeros as a client's must be, and what comes back.
SAID, ECHO = b"\x81\x84\0\0\0\0ping", b"\x81\x04ping"


class Idle:
    """Each proxy is restarted for it: freed memory that is used again would hide what a connection needs."""

    def __init__(self, title, is_websocket, kib_stretch):
        self.title, self.kib_stretch = title, kib_stretch
        self.use_first, self.use_again = (upgrade, say) if is_websocket else (get, get)

    def round(self, world, number):
        return {proxy.name: self.hold(proxy) for proxy in report.turned(world.proxies, number)}

    def hold(self, proxy):
        proxy.restart()
        held = []
        try:
            self.connect(proxy, WARM_UP, held)
            close(held)
            time.sleep(1)
            before = machine.memory_kib(proxy.pid)
            self.connect(proxy, CONNECTIONS, held)
            time.sleep(HOLD_S)
            grown = machine.memory_kib(proxy.pid) - before
            alive = sum(is_well(self.use_again, connection) for connection in held)
        finally:
            close(held)
        return {"kib": grown / CONNECTIONS, "lost": CONNECTIONS - alive}

    def connect(self, proxy, count, held):
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", proxy.http), ANSWER_S_MAX)
            held.append(connection)
            if not is_well(self.use_first, connection):
                raise RuntimeError(f"{proxy.name} does not serve connection {len(held)}")

    def report(self, taken):
        print(f"| proxy | memory per connection of {CONNECTIONS} | lost after {HOLD_S} s |\n|---|---|---|")
        for name, times in taken.items():
            print(f"| {name} | {report.spread_of(times, 'kib', 'KiB', 1)} | {sum(one['lost'] for one in times)} |")
        print()
        kept = report.judge("connections that were lost", sum(one["lost"] for one in taken["paas"]), 0, "")
        for peer in [name for name in taken if name != "paas"]:
            report.judge_ratios(f"paas over {peer}", report.ratios(taken["paas"], taken[peer], "kib"), None)
        kib = report.median_of(taken["paas"], "kib")
        print(f"       stretch {self.kib_stretch} KiB {'reached' if kib <= self.kib_stretch else 'not reached'}")
        return kept & report.judge("memory per connection", kib, KIB_MAX, "KiB")


def is_well(use, connection):
    try:
        return use(connection)
    except OSError:
        return False


def asked(connection, said, is_whole):
    """What comes back; nothing when the other side hangs up before it is whole."""
    connection.sendall(said)
    answer = b""
    while not is_whole(answer):
        answer += (part := connection.recv(8192))
        if not part:
            return b""
    return answer


def get(connection):
    return asked(connection, GET, lambda answer: answer.endswith(b"x" * 1024)).startswith(b"HTTP/1.1 200 ")


def upgrade(connection):
    return asked(connection, UPGRADE, lambda answer: answer.endswith(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


def say(connection):
    return asked(connection, SAID, lambda answer: len(answer) >= len(ECHO)) == ECHO


def close(held):
    for connection in held:
        connection.close()
    held.clear()
