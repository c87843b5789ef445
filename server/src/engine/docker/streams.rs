//! What the engine tells on and on: events of our containers, and what they write.
use super::link::{READ_TIME_MAX, STREAM_OPEN_TIME_MAX, Task};
use super::{DockerEngine, app_of};
use crate::domain::{ContainerId, Moment};
use crate::engine::lines::{LINE_BYTES_MAX, text_of};
use crate::engine::{EngineError, EngineEvent, EventKind, LogLine, Result};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, LogsOptions};
use futures_util::stream::{Stream, StreamExt as _, TryStreamExt as _};
use std::pin::pin;
use tokio::sync::mpsc;

/// Within this span a step back in time is the engine repeating itself; a larger one is the clock being set.
const REPEAT_SPAN_MAX_NANOSECONDS: i128 = 5_000_000_000;

/// Where an instance's output is read from.
#[derive(Clone, Copy)]
pub(super) enum Start {
    FirstLine,
    At(Moment),
    Newest(usize),
}

impl DockerEngine {
    pub(super) async fn pass_events(&self, to: mpsc::Sender<EngineEvent>) -> Result<()> {
        let mut filters = self.ours(None);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        filters.insert("event".to_owned(), ["start", "die", "destroy"].map(str::to_owned).to_vec());
        let task = Task::new("follow", "events", "");
        let docker = self.link.client(task, STREAM_OPEN_TIME_MAX).await?;
        let events = docker.events(Some(EventsOptions { filters: Some(filters), ..EventsOptions::default() }));
        let events = events.map_err(|error| self.link.error(task, error));
        let events = events.try_filter_map(async |message| Ok(event_of(message)));
        pass(events.inspect_ok(|event| self.known.forget(&event.container)), &to).await
    }

    pub(super) async fn pass_logs(&self, id: &ContainerId, start: Start, to: mpsc::Sender<LogLine>) -> Result<()> {
        let mut repeats = Repeats::default();
        self.pass_output(id, start, true, &mut repeats, &to).await?;
        if to.is_closed() {
            return Ok(());
        }
        // Of an instance that ends while it writes a lot, the engine may break off before the last lines.
        repeats.has_ended = true;
        let rest = repeats.newest_of_all().map_or(start, Start::At);
        match self.pass_output(id, rest, false, &mut repeats, &to).await {
            // It was removed meanwhile.
            Err(EngineError::Missing(_) | EngineError::Refused(_)) => Ok(()),
            outcome => outcome,
        }
    }

    async fn pass_output(
        &self,
        id: &ContainerId,
        start: Start,
        follow: bool,
        repeats: &mut Repeats,
        to: &mpsc::Sender<LogLine>,
    ) -> Result<()> {
        let task = Task::new("follow logs of", "container", id.short());
        let docker = self.link.client(task, STREAM_OPEN_TIME_MAX).await?;
        let (since, tail) = match start {
            Start::FirstLine => (None, "all".to_owned()),
            Start::At(since) => (Some(since), "all".to_owned()),
            Start::Newest(count) => (None, count.to_string()),
        };
        let options = LogsOptions {
            follow,
            // Whole seconds only: the rest is filtered here.
            since: since.map_or(0, |since| i32::try_from(since.unix_ms() / 1000).unwrap_or(i32::MAX)),
            ..log_options(&tail)
        };
        let lines = docker.logs(id.as_str(), Some(options)).map_err(|error| self.link.error(task, error));
        let lines = lines.try_filter_map(async |output| Ok(Piece::of(&output)));
        let lines = lines.try_filter_map(move |piece| {
            let is_wanted = since.is_none_or(|since| piece.line.at >= since) && repeats.is_news(&piece);
            async move { Ok(is_wanted.then_some(piece.line)) }
        });
        pass(lines, to).await
    }

    pub(super) async fn read_last_lines(&self, id: &ContainerId, count: usize) -> Result<Vec<LogLine>> {
        let options = log_options(&count.to_string());
        let read = |docker: Docker| async move {
            docker.logs(id.as_str(), Some(options)).try_collect::<Vec<LogOutput>>().await
        };
        let task = Task::new("read logs of", "container", id.short());
        let outputs = self.link.ask(task, READ_TIME_MAX, read).await?;
        Ok(outputs.iter().filter_map(Piece::of).map(|piece| piece.line).collect())
    }
}

fn log_options(tail: &str) -> LogsOptions {
    LogsOptions { stdout: true, stderr: true, timestamps: true, tail: tail.to_owned(), ..LogsOptions::default() }
}

/// Sends what comes until it ends or nobody listens any more, even while nothing comes.
async fn pass<T>(from: impl Stream<Item = Result<T>>, to: &mpsc::Sender<T>) -> Result<()> {
    let mut from = pin!(from);
    loop {
        let next = tokio::select! {
            next = from.next() => next,
            () = to.closed() => return Ok(()),
        };
        match next {
            Some(item) => drop(to.send(item?).await),
            None => return Ok(()),
        }
    }
}

fn event_of(message: EventMessage) -> Option<EngineEvent> {
    let kind = match message.action?.as_str() {
        "start" => EventKind::Started,
        "die" => EventKind::Died,
        "destroy" => EventKind::Removed,
        _not_asked_for => return None,
    };
    let actor = message.actor?;
    Some(EngineEvent { container: ContainerId::new(actor.id?), app: app_of(&actor.attributes?)?, kind })
}

/// A line as the engine hands it over, or a part of one: it cuts lines at 16 KiB itself, and each part comes alone.
struct Piece {
    line: LogLine,
    source: Source,
    /// The line's time in full, since 1970.
    nanoseconds: i128,
}

#[derive(Clone, Copy)]
enum Source {
    Stdout,
    Stderr,
}

impl Piece {
    fn of(output: &LogOutput) -> Option<Self> {
        let (source, message) = match output {
            LogOutput::StdErr { message } => (Source::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                (Source::Stdout, message)
            }
        };
        let end_of_time = message.iter().position(|byte| *byte == b' ')?;
        let timestamp: jiff::Timestamp = std::str::from_utf8(&message[..end_of_time]).ok()?.parse().ok()?;
        let text = &message[end_of_time + 1..];
        // One more byte for the line's end. No engine sends longer ones.
        let text = text_of(&text[..text.len().min(LINE_BYTES_MAX + 1)]);
        let line = LogLine { at: Moment::from_unix_ms(timestamp.as_millisecond()), text };
        Some(Self { line, source, nanoseconds: timestamp.as_nanosecond() })
    }
}

/// When a log rotates under a follower, Docker sends up to a file's worth of lines again. Time never goes back within one
/// of the two outputs, so what is older than the newest line was sent before.
#[derive(Default)]
struct Repeats {
    newest: [Option<i128>; 2],
    /// The instance has ended and its output is read once more: only what is newer counts.
    has_ended: bool,
}

impl Repeats {
    fn is_news(&mut self, piece: &Piece) -> bool {
        let newest = match piece.source {
            Source::Stdout => &mut self.newest[0],
            Source::Stderr => &mut self.newest[1],
        };
        let is_repeat = newest.is_some_and(|newest| {
            let back = newest - piece.nanoseconds;
            if self.has_ended { back >= 0 } else { back > 0 && back <= REPEAT_SPAN_MAX_NANOSECONDS }
        });
        if !is_repeat {
            *newest = Some(piece.nanoseconds);
        }
        !is_repeat
    }

    /// The time up to which both outputs were sent.
    fn newest_of_all(&self) -> Option<Moment> {
        let newest = self.newest.iter().flatten().min()?;
        i64::try_from(newest / 1_000_000).ok().map(Moment::from_unix_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn stdout(text: &'static str) -> LogOutput {
        LogOutput::StdOut { message: Bytes::from_static(text.as_bytes()) }
    }

    #[test]
    fn a_line_is_read_with_its_time() {
        let piece = Piece::of(&stdout("1970-01-01T00:00:01.5Z hello  you \r\n")).unwrap();
        assert_eq!(piece.line, LogLine { at: Moment::from_unix_ms(1500), text: "hello  you ".to_owned() });
        assert_eq!(Piece::of(&stdout("1970-01-01T00:00:01Z \n")).unwrap().line.text, "");
        assert!(Piece::of(&stdout("no time\n")).is_none());
    }

    #[test]
    fn lines_that_come_again_are_dropped_unless_the_clock_was_set_back() {
        const SECOND: i128 = 1_000_000_000;
        let mut repeats = Repeats::default();
        let is_news = |repeats: &mut Repeats, source, nanoseconds| {
            let line = LogLine { at: Moment::default(), text: String::new() };
            repeats.is_news(&Piece { line, source, nanoseconds })
        };
        assert!(is_news(&mut repeats, Source::Stdout, 50 * SECOND));
        assert!(is_news(&mut repeats, Source::Stdout, 50 * SECOND), "parts of a line share its time");
        assert!(!is_news(&mut repeats, Source::Stdout, 50 * SECOND - 1));
        assert!(is_news(&mut repeats, Source::Stderr, 49 * SECOND), "the other output has a time of its own");
        assert!(is_news(&mut repeats, Source::Stdout, 50 * SECOND + 1));
        assert!(is_news(&mut repeats, Source::Stdout, 40 * SECOND), "the clock was set back");
        assert!(is_news(&mut repeats, Source::Stdout, 40 * SECOND + 1));
        assert_eq!(repeats.newest_of_all(), Some(Moment::from_unix_ms(40_000)));
        repeats.has_ended = true;
        assert!(!is_news(&mut repeats, Source::Stdout, 40 * SECOND + 1));
        assert!(is_news(&mut repeats, Source::Stdout, 40 * SECOND + 2));
    }
}
