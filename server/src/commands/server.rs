//! `server:status` and `server:doctor`.
use super::disk::print_report;
use super::doctor::{Finding, examine};
use super::grammar::Form;
use super::table::print_json;
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::disk::Report;
use serde::Serialize;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Show what the server runs on and how much it does
    #[command(name = "server:status")]
    Status(Form),
    /// Check every invariant and say what is wrong
    #[command(name = "server:doctor")]
    Doctor(Form),
}

#[derive(Serialize)]
struct StatusView {
    version: &'static str,
    engine: Option<String>,
    storage_driver: Option<String>,
    apps: usize,
    instances: usize,
    builds_running: usize,
    builds_queued: usize,
    data_dir: String,
    disk: Report,
    host_guard: String,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::Status(_) | Self::Doctor(_) => Permission::ReadServer,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &Console) -> Done {
        match self {
            Self::Status(form) => status(context, console, *form).await,
            Self::Doctor(form) => doctor(context, console, *form).await,
        }
    }
}

async fn status(context: &Context, console: &Console, form: Form) -> Done {
    let tools = &context.tools;
    let facts = tools.engine.facts().await.ok();
    let view = StatusView {
        version: env!("CARGO_PKG_VERSION"),
        engine: facts.as_ref().map(|facts| facts.version.clone()),
        storage_driver: facts.map(|facts| facts.storage_driver),
        apps: tools.store.apps().await?.len(),
        instances: tools.engine.instances(None).await.map_or(0, |instances| instances.len()),
        builds_running: tools.store.running_builds().await?.len(),
        builds_queued: tools.store.queued_builds().await?.len(),
        data_dir: tools.data_dir.display().to_string(),
        disk: tools.disk.report().await,
        host_guard: tools.guard.word(),
    };
    if form.json {
        return print_json(console, &view).await;
    }
    let engine =
        view.engine.unwrap_or_else(|| "does not answer; apps go on, nothing can be built or started".to_owned());
    for (what, value) in [
        ("version", view.version.to_owned()),
        ("engine", engine),
        ("storage", view.storage_driver.unwrap_or_else(|| "-".to_owned())),
        ("apps", view.apps.to_string()),
        ("instances", view.instances.to_string()),
        ("builds", format!("{} running, {} queued", view.builds_running, view.builds_queued)),
        ("data", view.data_dir),
        ("host-guard", view.host_guard),
    ] {
        console.say(&format!("{what:<11}{value}")).await;
    }
    print_report(console, &view.disk).await;
    Ok(())
}

async fn doctor(context: &Context, console: &Console, form: Form) -> Done {
    let findings = examine(&context.tools).await;
    let wrong = findings.iter().filter(|finding| !finding.complaints.is_empty()).count();
    if form.json {
        print_json(console, &findings).await?;
    } else {
        for Finding { check, complaints } in &findings {
            console.say(&format!("{} {check}", if complaints.is_empty() { "ok " } else { "BAD" })).await;
            for complaint in complaints {
                console.say(&format!("      {complaint}")).await;
            }
        }
    }
    match wrong {
        0 => Ok(()),
        1 => Err(CommandError::new("1 check found something wrong")),
        n => Err(CommandError::new(format!("{n} checks found something wrong"))),
    }
}
