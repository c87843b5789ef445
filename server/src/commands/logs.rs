//! `logs`: what the app, the router and the platform said; with `-f`, what they say, across deploys.
use super::grammar::{Form, OfApp};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::{AppName, Moment};
use crate::logs::{From, printable};
use std::time::Duration;

const LINES_MAX: usize = 100_000;

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
    /// How many lines from the end
    #[arg(short, default_value_t = 100, value_name = "COUNT")]
    n: usize,
    /// Only what was said in this time, such as 10m, 2h, 3d
    #[arg(long, value_parser = parse_span, value_name = "SPAN")]
    since: Option<Duration>,
    /// Only one process type or instance, such as web or web.1
    #[arg(short, long, value_name = "WHAT")]
    process: Option<String>,
    /// Only one source
    #[arg(short, long, value_parser = ["app", "router", "paas"])]
    source: Option<String>,
    /// Only lines that hold this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    form: Form,
}

fn parse_span(text: &str) -> Result<Duration, String> {
    let refuse = || format!("`{text}` is no time span; write 30s, 10m, 2h or 3d");
    let unit = text.chars().last().ok_or_else(refuse)?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| refuse())?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(refuse()),
    };
    Ok(Duration::from_secs(number.saturating_mul(secs)))
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
        let filter = Filter { show: self, since: since.map(crate::logs::timestamp) };
        // Opened before the tail is read: what is said in between is shown twice rather than never.
        let mut follower = journal.follow(From::End)?;
        for line in journal.tail(self.n.min(LINES_MAX), |line| filter.keeps(line))? {
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
    async fn print(&self, console: &Console, line: &str) -> Result<bool, CommandError> {
        if !self.form.json {
            return Ok(console.say(&printable(line)).await);
        }
        let (at, source, text) = parts(line);
        let object = serde_json::json!({ "at": at, "source": source, "text": text });
        Ok(console.say(&object.to_string()).await)
    }
}

struct Filter<'a> {
    show: &'a Show,
    since: Option<String>,
}

impl Filter<'_> {
    fn keeps(&self, line: &str) -> bool {
        let (at, source, text) = parts(line);
        let show = self.show;
        // Both are RFC 3339 in UTC with the same digits, so text order is time order.
        self.since.as_deref().is_none_or(|since| at >= since)
            && show.source.as_deref().is_none_or(|wanted| source.split('[').next() == Some(wanted))
            && show.process.as_deref().is_none_or(|wanted| is_of_process(source, wanted))
            && show.search.as_deref().is_none_or(|wanted| text.contains(wanted))
    }
}

/// `2026-11-23T14:50:36.123Z app[web.1]: text` in its three parts.
fn parts(line: &str) -> (&str, &str, &str) {
    let (at, rest) = line.split_once(' ').unwrap_or(("", line));
    let (source, text) = rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""));
    (at, source, text)
}

/// Whether `app[web.1]` is of `web.1` or of `web`.
fn is_of_process(source: &str, wanted: &str) -> bool {
    let Some(slot) = source.strip_prefix("app[").and_then(|rest| rest.strip_suffix(']')) else { return false };
    slot == wanted || slot.rsplit_once('.').is_some_and(|(process, _)| process == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_time_a_source_and_a_text() {
        assert_eq!(parts("T app[web.1]: a: b"), ("T", "app[web.1]", "a: b"));
        assert_eq!(parts("T app[web.1]:"), ("T", "app[web.1]", ""));
        assert!(is_of_process("app[web.1]", "web") && is_of_process("app[web.1]", "web.1"));
        assert!(!is_of_process("app[web.1]", "web.2") && !is_of_process("router", "web"));
    }

    #[test]
    fn spans_are_written_with_a_unit() {
        assert_eq!(parse_span("10m"), Ok(Duration::from_mins(10)));
        for bad in ["", "10", "m", "10x", "-1m", "ä"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
