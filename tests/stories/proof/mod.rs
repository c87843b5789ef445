//! Zero downtime, proven: every class of traffic at once, while releases come and go at random moments, and while `paas`
//! itself is killed at every step of a swap. Nothing fails, nothing is reset, and the app's own ledger agrees.
mod kills;
mod ledger;
mod long;
mod short;
mod swaps;

use crate::harness::{Connection, Response, Town, Work};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

const APP: &str = "ledger";
const HOST: &str = "ledger.localhost";
/// A visitor's pause between two requests: two cores carry all of them, the app, and the product.
const PAUSE: Duration = Duration::from_millis(20);

/// What all visitors share.
struct Load {
    address: SocketAddr,
    stop: AtomicBool,
    /// How long a long transfer takes.
    long: Duration,
    next_id: AtomicU64,
}

/// What a visitor does again and again, until the load stops.
type Class = fn(&Load, &mut Tally);

/// The classes, and how many visitors each has. One more is one more line.
const CLASSES: [(&str, Class, usize); 11] = [
    ("fresh GET", short::fresh, 2),
    ("kept-alive GET", short::kept_alive, 2),
    ("pipelined GET", short::pipelined, 1),
    ("POST into the ledger", short::entries, 3),
    ("Expect: 100-continue", short::expecting, 1),
    ("clients that leave", short::leaving, 2),
    ("answer after 3 s", short::slow, 2),
    ("long upload", long::upload, 1),
    ("long download", long::download, 1),
    ("events", long::events, 2),
    ("WebSocket", long::websocket, 2),
];

#[derive(Default)]
struct Tally {
    done: usize,
    failed: Vec<Failure>,
    /// Kept connections that the other side closed while they were idle.
    closed_idle: usize,
    slowest: Duration,
    /// The release that answered last; later ones must not be older.
    release: u64,
    /// What was posted, and whether it was acknowledged.
    entries: BTreeMap<u64, Acknowledged>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Acknowledged {
    Yes,
    No,
}

struct Failure {
    why: String,
    begun: Instant,
    ended: Instant,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.failed.extend(other.failed);
        self.closed_idle += other.closed_idle;
        self.slowest = self.slowest.max(other.slowest);
        self.entries.extend(other.entries);
    }

    /// Notes one exchange that took since `begun`; returns whether it went well.
    fn note(&mut self, begun: Instant, outcome: Result<()>) -> bool {
        self.done += 1;
        let is_well = outcome.is_ok();
        if let Err(error) = outcome {
            self.failed.push(Failure { why: error.to_string(), begun, ended: Instant::now() });
        }
        is_well
    }

    /// The answer is a 200, and of a release that is not older than what answered this visitor before.
    fn is_well(&mut self, answer: &Response) -> Result<()> {
        if answer.status != 200 {
            return Err(wrong(format!("{} {:?}", answer.status, answer.text())));
        }
        let release = answer.header("x-release").and_then(|number| number.parse().ok()).unwrap_or(0);
        if release < self.release {
            return Err(wrong(format!("release {release} answered after {}", self.release)));
        }
        self.release = release;
        Ok(())
    }

    fn is_well_and_says(&mut self, answer: &Response, text: &str) -> Result<()> {
        self.is_well(answer)?;
        let said = answer.text();
        if said.trim() == text { Ok(()) } else { Err(wrong(format!("{said:?} instead of {text:?}"))) }
    }
}

fn wrong(why: String) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

impl Load {
    fn new(town: &Town, long: Duration) -> Self {
        Self { address: town.http(), stop: AtomicBool::new(false), long, next_id: AtomicU64::new(1) }
    }

    fn connect(&self) -> Result<Connection> {
        Connection::open(self.address, HOST)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::SeqCst)
    }

    /// Sends all visitors off.
    fn begin<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> Visitors<'scope> {
        let all = CLASSES.into_iter().flat_map(|(name, class, count)| std::iter::repeat_n((name, class), count));
        Visitors(
            all.map(|(name, class)| {
                let visit = move || {
                    let mut tally = Tally::default();
                    while !self.is_over() {
                        class(self, &mut tally);
                        std::thread::sleep(PAUSE);
                    }
                    tally
                };
                (name, scope.spawn(visit))
            })
            .collect(),
        )
    }
}

struct Visitors<'scope>(Vec<(&'static str, ScopedJoinHandle<'scope, Tally>)>);

impl Visitors<'_> {
    /// Waits for all to end what they do.
    fn finish(self, load: &Load) -> BTreeMap<&'static str, Tally> {
        load.stop.store(true, Ordering::SeqCst);
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        for (name, visitor) in self.0 {
            tallies.entry(name).or_default().add(visitor.join().expect("a visitor does not panic"));
        }
        for (name, tally) in &tallies {
            eprintln!("{name}: {} done, {} failed, slowest {:?}", tally.done, tally.failed.len(), tally.slowest);
        }
        tallies
    }
}

/// The ledger app with its volume, whose releases overlap all the same.
fn push_ledger(town: &Town) -> Work {
    town.paas(&["apps:create", APP]).succeeds();
    town.paas(&["volumes:create", "lines", "-a", APP]).succeeds();
    town.paas(&["volumes:mount", "lines", "/ledger", "-a", APP]).succeeds();
    town.paas(&["volumes:overlap", "on", "-a", APP]).succeeds();
    let work = town.work(APP, APP);
    work.push().succeeds();
    work
}

fn is_long() -> bool {
    std::env::var_os("PAAS_LONG").is_some()
}

/// Wall time in milliseconds, as the app writes it.
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("a time of ours")
}
