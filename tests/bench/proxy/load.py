"""What drives the proxies from the other cores: wrk, h2load and handshakes of our own. All count failures too."""
import concurrent.futures
import os
import re
import socket
import ssl
import subprocess
import time

import machine
from peers import PLAIN, SECURE

# More than any run may take beyond its own time.
PATIENCE_S = 60
LANES = 4
MILLISECONDS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}


def wrk(proxy, seconds, path="/1k", connections=64, more=(), before=()):
    words = [*before, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"Host: {PLAIN}", *more]
    said = run([*words, f"http://127.0.0.1:{proxy.http}{path}"], seconds)
    counted = re.search(r"(\d+) requests in ", said)
    if not counted:
        raise RuntimeError(f"wrk against {proxy.name}: {said}")
    failures = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    failures += sum(map(int, errors.groups())) if errors else 0
    value, unit = re.search(r"\s99%\s+([\d.]+)(us|ms|s|m)", said).groups()
    return {"requests": int(counted[1]), "failed": failures, "p99_ms": float(value) * MILLISECONDS[unit]}


def h2load(proxy, seconds, path="/1k", connections=64, streams=1, more=()):
    """By HTTPS; unlike wrk it says for which host it comes."""
    words = ["h2load", f"-D{seconds}", f"-c{connections}", f"-m{streams}", "-t1", *more]
    words += [f"--connect-to=127.0.0.1:{proxy.https}", f"https://{SECURE}:{proxy.https}{path}"]
    said = run(words, seconds)
    counted = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    if not counted or not codes:
        raise RuntimeError(f"h2load against {proxy.name}: {said}")
    failed = sum(int(count) for count in (*counted.groups()[1:], *codes.groups()[1:]))
    return {"requests": int(codes[1]), "failed": failed}


def run(words, seconds):
    """What it said; both tools tell of failures by words."""
    words = machine.pinned(machine.LOAD_CORES, words)
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + PATIENCE_S)
    return done.stdout + done.stderr


def handshakes(proxy, seconds, is_resumed):
    """A connection for each request. The client is slow, but its time is not counted."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core) for core in machine.LOAD_CORES.split(",")})
    deadline = time.monotonic() + seconds
    try:
        with concurrent.futures.ThreadPoolExecutor(LANES) as lanes:
            futures = [lanes.submit(shake_hands, proxy.https, deadline, is_resumed) for _ in range(LANES)]
            counts = [future.result() for future in futures]
    finally:
        os.sched_setaffinity(0, usual)
    requests, failed, resumed = map(sum, zip(*counts))
    # Each lane's first handshake has nothing to resume.
    wanted = requests - LANES if is_resumed else 0
    if abs(resumed - wanted) > requests / 100:
        raise RuntimeError(f"{proxy.name} resumed {resumed} of {requests} sessions")
    return {"requests": requests, "failed": failed}


def shake_hands(port, deadline, is_resumed):
    """One lane; returns how many requests were answered, failed, and came in a resumed session."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    trust.minimum_version = ssl.TLSVersion.TLSv1_3
    request = f"GET /1k HTTP/1.1\r\nHost: {SECURE}\r\nConnection: close\r\n\r\n".encode()
    session, answered, failed, resumed = None, 0, 0, 0
    while time.monotonic() < deadline:
        try:
            plain = socket.create_connection(("127.0.0.1", port), 5)
            # Else the request would wait until the end of the handshake is acknowledged, at some peers for 40 ms.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with trust.wrap_socket(plain, server_hostname=SECURE, session=session) as connection:
                connection.sendall(request)
                answer = read_all(connection)
                resumed += connection.session_reused
                session = connection.session if is_resumed else None
        except OSError:
            failed += 1
            continue
        is_whole = answer.startswith(b"HTTP/1.1 200") and len(answer) > 1024
        answered, failed = answered + is_whole, failed + (not is_whole)
    return answered, failed, resumed


def read_all(connection):
    parts = []
    while part := connection.recv(8192):
        parts.append(part)
    return b"".join(parts)
