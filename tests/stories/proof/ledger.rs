//! The app's own account of what reached it, and what must be true of it.
use super::{Acknowledged, Tally};
use crate::harness::{Town, engine};
use std::collections::{BTreeMap, HashMap};

/// A moment at which one instance took over from those before: nothing new may reach these from then on.
pub(super) struct Swap {
    /// Wall time at which it was begun.
    pub(super) begun_ms: u64,
    /// The first request that was sent after the new release was told to serve.
    pub(super) first_id: u64,
}

struct Line {
    at_ms: u64,
    instance: String,
    what: String,
    id: String,
}

pub(super) struct Ledger(Vec<Line>);

impl Ledger {
    /// Reads it out of an instance that runs.
    pub(super) fn read(town: &Town) -> Self {
        let instances = town.engine.instances(&[]);
        let running = instances.iter().find(|id| engine::inspect(id)["State"]["Running"] == true);
        let text =
            engine::exec(running.expect("an instance runs"), &["cat", "/ledger/lines"]).succeeds().stdout.clone();
        Self(text.lines().map(Line::parse).collect())
    }

    pub(super) fn instances(&self) -> usize {
        self.0.iter().filter(|line| line.what == "listens").count()
    }

    /// What was acknowledged stands there exactly once, anything else at most once.
    pub(super) fn agrees(&self, tallies: &BTreeMap<&str, Tally>) -> Vec<String> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for line in self.0.iter().filter(|line| line.what == "entry") {
            *counts.entry(&line.id).or_default() += 1;
        }
        let posted = tallies.values().flat_map(|tally| &tally.entries);
        posted
            .filter_map(|(id, acknowledged)| {
                let count = counts.get(id.to_string().as_str()).copied().unwrap_or(0);
                let is_right = match acknowledged {
                    Acknowledged::Yes => count == 1,
                    Acknowledged::No => count <= 1,
                };
                (!is_right).then(|| format!("entry {id} stands {count} times in the ledger"))
            })
            .collect()
    }

    /// No request reached an instance that was sent after another one was told to serve in its place, and none at all after
    /// its SIGTERM.
    pub(super) fn leaves_old_instances_alone(&self, swaps: &[Swap]) -> Vec<String> {
        let (born, ended) = (self.times("listens"), self.times("term"));
        // Probes of the platform's own have no number.
        let visits = self.0.iter().filter(|line| line.what == "request" && line.id != "-");
        visits
            .filter_map(|line| {
                let born_ms = *born.get(&*line.instance)?;
                let id: u64 = line.id.parse().expect("a number");
                let is_late = swaps.iter().any(|swap| born_ms < swap.begun_ms && id >= swap.first_id);
                // The clock is one and the same process's, in whole milliseconds.
                let is_after_end = ended.get(&*line.instance).is_some_and(|end_ms| line.at_ms > *end_ms);
                (is_late || is_after_end).then(|| format!("request {id} reached {} after its time", line.instance))
            })
            .collect()
    }

    /// When each instance did something for the first time.
    fn times(&self, what: &str) -> HashMap<&str, u64> {
        let lines = self.0.iter().rev().filter(|line| line.what == what);
        lines.map(|line| (&*line.instance, line.at_ms)).collect()
    }
}

impl Line {
    fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let [at_ms, _release, instance, what, id] = words[..] else { panic!("a line of the ledger: {text:?}") };
        let at_ms = at_ms.parse().expect("a time");
        Self { at_ms, instance: instance.to_owned(), what: what.to_owned(), id: id.to_owned() }
    }
}
