//! `router`: limits, times and habits of the router for one app. In effect at once: nothing is released or restarted.
use super::grammar::{Form, OfApp};
use super::table::{print, print_json};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::router::{Key, Setting};
use crate::domain::{App, AppName, RouterPolicy};
use serde::Serialize;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Show every setting of the router for an app, with its default and what it means
    #[command(name = "router:info", visible_alias = "router")]
    Info {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Set what the router does for an app, at once
    #[command(name = "router:set")]
    Set {
        #[command(flatten)]
        of: OfApp,
        /// Such as first-byte=60s body-limit=10M; `paas router` lists all
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<Setting>,
    },
    /// Take settings back to their defaults, at once
    #[command(name = "router:unset")]
    Unset {
        #[command(flatten)]
        of: OfApp,
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<Key>,
    },
}

#[derive(Serialize)]
struct SettingView {
    key: &'static str,
    value: String,
    is_default: bool,
    default: String,
    range: String,
    meaning: &'static str,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::Info { .. } => Permission::ReadApp,
            Self::Set { .. } | Self::Unset { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::Info { of, .. } | Self::Set { of, .. } | Self::Unset { of, .. } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::Info { form, .. } => info(context, console, &app, *form).await,
            Self::Set { settings, .. } => set(context, console, &app, settings).await,
            Self::Unset { keys, .. } => unset(context, console, &app, keys).await,
        }
    }
}

async fn info(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let policy = context.tools.store.router_policy(app.id).await?;
    let views: Vec<SettingView> = Key::ALL.into_iter().map(|key| view(&policy, key)).collect();
    if form.json {
        return print_json(console, &views).await;
    }
    let rows: Vec<Vec<String>> = views
        .into_iter()
        .map(|view| {
            let default = format!("{}; {}", view.default, view.range);
            vec![view.key.to_owned(), view.value, default, view.meaning.to_owned()]
        })
        .collect();
    print(console, &["SETTING", "NOW", "DEFAULT; RANGE", "MEANING"], &rows, "no settings").await;
    Ok(())
}

fn view(policy: &RouterPolicy, key: Key) -> SettingView {
    let facts = key.facts();
    let set = policy.shown(key);
    SettingView {
        key: facts.name,
        is_default: set.is_none(),
        value: set.unwrap_or_else(|| facts.default.clone()),
        default: facts.default,
        range: facts.range,
        meaning: facts.meaning,
    }
}

async fn set(context: &Context, console: &Console, app: &App, settings: &[Setting]) -> Done {
    let is_twice = |(at, setting): (usize, &Setting)| settings[..at].iter().any(|before| before.key == setting.key);
    if settings.iter().enumerate().any(is_twice) {
        return Err(CommandError::new("a setting is named twice on this line"));
    }
    context.tools.store.set_router(app.id, settings).await?;
    let keys: Vec<Key> = settings.iter().map(|setting| setting.key).collect();
    publish(context, console, app, &keys).await
}

async fn unset(context: &Context, console: &Console, app: &App, keys: &[Key]) -> Done {
    context.tools.store.unset_router(app.id, keys).await?;
    publish(context, console, app, keys).await
}

/// Tells the proxy, and the owner what is so now.
async fn publish(context: &Context, console: &Console, app: &App, keys: &[Key]) -> Done {
    context.tools.scheduler.rehost(app.id).await?;
    let policy = context.tools.store.router_policy(app.id).await?;
    for key in keys {
        let view = view(&policy, *key);
        let default = if view.is_default { " (default)" } else { "" };
        console.say(&format!("{key} of {}: {}{default}", app.name, view.value)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The per-app rows of `LIMITS.md`, by setting: default and range.
    fn told_limits() -> std::collections::BTreeMap<String, String> {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../LIMITS.md")).unwrap();
        let rows = text.lines().filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let key = cells.get(3)?.strip_prefix("`router:set ")?.strip_suffix('`')?;
            Some((key.to_owned(), cells[2].to_owned()))
        });
        rows.collect()
    }

    #[test]
    fn the_table_of_limits_and_the_command_say_the_same() {
        let shown = Key::ALL.map(|key| {
            let facts = key.facts();
            (facts.name.to_owned(), format!("{}; {}", facts.default, facts.range))
        });
        assert_eq!(told_limits(), std::collections::BTreeMap::from(shown));
    }
}
