//! `maintenance`: who visits an app while its owner works on it. The owner gets a link past the page.
use super::grammar::{Form, OfApp};
use super::table::print_json;
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::hex::hex;
use crate::domain::maintenance::BYPASS_PATH;
use crate::domain::{App, AppName, Maintenance};
use anyhow::Context as _;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Length of the token in the link, in bytes.
const TOKEN_BYTES: usize = 16;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Show whether visitors are let in
    #[command(name = "maintenance")]
    Show {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Answer visitors with a page that says to come back (503, H80); instances run on, deploys work
    #[command(name = "maintenance:on")]
    On {
        #[command(flatten)]
        of: OfApp,
    },
    /// Let visitors in again
    #[command(name = "maintenance:off")]
    Off {
        #[command(flatten)]
        of: OfApp,
    },
    /// Let requests wait: at most 1000, each for at most 30 s, then 503
    #[command(name = "maintenance:pause")]
    Pause {
        #[command(flatten)]
        of: OfApp,
    },
}

#[derive(Serialize)]
struct View {
    app: String,
    maintenance: Maintenance,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::Show { .. } => Permission::ReadApp,
            Self::On { .. } | Self::Off { .. } | Self::Pause { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::Show { of, .. } | Self::On { of } | Self::Off { of } | Self::Pause { of } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::Show { form, .. } => show(context, console, &app, *form).await,
            Self::On { .. } => set(context, console, &app, Maintenance::On).await,
            Self::Off { .. } => set(context, console, &app, Maintenance::Off).await,
            Self::Pause { .. } => set(context, console, &app, Maintenance::Pause).await,
        }
    }
}

async fn show(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let maintenance = context.tools.store.maintenance(app.id).await?;
    if form.json {
        return print_json(console, &View { app: app.name.to_string(), maintenance }).await;
    }
    console.say(maintenance.word()).await;
    Ok(())
}

async fn set(context: &Context, console: &Console, app: &App, to: Maintenance) -> Done {
    let before = context.tools.store.maintenance(app.id).await?;
    let bypass = match to {
        Maintenance::On => Some(new_bypass(context, app).await?),
        Maintenance::Off | Maintenance::Pause => None,
    };
    context.tools.scheduler.set_maintenance(app.id, to).await?;
    if to == Maintenance::Off {
        // The app has nothing set about the router by this any more, and pays for nothing.
        context.tools.store.remove_bypass(app.id).await?;
        context.tools.scheduler.rehost(app.id).await?;
    }
    let name = &app.name;
    console
        .say(&match to {
            Maintenance::On => format!("visitors of {name} see a maintenance page until `paas maintenance:off`"),
            Maintenance::Off => format!("visitors of {name} are let in"),
            Maintenance::Pause => {
                format!("requests to {name} wait, at most 1000 and each for 30 s, until `paas maintenance:off`")
            }
        })
        .await;
    if let Some(link) = bypass {
        console.say(&format!("your browser sees {name} all the same once it opened {link}")).await;
    }
    if let (Maintenance::Pause, Maintenance::Off, Some(report)) =
        (before, to, context.tools.scheduler.last_hold(app.id))
    {
        let took = report.took.as_secs_f64();
        console.say(&format!("paused for {took:.1}s: {} came, {} in vain", report.requests, report.lost)).await;
    }
    Ok(())
}

/// A link that lets whoever opens it past the page, until maintenance is switched on again.
async fn new_bypass(context: &Context, app: &App) -> Result<String, CommandError> {
    let mut token = [0; TOKEN_BYTES];
    getrandom::fill(&mut token).context("ask the system for randomness")?;
    let token = hex(&token);
    context.tools.store.set_bypass(app.id, &hex(&Sha256::digest(&token))).await?;
    context.tools.scheduler.rehost(app.id).await?;
    Ok(format!("{}{BYPASS_PATH}{token}", context.tools.site.url(&app.name)))
}
