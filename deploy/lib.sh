# Sourced by the scripts here and by tests/install and tests/run: what this machine must have, and how it gets it.
# shellcheck shell=bash

export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin"
# Where Docker listens, whatever DOCKER_HOST says: the server asks there too.
ENGINE_SOCKET=/var/run/docker.sock
ENGINE_LOG=/var/log/dockerd.log
BASE_IMAGE=debian:trixie-slim
# What a package holds to be read: everything of ours that README sends people to, but the tests.
# shellcheck disable=SC2034
PAPERS=(README.md SECURITY.md CHANGELOG.md LIMITS.md FAULTS.md ARCHITECTURE.md CONTRIBUTING.md LICENSE-MIT LICENSE-APACHE
    buildpacks/{PAAS_TOML,VERSIONS,HEROKU,CONFORMANCE}.md)

# One name for every line of output: the script that runs.
say() { printf '%s: %s\n' "${SCRIPT:-deploy}" "$*" >&2; }
fail() {
    say "$1"
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

# Runs a command as root: directly, or by sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

check_root() {
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "needs root to install packages and reach Docker" \
        "run it as root, or install sudo and allow it to this user"
}

check_rust() {
    command -v cargo >/dev/null || fail "cargo is missing" "install Rust from https://rustup.rs, then run this again"
}

# What crates written in C are compiled with.
check_compiler() {
    local tool
    for tool in cc make; do
        command -v "$tool" >/dev/null || fail "$tool is missing, and parts of paas are written in C" \
            "install a C compiler and make (Debian: apt-get install build-essential), then run this again"
    done
}

# ensure_commands COMMAND=PACKAGE …: installs the Debian packages of the commands that are missing.
ensure_commands() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

install_packages() {
    command -v apt-get >/dev/null || fail "no apt-get here to install $*" "install them by hand, then run this again"
    say "installing $* with apt-get"
    local apt=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -o DPkg::Lock::Timeout=120)
    as_root "${apt[@]}" update >&2 || fail "apt-get update failed" "check /etc/apt/sources.list and the network"
    as_root "${apt[@]}" install -y --no-install-recommends "$@" >&2 </dev/null || fail "apt-get install $* failed"
}

# The docker command line: only scripts and tests use it, the server speaks to the socket.
engine() { as_root docker -H "unix://$ENGINE_SOCKET" "$@"; }

engine_answers() { engine version >/dev/null 2>&1; }

# Starts Docker when nothing answers.
ensure_engine() {
    engine_answers && return
    say "starting Docker"
    if [ "$(cat /proc/1/comm)" = systemd ]; then
        as_root systemctl start docker || fail "systemctl start docker failed" "see: journalctl -u docker"
    else
        start_dockerd
    fi
    local deadline=$((SECONDS + 60))
    until engine_answers; do
        [ "$SECONDS" -lt "$deadline" ] || fail "Docker does not answer at $ENGINE_SOCKET" \
            "its last lines, from $ENGINE_LOG:" "$(as_root tail -n 5 "$ENGINE_LOG" 2>/dev/null)"
        sleep 0.2
    done
}

# Without systemd nobody mounts the cgroups or keeps dockerd running: it runs on when the script ends.
start_dockerd() {
    if [ ! -e /sys/fs/cgroup/cgroup.controllers ] && [ ! -d /sys/fs/cgroup/memory ]; then
        ensure_commands cgroupfs-mount=cgroupfs-mount
        as_root cgroupfs-mount || fail "cannot mount the control groups that Docker needs" \
            "a container without privileges cannot run Docker"
    fi
    # The descriptor 9 is the caller's lock, which a daemon must not hold.
    as_root setsid --fork sh -c "exec dockerd >>$ENGINE_LOG 2>&1" </dev/null >/dev/null 2>&1 9>&-
}

# Makes the base image ahead of the tests, which would all make it at once.
ensure_base_image() {
    engine image inspect "$BASE_IMAGE" >/dev/null 2>&1 && return
    say "getting $BASE_IMAGE"
    timeout 60 docker -H "unix://$ENGINE_SOCKET" pull -q "$BASE_IMAGE" >/dev/null 2>&1 && return
    say "no registry has it; making it from the Debian archive (about 20 s)"
    as_root mmdebstrap --quiet --variant=minbase --format=tar trixie - | engine import - paas-try/making >/dev/null ||
        fail "cannot make $BASE_IMAGE from the Debian archive" "check the network, then run this again"
    engine tag paas-try/making "$BASE_IMAGE"
    engine rmi paas-try/making >/dev/null
}

# Where cargo puts what it builds.
target_dir() {
    cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
