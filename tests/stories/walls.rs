//! What `paas host-guard` keeps apps and builds away from. Told with an engine, a firewall and a network of its own.
use crate::harness::private_engine::{PrivateEngine, in_private, ran};
use crate::harness::{Town, Work, engine, eventually};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where clouds keep credentials; here, behind a cable that leaves this machine.
const METADATA: &str = "169.254.169.254";
/// A machine of the world, behind the same cable: it may be reached.
const WORLD: &str = "198.51.100.9";
const WORLD_PORT: u16 = 8011;
/// The host's own address and its services.
const HOST: &str = "198.51.100.1";
const MENDED: Duration = Duration::from_secs(8);

/// The guard, running beside a town.
struct Guard(Child);

impl Guard {
    fn start(town: &Town, engine: &PrivateEngine) -> Self {
        let mut command = crate::harness::paas();
        command.arg("host-guard").arg("--data-dir").arg(town.data_dir());
        command.arg("--build-cgroup").arg(format!("{}/buildkit", engine.cgroup));
        Self(command.stdin(Stdio::null()).spawn().expect("start the guard"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What lies on the other side of a cable: a network namespace with two addresses that answer.
struct Outside(Child);

impl Outside {
    fn start() -> Self {
        let answer = format!(
            "use IO::Socket::INET; my @s = map {{ IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $_, Listen => 9, ReuseAddr => 1) or die }} (80, {WORLD_PORT}); \
             $| = 1; print \"up\\n\"; <STDIN>;"
        );
        let outside = Command::new("unshare")
            .args(["--net", "perl", "-e", &answer])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start unshare");
        let net = format!("--net=/proc/{}/ns/net", outside.id());
        let own = std::fs::read_link("/proc/self/ns/net").expect("read our namespace");
        eventually("the outside has a network of its own", Duration::from_secs(5), || {
            std::fs::read_link(format!("/proc/{}/ns/net", outside.id())).is_ok_and(|its| its != own)
        });
        ran(
            "ip",
            &["link", "add", "cable", "type", "veth", "peer", "name", "cable-end", "netns", &outside.id().to_string()],
        );
        ran("ip", &["address", "add", &format!("{HOST}/24"), "dev", "cable"]);
        ran("ip", &["link", "set", "cable", "up"]);
        for words in [
            ["address", "add", &format!("{WORLD}/24"), "dev", "cable-end"],
            ["address", "add", &format!("{METADATA}/32"), "dev", "cable-end"],
            ["link", "set", "cable-end", "up", ""],
        ] {
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            ran("nsenter", &[&[net.as_str(), "ip"], words.as_slice()].concat());
        }
        ran("ip", &["route", "add", METADATA, "dev", "cable"]);
        Self(outside)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Perl that says of each `address:port` whether it accepts: `reached A:P` or `no A:P`; it asks all at once.
fn probe(targets: &[String]) -> String {
    let list = targets.join(" ");
    format!(
        "perl -MIO::Socket::IP -e 'for (qw({list})) {{ next if fork; my ($h, $p) = /^(.*):(\\d+)$/; $h =~ tr/[]//d; \
         print IO::Socket::IP->new(PeerHost => $h, PeerPort => $p, Timeout => 2) ? qq(reached $_\\n) : qq(no $_\\n); \
         exit }} 1 while wait > 0'"
    )
}

/// What of `targets` an instance reaches.
fn reached_from(instance: &str, targets: &[String]) -> Vec<String> {
    let outcome = engine::exec(instance, &["sh", "-c", &probe(targets)]);
    let said = outcome.succeeds().stdout.clone();
    assert_eq!(said.lines().count(), targets.len(), "{outcome:?}");
    said.lines().filter_map(|line| line.strip_prefix("reached ")).map(str::to_owned).collect()
}

fn address_of(instance: &str) -> String {
    let networks = engine::inspect(instance)["NetworkSettings"]["Networks"].take();
    let network = networks.as_object().and_then(|networks| networks.values().next().cloned());
    network.and_then(|network| network["IPAddress"].as_str().map(str::to_owned)).expect("an address")
}

fn gateway_of(instance: &str) -> String {
    let networks = engine::inspect(instance)["NetworkSettings"]["Networks"].take();
    let network = networks.as_object().and_then(|networks| networks.values().next().cloned());
    network.and_then(|network| network["Gateway"].as_str().map(str::to_owned)).expect("a gateway")
}

/// A step of a build that says what it reaches; it never runs from the cache.
fn builds_reach(town: &Town, targets: &[String], round: &str) -> Vec<String> {
    let work = Work::empty(town, "builder");
    let perl = probe(targets);
    let looks = "ls /var/run/docker.sock /run/docker.sock /var/lib/docker";
    // It fails at its end: nothing is to be deployed, and what failed is never taken from the cache.
    work.write("Dockerfile", &format!("FROM debian:trixie-slim\nRUN echo {round}; {looks}; {perl}; exit 1\n"));
    work.commit(round);
    let push = work.git(&["push", "--force", "paas", "main"]);
    let said = format!("{}{}", push.stdout, push.stderr);
    assert_eq!(said.matches("No such file or directory").count().min(3), 3, "neither socket nor files: {said}");
    let lines = said.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim);
    // The failure's card repeats the last ones.
    let told: BTreeSet<&str> = lines
        .filter(|line| {
            targets.iter().any(|t| [format!("reached {t}"), format!("no {t}")].contains(&(*line).to_owned()))
        })
        .collect();
    assert_eq!(told.len(), targets.len(), "the step said of each what it reaches: {said}");
    told.into_iter().filter_map(|line| line.strip_prefix("reached ")).map(str::to_owned).collect()
}

#[test]
fn neither_apps_nor_builds_reach_the_host_its_metadata_or_other_apps() {
    in_private("stories::walls::neither_apps_nor_builds_reach_the_host_its_metadata_or_other_apps", tell);
}

fn tell(private: &PrivateEngine) {
    let _outside = Outside::start();
    ran("ip", &["-6", "address", "add", "fd00:77::1/64", "dev", "cable", "nodad"]);
    let service = TcpListener::bind("[::]:0").expect("listen everywhere");
    let loopback = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let (service, loopback) = [&service, &loopback].map(|s| s.local_addr().expect("an address").port()).into();
    let town = Town::start_with(&[("PAAS_HTTP_LISTEN", "[::]:0")]);
    town.push("hello-docker", "one").succeeds();
    town.push("hello-docker", "two").succeeds();
    let [one, two] = ["1", "2"].map(|app| town.engine.instances(&[&format!("paas.app={app}")]).remove(0));
    let (gateway, two) = (gateway_of(&one), format!("{}:5000", address_of(&two)));
    let at = |address: &str, port: u16| format!("{address}:{port}");
    let world = at(WORLD, WORLD_PORT);
    let forbidden =
        vec![at(HOST, service), at(&gateway, service), at("172.17.0.1", service), at(METADATA, 80), two.clone()];

    // Without a guard the host lies open: the probes can reach what they are sent to.
    let open = reached_from(&one, &[forbidden.clone(), vec![world.clone()]].concat());
    for target in [&forbidden[0], &forbidden[1], &forbidden[3], &world] {
        assert!(open.contains(target), "{target} is there to be reached: {open:?}");
    }
    assert!(builds_reach(&town, &forbidden, "before").contains(&forbidden[0]), "builds reach the host without a guard");
    town.paas(&["server:status"]).succeeds().says("does not run");
    town.doctor_is_clean();

    let guard = Guard::start(&town, private);
    let all = [forbidden.clone(), vec![at("127.0.0.1", loopback), at("[fd00:77::1]", service), world.clone()]].concat();
    eventually("the guard keeps its rules", MENDED, || {
        town.paas(&["server:status"]).stdout.contains("host-guard keeps")
    });
    assert_eq!(reached_from(&one, &all), [world.as_str()], "an instance reaches the world alone");
    assert_eq!(builds_reach(&town, &all, "guarded"), [world.as_str()], "a build reaches the world alone");
    let files =
        engine::exec(&one, &["sh", "-c", "ls /var/run/docker.sock /run/docker.sock 2>/dev/null; cat /proc/1/comm"]);
    assert!(!files.succeeds().stdout.contains("docker.sock"), "{files:?}");
    let proxy = vec![at(HOST, town.http().port()), at(&gateway, town.http().port())];
    assert_eq!(reached_from(&one, &proxy).len(), proxy.len(), "apps use the proxy like everybody");
    town.shows("one", "hello");
    limits_hold(&private.cgroup);
    let slipped = strangers_while_networks_are_made(&one, &two);
    assert_eq!(slipped, 0, "nobody slips through while Docker makes networks");

    // Somebody empties every firewall: Docker's own walls are gone too.
    ran("nft", &["flush", "ruleset"]);
    eventually("the walls stand again", MENDED, || reached_from(&one, &forbidden).is_empty());
    town.shows("one", "hello");
    town.doctor_is_clean();

    drop(guard);
    assert!(reached_from(&one, &forbidden).is_empty(), "the walls outlive the guard");
    let mut remove = crate::harness::paas();
    remove.args(["host-guard", "--remove", "--data-dir"]).arg(town.data_dir());
    remove.args(["--build-cgroup", &format!("{}/buildkit", private.cgroup)]);
    assert!(remove.status().expect("start paas").success());
    let left = Command::new("nft").args(["list", "tables"]).output().expect("start nft");
    assert!(!String::from_utf8_lossy(&left.stdout).contains("paas"), "nothing is left: {left:?}");
}

/// How many of an instance's visits to another app, one every 20 ms, get through while the engine makes networks. (Docker 20.10
/// takes its rule between networks out for a moment with each.)
fn strangers_while_networks_are_made(instance: &str, target: &str) -> usize {
    let visits = format!(
        "$| = 1; my $end = time + 8; while (time < $end) {{ if (!fork) {{ \
         print IO::Socket::IP->new(PeerAddr => q({target}), Timeout => 1) ? qq(reached\n) : qq(no\n); exit }} \
         select undef, undef, undef, 0.02; 1 while waitpid(-1, 1) > 0 }} 1 while wait > 0"
    );
    let instance = instance.to_owned();
    let visitor = std::thread::spawn(move || engine::exec(&instance, &["perl", "-MIO::Socket::IP", "-e", &visits]));
    while !visitor.is_finished() {
        ran("docker", &["network", "create", "passing"]);
        ran("docker", &["network", "rm", "passing"]);
    }
    let said = visitor.join().expect("the visitor ends").succeeds().stdout.clone();
    assert!(said.lines().count() > 50, "it went often: {said}");
    said.lines().filter(|line| *line == "reached").count()
}

/// The group of build steps is limited, in whichever version of control groups this machine has.
fn limits_hold(cgroup: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let read =
        |path: String| std::fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let cores = std::thread::available_parallelism().expect("count the cores").get();
    let quota = if root.join("cgroup.controllers").exists() {
        read(format!("{cgroup}/buildkit/cpu.max"))
    } else {
        read(format!("cpu/{cgroup}/buildkit/cpu.cfs_quota_us"))
    };
    let quota: usize = quota.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a quota");
    assert!(quota <= 20_000 * cores.max(2) - 5_000, "{quota} µs of 20 ms on {cores} cores");
}
