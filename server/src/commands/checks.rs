//! `checks`: how new web instances are asked whether they are ready.
use super::grammar::{Form, OfApp};
use super::table::print_json;
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::health::{Health, HealthPath, ReadyTimeout};
use crate::domain::{App, AppName};
use serde::Serialize;
use std::str::FromStr;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Show how new web instances are asked whether they are ready
    #[command(name = "checks:info", visible_alias = "checks")]
    Info {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Set the path that must answer 2xx, and how long web may take to be ready
    #[command(name = "checks:set")]
    Set {
        #[command(flatten)]
        of: OfApp,
        /// path=/health, timeout=60s (1s to 10m); `default` as a value takes it back
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<Setting>,
    },
}

#[derive(Clone)]
pub(super) enum Setting {
    Path(Option<HealthPath>),
    Timeout(Option<ReadyTimeout>),
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("path", "default")) => Ok(Self::Path(None)),
            Some(("timeout", "default")) => Ok(Self::Timeout(None)),
            Some(("path", path)) => Ok(Self::Path(Some(path.parse()?))),
            Some(("timeout", span)) => Ok(Self::Timeout(Some(span.parse()?))),
            Some(_) | None => Err("write path=/health, timeout=60s, or path=default".to_owned()),
        }
    }
}

#[derive(Serialize)]
struct HealthView {
    path: String,
    path_is_declared: bool,
    good: &'static str,
    timeout_secs: u64,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::Info { .. } => Permission::ReadApp,
            Self::Set { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::Info { of, .. } | Self::Set { of, .. } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::Info { form, .. } => info(context, console, &app, *form).await,
            Self::Set { settings, .. } => set(context, console, &app, settings).await,
        }
    }
}

async fn info(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let store = &context.tools.store;
    let set = store.health(app.id).await?;
    let health = match store.live_release(app.id).await? {
        Some(live) => set.or(&live.makeup.health),
        None => set,
    };
    let view = HealthView {
        path: health.path().to_owned(),
        path_is_declared: health.path.is_some(),
        good: good(&health),
        timeout_secs: health.ready_budget().as_secs(),
    };
    if form.json {
        return print_json(console, &view).await;
    }
    for (what, value) in
        [("path", view.path), ("good", view.good.to_owned()), ("timeout", format!("{} s", view.timeout_secs))]
    {
        console.say(&format!("{what:<9}{value}")).await;
    }
    Ok(())
}

fn good(health: &Health) -> &'static str {
    if health.path.is_some() { "2xx, or a redirect to the same host" } else { "any status below 500" }
}

async fn set(context: &Context, console: &Console, app: &App, settings: &[Setting]) -> Done {
    let before = context.tools.store.health(app.id).await?;
    let after = changed(before.clone(), settings)?;
    if after == before {
        console.say("nothing changed: the check is what it was").await;
        return Ok(());
    }
    context.tools.store.set_health(app.id, &after).await?;
    context.tools.scheduler.wake(app.id);
    let secs = after.ready_budget().as_secs();
    let line =
        format!("new web instances of {} have {secs} s to answer GET {} with {}", app.name, after.path(), good(&after));
    console.say(&line).await;
    Ok(())
}

fn changed(mut health: Health, settings: &[Setting]) -> Result<Health, CommandError> {
    let (mut paths, mut timeouts) = (0, 0);
    for setting in settings {
        match setting {
            Setting::Path(path) => {
                health.path.clone_from(path);
                paths += 1;
            }
            Setting::Timeout(timeout) => {
                health.timeout = *timeout;
                timeouts += 1;
            }
        }
    }
    if paths > 1 || timeouts > 1 {
        return Err(CommandError::new("a setting is named twice on this line"));
    }
    Ok(health)
}
