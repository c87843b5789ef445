//! Carries what an instance writes into the app's log, with the engine's time and without known secret values.
//!
//! A flood costs little: beyond [`READ_LINES_MAX`] lines in a second, or soon after the log takes no more, the stream is
//! closed for the rest of that second and taken up at its newest lines. The newest lines that the log did not take wait for
//! it: how a flood ends is worth more than its middle. What the server missed while it was away is read at the pace that the
//! log takes.
use super::House;
use super::reconcile::Sheet;
use crate::domain::instance::Seen;
use crate::domain::{App, AppKey, ContainerId, Moment};
use crate::engine::{EngineError, LogLine, Observed};
use crate::logs::{Mask, Overlap, Said, TranscriptOf, Unread, plain};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Lines that may wait to be written.
const QUEUE_LINES: usize = 256;
/// Lines, and bytes of them, that are read of one instance in a second.
const READ_LINES_MAX: usize = 5000;
const READ_BYTES_MAX: usize = 2 << 20;
/// Lines that are read in a second only to be counted as dropped.
const DROPPED_LINES_MAX: usize = 500;
const READ_WINDOW: Duration = Duration::from_secs(1);
/// Lines read of those that came while the stream was closed, and lines that wait for the log: enough for last words.
const NEWEST_LINES: usize = 100;
/// Wait before a line is offered to the log again.
const OFFER_PAUSE: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_secs(1);
/// How long the last lines of an ended instance may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The same for one that ended while no server followed it: its whole output may be missing.
const MISSED_WORDS: Duration = Duration::from_secs(20);
/// Lines of the app's log that tell where it ends.
const LAST_KEPT_LINES: usize = 2000;

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

/// [`spawn`] for somebody who waits for it: what goes into the log also goes into the transcript, indented.
pub(super) fn spawn_for(
    house: &Arc<House>,
    app: &App,
    o: &Observed,
    mask: Mask,
    begin: Begin,
    (watch, transcript): (CancellationToken, Option<TranscriptOf>),
) -> JoinHandle<()> {
    let house = Arc::clone(house);
    let (key, id, source, since) = (app.key.clone(), o.id.clone(), format!("app[{}]", o.slot), o.created_at);
    // Held open while the instance runs: whoever says something about the app finds it open.
    let journal = house.tools.logs.app(&key);
    let stop = house.tools.stop.clone();
    house.tools.tracker.clone().spawn(async move {
        let _journal = journal;
        let mut collector = Collector::new(house, key, id, source, mask);
        collector.transcript = transcript;
        if let Begin::WhereTheLogEnds = begin {
            collector.find_the_end(since).await;
        }
        let deadline = async {
            watch.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = collector.run() => {}
            () = deadline => {}
            // What it has not read yet the next server reads: it begins where the log ends.
            () = stop.cancelled() => {}
        }
    })
}

struct Collector {
    house: Arc<House>,
    key: AppKey,
    id: ContainerId,
    source: String,
    mask: Mask,
    overlap: Overlap,
    /// The stream was not read for a while: what is in it already is not a flood, and can wait.
    is_behind: bool,
    backlog_until: Option<Moment>,
    /// The newest lines that the log has not taken yet.
    waiting: Vec<Said>,
    /// Gets every line that is read, too.
    transcript: Option<TranscriptOf>,
}

/// Why a stream is read no further.
enum End {
    InstanceEnded,
    /// More came than is read in a second; the next may begin now.
    Flood,
    Broken(EngineError),
}

impl Collector {
    fn new(house: Arc<House>, key: AppKey, id: ContainerId, source: String, mask: Mask) -> Self {
        let overlap = Overlap::default();
        Self {
            house,
            key,
            id,
            source,
            mask,
            overlap,
            is_behind: false,
            backlog_until: None,
            waiting: Vec::new(),
            transcript: None,
        }
    }

    /// Takes up where the app's log ends, if any line of this instance is in it.
    async fn find_the_end(&mut self, created_at: Moment) {
        let (logs, key, source) = (self.house.tools.logs.clone(), self.key.clone(), self.source.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let is_of_source = |line: &str| line.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(&source));
            logs.app(&key)?.tail(LAST_KEPT_LINES, is_of_source)
        });
        self.is_behind = true;
        // A log that cannot be read is begun anew: lines that come twice are better than none.
        let Ok(Ok(lines)) = reading.await else { return };
        for line in lines {
            let Some((at, rest)) = line.split_once(' ') else { continue };
            let (Ok(at), Some((_, text))) = (at.parse::<jiff::Timestamp>(), rest.split_once(": ")) else { continue };
            let at = Moment::from_unix_ms(at.as_millisecond());
            if at >= created_at {
                self.overlap.note(at, text);
            }
        }
    }

    async fn run(&mut self) {
        let mut is_flooded = false;
        loop {
            match self.read(is_flooded).await {
                End::InstanceEnded | End::Broken(EngineError::Missing(_)) => break,
                End::Flood => is_flooded = true,
                End::Broken(error) => {
                    tracing::debug!("following {} again: {error}", self.id.short());
                    (is_flooded, self.is_behind) = (false, true);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        while self.house.tools.logs.settle(&self.key) {
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Reads one stream to its end.
    async fn read(&mut self, is_flooded: bool) -> End {
        let since = self.overlap.resume();
        let engine = Arc::clone(&self.house.tools.engine);
        self.backlog_until = None;
        if std::mem::take(&mut self.is_behind) {
            self.backlog_until = match engine.last_lines(&self.id, 1).await {
                Ok(lines) => lines.last().map(|line| line.at),
                Err(error) => return End::Broken(error),
            };
        }
        let id = self.id.clone();
        let (to, mut lines) = mpsc::channel::<LogLine>(QUEUE_LINES);
        let following = async {
            if is_flooded {
                engine.follow_newest(&id, NEWEST_LINES, to).await
            } else {
                engine.follow_logs(&id, since, to).await
            }
        };
        tokio::pin!(following);
        let mut budget = Budget::begin();
        let mut batch = Vec::with_capacity(QUEUE_LINES);
        // Whether something is to be told about dropped lines.
        let mut owes = is_flooded;
        loop {
            let pause = if self.waiting.is_empty() { RETRY } else { OFFER_PAUSE };
            tokio::select! {
                biased;
                Some(_) = async { Some(lines.recv_many(&mut batch, QUEUE_LINES).await).filter(|count| *count > 0) } => {
                    budget.spend(&batch);
                    let dropped = self.carry(&mut batch, Patience::Little).await;
                    owes |= dropped > 0;
                    budget.dropped += dropped;
                    if budget.is_spent() {
                        self.house.tools.logs.count_dropped(&self.key, 0, Unread::Some);
                        break;
                    }
                }
                ended = &mut following => {
                    while let Ok(line) = lines.try_recv() {
                        batch.push(line);
                    }
                    self.carry(&mut batch, Patience::ToTheLastLine).await;
                    return ended.map_or_else(End::Broken, |()| End::InstanceEnded);
                }
                () = tokio::time::sleep(pause), if owes || !self.waiting.is_empty() => {
                    self.offer(Patience::Little).await;
                    owes = self.house.tools.logs.settle(&self.key);
                }
            }
        }
        tokio::time::sleep_until(budget.next).await;
        End::Flood
    }

    /// Hands lines to the log, after those that wait for it. Returns how many were dropped.
    async fn carry(&mut self, batch: &mut Vec<LogLine>, mut patience: Patience) -> usize {
        let mut news: Vec<Said> = Vec::with_capacity(batch.len());
        for line in batch.drain(..) {
            let text = plain(&self.mask.apply(&line.text)).into_owned();
            if self.overlap.is_news(line.at, &text) {
                if self.backlog_until.is_some_and(|until| line.at <= until) {
                    patience = Patience::ToTheLastLine;
                }
                news.push((line.at, text));
            }
        }
        if let Some(of) = self.transcript {
            self.house.tools.logs.transcribe(&self.key, of, news.iter().map(|(_, text)| format!("       {text}")));
        }
        self.waiting.append(&mut news);
        self.offer(patience).await
    }

    /// Offers the log what waits for it. Returns how many lines were dropped.
    async fn offer(&mut self, patience: Patience) -> usize {
        let logs = &self.house.tools.logs;
        while !self.waiting.is_empty() {
            self.waiting = logs.carry(&self.key, &self.source, std::mem::take(&mut self.waiting));
            if self.waiting.is_empty() || patience == Patience::Little {
                break;
            }
            tokio::time::sleep(OFFER_PAUSE).await;
        }
        let dropped = self.waiting.len().saturating_sub(NEWEST_LINES);
        if dropped > 0 {
            self.waiting.drain(..dropped);
            logs.count_dropped(&self.key, dropped, Unread::None);
        }
        dropped
    }
}

/// How long lines are offered to a log that takes no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Once: all but the newest are dropped.
    Little,
    ToTheLastLine,
}

/// What may still be read in this second.
struct Budget {
    next: Instant,
    lines: usize,
    bytes: usize,
    dropped: usize,
}

impl Budget {
    fn begin() -> Self {
        Self { next: Instant::now() + READ_WINDOW, lines: 0, bytes: 0, dropped: 0 }
    }

    fn spend(&mut self, batch: &[LogLine]) {
        if Instant::now() >= self.next {
            *self = Self::begin();
        }
        self.lines += batch.len();
        self.bytes += batch.iter().map(|line| line.text.len()).sum::<usize>();
    }

    fn is_spent(&self) -> bool {
        self.lines > READ_LINES_MAX || self.bytes > READ_BYTES_MAX || self.dropped > DROPPED_LINES_MAX
    }
}

impl House {
    /// One that ended before anybody followed it leaves its output all the same.
    pub(super) async fn collect_last_words(self: &Arc<Self>, sheet: &Sheet, s: &Seen) {
        let memory = self.memory(sheet.app.id);
        if memory.lock().unwrap_or_else(PoisonError::into_inner).instances.contains_key(&s.id) {
            return;
        }
        let mask = sheet.release(s.release).map(|release| Mask::of(&release.config)).unwrap_or_default();
        let (key, source) = (sheet.app.key.clone(), format!("app[{}]", s.slot));
        let mut collector = Collector::new(Arc::clone(self), key, s.id.clone(), source, mask);
        collector.find_the_end(Moment::default()).await;
        if let End::Broken(error) =
            tokio::time::timeout(MISSED_WORDS, collector.read(false)).await.unwrap_or(End::Flood)
        {
            tracing::debug!("cannot read the last words of {}: {error}", s.id.short());
        }
    }
}
