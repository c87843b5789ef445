#!/usr/bin/env python3
"""A push of 500 MB: how fast `paas` takes it beside the system's sshd with the same checks, and what memory it costs."""
import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

from house import GIT, House, judge, run, say_machine, spread

RATE_RATIO_MIN = 0.6
MEMORY_MB_MAX = 100
SAMPLE = "hello-docker"
CHUNK = 1 << 20


class Sshd:
    """OpenSSH's server on a port of its own, for the house's key; ends with `with`."""

    def __init__(self, house):
        self.folder = house.folder / "sshd"
        self.house = house

    def __enter__(self):
        self.folder.mkdir(mode=0o700)
        os.makedirs("/run/sshd", exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host"])
        shutil.copy(self.house.folder / "key.pub", self.folder / "authorized_keys")
        self.port = free_port()
        options = {
            "Port": self.port, "ListenAddress": "127.0.0.1", "HostKey": self.folder / "host", "UsePAM": "no",
            "AuthorizedKeysFile": self.folder / "authorized_keys", "StrictModes": "no", "PidFile": "none",
            "PermitRootLogin": "yes",
        }
        words = [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null"]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        self.process = subprocess.Popen([str(word) for word in words], stderr=subprocess.DEVNULL)
        self.repository = self.folder / "repository.git"
        run([GIT, "init", "-q", "--bare", self.repository])
        # The same checks as ours.
        run([GIT, "-C", self.repository, "config", "receive.fsckObjects", "true"])
        time.sleep(1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def push(self, work):
        shutil.rmtree(self.repository / "objects")
        run([GIT, "init", "-q", "--bare", self.repository])
        run([GIT, "-C", self.repository, "update-ref", "-d", "refs/heads/main"])
        began = time.monotonic()
        user = os.environ.get("USER", "root")
        self.house.git(work, "push", "-q", f"ssh://{user}@127.0.0.1:{self.port}{self.repository}", "main")
        return time.monotonic() - began


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Memory(threading.Thread):
    """The greatest resident size of the server, looked at every 50 ms."""

    def __init__(self, house):
        super().__init__(daemon=True)
        self.house, self.peak_mb, self.over = house, 0.0, False
        self.start()

    def run(self):
        while not self.over:
            self.peak_mb = max(self.peak_mb, self.house.resident_mb())
            time.sleep(0.05)


def push_to_paas(house, work, app):
    """Seconds until the server says its first word about the app: then all objects are there and checked."""
    command = [GIT, "push", f"ssh://paas@127.0.0.1:{house.ssh}/{app}", "main"]
    began = time.monotonic()
    push = subprocess.Popen(command, cwd=work, env=house.env, stderr=subprocess.PIPE, text=True)
    taken = None
    for line in push.stderr:
        if taken is None and line.startswith("remote: ----->"):
            taken = time.monotonic() - began
    if push.wait() != 0 or taken is None:
        raise RuntimeError(f"the push to {app} failed")
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paas", required=True, metavar="PATH", help="the program to measure")
    parser.add_argument("--size", type=int, default=500, metavar="MB", help="how much is pushed [500]")
    parser.add_argument("--times", type=int, default=3, help="pushes to each, in turn [3]")
    options = parser.parse_args()
    say_machine(options.paas)
    with House(options.paas) as house, Sshd(house) as sshd:
        work = house.sample(SAMPLE, "big")
        with open(work / "big.bin", "wb") as big:
            for _ in range(options.size):
                big.write(os.urandom(CHUNK))
        # The image does not need it.
        (work / ".dockerignore").write_text("big.bin\n")
        house.change(work, "big")
        theirs, ours, memory = [], [], Memory(house)
        for turn in range(options.times):
            theirs.append(sshd.push(work))
            ours.append(push_to_paas(house, work, f"big-{turn}"))
        memory.over = True
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"### A push of {options.size} MB\n\n| what | measured |\n|---|---|")
    print(f"| system sshd, receive-pack with fsck | {spread(theirs)} |")
    print(f"| paas, until all objects are there and checked | {spread(ours)} |")
    print(f"| greatest resident memory of paas | {memory.peak_mb:.0f} MB |\n")
    kept = judge("sshd's rate over ours", 1 / ratio, 1 / RATE_RATIO_MIN, "×")
    sys.exit(0 if judge("memory", memory.peak_mb, MEMORY_MB_MAX, "MB") and kept else 1)


if __name__ == "__main__":
    main()
