//! Hands a checked push to the builder and tells the pusher what happens, until there is a verdict.
use super::Room;
use super::frames::{Answer, ToHook};
use super::hook_socket::Talk;
use super::limits::TRANSCRIPT_TAIL;
use super::pushes::Push;
use crate::builder::{Ticket, Verdict};
use crate::domain::{BuildId, Oid, RefMove};
use crate::logs::{Follower, From, TranscriptOf};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Where a push stands when the conversation with its hook is over.
enum End {
    Verdict(Verdict),
    /// The builder stopped without a word.
    Stopped,
    /// The pusher, or the hook, has left.
    Left,
}

/// Deploys; the pusher may leave at any time, which cancels what is not promoted yet.
pub(super) async fn run(room: &Room, talk: &mut Talk, push: &Push, moves: RefMove) -> Answer {
    let intake = &room.neighbours.intake;
    let seen = moves.old.clone();
    let Ticket { build, verdict } = match intake.enqueue(&push.app, moves, &push.pusher).await {
        Ok(ticket) => ticket,
        Err(error) => {
            tracing::error!("could not take in a push to {}: {error:#}", push.app.name);
            return Answer::Refused {
                reason: format!("the push could not be taken in: {error:#}; run `paas server:doctor`"),
            };
        }
    };
    match attend(room, talk, push, build, verdict).await {
        End::Verdict(verdict) => answer(push, &seen, verdict),
        End::Stopped => Answer::Refused { reason: "the server stopped; push again".to_owned() },
        End::Left => {
            if let Err(error) = intake.cancel(push.app.id, build, "its pusher, who left").await {
                tracing::error!("could not cancel build {build} of {}: {error:#}", push.app.name);
            }
            Answer::Refused { reason: "cancelled".to_owned() }
        }
    }
}

fn answer(push: &Push, seen: &Oid, verdict: Verdict) -> Answer {
    match verdict {
        Verdict::Accepted { moved_from } => {
            push.was_accepted();
            Answer::Moved { moved_from: (moved_from != *seen).then_some(moved_from) }
        }
        Verdict::Refused { reason } => Answer::Refused { reason },
    }
}

/// Sends the transcript line by line until the verdict is in and the transcript read.
async fn attend(
    room: &Room,
    talk: &mut Talk,
    push: &Push,
    build: BuildId,
    mut verdict: oneshot::Receiver<Verdict>,
) -> End {
    let mut transcript = Transcript::open(room, push, build);
    let began = Instant::now();
    let mut spoken = began;
    let mut end = None;
    loop {
        let quiet = room.settings.limits.quiet;
        let event = tokio::select! {
            biased;
            () = push.left.cancelled() => return End::Left,
            () = talk.gone() => return End::Left,
            line = transcript.next() => Event::Line(line),
            given = &mut verdict, if end.is_none() => Event::Given(given.map_or(End::Stopped, End::Verdict)),
            () = tokio::time::sleep_until(spoken + quiet), if end.is_none() => Event::Quiet,
            () = tokio::time::sleep(TRANSCRIPT_TAIL), if end.is_some() => Event::Line(None),
        };
        let text = match event {
            Event::Line(Some(text)) => text,
            Event::Line(None) => {
                if let Some(end) = end {
                    return end;
                }
                transcript.ended();
                continue;
            }
            Event::Given(given) => {
                if transcript.is_over() {
                    return given;
                }
                end = Some(given);
                continue;
            }
            Event::Quiet => format!("       still working ({})", elapsed(began.elapsed())),
        };
        spoken = Instant::now();
        let said = push.left.run_until_cancelled(talk.say(&ToHook::Line { text })).await;
        if !matches!(said, Some(Ok(()))) {
            return End::Left;
        }
    }
}

enum Event {
    /// `None`: the transcript is over.
    Line(Option<String>),
    Given(End),
    Quiet,
}

/// A transcript that is read while it is written; one that cannot be read stops nothing.
struct Transcript {
    follower: Option<Follower>,
}

impl Transcript {
    fn open(room: &Room, push: &Push, build: BuildId) -> Self {
        let opened = room
            .neighbours
            .logs
            .transcript(&push.app.key, TranscriptOf::Build(build))
            .and_then(|journal| journal.follow(From::Start));
        Self { follower: opened.inspect_err(|error| warn(error, build)).ok() }
    }

    /// The next line, or `None` once at its end; afterwards nothing more comes.
    async fn next(&mut self) -> Option<String> {
        match &mut self.follower {
            Some(follower) => match follower.next().await {
                Ok(line) => line,
                Err(error) => {
                    tracing::warn!("could not go on reading a transcript: {error:#}");
                    None
                }
            },
            None => std::future::pending().await,
        }
    }

    fn ended(&mut self) {
        self.follower = None;
    }

    fn is_over(&self) -> bool {
        self.follower.is_none()
    }
}

fn warn(error: &anyhow::Error, build: BuildId) {
    tracing::warn!("could not read the transcript of build {build}: {error:#}");
}

/// `45 s`, later `3 min 5 s`.
fn elapsed(duration: Duration) -> String {
    match (duration.as_secs() / 60, duration.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_counted_in_words() {
        assert_eq!(elapsed(Duration::from_secs(45)), "45 s");
        assert_eq!(elapsed(Duration::from_secs(185)), "3 min 5 s");
    }
}
