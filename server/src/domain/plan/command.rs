//! Release commands in a plan: each runs once, before its release's first instance, and one at a time.
use super::{Action, Candidate, Planner};
use crate::domain::{Failure, Moment, ReleaseNo};
use std::collections::BTreeMap;

impl Candidate {
    /// Since when its instances may start, and its time to get ready runs; `None` until its release command has succeeded.
    pub fn begun(&self, commands: &CommandLedger) -> Option<Moment> {
        match (self.command, commands.get(&self.spec.no)) {
            (ReleaseCommand::None, _) => Some(self.since),
            (ReleaseCommand::Done { at }, _) => Some(self.since.max(at)),
            (ReleaseCommand::Wanted, Some(CommandRun::Succeeded { at })) => Some(self.since.max(*at)),
            (
                ReleaseCommand::Wanted,
                Some(CommandRun::Running | CommandRun::Ending | CommandRun::Failed { .. }) | None,
            ) => None,
        }
    }
}

/// What is asked for before the candidate's first instance starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReleaseCommand {
    #[default]
    None,
    Wanted,
    /// It has succeeded, maybe under an earlier server.
    Done {
        at: Moment,
    },
}

/// What is seen of the release commands that this server runs or has run.
pub type CommandLedger = BTreeMap<ReleaseNo, CommandRun>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandRun {
    Running,
    /// It was told to end, and something of its instance is still there.
    Ending,
    Succeeded {
        at: Moment,
    },
    Failed {
        failure: Failure,
    },
}

impl Planner<'_> {
    /// Runs the candidate's release command once no other one runs, and ends those that nobody waits for.
    pub(super) fn command(&mut self, prepares: Option<&Candidate>) {
        let release = prepares.map(|candidate| candidate.spec.no);
        let is_there = |run: &CommandRun| matches!(run, CommandRun::Running | CommandRun::Ending);
        if let Some(release) = release
            && !self.commands.contains_key(&release)
            && !self.commands.values().any(is_there)
        {
            self.actions.push(Action::RunCommand { release });
        }
        for (no, run) in self.commands {
            if *run == CommandRun::Running && Some(*no) != release {
                self.actions.push(Action::EndCommand { release: *no });
            }
        }
    }
}
