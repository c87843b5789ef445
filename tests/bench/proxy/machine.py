"""The machine under the bench: which core does what, and what a tree of processes has used; starts and ends them."""
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time

# The proxies take turns on the first core; the load, and the apps behind them, have the others.
PROXY_CORES = "0"
LOAD_CORES = ",".join(str(core) for core in range(1, os.cpu_count()))
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_S_MAX = 40
END_S_MAX = 15


def check_root_and_cores():
    """Priorities, and nginx's worker that writes into a folder of root's, need root."""
    if os.geteuid() != 0:
        raise SystemExit("run it as root")
    if not LOAD_CORES:
        raise SystemExit("needs two cores: one for the proxies, one for the load")


def raise_open_files():
    """Thousands of connections are held at a time, at both of their ends; children inherit the limit."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pinned(cores, words):
    return ["taskset", "-c", cores, *(str(word) for word in words)]


def fields_of(pid):
    """What follows the name in /proc/PID/stat; empty when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def tree(root):
    """A process and all that it started."""
    children = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        if fields := fields_of(folder.name):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def cpu_s(root):
    """User and system seconds of a tree, with those of its processes that have ended."""
    return sum(sum(map(int, fields_of(pid)[11:15])) for pid in tree(root)) / TICKS_PER_S


def memory_kib(root):
    """What a tree holds resident, with shared pages divided among those who share them (PSS)."""
    total = 0
    for pid in tree(root):
        try:
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def load_cores_idle_s():
    """For how long the cores of the load have had nothing to do, together, since the machine began."""
    names = {f"cpu{core}" for core in LOAD_CORES.split(",")}
    lines = (line.split() for line in pathlib.Path("/proc/stat").read_text().splitlines())
    return sum(int(fields[4]) + int(fields[5]) for fields in lines if fields[0] in names) / TICKS_PER_S


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start(words, log, more_env):
    """Starts a proxy on its core, with all that it says in a file."""
    with open(log, "ab") as out:
        env = dict(os.environ, **more_env)
        return subprocess.Popen(pinned(PROXY_CORES, words), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)


def wait_until_listening(process, port, log):
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args[3]} does not listen:\n{pathlib.Path(log).read_text()[-2000:]}")


def end(process):
    """SIGTERM, and SIGKILL for what is left of its tree after a while."""
    members = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait()
