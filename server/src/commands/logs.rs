//! `logs`: what the app, the router and the platform said; with `-f`, what they say, across deploys.
use super::grammar::{Form, OfApp};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::{AppName, Moment, span};
use crate::logs::{is_of_process, parts, printable};
use std::time::Duration;

const LINES_MAX: usize = 100_000;
const LINES: usize = 100;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Show the log of an app
    #[command(name = "logs")]
    Show(Show),
}

#[derive(clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    of: OfApp,
    /// Go on with new lines until interrupted, across deploys
    #[arg(short, long)]
    follow: bool,
    /// How many lines from the end [default: 100; all of the time span with --since]
    #[arg(short, value_name = "COUNT")]
    n: Option<usize>,
    /// Only what was said in this time, such as 10m, 2h, 3d
    #[arg(long, value_parser = span::parse, value_name = "SPAN")]
    since: Option<Duration>,
    /// Only one process type or instance, such as web or web.1
    #[arg(short, long, value_name = "WHAT")]
    process: Option<String>,
    /// Only one source
    #[arg(short, long, value_parser = ["app", "router", "build", "paas"])]
    source: Option<String>,
    /// Only lines that hold this text, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        let Self::Show(_) = self;
        Permission::ReadApp
    }

    pub(super) fn app(&self) -> &AppName {
        let Self::Show(show) = self;
        &show.of.app
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let Self::Show(show) = self;
        show.run(context, console).await
    }
}

impl Show {
    async fn run(&self, context: &Context, console: &Console) -> Done {
        let app = context.app(&self.of.app).await?;
        let journal = context.tools.logs.app(&app.key)?;
        let since = self.since.map(|span| {
            let now = context.tools.clock.now();
            Moment::from_unix_ms(now.unix_ms().saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
        });
        let filter = Filter::of(self, since);
        let (history, mut follower) = journal.look_back()?;
        let count = self.count();
        let keep = filter.clone();
        // It reads up to 16 MiB from the disk.
        let reading = tokio::task::spawn_blocking(move || history.tail(count, |line| keep.keeps(line)));
        let lines = reading.await.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
        for line in lines {
            if !self.print(console, &line).await? {
                return Ok(());
            }
        }
        if !self.follow {
            return Ok(());
        }
        loop {
            let line = tokio::select! {
                line = follower.next() => line?,
                () = console.left.cancelled() => return Ok(()),
            };
            let Some(line) = line else { return Ok(()) };
            if filter.keeps(&line) && !self.print(console, &line).await? {
                return Ok(());
            }
        }
    }

    /// `false` when nobody reads any more.
    /// How many lines are shown of those that are there.
    fn count(&self) -> usize {
        self.n.unwrap_or(if self.since.is_some() { LINES_MAX } else { LINES }).min(LINES_MAX)
    }

    async fn print(&self, console: &Console, line: &str) -> Result<bool, CommandError> {
        if !self.form.json {
            return Ok(console.say(&printable(line)).await);
        }
        let (at, source, text) = parts(line);
        let object = serde_json::json!({ "at": at, "source": source, "text": text });
        Ok(console.say(&object.to_string()).await)
    }
}

/// Which lines are wanted.
#[derive(Clone)]
struct Filter {
    since: Option<String>,
    source: Option<String>,
    process: Option<String>,
    /// In lower case.
    search: Option<String>,
}

impl Filter {
    fn of(show: &Show, since: Option<Moment>) -> Self {
        Self {
            since: since.map(crate::logs::timestamp),
            source: show.source.clone(),
            process: show.process.clone(),
            search: show.search.as_ref().map(|text| text.to_lowercase()),
        }
    }

    fn keeps(&self, line: &str) -> bool {
        let (at, source, text) = parts(line);
        // Both are RFC 3339 in UTC with the same digits, so text order is time order.
        self.since.as_deref().is_none_or(|since| at >= since)
            && self.source.as_deref().is_none_or(|wanted| source.split('[').next() == Some(wanted))
            && self.process.as_deref().is_none_or(|wanted| is_of_process(source, wanted))
            && self.search.as_deref().is_none_or(|wanted| text.to_lowercase().contains(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_time_source_process_and_text() {
        let any = Filter { since: None, source: None, process: None, search: None };
        let some = |text: &str| Some(text.to_owned());
        let line = "2026-11-23T14:50:36.123Z app[web.1]: GET /Über 200";
        assert!(any.keeps(line));
        for (filter, is_kept) in [
            (Filter { since: some("2026-11-23T14:50:36.123Z"), ..any.clone() }, true),
            (Filter { since: some("2026-11-23T14:50:36.124Z"), ..any.clone() }, false),
            (Filter { source: some("app"), process: some("web"), ..any.clone() }, true),
            (Filter { source: some("build"), ..any.clone() }, false),
            (Filter { search: some("/über"), ..any.clone() }, true),
            (Filter { search: some("web.1"), ..any.clone() }, false),
        ] {
            assert_eq!(filter.keeps(line), is_kept);
        }
        assert!(Filter { source: some("build"), ..any }.keeps("T build[12]: -----> Building"));
    }

    #[test]
    fn so_many_lines_are_shown_and_no_more() {
        let show = |words: &[&str]| {
            use clap::Parser;
            #[derive(Parser)]
            struct Line {
                #[command(flatten)]
                show: Show,
            }
            Line::try_parse_from([&["logs", "-a", "blog"][..], words].concat()).unwrap().show
        };
        assert_eq!(show(&[]).count(), 100);
        assert_eq!(show(&["-n", "7"]).count(), 7);
        assert_eq!(show(&["--since", "3d"]).count(), LINES_MAX);
        assert_eq!(show(&["-n", "100001"]).count(), LINES_MAX);
    }
}
