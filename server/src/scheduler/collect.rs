//! Carries what an instance writes into the app's log, with the engine's time and without known secret values.
use super::House;
use crate::domain::{App, AppKey, Moment};
use crate::engine::{EngineError, LogLine, Observed};
use crate::logs::{Mask, TranscriptOf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Lines that may wait to be written.
const QUEUE_LINES: usize = 256;
const RETRY: Duration = Duration::from_secs(1);
/// How long the last lines of an ended instance may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where a collection begins.
#[derive(Clone, Copy)]
pub(super) enum Begin {
    AtFirstLine,
    /// The server was away while the instance ran.
    WhereTheLogEnds,
}

/// Follows the instance until it ends or `watch` is cancelled; picks up after the last line when the engine comes back.
pub(super) fn spawn(
    house: &Arc<House>,
    app: &App,
    o: &Observed,
    mask: Mask,
    begin: Begin,
    watch: CancellationToken,
) -> JoinHandle<()> {
    spawn_for(house, app, o, mask, begin, (watch, None))
}

/// [`spawn`] for somebody who waits for it: every line also goes into the transcript, indented.
pub(super) fn spawn_for(
    house: &Arc<House>,
    app: &App,
    o: &Observed,
    mask: Mask,
    begin: Begin,
    (watch, transcript): (CancellationToken, Option<TranscriptOf>),
) -> JoinHandle<()> {
    let (house, key) = (Arc::clone(house), app.key.clone());
    let (id, source) = (o.id.clone(), format!("app[{}]", o.slot));
    let mut since = match begin {
        Begin::AtFirstLine => None,
        Begin::WhereTheLogEnds => house.last_collected(&key, &source).filter(|at| *at >= o.created_at),
    };
    // Held open while the instance runs: whoever says something about the app finds it open.
    let journal = house.tools.logs.app(&key);
    house.tools.tracker.clone().spawn(async move {
        let _journal = journal;
        let tell = |line: &LogLine| {
            let text = mask.apply(&line.text);
            house.tools.logs.say_at(line.at, &key, &source, &text);
            if let Some(of) = transcript {
                house.tools.logs.transcribe(&key, of, [format!("       {text}")]);
            }
        };
        let deadline = async {
            watch.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::pin!(deadline);
        loop {
            let (to, mut lines) = mpsc::channel::<LogLine>(QUEUE_LINES);
            let following = house.tools.engine.follow_logs(&id, since, to);
            tokio::pin!(following);
            let ended = loop {
                tokio::select! {
                    biased;
                    Some(line) = lines.recv() => {
                        since = Some(line.at.plus(Duration::from_millis(1)));
                        tell(&line);
                    }
                    ended = &mut following => break ended,
                    () = &mut deadline => return,
                }
            };
            while let Ok(line) = lines.try_recv() {
                tell(&line);
            }
            match ended {
                Ok(()) | Err(EngineError::Missing(_)) => return,
                Err(error) => tracing::debug!("following {} again: {error}", id.short()),
            }
            tokio::select! {
                () = &mut deadline => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    })
}

impl House {
    /// Time of the last line of `source` in the app's log.
    fn last_collected(&self, app: &AppKey, source: &str) -> Option<Moment> {
        let is_of_source = |line: &str| line.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(source));
        let last = self.tools.logs.app(app).ok()?.tail(1, is_of_source).ok()?.pop()?;
        let at: jiff::Timestamp = last.split_once(' ')?.0.parse().ok()?;
        Some(Moment::from_unix_ms(at.as_millisecond()).plus(Duration::from_millis(1)))
    }
}
