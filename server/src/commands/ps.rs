//! `ps`: list, scale, restart, stop, start, limits, protocol.
use super::grammar::{Form, OfApp};
use super::table::{ago, print, print_json};
use super::{CommandError, Context, Done, Permission, limits, protocol};
use crate::console::Console;
use crate::desk::words_of;
use crate::domain::health::Health;
use crate::domain::instance::Slot;
use crate::domain::release::Formation;
use crate::domain::{App, AppName, Failure, Moment, ProcessType};
use crate::engine::{ObservedState, OneOffSeen};
use crate::logs::timestamp;
use crate::scheduler::Instance;
use serde::Serialize;
use std::str::FromStr;

/// Instances of one type that may be asked for.
const COUNT_MAX: u16 = 100;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the instances of an app
    #[command(name = "ps:list", visible_alias = "ps")]
    List {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Set how many instances of each type run
    #[command(name = "ps:scale")]
    Scale {
        #[command(flatten)]
        of: OfApp,
        /// TYPE=COUNT, such as web=2 worker=1
        #[arg(required = true, value_name = "TYPE=COUNT")]
        counts: Vec<Count>,
    },
    /// Start new instances and end the old ones once the new are ready
    #[command(name = "ps:restart")]
    Restart {
        #[command(flatten)]
        of: OfApp,
        /// A type (web) or one instance (web.1); all types when left out
        what: Option<String>,
    },
    /// Stop all instances, until `ps:start` or the next push
    #[command(name = "ps:stop")]
    Stop {
        #[command(flatten)]
        of: OfApp,
        /// One-off instance, such as run.1234, to stop in place of the app
        one_off: Option<Slot>,
    },
    /// Start what `ps:stop` stopped
    #[command(name = "ps:start")]
    Start {
        #[command(flatten)]
        of: OfApp,
    },
    /// Show what instances may use, or set it for a type: `ps:limits web memory=512M cpu=0.5`
    #[command(name = "ps:limits")]
    Limits {
        #[command(flatten)]
        of: OfApp,
        /// Process type; `run`, `release` and `cron` stand for one-off instances
        #[arg(value_parser = limits::parse_process, requires = "settings", conflicts_with = "json")]
        process: Option<ProcessType>,
        /// memory=512M, cpu=0.5 (cores); `default` as a value takes it back
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<limits::Setting>,
        #[command(flatten)]
        form: Form,
    },
    /// Show what the router speaks with web instances, or set it: `ps:protocol web=h2c` for gRPC
    ///
    /// Instances of h2c get HTTP/2 without TLS. Unless `checks:set` names a path for GET, they are asked gRPC's own health
    /// question, to which any answer but an error is a good one.
    #[command(name = "ps:protocol")]
    Protocol {
        #[command(flatten)]
        of: OfApp,
        /// web=h2c or web=http1
        #[arg(value_name = "TYPE=PROTOCOL", conflicts_with = "json")]
        setting: Option<protocol::Setting>,
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Clone)]
pub(super) struct Count {
    process: ProcessType,
    count: u16,
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (process, count) = text.split_once('=').ok_or("write TYPE=COUNT, such as web=2")?;
        let process = process.parse().map_err(|error: crate::domain::name::NameError| error.to_string())?;
        let count = count.parse().ok().filter(|count| *count <= COUNT_MAX);
        Ok(Self { process, count: count.ok_or(format!("a count is a number from 0 to {COUNT_MAX}"))? })
    }
}

#[derive(Serialize)]
struct InstanceView {
    instance: String,
    release: String,
    state: &'static str,
    detail: String,
    since: String,
    container: String,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List { .. } | Self::Limits { process: None, .. } | Self::Protocol { setting: None, .. } => {
                Permission::ReadApp
            }
            Self::Limits { process: Some(_), .. }
            | Self::Protocol { setting: Some(_), .. }
            | Self::Scale { .. }
            | Self::Restart { .. }
            | Self::Stop { .. }
            | Self::Start { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::List { of, .. }
            | Self::Scale { of, .. }
            | Self::Restart { of, .. }
            | Self::Stop { of, .. }
            | Self::Limits { of, .. }
            | Self::Protocol { of, .. }
            | Self::Start { of } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::List { form, .. } => list(context, console, &app, *form).await,
            Self::Scale { counts, .. } => scale(context, console, &app, counts).await,
            Self::Restart { what, .. } => restart(context, console, &app, what.as_deref()).await,
            Self::Stop { one_off: Some(name), .. } => stop_one_off(context, console, &app, name).await,
            Self::Stop { one_off: None, .. } => stop(context, console, &app).await,
            Self::Start { .. } => start(context, console, &app).await,
            Self::Limits { process: None, form, .. } => limits::list(context, console, &app, *form).await,
            Self::Limits { process: Some(process), settings, .. } => {
                limits::set(context, console, &app, process, settings).await
            }
            Self::Protocol { setting: None, form, .. } => protocol::list(context, console, &app, *form).await,
            Self::Protocol { setting: Some(setting), .. } => protocol::set(context, console, &app, setting).await,
        }
    }
}

async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let instances = context.tools.scheduler.instances(app.id).await?;
    let one_offs = context.tools.scheduler.one_offs(app.id).await?;
    let health = context.tools.store.health(app.id).await?;
    let now = context.tools.clock.now();
    let all: Vec<(InstanceView, Moment)> = instances
        .iter()
        .map(|instance| (view(instance, &health), instance.since))
        .chain(one_offs.iter().map(|seen| (view_of_one_off(seen), seen.created_at)))
        .collect();
    if form.json {
        return print_json(console, &all.into_iter().map(|(view, _)| view).collect::<Vec<_>>()).await;
    }
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|(v, since)| {
            vec![v.instance, v.release, v.state.to_owned(), v.detail, format!("{} ago", ago(now.since(since)))]
        })
        .collect();
    let empty = if app.stopped { "stopped; `paas ps:start` starts it" } else { "no instances" };
    print(console, &["INSTANCE", "RELEASE", "STATE", "DETAIL", "SINCE"], &rows, &format!("{}: {empty}", app.name))
        .await;
    Ok(())
}

fn view(instance: &Instance, health: &Health) -> InstanceView {
    let words = words_of(instance, health);
    InstanceView {
        instance: instance.slot.to_string(),
        release: instance.release.to_string(),
        state: words.state,
        detail: words.detail,
        since: timestamp(instance.since),
        container: instance.id.short().to_owned(),
    }
}

fn view_of_one_off(seen: &OneOffSeen) -> InstanceView {
    let (state, detail) = match seen.state {
        ObservedState::Created => ("starting", String::new()),
        ObservedState::Running { .. } => ("up", "one-off".to_owned()),
        ObservedState::Exited { exit, .. } => ("exited", exit.to_string()),
    };
    InstanceView {
        instance: seen.name.to_string(),
        release: seen.release.to_string(),
        state,
        detail,
        since: timestamp(seen.created_at),
        container: seen.id.short().to_owned(),
    }
}

async fn scale(context: &Context, console: &Console, app: &App, counts: &[Count]) -> Done {
    let wanted: Formation = counts.iter().map(|count| (count.process.clone(), count.count)).collect();
    if wanted.len() < counts.len() {
        return Err(CommandError::new("a process type is named twice on this line"));
    }
    if wanted.keys().any(|process| process.as_str() == "release") {
        return Err(CommandError::new("`release` is no process type: its command runs once before a release starts")
            .next("`paas releases:retry` runs it again, with a new release"));
    }
    if let Some(live) = context.tools.store.live_release(app.id).await?
        && let Some(unknown) = wanted.keys().find(|process| !live.processes.contains_key(*process))
    {
        let known: Vec<&str> = live.processes.keys().map(ProcessType::as_str).collect();
        return Err(CommandError::new(format!("{} of {} has no process type `{unknown}`", live.no, app.name))
            .next(format!("it has: {}", known.join(", "))));
    }
    context.tools.store.scale(app.id, &wanted).await?;
    context.tools.scheduler.wake(app.id);
    let all = context.tools.store.formation(app.id).await?;
    let all: Vec<String> = all.iter().map(|(process, count)| format!("{process}={count}")).collect();
    console.say(&format!("scaled {}: {}", app.name, all.join(" "))).await;
    Ok(())
}

async fn restart(context: &Context, console: &Console, app: &App, what: Option<&str>) -> Done {
    context.desk().restart(app, what).await?;
    console.say(&format!("restarting {} of {}", what.unwrap_or("everything"), app.name)).await;
    Ok(())
}

async fn stop(context: &Context, console: &Console, app: &App) -> Done {
    // In this order: of a stopped app nothing is wanted, so a candidate would count as ready with nothing running.
    if let Some(starting) = context.tools.store.starting_release(app.id).await? {
        let failure = Failure::Overtaken { by: "ps:stop".to_owned() };
        context.tools.scheduler.overtake(app.id, starting.no, failure).await?;
    }
    context.tools.store.set_stopped(app.id, true).await?;
    context.tools.scheduler.wake(app.id);
    console.say(&format!("stopped {}; `paas ps:start` starts it again", app.name)).await;
    Ok(())
}

async fn stop_one_off(context: &Context, console: &Console, app: &App, name: &Slot) -> Done {
    if context.tools.scheduler.stop_one_off(app.id, name).await? {
        console.say(&format!("stopped {name} of {}", app.name)).await;
        return Ok(());
    }
    let is_ordinary = context.tools.scheduler.instances(app.id).await?.iter().any(|instance| instance.slot == *name);
    let next = if is_ordinary {
        format!("it has its place in the formation: `paas ps:scale -a {} {}=COUNT`", app.name, name.process)
    } else {
        format!("run `paas ps -a {}` to see what runs", app.name)
    };
    Err(CommandError::new(format!("{name} is no one-off instance of {}", app.name)).next(next))
}

async fn start(context: &Context, console: &Console, app: &App) -> Done {
    context.tools.store.set_stopped(app.id, false).await?;
    // The scheduler may never have seen that it was stopped.
    context.tools.scheduler.forgive(app.id);
    context.tools.scheduler.wake(app.id);
    console.say(&format!("started {}", app.name)).await;
    Ok(())
}
