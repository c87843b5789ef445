//! `cron`: list, run, history.
use super::grammar::{Form, OfApp};
use super::session::exit_code;
use super::table::{ago, print, print_json};
use super::{CommandError, Context, Done, FAILED, Permission};
use crate::console::Console;
use crate::domain::{App, AppName, CronEntry, CronRun, RunNo, RunState};
use crate::logs::{Follower, From, printable, timestamp};
use crate::scheduler::CronError;
use crate::store::StoreError;
use serde::Serialize;
use std::time::Duration;

/// Runs that a history keeps; as many skipped ones stand beside them.
const LISTED: u32 = 50;
const HISTORY_MAX: u32 = 100;
/// Lines of a run that are shown.
const OUTPUT_LINES: usize = 2000;
/// A run's last lines are in the log when its end is recorded; reading them ends with the first pause.
const PAUSE: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(2);

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the cron entries of the live release, with their next and last runs (UTC)
    #[command(
        name = "cron:list",
        visible_alias = "cron",
        after_help = "Entries stand in app.json: \"cron\": [{ \"command\": \"./report\", \"schedule\": \"0 3 * * MON-FRI\" }]. \
                      Each run gets an instance of its own and an hour. Missed runs: of each entry the latest one is made up \
                      for, if it was due less than an hour ago."
    )]
    List {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Run an entry now and follow its output; the exit code is the command's
    #[command(name = "cron:run", after_help = "A caller who leaves stops nothing: the run goes on.")]
    Run {
        #[command(flatten)]
        of: OfApp,
        /// Number of the entry, as `cron:list` counts
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        entry: u16,
    },
    /// List the runs of an app, newest first, or show one with its output
    #[command(name = "cron:history", visible_alias = "cron:info")]
    History {
        #[command(flatten)]
        of: OfApp,
        /// Run, such as cron.12
        run: Option<RunNo>,
        /// How many runs to list
        #[arg(short, value_name = "COUNT", default_value_t = LISTED, conflicts_with = "run")]
        n: u32,
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Serialize)]
struct EntryView {
    entry: usize,
    schedule: String,
    command: String,
    next: Option<String>,
    last: Option<RunView>,
}

#[derive(Serialize)]
struct RunView {
    run: String,
    release: String,
    command: String,
    state: &'static str,
    result: String,
    /// The command's, where it ended by itself.
    exit_code: Option<u8>,
    trigger: String,
    due: Option<String>,
    started_at: String,
    duration_ms: Option<u64>,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List { .. } | Self::History { .. } => Permission::ReadApp,
            Self::Run { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::List { of, .. } | Self::Run { of, .. } | Self::History { of, .. } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::List { form, .. } => list(context, console, &app, *form).await,
            Self::Run { entry, .. } => run(context, console, &app, usize::from(*entry)).await,
            Self::History { run: None, n, form, .. } => history(context, console, &app, *n, *form).await,
            Self::History { run: Some(no), form, .. } => show(context, console, &app, *no, *form).await,
        }
    }
}

/// The live release's number and table.
async fn table(context: &Context, app: &App) -> Result<Option<(crate::domain::ReleaseNo, Vec<CronEntry>)>, StoreError> {
    Ok(context.tools.store.live_release(app.id).await?.map(|live| (live.no, live.jobs.cron)))
}

async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let cron = table(context, app).await?.map(|(_, cron)| cron).unwrap_or_default();
    let runs = context.tools.store.cron_runs(app.id, HISTORY_MAX).await?;
    let now = context.tools.clock.now();
    let view = |(at, entry): (usize, &CronEntry)| EntryView {
        entry: at + 1,
        schedule: entry.schedule.to_string(),
        command: entry.command.clone(),
        next: entry.schedule.next_after(now).filter(|_| !app.stopped).map(timestamp),
        last: runs.iter().find(|run| run.command == entry.command).map(view),
    };
    let views: Vec<EntryView> = cron.iter().enumerate().map(view).collect();
    if form.json {
        return print_json(console, &views).await;
    }
    let row = |v: &EntryView| {
        let next = v.next.as_deref().map_or("-".to_owned(), |next| next.replace(":00.000Z", "Z"));
        let last = v.last.as_ref().map_or("never ran".to_owned(), |last| format!("{} {}", last.run, last.result));
        vec![v.entry.to_string(), v.schedule.clone(), printable(&v.command).into_owned(), next, last]
    };
    let rows: Vec<Vec<String>> = views.iter().map(row).collect();
    let empty = format!("{} has no cron entries; they stand in app.json, see `paas cron:list --help`", app.name);
    print(console, &["ENTRY", "SCHEDULE", "COMMAND", "NEXT (UTC)", "LAST"], &rows, &empty).await;
    if app.stopped && !views.is_empty() {
        console.say(&format!("{} is stopped: nothing runs by the clock until `paas ps:start`", app.name)).await;
    }
    Ok(())
}

fn view(run: &CronRun) -> RunView {
    let exit = match &run.state {
        RunState::Ended { exit, .. } => Some(exit_code(*exit)),
        RunState::Running
        | RunState::TimedOut { .. }
        | RunState::NotStarted { .. }
        | RunState::Skipped { .. }
        | RunState::Interrupted { .. } => None,
    };
    let took = run.state.ended_at().map(|at| at.since(run.started_at));
    RunView {
        run: run.no.to_string(),
        release: run.release.to_string(),
        command: run.command.clone(),
        state: run.state.word(),
        result: run.state.to_string(),
        exit_code: exit,
        trigger: run.trigger.to_string(),
        due: run.trigger.due().map(timestamp),
        started_at: timestamp(run.started_at),
        duration_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn seconds(view: &RunView) -> String {
    view.duration_ms.map_or("-".to_owned(), |ms| format!("{}.{}s", ms / 1000, ms % 1000 / 100))
}

async fn history(context: &Context, console: &Console, app: &App, n: u32, form: Form) -> Done {
    let runs = context.tools.store.cron_runs(app.id, n.min(HISTORY_MAX)).await?;
    if form.json {
        return print_json(console, &runs.iter().map(view).collect::<Vec<_>>()).await;
    }
    let now = context.tools.clock.now();
    let row = |run: &CronRun| {
        let v = view(run);
        let when = format!("{} ago", ago(now.since(run.started_at)));
        let took = seconds(&v);
        vec![v.run, v.release, printable(&v.command).into_owned(), v.result, took, v.trigger, when]
    };
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    let empty = format!("{}: nothing ran by cron yet; `paas cron:run 1 -a {0}` runs the first entry", app.name);
    print(console, &["RUN", "RELEASE", "COMMAND", "RESULT", "TOOK", "BY", "STARTED"], &rows, &empty).await;
    Ok(())
}

async fn show(context: &Context, console: &Console, app: &App, no: RunNo, form: Form) -> Done {
    let run = find(context, app, no).await?;
    let view = view(&run);
    let begun = timestamp(run.started_at);
    let journal = context.tools.logs.app(&app.key)?;
    // It reads the whole log from the disk.
    let reading = tokio::task::spawn_blocking(move || {
        journal.tail(OUTPUT_LINES, |line| {
            text_of(line, no).is_some() && line.get(..begun.len()).is_some_and(|at| at >= &*begun)
        })
    });
    let lines = reading.await.map_err(anyhow::Error::from)??;
    let text = |line: &String| text_of(line, no).unwrap_or_default().to_owned();
    if form.json {
        let output: Vec<String> = lines.iter().map(text).collect();
        return print_json(console, &serde_json::json!({ "run": view, "output": output })).await;
    }
    let took = seconds(&view);
    for (what, value) in [
        ("run", view.run),
        ("release", view.release),
        ("command", printable(&view.command).into_owned()),
        ("result", view.result),
        ("took", took),
        ("by", view.trigger),
        ("due", view.due.unwrap_or_else(|| "-".to_owned())),
        ("started", view.started_at),
    ] {
        console.say(&format!("{what:<9}{value}")).await;
    }
    for line in &lines {
        console.say(&format!("  {}", printable(&text(line)))).await;
    }
    Ok(())
}

async fn find(context: &Context, app: &App, no: RunNo) -> Result<CronRun, CommandError> {
    let found = context.tools.store.cron_run(app.id, no).await;
    found.map_err(|error| match error {
        StoreError::Missing { .. } => CommandError::new(format!("{no} of {} is not in its history", app.name))
            .next(format!("run `paas cron:history -a {}` to see its runs", app.name)),
        error => error.into(),
    })
}

async fn run(context: &Context, console: &mut Console, app: &App, number: usize) -> Done {
    let Some((release, cron)) = table(context, app).await? else {
        return Err(
            CommandError::new(format!("{} has no live release", app.name)).next("push one: `git push paas main`")
        );
    };
    let Some(entry) = number.checked_sub(1).and_then(|at| cron.get(at)) else {
        return Err(CommandError::new(format!("{release} of {} has no cron entry {number}", app.name)).next(format!(
            "run `paas cron:list -a {}` to see its {}",
            app.name,
            cron.len()
        )));
    };
    // Before it begins: no line is missed.
    let mut follower = context.tools.logs.app(&app.key)?.follow(From::End)?;
    let mut changes = context.tools.store.changes();
    let who = context.caller.to_string();
    let begun = context.tools.scheduler.run_cron(app.id, release, entry, &who).await;
    let no = begun.map_err(|error| match error {
        CronError::Running(no) => CommandError::new(CronError::Running(no).to_string())
            .next(format!("wait for it, or end it: `paas ps:stop {no} -a {}`", app.name)),
        CronError::Store(error) => error.into(),
    })?;
    console.complain(&format!("{no}: {}", printable(&entry.command))).await;
    let state = loop {
        let run = context.tools.store.cron_run(app.id, no).await?;
        if run.state != RunState::Running {
            break run.state;
        }
        tokio::select! {
            line = follower.next() => show_line(console, no, line?).await,
            changed = changes.changed() => changed.map_err(|_| CommandError::new("the server stops"))?,
            () = console.left.cancelled() => {
                return Err(CommandError::new(format!("{no} goes on without you")));
            }
        }
    };
    drop(tokio::time::timeout(DRAIN, drain(console, no, &mut follower)).await);
    console.exit_code = match &state {
        RunState::Ended { exit, .. } => exit_code(*exit),
        RunState::Running
        | RunState::TimedOut { .. }
        | RunState::NotStarted { .. }
        | RunState::Skipped { .. }
        | RunState::Interrupted { .. } => FAILED,
    };
    console.complain(&format!("{no} {state}")).await;
    Ok(())
}

async fn drain(console: &Console, no: RunNo, follower: &mut Follower) {
    while let Ok(Ok(line)) = tokio::time::timeout(PAUSE, follower.next()).await {
        show_line(console, no, line).await;
    }
}

async fn show_line(console: &Console, no: RunNo, line: Option<String>) {
    if let Some(text) = line.as_deref().and_then(|line| text_of(line, no)) {
        console.say(&printable(text)).await;
    }
}

/// The text of a line of the app's log, if it is of this run.
fn text_of(line: &str, no: RunNo) -> Option<&str> {
    let (at, rest) = line.split_once(' ')?;
    let text = rest.strip_prefix(&format!("app[{no}]:"))?;
    at.ends_with('Z').then(|| text.strip_prefix(' ').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_run_are_told_from_others() {
        let line = "2026-11-24T12:00:00.000Z app[cron.12]: a: b";
        assert_eq!(text_of(line, RunNo(12)), Some("a: b"));
        assert_eq!(text_of(line, RunNo(1)), None);
        assert_eq!(text_of("2026-11-24T12:00:00.000Z app[web.1]: x Z app[cron.1]: y", RunNo(1)), None);
    }
}
