//! `auth`: who may visit an app, by name and password. The router asks; the app never sees the password.
use super::grammar::{Form, OfApp};
use super::table::{print, print_json};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::login::{LoginName, PasswordHash, SALT_BYTES};
use crate::domain::{App, AppName};
use anyhow::Context as _;

/// More than the longest password and the end of its line.
const INPUT_BYTES_MAX: usize = 1024;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List who may visit an app by name and password; nobody listed: everybody may
    #[command(name = "auth:list", visible_alias = "auth")]
    List {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Let somebody visit, with the password on standard input; from then on visitors have to log in
    #[command(name = "auth:set")]
    Set {
        #[command(flatten)]
        of: OfApp,
        #[arg(value_name = "LOGIN")]
        name: LoginName,
    },
    /// Let somebody visit no longer; when the last one is removed, everybody may
    #[command(name = "auth:remove")]
    Remove {
        #[command(flatten)]
        of: OfApp,
        #[arg(value_name = "LOGIN")]
        name: LoginName,
    },
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List { .. } => Permission::ReadApp,
            Self::Set { .. } | Self::Remove { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::List { of, .. } | Self::Set { of, .. } | Self::Remove { of, .. } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::List { form, .. } => list(context, console, &app, *form).await,
            Self::Set { name, .. } => set(context, console, &app, name).await,
            Self::Remove { name, .. } => remove(context, console, &app, name).await,
        }
    }
}

async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let policy = context.tools.store.router_policy(app.id).await?;
    let names: Vec<String> = policy.logins.keys().map(ToString::to_string).collect();
    if form.json {
        return print_json(console, &names).await;
    }
    let rows: Vec<Vec<String>> = names.into_iter().map(|name| vec![name]).collect();
    print(console, &["LOGIN"], &rows, "no logins: everybody may visit").await;
    Ok(())
}

async fn set(context: &Context, console: &mut Console, app: &App, name: &LoginName) -> Done {
    let input = console.read_all(INPUT_BYTES_MAX).await;
    let input = input.ok_or_else(|| CommandError::new("the password is too long"))?;
    let line = input.strip_suffix(b"\n").unwrap_or(&input);
    let password = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    if password.is_empty() {
        return Err(CommandError::new("no password came on standard input")
            .next(format!("`paas auth:set {name} -a {} < password.txt` reads a file", app.name)));
    }
    if std::str::from_utf8(&password).is_err() || password.iter().any(u8::is_ascii_control) {
        return Err(CommandError::new("the password has to be one line of text"));
    }
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).context("ask the system for randomness")?;
    // Slow on purpose, so not here.
    let hash = tokio::task::spawn_blocking(move || PasswordHash::of(&password, &salt)).await;
    let hash = hash.context("hash a password")?.ok_or_else(|| {
        let (least, most) = (PasswordHash::PASSWORD_BYTES_MIN, PasswordHash::PASSWORD_BYTES_MAX);
        CommandError::new(format!("a password has {least} to {most} characters"))
    })?;
    context.tools.store.set_login(app.id, name, &hash).await?;
    context.tools.scheduler.rehost(app.id).await?;
    console.say(&format!("visitors of {} log in; {name} may with the new password", app.name)).await;
    Ok(())
}

async fn remove(context: &Context, console: &Console, app: &App, name: &LoginName) -> Done {
    if !context.tools.store.remove_login(app.id, name).await? {
        return Err(CommandError::new(format!("{} has no login {name}", app.name))
            .next(format!("`paas auth -a {}` lists them", app.name)));
    }
    context.tools.scheduler.rehost(app.id).await?;
    let is_last = context.tools.store.router_policy(app.id).await?.logins.is_empty();
    let then = if is_last { "; nobody is left, so everybody may visit" } else { "" };
    console.say(&format!("{name} may visit {} no longer{then}", app.name)).await;
    Ok(())
}
