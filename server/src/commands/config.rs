//! `config`: list, set, get, unset, import, export, edit. A change makes a release, without a build.
use super::config_file;
use super::deploy::StandsOn;
use super::grammar::{Form, OfApp};
use super::table::{print, print_json};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::release::Config;
use crate::domain::{App, AppName, Origin, Secret, VarName, release};
use crate::store::{ConfigChange, NewRelease, Rest};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// A value read from standard input may be this long; so may all values of a line together.
pub(super) const VALUE_BYTES_MAX: usize = 64 << 10;
/// All values of an app together: the kernel hands a new process no more than some hundred KiB.
const CONFIG_BYTES_MAX: usize = 512 << 10;
/// Names that a release's description lists.
const DESCRIBED_MAX: usize = 12;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the config vars of an app
    #[command(name = "config:list", visible_alias = "config")]
    List {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Set config vars: one new release for all of them
    #[command(name = "config:set")]
    Set {
        #[command(flatten)]
        of: OfApp,
        /// NAME=VALUE; with `-` as the value it is read from standard input
        #[arg(required = true, value_name = "NAME=VALUE")]
        pairs: Vec<Pair>,
    },
    /// Print the value of one config var
    #[command(name = "config:get")]
    Get {
        #[command(flatten)]
        of: OfApp,
        name: VarName,
        #[command(flatten)]
        form: Form,
    },
    /// Read config vars from standard input, in the form of a .env file: one new release for all of them
    #[command(name = "config:import")]
    Import {
        #[command(flatten)]
        of: OfApp,
        /// Unset what the file does not hold
        #[arg(long)]
        replace: bool,
    },
    /// Print all config vars in the form of a .env file, which `config:import` reads back
    #[command(name = "config:export")]
    Export {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Replace all config vars by those on standard input: `config:export` to a file, edit it, `config:edit` < file
    #[command(name = "config:edit")]
    Edit {
        #[command(flatten)]
        of: OfApp,
    },
    /// Unset config vars: one new release for all of them
    #[command(name = "config:unset")]
    Unset {
        #[command(flatten)]
        of: OfApp,
        #[arg(required = true)]
        names: Vec<VarName>,
    },
}

#[derive(Clone)]
pub(super) struct Pair {
    name: VarName,
    value: Secret<String>,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, and put values with spaces into quotes")?;
        let name = name.parse().map_err(|error: crate::domain::name::NameError| error.to_string())?;
        Ok(Self { name, value: Secret::new(value.to_owned()) })
    }
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            // Values are secrets of the app: who reads them could as well change them.
            Self::List { .. } | Self::Get { .. } | Self::Export { .. } => Permission::ReadApp,
            Self::Set { .. } | Self::Unset { .. } | Self::Import { .. } | Self::Edit { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::List { of, .. }
            | Self::Set { of, .. }
            | Self::Get { of, .. }
            | Self::Import { of, .. }
            | Self::Export { of, .. }
            | Self::Edit { of }
            | Self::Unset { of, .. } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::List { form, .. } => list(context, console, &app, *form).await,
            Self::Set { pairs, .. } => {
                let change = read_change(pairs, console).await?;
                apply(context, console, &app, (change, Rest::Stays), "Set").await
            }
            Self::Import { replace: false, .. } => config_file::import(context, console, &app, Rest::Stays).await,
            Self::Import { replace: true, .. } | Self::Edit { .. } => {
                config_file::import(context, console, &app, Rest::IsUnset).await
            }
            Self::Export { form, .. } => config_file::export(context, console, &app, *form).await,
            Self::Get { name, form, .. } => get(context, console, &app, name, *form).await,
            Self::Unset { names, .. } => {
                let change = names.iter().map(|name| (name.clone(), None)).collect();
                apply(context, console, &app, (change, Rest::Stays), "Unset").await
            }
        }
    }
}

pub(super) async fn print_json_map(console: &Console, config: &Config) -> Done {
    let plain: BTreeMap<&str, &String> = config.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    print_json(console, &plain).await
}

async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let config = context.tools.store.config(app.id).await?;
    if form.json {
        return print_json_map(console, &config).await;
    }
    let rows: Vec<Vec<String>> =
        config.iter().map(|(name, value)| vec![name.to_string(), value.reveal().replace('\n', "\\n")]).collect();
    print(console, &["NAME", "VALUE"], &rows, &format!("{} has no config vars", app.name)).await;
    Ok(())
}

async fn get(context: &Context, console: &Console, app: &App, name: &VarName, form: Form) -> Done {
    let config = context.tools.store.config(app.id).await?;
    let value = config.get(name).ok_or_else(|| {
        CommandError::new(format!("{} has no config var {name}", app.name)).next("run `paas config -a APP` to see all")
    })?;
    if form.json {
        return print_json(console, &BTreeMap::from([(name.as_str(), value.reveal())])).await;
    }
    console.say(value.reveal()).await;
    Ok(())
}

async fn read_change(pairs: &[Pair], console: &mut Console) -> Result<ConfigChange, CommandError> {
    let mut change = ConfigChange::new();
    let mut from_input = None;
    for pair in pairs {
        let value = if pair.value.reveal() == "-" {
            if let Some(first) = from_input.replace(&pair.name) {
                return Err(CommandError::new(format!("{first} and {} both read standard input", pair.name))
                    .next("set one of them at a time"));
            }
            read_value(&pair.name, console).await?
        } else {
            pair.value.reveal().clone()
        };
        if value.contains('\0') {
            return Err(CommandError::new(format!(
                "the value of {} holds a NUL byte, which no environment can",
                pair.name
            )));
        }
        if change.insert(pair.name.clone(), Some(Secret::new(value))).is_some() {
            return Err(CommandError::new(format!("{} is set twice on this line", pair.name)));
        }
    }
    Ok(change)
}

async fn read_value(name: &VarName, console: &mut Console) -> Result<String, CommandError> {
    let bytes = console.read_all(VALUE_BYTES_MAX).await.ok_or_else(|| {
        CommandError::new(format!("the value of {name} is longer than {} KiB", VALUE_BYTES_MAX >> 10))
    })?;
    let text =
        String::from_utf8(bytes).map_err(|_| CommandError::new(format!("the value of {name} is not UTF-8 text")))?;
    // What came is what is kept, byte for byte; who meant it otherwise hears of it.
    if text.ends_with('\n') && text.lines().count() == 1 {
        console.complain(&format!("note: {name} ends in a line end, as `echo` writes; `printf %s` writes none")).await;
    }
    Ok(text)
}

/// Makes one release of a change; `verb` begins its description.
pub(super) async fn apply(
    context: &Context,
    console: &Console,
    app: &App,
    (change, rest): (ConfigChange, Rest),
    verb: &'static str,
) -> Done {
    let store = &context.tools.store;
    let before = store.config(app.id).await?;
    let after = changed(before.clone(), &change, rest);
    check_size(&app.name, &after)?;
    release::port(&after, &[]).map_err(|error| CommandError::new(error.to_string()))?;
    let Some(live) = store.live_release(app.id).await? else {
        store.change_all_config(app.id, &change, rest).await?;
        console.say(&format!("stored; {} has no release yet, the first push takes it along", app.name)).await;
        return Ok(());
    };
    // Beside what runs, not beside what is stored: an earlier change may have been stored without going live.
    let mut names: BTreeSet<VarName> = change.keys().cloned().collect();
    if rest == Rest::IsUnset {
        names.extend(before.keys().cloned());
    }
    let all = names.clone();
    names.retain(|name| after.get(name) != live.config.get(name));
    let names: Vec<VarName> = names.into_iter().collect();
    if names.is_empty() && after == before {
        console.say("nothing changed: the values are what they were").await;
        return Ok(());
    }
    let words = described(if names.is_empty() { all.iter().collect() } else { names.iter().collect() });
    let new = |live: &crate::domain::Release| NewRelease {
        app: app.id,
        origin: Origin::Config { changed: names.clone() },
        image: live.image.clone(),
        commit: live.commit.clone(),
        source: live.source.clone(),
        processes: live.processes.clone(),
        port: live.port,
        jobs: live.jobs.clone(),
        makeup: live.makeup.clone(),
        description: format!("{verb} {words}"),
        created_by: context.caller.to_string(),
        change: change.clone(),
    };
    let made = context.make_release(console, app, new, (StandsOn::Live, rest)).await?;
    let gone = || CommandError::new(format!("{} has no live release any more", app.name));
    context.see_through(console, app, made.ok_or_else(gone)?, Some(live.no)).await?;
    tell_stale_image(context, console, &live, &names).await
}

fn check_size(app: &AppName, config: &Config) -> Result<(), CommandError> {
    let bytes: usize = config.iter().map(|(name, value)| name.as_str().len() + value.reveal().len()).sum();
    if bytes > CONFIG_BYTES_MAX {
        return Err(CommandError::new(format!(
            "the config vars of {app} would be longer than {} KiB together, which no process can be given",
            CONFIG_BYTES_MAX >> 10
        )));
    }
    Ok(())
}

/// A build that was given what has changed made another image than it would make now.
async fn tell_stale_image(
    context: &Context,
    console: &Console,
    live: &crate::domain::Release,
    changed: &[VarName],
) -> Done {
    let Some(reads) = context.tools.store.reads_of_image(live.app, &live.image).await? else { return Ok(()) };
    let stale: Vec<&VarName> = changed.iter().filter(|name| reads.includes(name)).collect();
    if !stale.is_empty() {
        let (words, app) = (described(stale), context.tools.store.app_by_id(live.app).await?.name);
        console
            .say(&format!(
                " !     the build is given {words} too; `paas builds:run -a {app}` builds with the new value"
            ))
            .await;
    }
    Ok(())
}

fn described(names: Vec<&VarName>) -> String {
    let more = names.len().saturating_sub(DESCRIBED_MAX);
    let listed = names.into_iter().take(DESCRIBED_MAX).map(VarName::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}

/// `config` with a change applied.
pub(super) fn changed(mut config: Config, change: &ConfigChange, rest: Rest) -> Config {
    if rest == Rest::IsUnset {
        config.clear();
    }
    for (name, value) in change {
        match value {
            Some(value) => config.insert(name.clone(), value.clone()),
            None => config.remove(name),
        };
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_vars_fit_together_into_the_environment_of_a_process() {
        let app = "blog".parse().unwrap();
        let config = |bytes: usize| -> Config {
            let (first, second) = (bytes / 2, bytes - bytes / 2);
            let var = |name: &str, length: usize| (name.parse().unwrap(), Secret::new("x".repeat(length - name.len())));
            [var("FIRST", first), var("SECOND", second)].into()
        };
        assert!(check_size(&app, &config(CONFIG_BYTES_MAX)).is_ok());
        let refused = check_size(&app, &config(CONFIG_BYTES_MAX + 1)).unwrap_err();
        assert!(refused.what.contains("longer than 512 KiB together"), "{}", refused.what);
    }
}
