"""What both benches need: a `paas` of their own in a temporary folder, pushes by real git, and Docker's API."""
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse

SAMPLES = pathlib.Path(__file__).resolve().parent.parent / "apps"
ENGINE_SOCKET = "/var/run/docker.sock"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# The server uses the distribution's git too.
GIT = "/usr/bin/git" if os.path.exists("/usr/bin/git") else "git"
POLL_S = 0.002
ANSWER_S_MAX = 60
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Engine:
    """Docker's API on its unix socket."""

    class Connection(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(ENGINE_SOCKET)

    def ask(self, method, path, body=None, kind="application/json"):
        """One call; returns the body, or raises what the engine said."""
        connection = self.Connection("docker", timeout=120)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace').strip()}")
        return text

    def get(self, path, **query):
        return json.loads(self.ask("GET", f"{path}?{urllib.parse.urlencode(query)}"))

    def build(self, tar, reference):
        """Builds with BuildKit and reads its progress to the end."""
        query = urllib.parse.urlencode({"version": 2, "rm": 1, "t": reference})
        stream = self.ask("POST", f"/build?{query}", tar, "application/x-tar")
        for line in stream.splitlines():
            if b'"error"' in line:
                raise RuntimeError(f"build {reference}: {line.decode(errors='replace')}")

    def forget_image(self, reference):
        """Removes an image when it is there."""
        if self.get("/images/json", filters=json.dumps({"reference": [reference]})):
            self.ask("DELETE", f"/images/{reference}?force=1")

    def remove_labelled(self, label):
        """Removes the containers, networks and images that carry a label."""
        filters = json.dumps({"label": [label]})
        for one in self.get("/containers/json", all=1, filters=filters):
            self.ask("DELETE", f"/containers/{one['Id']}?force=1&v=1")
        for one in self.get("/networks", filters=filters):
            self.ask("DELETE", f"/networks/{one['Id']}")
        for one in self.get("/images/json", filters=filters):
            self.ask("DELETE", f"/images/{one['Id']}?force=1")


def run(words, cwd=None, env=None, given=None):
    """Runs a command that must succeed; returns its standard output."""
    done = subprocess.run([str(w) for w in words], cwd=cwd, env=env, input=given, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class House:
    """A `paas` that runs from `with` to its end, and everything it made is removed then, but for the stack images."""

    # Words before the program, such as those of taskset; and where it listens for HTTPS.
    BEFORE = []
    HTTPS = "off"

    def __init__(self, paas):
        self.paas = pathlib.Path(paas).resolve()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="paas-bench-"))
        self.data = self.folder / "data"
        self.engine = Engine()
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        key = self.folder / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
        self.launch("127.0.0.1:0", "127.0.0.1:0")
        self.command("keys:add", "bench", given=key.with_suffix(".pub").read_text())
        self.env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")
        self.env |= {f"GIT_{who}_{what}": "bench" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.env["GIT_SSH_COMMAND"] = (
            f"ssh -F /dev/null -i {key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new"
            f" -o UserKnownHostsFile={self.folder}/known_hosts -o LogLevel=ERROR"
        )

    def launch(self, http, ssh):
        """Starts the server and reads its ready line."""
        words = ["server", "--data-dir", self.data, "--http-listen", http, "--https-listen", self.HTTPS, "--ssh-listen", ssh]
        if os.path.exists(CA_BUNDLE):
            words += ["--ca-bundle", CA_BUNDLE]
        with open(self.folder / "server.log", "ab") as log:
            command = [str(word) for word in [*self.BEFORE, self.paas, *words]]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("paas did not start:\n" + (self.folder / "server.log").read_text())
        ready = json.loads(line)
        self.http = int(ready["http"].rsplit(":", 1)[1])
        self.ssh = int(ready["ssh"].rsplit(":", 1)[1])
        self.https = int(ready["https"].rsplit(":", 1)[1]) if ready.get("https") else None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __exit__(self, *_):
        if self.process:
            self.stop()
        for repository in self.data.glob("repos/*.git"):
            self.engine.remove_labelled(f"paas.app-key={repository.stem}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words, given=""):
        return run([self.paas, "--data-dir", self.data, *words], given=given)

    def git(self, work, *words):
        return run([GIT, *words], cwd=work, env=self.env)

    def sample(self, sample, app):
        """A working copy of a sample with the remote `paas`, not yet committed."""
        work = self.folder / f"work-{app}"
        shutil.copytree(SAMPLES / sample, work)
        self.git(work, "init", "-q", "-b", "main")
        self.git(work, "remote", "add", "paas", f"ssh://paas@127.0.0.1:{self.ssh}/{app}")
        return work

    def change(self, work, version):
        """The one-line change: VERSION says something else."""
        (work / "VERSION").write_text(version + "\n")
        self.git(work, "add", "-A")
        self.git(work, "commit", "-q", "-m", version)

    def cpu_s(self):
        """CPU seconds of the server and of its children that have ended."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15]) / TICKS_PER_S

    def resident_mb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


class Visitor(threading.Thread):
    """Asks again and again, every 2 ms on a new connection, until the wanted text is answered."""

    def __init__(self, address, host, wanted):
        super().__init__(daemon=True)
        self.address, self.wanted = address, wanted.encode()
        self.request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        self.answered_at = None
        self.asked = self.failed = 0
        self.start()

    def run(self):
        deadline = time.monotonic() + ANSWER_S_MAX
        while time.monotonic() < deadline:
            answer = self.visit()
            if answer is not None and self.wanted in answer:
                self.answered_at = time.monotonic()
                return
            self.failed += answer is None or b" 200 " not in answer.split(b"\r\n", 1)[0]
            time.sleep(POLL_S)

    def visit(self):
        self.asked += 1
        try:
            with socket.create_connection(self.address, 1) as connection:
                connection.settimeout(5)
                connection.sendall(self.request)
                parts = []
                while part := connection.recv(65536):
                    parts.append(part)
                return b"".join(parts)
        except OSError:
            return None

    def when(self):
        """When the wanted text came."""
        self.join()
        if self.answered_at is None:
            raise RuntimeError(f"no answer with {self.wanted.decode()!r} within {ANSWER_S_MAX} s")
        return self.answered_at


def spread(values, unit="s", digits=2):
    """`0.61 s (0.58–0.70)`: the median, and the least and the greatest."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} {unit} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def say_machine(paas):
    """The first lines of every result: what was measured, where, and how busy it was."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    kind = pathlib.Path(paas).resolve().parent.name
    engine = Engine().get("/version")["Version"]
    git = run([GIT, "--version"]).split()[2]
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, {kind} build, {os.cpu_count()} × {model}, Linux {platform.release()},")
    print(f"Docker {engine}, git {git}, load average {load:.1f} before the run\n")


def judge(what, value, limit, unit):
    """Prints one budget; returns whether it was kept."""
    kept = value <= limit
    print(f"{'kept  ' if kept else 'MISSED'} {what}: {value:.2f} of {limit:.2f} {unit}")
    return kept
