//! What is put on a real machine: the package, the installer's checks, the units, and the program under their constraints.
//! Process 1 is no systemd where these run, so the units themselves are judged by systemd's own tools.
use crate::harness::{Outcome, Town, eventually, paas};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// systemd's own measure, from 0 (locked up) to 10: ours stand at 1.6 and 2.1.
const EXPOSURE_MAX: f64 = 2.5;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in the workspace").to_owned()
}

fn run(program: impl AsRef<std::ffi::OsStr>, words: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(&program);
    let output = command.args(words).envs(environment.iter().copied()).stdin(Stdio::null()).output();
    let what = format!("{} {}", program.as_ref().to_string_lossy(), words.join(" "));
    Outcome::new(&what, &output.unwrap_or_else(|error| panic!("start {what}: {error}")))
}

/// Makes a package into `folder` and returns its archive.
fn package(folder: &Path, program: &str) -> PathBuf {
    let environment = [("PAAS_PACKAGE_BIN", program), ("SOURCE_DATE_EPOCH", "1700000000")];
    run(repository().join("deploy/package"), &[folder.to_str().expect("a path")], &environment).succeeds();
    let names = std::fs::read_dir(folder).expect("read the folder").map(|entry| entry.expect("an entry").path());
    let mut archives = names.filter(|path| path.extension().is_some_and(|ending| ending == "gz"));
    archives.next().expect("an archive was made")
}

#[test]
fn the_package_is_reproducible_and_refuses_a_machine_without_systemd_before_it_changes_anything() {
    let home = tempfile::tempdir().expect("make a folder");
    // With a small program, since packing ours twice takes its time.
    let [first, second] = ["first", "second"].map(|name| package(&home.path().join(name), "/usr/bin/true"));
    assert!(std::fs::read(&first).expect("read") == std::fs::read(&second).expect("read"), "the same bytes twice");
    let archive = package(&home.path().join("ours"), paas().get_program().to_str().expect("a path"));

    let unpacked = home.path().join("unpacked");
    std::fs::create_dir(&unpacked).expect("make a folder");
    let words =
        ["-xzf", archive.to_str().expect("a path"), "--strip-components=1", "-C", unpacked.to_str().expect("a path")];
    run("tar", &words, &[]).succeeds();
    for paper in papers_of_the_readme() {
        assert!(unpacked.join(&paper).is_file(), "README.md sends people to {paper}, which the package lacks");
    }
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).expect("let others in");
    // A machine without Rust, Docker or systemd.
    let volume = format!("{}:/package:ro", unpacked.display());
    let inside = |line: &str| {
        run(
            "docker",
            &[
                "run",
                "--rm",
                "--network",
                "none",
                "-v",
                &volume,
                "debian:trixie-slim",
                "sh",
                "-c",
                &format!("exec 2>&1; {line}"),
            ],
            &[],
        )
    };
    let refused = inside(
        "/package/install --check --key /dev/null; /package/install --yes --domain apps.example.com; echo $?; id paas; ls /etc/paas /var/lib/paas",
    );
    refused.says("docker       absent").says("will install docker.io").says("will make the user paas");
    refused.says("needs systemd as process 1").says("nothing was changed").says("Debian GNU/Linux 13");
    refused.says("program").says("/dev/null").says("holds no SSH public key");
    refused.says("no such user").says("cannot access '/etc/paas'").says("cannot access '/var/lib/paas'");
    inside("/package/install --check --domain 'a b'; /package/install --nonsense").says("is no domain").says("--purge");
    inside("setpriv --reuid 1000 --clear-groups /package/install --check").says("run it as root");
    inside("cp -r /package /p && echo >>/p/paas.toml && /p/install --check").says("differ from SHA256SUMS");
}

/// What README.md leads to that is there to be read.
fn papers_of_the_readme() -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("README.md")).expect("read README.md");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next().map(str::to_owned));
    let is_paper = |target: &String| {
        let is_ours = !target.contains(':') && !target.starts_with("tests/");
        is_ours && (Path::new(target).extension().is_some_and(|ending| ending == "md") || target.starts_with("LICENSE"))
    };
    let papers: Vec<String> = targets.filter(is_paper).collect();
    assert!(papers.iter().any(|paper| paper == "LIMITS.md"), "{papers:?}");
    papers
}

#[test]
fn a_machine_that_cannot_compile_a_package_is_told_what_it_lacks_before_anything_is_compiled() {
    let home = tempfile::tempdir().expect("make a folder");
    let tools = home.path().join("bin");
    std::fs::create_dir(&tools).expect("make a folder");
    for name in ["bash", "dirname", "sed", "head", "uname", "mktemp", "rm", "mkdir"] {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(name), tools.join(name)).expect("lend a program");
    }
    let package_with = |program: &str| {
        std::os::unix::fs::symlink("/usr/bin/false", tools.join(program)).expect("lend a program");
        let cargo_home = home.path().join("cargo");
        let words = [home.path().to_str().expect("a path")];
        let environment =
            [("PATH", tools.to_str().expect("a path")), ("CARGO_HOME", cargo_home.to_str().expect("a path"))];
        run(repository().join("deploy/package"), &words, &environment)
    };
    package_with("cargo").fails_with(1, "cc is missing");
    package_with("cc").fails_with(1, "make is missing").fails_with(1, "build-essential");
    package_with("make").fails_with(1, "the build failed");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_little_to_attack() {
    let home = tempfile::tempdir().expect("make a folder");
    let program = paas().get_program().to_owned();
    let mut units = Vec::new();
    for entry in std::fs::read_dir(repository().join("deploy/systemd")).expect("read the units") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("read a unit");
        let copy = home.path().join(path.file_name().expect("a name"));
        std::fs::write(&copy, text.replace("/usr/local/bin/paas", program.to_str().expect("a path"))).expect("write");
        let is_unit = copy.extension().is_some_and(|ending| ending == "service" || ending == "socket");
        units.extend(is_unit.then(|| copy.to_str().expect("a path").to_owned()));
    }
    assert_eq!(units.len(), 4);
    let path = format!("{}:", home.path().display());
    let words: Vec<&str> = std::iter::once("verify").chain(units.iter().map(String::as_str)).collect();
    let verified = run("systemd-analyze", &words, &[("SYSTEMD_UNIT_PATH", &path)]);
    let ours: Vec<&str> = verified.stderr.lines().filter(|line| line.contains("paas")).collect();
    assert!(verified.code == Some(0) && ours.is_empty(), "{verified:?}");
    for unit in units.iter().filter(|unit| unit.ends_with(".service")) {
        let judged = run("systemd-analyze", &["security", "--offline=yes", "--no-pager", unit], &[]);
        let level = judged
            .succeeds()
            .stdout
            .lines()
            .find_map(|line| line.split("service: ").nth(1)?.split(' ').next()?.parse::<f64>().ok());
        assert!(level.is_some_and(|level| level <= EXPOSURE_MAX), "{unit}: {level:?}: {}", judged.stdout);
    }
}

/// Ends a process when the story does.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sockets_handed_over_are_served_and_systemd_hears_that_the_server_is_ready() {
    let home = tempfile::tempdir().expect("make a folder");
    let told = home.path().join("notify");
    let notify = std::os::unix::net::UnixDatagram::bind(&told).expect("listen as systemd does");
    notify.set_read_timeout(Some(Duration::from_secs(20))).expect("set a limit");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let mut child = Command::new("systemd-socket-activate")
        .args([
            "--listen",
            &free.to_string(),
            "--fdname",
            "http",
            "--setenv",
            &format!("NOTIFY_SOCKET={}", told.display()),
        ])
        .arg(paas().get_program())
        .args(["server", "--http-listen", "127.0.0.1:1", "--https-listen", "off", "--ssh-listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(home.path().join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start systemd-socket-activate");
    let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
    let _ended = Ended(child);
    // The first visitor starts the server, and is answered by it.
    let visitor = eventually_connects(free);
    let mut line = String::new();
    stdout.read_line(&mut line).expect("read the ready line");
    assert!(line.contains(&format!("\"http\":\"{free}\"")), "it serves on the socket handed over: {line}");
    let mut message = [0; 64];
    let length = notify.recv(&mut message).expect("systemd hears something");
    assert_eq!(&message[..length], b"READY=1\n");
    let mut visitor = visitor;
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\nConnection: close\r\n\r\n").expect("ask");
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).expect("read the answer");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

fn eventually_connects(address: SocketAddr) -> TcpStream {
    let mut stream = None;
    eventually("somebody listens", Duration::from_secs(10), || {
        stream = TcpStream::connect(address).ok();
        stream.is_some()
    });
    stream.expect("connected")
}

#[test]
fn the_server_needs_no_more_than_its_user_the_docker_group_and_its_own_folder() {
    let group = run("stat", &["-c", "%g", "/var/run/docker.sock"], &[]).succeeds().stdout.trim().to_owned();
    let town = Town::start_confined(&group);
    let status = std::fs::read_to_string(format!("/proc/{}/status", town.pid())).expect("read its status");
    for line in ["Uid:\t64999\t64999", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    town.push("hello-docker", "blog").succeeds();
    town.shows("blog", "hello-docker v1");
    // Why it does not answer is read from /proc, which its own user may look at for everybody's processes.
    town.paas(&["apps:create", "shy"]).succeeds();
    town.paas(&["checks:set", "timeout=5s", "-a", "shy"]).succeeds();
    town.push("loopback-only", "shy").is_rejected_with("it listens on 127.0.0.1:5000 only");
    town.doctor_is_clean();
}
