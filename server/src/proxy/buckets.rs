//! How often each client address comes, in bounded memory and without a lock: token buckets, written as the time at which
//! the bucket would be full again (the "generic cell rate algorithm" of ATM), one word each, in a table of fixed size.
//!
//! An address has a choice of four places. Where all are taken by others whose buckets are not full, the fullest one is
//! given up: its address may come a little more often than its rate, and nobody less often.
use super::sync::{AtomicU64, Ordering::Relaxed};
use crate::domain::rate::Rate;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Sets of places in a table; a table takes 32 KiB.
const SETS: usize = 1024;
const PLACES: usize = 4;
/// A word: the time in units of 10 µs (5.5 years), and above it what tells addresses apart.
const TIME_BITS: u32 = 44;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const UNIT_US: u64 = 10;

pub(super) struct Buckets {
    places: Box<[[AtomicU64; PLACES]]>,
    hasher: RandomState,
    since: Instant,
    /// What one request costs, and what a full bucket holds, in units of time.
    interval: u64,
    period: u64,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            places: (0..SETS).map(|_| <[AtomicU64; PLACES]>::default()).collect(),
            hasher: RandomState::new(),
            since: Instant::now(),
            interval: units(rate.interval()).max(1),
            period: units(rate.period()),
        }
    }

    /// Takes one from the address's bucket; else how long it is until there is one.
    pub(super) fn take(&self, address: IpAddr) -> Result<(), Duration> {
        self.take_at(address, units(self.since.elapsed()))
    }

    fn take_at(&self, address: IpAddr, now: u64) -> Result<(), Duration> {
        let hash = self.hasher.hash_one(of_one_client(address));
        // Never zero, which is an empty place.
        let tag = (hash >> TIME_BITS) | 1;
        let set = &self.places[usize::try_from(hash).unwrap_or(0) % SETS];
        loop {
            let (place, known) = find(set, tag);
            let full_again = if known >> TIME_BITS == tag { (known & TIME_MASK).max(now) } else { now };
            let then = full_again + self.interval;
            if then > now + self.period {
                return Err(Duration::from_micros((then - now - self.period) * UNIT_US));
            }
            let word = (tag << TIME_BITS) | (then & TIME_MASK);
            if place.compare_exchange(known, word, Relaxed, Relaxed).is_ok() {
                return Ok(());
            }
        }
    }
}

/// The address's place, or else the one to take over: empty, or the one that is full again first.
fn find(set: &[AtomicU64; PLACES], tag: u64) -> (&AtomicU64, u64) {
    let mut best = (&set[0], set[0].load(Relaxed));
    for place in set {
        let word = place.load(Relaxed);
        if word >> TIME_BITS == tag {
            return (place, word);
        }
        if word & TIME_MASK < best.1 & TIME_MASK {
            best = (place, word);
        }
    }
    best
}

/// A client has a whole /64 of IPv6 to itself.
fn of_one_client(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

fn units(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX) / UNIT_US
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 100_000;

    #[test]
    fn an_address_may_come_as_often_as_its_rate_and_says_when_it_may_again() {
        let buckets = Buckets::new("3/s".parse().unwrap());
        let address = "203.0.113.7".parse().unwrap();
        let (taken, other) = (|now| buckets.take_at(address, now), "203.0.113.8".parse().unwrap());
        assert!((0..3).all(|_| taken(SECOND).is_ok()));
        let wait = taken(SECOND).unwrap_err();
        assert!(wait > Duration::from_millis(300) && wait <= Duration::from_millis(334), "{wait:?}");
        assert!(buckets.take_at(other, SECOND).is_ok());
        assert!(taken(SECOND + SECOND / 3).is_ok() && taken(SECOND + SECOND / 3).is_err());
        assert_eq!((0..10).filter(|_| taken(10 * SECOND).is_ok()).count(), 3, "no more than a full bucket is saved up");
    }

    #[test]
    fn a_client_is_a_network_of_ipv6() {
        let buckets = Buckets::new("1/h".parse().unwrap());
        assert!(buckets.take_at("2001:db8::1".parse().unwrap(), 1).is_ok());
        assert!(buckets.take_at("2001:db8::ffff:2".parse().unwrap(), 1).is_err());
        assert!(buckets.take_at("2001:db8:0:1::1".parse().unwrap(), 1).is_ok());
    }

    #[test]
    fn very_many_addresses_take_no_more_memory_and_nobody_is_wrongly_refused() {
        let buckets = Buckets::new("2/h".parse().unwrap());
        for number in 0..100_000u32 {
            assert!(buckets.take_at(IpAddr::V4(number.into()), u64::from(number)).is_ok());
        }
    }

    #[test]
    fn threads_together_take_no_more_than_there_is() {
        let buckets = Buckets::new("1000/h".parse().unwrap());
        let address = "::1".parse().unwrap();
        let took = || (0..1000).filter(|_| buckets.take_at(address, 7).is_ok()).count();
        let all: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(took)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(all, 1000);
    }
}
