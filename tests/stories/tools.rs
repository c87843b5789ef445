//! Programs that others wrote to find fault with servers, and the score that ours must hold. `tests/install` installs them.
use crate::harness::{Town, run};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A head has 10 s, kept to within a tick; slowhttptest counts whole seconds.
const HEAD_SECONDS: u64 = 10 + 2;
/// What a normal request may take meanwhile, in 99 of 100 cases. Measured always, and held in the long form.
const P99: Duration = Duration::from_millis(50);

/// Programs from PyPI have an environment of their own beside what cargo builds.
fn tool(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("find the test's own program");
    let target = here.ancestors().nth(3).expect("a test stands in target/PROFILE/deps");
    let tool = target.join("test-tools/bin").join(name);
    assert!(tool.exists(), "{} is missing: run tests/install", tool.display());
    tool
}

#[test]
fn ssh_audit_finds_no_failure_and_no_warning_but_that_of_the_exchange_for_older_clients() {
    let town = Town::start();
    let mut command = Command::new(tool("ssh-audit"));
    command.args(["-n", "-l", "warn", "-p", &town.ssh_port().to_string(), "127.0.0.1"]);
    let audit = run(command, "ssh-audit", b"");
    // The client of Debian 12 knows no post-quantum exchange that ours does: ours comes first, and the older one stays.
    let is_known = |line: &str| line.contains("curve25519-sha256") && line.contains("post-quantum");
    let lines = || audit.stdout.lines().filter(|line| !is_known(line));
    let score = |mark: &str| lines().filter(|line| line.contains(mark)).count();
    println!("ssh-audit: {} fail, {} warn", score("[fail]"), score("[warn]"));
    assert!(score("[fail]") == 0 && score("[warn]") == 0, "{}", audit.stdout);
    assert!(audit.stdout.contains("curve25519-sha256"), "it saw our key exchanges: {audit:?}");
}

#[test]
fn slow_connections_by_the_thousand_are_cut_in_time_and_others_are_served_meanwhile() {
    let is_long = std::env::var_os("PAAS_LONG").is_some();
    let (connections, rate) = if is_long { (4000, 800) } else { (1000, 500) };
    let town = Town::start();
    town.push("hello-docker", "blog").succeeds();
    let (stop, report) = (AtomicBool::new(false), town.home().join("slow"));
    let mut times = std::thread::scope(|scope| {
        let visitor = scope.spawn(|| visit(&town, &stop));
        let mut slow = Command::new("slowhttptest");
        slow.args(["-H", "-g", "-i", "3", "-l", "40", "-p", "5", "-x", "20", "-o"]).arg(&report);
        slow.args(["-c", &connections.to_string(), "-r", &rate.to_string(), "-u", &format!("http://{}/", town.http())]);
        let outcome = run(slow, "slowhttptest", b"");
        stop.store(true, Ordering::SeqCst);
        outcome.succeeds().says("No open connections left");
        visitor.join().expect("a visitor does not panic")
    });
    let table = std::fs::read_to_string(report.with_extension("csv")).expect("slowhttptest leaves a table");
    are_cut_in_time(&table);
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{connections} slow ones; {} others: p50 {:?}, p99 {:?}", times.len(), at(50), at(99));
    assert!(!is_long || at(99) < P99, "p99 of normal requests is {:?}", at(99));
    town.doctor_is_clean();
}

/// A fresh connection for each request, all of which are answered; how long each took.
fn visit(town: &Town, stop: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        town.shows("blog", "hello-docker v1");
        times.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    times
}

/// Rows of `Seconds,Closed,Pending,Connected,Service Available`: who was there at one second is gone soon after. Behind the
/// last row none is left.
fn are_cut_in_time(table: &str) {
    let rows: Vec<[u64; 3]> = table.lines().filter_map(row).collect();
    assert!(rows.iter().map(|[_, closed, connected]| closed + connected).max() > Some(100), "some were slow:\n{table}");
    for [second, closed, connected] in &rows {
        let Some(later) = rows.iter().find(|later| later[0] >= second + HEAD_SECONDS) else { continue };
        assert!(later[1] >= closed + connected, "of those at {second} s some lived at {} s:\n{table}", later[0]);
    }
}

fn row(line: &str) -> Option<[u64; 3]> {
    let numbers: Vec<u64> = line.split(',').map_while(|word| word.trim().parse().ok()).collect();
    let [second, closed, _pending, connected, _available] = numbers[..] else { return None };
    Some([second, closed, connected])
}
