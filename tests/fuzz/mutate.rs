//! Inputs by chance out of seeds: bytes are flipped, dropped, doubled, spliced, and words put in that parsers trip over.
use std::time::{Duration, Instant};

/// Longest input, in bytes: long ones are for the tables of limits.
const INPUT_BYTES_MAX: usize = 4096;

const WORDS: [&[u8]; 30] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\r\n ",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Host: mirror.localhost\r\n",
    b"Connection: close\r\n",
    b"Upgrade: x\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"http://",
    b"@",
    b"xn--",
    b"\xff",
    b"'",
    b"\\",
    b"\"",
];

/// Runs `check` on mutations of `seeds` until the time is over. What it panics with is told together with the input.
pub(crate) fn fuzz(what: &str, seeds: &[Vec<u8>], mut check: impl FnMut(&[u8])) {
    for seed in seeds.iter().filter(|seed| seed.len() <= INPUT_BYTES_MAX) {
        check_told(what, seed, &mut check);
    }
    let (limit, begun) = (time(), Instant::now());
    let (mut chance, mut runs) = (Chance::seeded(what), 0_u64);
    while begun.elapsed() < limit {
        let input = chance.input(seeds);
        check_told(what, &input, &mut check);
        runs += 1;
    }
    println!("{what}: {runs} inputs in {limit:?}");
    assert!(runs > 100, "{what}: only {runs} inputs were tried");
}

fn check_told(what: &str, input: &[u8], check: &mut impl FnMut(&[u8])) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(input)));
    if let Err(panic) = outcome {
        eprintln!("{what} failed on b\"{}\"", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a test runs is said by its environment")]
fn time() -> Duration {
    let given = std::env::var("PAAS_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let usual = if std::env::var_os("PAAS_LONG").is_some() { 60 } else { 2 };
    Duration::from_secs(given.unwrap_or(usual))
}

/// Numbers by chance (xorshift64*).
struct Chance(u64);

impl Chance {
    #[expect(clippy::disallowed_methods, reason = "a failure is had again by naming its seed")]
    fn seeded(what: &str) -> Self {
        let given = std::env::var("PAAS_SEED").ok().and_then(|seed| seed.parse().ok());
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).expect("the system has randomness");
        let seed = given.unwrap_or_else(|| u64::from_ne_bytes(seed));
        println!("{what}: PAAS_SEED={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap_or(0) % bound.max(1)
    }

    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(5) {
            input.truncate(INPUT_BYTES_MAX);
            self.mutate(&mut input, seeds);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(16)).min(input.len());
        match self.below(8) {
            0 => drop(input.drain(at..end)),
            1 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            2 => drop(input.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
            3 => drop(input.splice(at..end, WORDS[self.below(WORDS.len())].iter().copied())),
            4 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            5 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = u8::try_from(self.below(256)).unwrap_or(0);
                }
            }
            6 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            _ => input.extend(&seeds[self.below(seeds.len())]),
        }
    }
}
