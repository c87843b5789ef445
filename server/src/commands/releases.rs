//! `releases`: list, info, retry, from-image; and `rollback`.
use super::deploy::StandsOn;
use super::from_image::{self, Named};
use super::grammar::{Form, OfApp};
use super::table::{ago, print, print_json};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::release::Release;
use crate::domain::{App, AppName, Command, ImageId, Origin, ReleaseNo, Rollout, UsedBuildpack};
use crate::logs::{TranscriptOf, printable};
use crate::store::{ConfigChange, NewRelease, Rest};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Releases that a list shows.
const LISTED: u32 = 50;
/// Lines of a rollout's transcript that `releases:info` shows.
const TRANSCRIPT_LINES: usize = 200;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the releases of an app, newest first
    #[command(name = "releases:list", visible_alias = "releases")]
    List {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Show one release and how its rollout went
    #[command(name = "releases:info")]
    Info {
        #[command(flatten)]
        of: OfApp,
        /// Release, such as v12
        no: ReleaseNo,
        #[command(flatten)]
        form: Form,
    },
    /// Release the newest release's image again, with today's config vars
    #[command(name = "releases:retry")]
    Retry {
        #[command(flatten)]
        of: OfApp,
    },
    /// Release an image that was built elsewhere: of a registry, or with `-` the archive on standard input
    #[command(name = "releases:from-image")]
    FromImage {
        #[command(flatten)]
        of: OfApp,
        /// Name in its registry, such as ghcr.io/me/blog:v7; `-` for what `docker save` writes
        #[arg(value_name = "IMAGE", allow_hyphen_values = false)]
        image: Named,
    },
    /// Go back to the release that was live before, or to the one named
    #[command(name = "rollback", visible_alias = "releases:rollback")]
    Rollback {
        #[command(flatten)]
        of: OfApp,
        /// Release to go back to, such as v12
        no: Option<ReleaseNo>,
    },
}

#[derive(Serialize)]
struct ReleaseView {
    release: String,
    state: &'static str,
    description: String,
    commit: Option<String>,
    /// The image that was built elsewhere, pinned by its digest.
    source: Option<String>,
    created_by: String,
    created_at: String,
    image: String,
    port: u16,
    failure: Option<String>,
    release_command: Option<String>,
    processes: BTreeMap<String, String>,
    config_vars: Vec<String>,
    /// What built its image, where that was classic buildpacks.
    buildpacks: Vec<UsedBuildpack>,
}

#[derive(Serialize)]
struct InfoView {
    #[serde(flatten)]
    release: ReleaseView,
    /// Of languages, by their ids.
    versions: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct ListedView {
    #[serde(flatten)]
    release: ReleaseView,
    /// There is no way back to it without a push.
    image_gone: bool,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List { .. } | Self::Info { .. } => Permission::ReadApp,
            Self::Retry { .. } | Self::FromImage { .. } | Self::Rollback { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::List { of, .. }
            | Self::Info { of, .. }
            | Self::Retry { of }
            | Self::FromImage { of, .. }
            | Self::Rollback { of, .. } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::List { form, .. } => list(context, console, &app, *form).await,
            Self::Info { no, form, .. } => info(context, console, &app, *no, *form).await,
            Self::Retry { .. } => retry(context, console, &app).await,
            Self::FromImage { image, .. } => from_image::run(context, console, &app, image).await,
            Self::Rollback { no, .. } => rollback(context, console, &app, *no).await,
        }
    }
}

async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let releases = context.tools.store.releases(app.id, LISTED).await?;
    // An engine that is away is no reason to list nothing.
    let there: Option<HashSet<ImageId>> =
        context.tools.engine.app_images().await.ok().map(|images| images.into_iter().map(|image| image.id).collect());
    let is_gone = |release: &Release| there.as_ref().is_some_and(|there| !there.contains(&release.image));
    if form.json {
        let views = releases.iter().map(|release| ListedView { release: view(release), image_gone: is_gone(release) });
        return print_json(console, &views.collect::<Vec<_>>()).await;
    }
    let now = context.tools.clock.now();
    let rows: Vec<Vec<String>> = releases
        .iter()
        .map(|r| {
            let when = format!("{} ago", ago(now.since(r.created_at)));
            let gone = if is_gone(r) { " (image removed)" } else { "" };
            vec![
                r.no.to_string(),
                format!("{}{gone}", r.rollout.word()),
                r.description.clone(),
                r.created_by.clone(),
                when,
            ]
        })
        .collect();
    let empty = format!("{} has no releases yet; `git push paas main` makes the first", app.name);
    print(console, &["RELEASE", "STATE", "DESCRIPTION", "BY", "WHEN"], &rows, &empty).await;
    Ok(())
}

async fn info(context: &Context, console: &Console, app: &App, no: ReleaseNo, form: Form) -> Done {
    let release = context.tools.store.release(app.id, no).await?;
    let view = view(&release);
    let versions = context.tools.store.versions_of_image(app.id, &release.image).await?;
    if form.json {
        return print_json(console, &InfoView { release: view, versions }).await;
    }
    let versions: Vec<String> = versions.iter().map(|(language, version)| format!("{language} {version}")).collect();
    for (what, value) in [
        ("release", view.release),
        ("state", view.state.to_owned()),
        ("what", view.description),
        ("commit", view.commit.unwrap_or_else(|| "-".to_owned())),
        ("source", view.source.unwrap_or_else(|| "-".to_owned())),
        ("by", view.created_by),
        ("when", view.created_at),
        ("image", view.image),
        ("versions", if versions.is_empty() { "-".to_owned() } else { versions.join(", ") }),
        ("port", view.port.to_string()),
        ("config", view.config_vars.join(" ")),
        ("once", view.release_command.unwrap_or_else(|| "-".to_owned())),
        ("failure", view.failure.unwrap_or_else(|| "-".to_owned())),
    ] {
        console.say(&format!("{what:<9}{value}")).await;
    }
    for used in view.buildpacks {
        console.say(&format!("{:<9}{} {}", "built by", used.source, used.pin.unwrap_or_default())).await;
    }
    for (process, command) in view.processes {
        console.say(&format!("{process:<9}{command}")).await;
    }
    let transcript = context.tools.logs.transcript(&app.key, TranscriptOf::rollout(&release))?;
    for line in transcript.tail(TRANSCRIPT_LINES, |_| true)? {
        console.say(&printable(&line)).await;
    }
    Ok(())
}

fn view(release: &Release) -> ReleaseView {
    let command = |command: &Command| match command {
        Command::Shell(line) => line.clone(),
        Command::ImageDefault => "(the image's own command)".to_owned(),
    };
    ReleaseView {
        release: release.no.to_string(),
        state: release.rollout.word(),
        description: release.description.clone(),
        commit: (!release.commit.is_zero()).then(|| release.commit.to_string()),
        source: release.source.clone(),
        created_by: release.created_by.clone(),
        created_at: crate::logs::timestamp(release.created_at),
        image: release.image.to_string(),
        port: release.port,
        failure: match &release.rollout {
            Rollout::Failed { failure, .. } => Some(failure.to_string()),
            Rollout::Starting { .. } | Rollout::Live { .. } | Rollout::Replaced { .. } => None,
        },
        release_command: release.jobs.release_command.clone(),
        buildpacks: release.makeup.buildpacks.clone(),
        processes: release.processes.iter().map(|(process, c)| (process.to_string(), command(c))).collect(),
        config_vars: release.config.keys().map(ToString::to_string).collect(),
    }
}

async fn retry(context: &Context, console: &Console, app: &App) -> Done {
    let new = |of: &Release| NewRelease {
        app: app.id,
        origin: Origin::Retry { of: of.no },
        image: of.image.clone(),
        commit: of.commit.clone(),
        source: of.source.clone(),
        processes: of.processes.clone(),
        port: of.port,
        jobs: of.jobs.clone(),
        makeup: of.makeup.clone(),
        description: format!("Retry of {}", of.no),
        created_by: context.caller.to_string(),
        change: ConfigChange::new(),
    };
    let replaced = context.tools.store.live_release(app.id).await?.map(|release| release.no);
    let none =
        || CommandError::new(format!("{} has no release to retry", app.name)).next("push it: `git push paas main`");
    let no = context.make_release(console, app, new, (StandsOn::Newest, Rest::Stays)).await?.ok_or_else(none)?;
    context.see_through(console, app, no, replaced).await
}

async fn rollback(context: &Context, console: &Console, app: &App, no: Option<ReleaseNo>) -> Done {
    let desk = context.desk();
    let target = desk.rollback_target(app, no).await?;
    let made = desk.roll_back(app, &target, &context.caller.to_string()).await?;
    console.say(&format!("-----> Rolling back to {}: {}", target.no, target.description)).await;
    context.see_through(console, app, made.no, made.replaced).await
}
