//! Loom tries every interleaving of the claim protocol. The file under test is included, not copied: `sync` gives it
//! loom's atomics. Loom does not know arc-swap, so the snapshot is an atomic here.
#[path = "../src/proxy/claim.rs"]
mod claim;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}

use claim::{Claim, Entry, Left};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use loom::thread;

/// Two instances; the snapshot names the one that is routed.
struct World {
    snapshot: AtomicUsize,
    claims: [Claim; 2],
    /// The instance was stopped because its drain was reported.
    stopped: [AtomicBool; 2],
    told: AtomicUsize,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            snapshot: AtomicUsize::new(0),
            claims: [Claim::new(), Claim::new()],
            stopped: [AtomicBool::new(false), AtomicBool::new(false)],
            told: AtomicUsize::new(0),
        })
    }

    /// One request, as `balance.rs` does it. A send to a stopped instance is what must never be.
    fn request(&self) -> usize {
        loop {
            let chosen = self.snapshot.load(SeqCst);
            match self.claims[chosen].enter() {
                Entry::Claimed => {
                    assert!(!self.stopped[chosen].load(SeqCst), "sent to an instance whose drain had reported zero");
                    self.tell(self.claims[chosen].leave());
                    return chosen;
                }
                Entry::Closed(left) => self.tell(left),
            }
        }
    }

    fn tell(&self, left: Left) {
        if left == Left::Nobody {
            self.told.fetch_add(1, SeqCst);
        }
    }

    fn swap(&self) {
        self.snapshot.store(1, SeqCst);
        self.tell(self.claims[0].close());
        if self.claims[0].is_drained() {
            self.stopped[0].store(true, SeqCst);
        }
    }
}

/// So many requests race with a swap; whatever the order, the drain ends, is told, and is final.
fn race(requests: usize) {
    let world = World::new();
    let racing: Vec<_> = (0..requests)
        .map(|_| {
            let world = world.clone();
            thread::spawn(move || world.request())
        })
        .collect();
    world.swap();
    for request in racing {
        request.join().expect("the request's own assertion failed");
    }
    assert!(world.claims[0].is_drained());
    assert_eq!(world.claims[1].in_flight(), 0);
    assert!(world.told.load(SeqCst) >= 1, "the end of the drain was told to nobody");
}

#[test]
fn nobody_sends_to_an_instance_after_its_drain_reported_zero() {
    loom::model(|| race(1));
}

/// Every interleaving of two requests takes many minutes; those with at most three preemptions take seconds.
#[test]
fn two_requests_at_once_do_not_hide_each_other_from_the_drain() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| race(2));
}

#[test]
fn an_instance_put_back_into_the_table_serves_again() {
    loom::model(|| {
        let world = World::new();
        let request = thread::spawn({
            let world = world.clone();
            move || world.request()
        });
        world.snapshot.store(1, SeqCst);
        world.tell(world.claims[0].close());
        world.claims[0].reopen();
        world.snapshot.store(0, SeqCst);
        request.join().unwrap();
        assert_eq!(world.claims[0].in_flight() + world.claims[1].in_flight(), 0);
        assert!(!world.claims[0].is_closed());
    });
}
