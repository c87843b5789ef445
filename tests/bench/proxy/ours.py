"""`paas` as one of the proxies: on their core, routing the bench's hosts to apps that really were pushed to it."""
import contextlib
import json
import pathlib
import shutil
import sqlite3
import time

import machine
from house import House, Visitor
from peers import PLAIN, SECURE, SOCKETS

ORIGIN = pathlib.Path(__file__).resolve().parent / "origin"
PORT = 5000
# Ten hosts are what the usual table has.
FEW = 10


def host_of(number):
    return f"h{number}.bench.test"


class Ours(House):
    """A house with the app `origin`, which answers at many hosts."""

    name = "paas"
    BEFORE = machine.pinned(machine.PROXY_CORES, [])
    HTTPS = "127.0.0.1:0"

    def __init__(self, paas, certificate, hosts=FEW):
        super().__init__(paas)
        self.certificate, self.hosts = certificate, [host_of(number) for number in range(hosts)]

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        super().start()
        self.push(self.work(ORIGIN, "origin"), "origin", "origin v1")
        for host in (PLAIN, SECURE):
            self.command("domains:add", host, "-a", "origin")
        chain, key = (path.read_text() for path in self.certificate)
        self.command("certs:add", SECURE, given=chain + key)
        self.add_hosts()

    def work(self, sample, app):
        """A working copy of a folder with the remote `paas`."""
        work = self.folder / f"work-{app}"
        shutil.copytree(sample, work)
        self.git(work, "init", "-q", "-b", "main")
        self.git(work, "remote", "add", "paas", f"ssh://paas@127.0.0.1:{self.ssh}/{app}")
        return work

    def push(self, work, app, version):
        self.change(work, version)
        self.git(work, "push", "-q", "paas", "main")
        self.hold_to_load_cores(app)

    def push_echo(self):
        self.push(self.sample("echo", "echo"), "echo", "echo v1")
        self.command("domains:add", SOCKETS, "-a", "echo")

    def add_hosts(self):
        """Straight into the database while no server runs: by `domains:add`, 10,000 of them would take long."""
        app, now = self.asked("SELECT id FROM apps WHERE name = 'origin'"), int(time.time() * 1000)
        self.stop()
        with contextlib.closing(sqlite3.connect(self.data / "paas.db")) as database, database:
            rows = [(host, app, now) for host in self.hosts]
            database.executemany("INSERT INTO domains (hostname, app_id, added_at) VALUES (?, ?, ?)", rows)
        self.launch(f"127.0.0.1:{self.http}", f"127.0.0.1:{self.ssh}")
        self.wait_for(self.hosts[-1], "/")

    def wait_for(self, host, path):
        Visitor(("127.0.0.1", self.http), host, " 200 ").when()

    def restart(self):
        self.stop()
        self.launch(f"127.0.0.1:{self.http}", f"127.0.0.1:{self.ssh}")
        self.wait_for(PLAIN, "/")

    def asked(self, question, *words):
        """One value from the database."""
        with contextlib.closing(sqlite3.connect(self.data / "paas.db")) as database:
            return database.execute(question, words).fetchone()[0]

    def instance(self, app):
        """What the engine knows of an app's one running instance."""
        key = self.asked("SELECT key FROM apps WHERE name = ?", app)
        filters = {"label": [f"paas.app-key={key}"], "status": ["running"]}
        (one,) = self.engine.get("/containers/json", filters=json.dumps(filters))
        return one

    def upstream(self, app):
        """Where the app's instance is reached: `paas` goes there, and so do the peers."""
        (network,) = self.instance(app)["NetworkSettings"]["Networks"].values()
        return f"{network['IPAddress']}:{PORT}"

    def hold_to_load_cores(self, app):
        self.update(app, {"CpusetCpus": machine.LOAD_CORES})

    def weigh(self, app, shares):
        """What the app's instance weighs where processes compete for a core; usual are 1024."""
        self.update(app, {"CpuShares": shares, "CpusetCpus": machine.LOAD_CORES})

    def update(self, app, limits):
        self.engine.ask("POST", f"/containers/{self.instance(app)['Id']}/update", limits)
