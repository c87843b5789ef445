//! `https`: what an app wants of HTTPS beside a certificate.
use super::grammar::{Form, OfApp};
use super::table::print_json;
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::tls_policy::HSTS_SECONDS_MAX;
use crate::domain::{App, AppName, TlsPolicy};
use serde::Serialize;
use std::str::FromStr;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Show what an app's visitors are told about HTTPS
    #[command(name = "https:info", visible_alias = "https")]
    Info {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Set whether visitors by http are sent on to https, and how long browsers keep to https
    #[command(name = "https:set", after_help = "Both only once a certificate lives for the host.")]
    Set {
        #[command(flatten)]
        of: OfApp,
        /// redirect=on or off; hsts=off, or a time such as 30d or 31536000s (at most 730d)
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<Setting>,
    },
}

#[derive(Clone)]
pub(super) enum Setting {
    Redirect(bool),
    Hsts(Option<u32>),
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("redirect", "on")) => Ok(Self::Redirect(true)),
            Some(("redirect", "off")) => Ok(Self::Redirect(false)),
            Some(("hsts", "off")) => Ok(Self::Hsts(None)),
            Some(("hsts", span)) => match seconds(span) {
                Some(seconds) => Ok(Self::Hsts(Some(seconds))),
                None => Err(format!("`{span}` is no time up to 730d; write it like 30d, 12h or 31536000s")),
            },
            Some(_) | None => Err("write redirect=on, redirect=off, hsts=30d or hsts=off".to_owned()),
        }
    }
}

/// `30d`, `12h`, `90m` or `60s`, in seconds. 0 makes browsers forget.
fn seconds(text: &str) -> Option<u32> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let each = match unit {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let count: u32 = digits.parse().ok().filter(|_| is_number)?;
    count.checked_mul(each).filter(|seconds| *seconds <= HSTS_SECONDS_MAX)
}

#[derive(Serialize)]
struct PolicyView {
    redirect: bool,
    hsts_seconds: Option<u32>,
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
    let policy = context.tools.store.tls_policy(app.id).await?;
    if form.json {
        let view = PolicyView { redirect: policy.redirect, hsts_seconds: policy.hsts_seconds };
        return print_json(console, &view).await;
    }
    let redirect = if policy.redirect { "on" } else { "off" };
    let hsts = policy.hsts_seconds.map_or_else(|| "off".to_owned(), |seconds| format!("{seconds} s"));
    for (what, value) in [("redirect", redirect.to_owned()), ("hsts", hsts)] {
        console.say(&format!("{what:<9}{value}")).await;
    }
    Ok(())
}

async fn set(context: &Context, console: &Console, app: &App, settings: &[Setting]) -> Done {
    let before = context.tools.store.tls_policy(app.id).await?;
    let after = changed(before, settings)?;
    if after == before {
        console.say("nothing changed: it was so").await;
        return Ok(());
    }
    context.tools.scheduler.set_tls_policy(app.id, after).await?;
    let name = &app.name;
    if after.redirect != before.redirect {
        let line = if after.redirect {
            format!("visitors of {name} by http are sent on to https, where a certificate lives")
        } else {
            format!("visitors of {name} are served by http too")
        };
        console.say(&line).await;
    }
    match after.hsts_seconds.filter(|_| after.hsts_seconds != before.hsts_seconds) {
        Some(seconds) => {
            let line = format!("browsers that visited {name} by https keep to it for {seconds} s");
            console.say(&line).await;
        }
        None if before.hsts_seconds.is_some() && after.hsts_seconds.is_none() => {
            let line = "browsers are told nothing more; those that were told before keep to https for their time";
            console.say(line).await;
        }
        None => {}
    }
    Ok(())
}

fn changed(mut policy: TlsPolicy, settings: &[Setting]) -> Result<TlsPolicy, CommandError> {
    let (mut redirects, mut hsts) = (0, 0);
    for setting in settings {
        match setting {
            Setting::Redirect(redirect) => {
                policy.redirect = *redirect;
                redirects += 1;
            }
            Setting::Hsts(seconds) => {
                policy.hsts_seconds = *seconds;
                hsts += 1;
            }
        }
    }
    if redirects > 1 || hsts > 1 {
        return Err(CommandError::new("a setting is named twice on this line"));
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, read) in [
            ("30d", Some(2_592_000)),
            ("0s", Some(0)),
            ("730d", Some(HSTS_SECONDS_MAX)),
            ("731d", None),
            ("4294967295d", None),
            ("+1d", None),
            ("d", None),
            ("", None),
            ("1y", None),
            ("1é", None),
            ("31536000", None),
        ] {
            assert_eq!(seconds(text), read, "{text}");
        }
    }
}
