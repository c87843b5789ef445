//! `builds`: list, info, run, cancel, buildpacks, purge-cache, root.
use super::grammar::{Form, OfApp};
use super::table::{ago, print, print_json};
use super::{CommandError, Context, Done, Permission, buildpacks, rebuild};
use crate::console::Console;
use crate::domain::{App, AppName, Build, BuildId, BuildState, Moment, Size};
use crate::logs::{From, TranscriptOf, printable, timestamp};
use ::buildpacks::BuildRoot;
use serde::Serialize;

/// Builds that a list shows.
const LISTED: u32 = 30;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the builds of an app, newest first
    #[command(name = "builds:list", visible_alias = "builds")]
    List {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Show one build and its log; the newest when none is named
    #[command(name = "builds:info")]
    Info {
        #[command(flatten)]
        of: OfApp,
        /// Number of the build
        #[arg(value_parser = parse_id)]
        id: Option<BuildId>,
        #[command(flatten)]
        form: Form,
    },
    /// Build what was pushed last again, from scratch, and release it
    #[command(name = "builds:run")]
    Run {
        #[command(flatten)]
        of: OfApp,
    },
    /// Show or set the folder of the repository that is the app
    #[command(name = "builds:root")]
    Root {
        #[command(flatten)]
        of: OfApp,
        /// Such as apps/web; the next push builds it
        #[arg(conflicts_with = "unset")]
        folder: Option<BuildRoot>,
        /// Build what the repository's paas.toml says, or all of it
        #[arg(long)]
        unset: bool,
    },
    /// Let the next build begin with empty caches, and nothing taken over from earlier ones
    #[command(name = "builds:purge-cache")]
    PurgeCache {
        #[command(flatten)]
        of: OfApp,
    },
    /// Cancel a build that is queued, running, or starting its release; the newest when none is named
    #[command(name = "builds:cancel")]
    Cancel {
        #[command(flatten)]
        of: OfApp,
        /// Number of the build
        #[arg(value_parser = parse_id)]
        id: Option<BuildId>,
    },
    /// Show or change which classic buildpacks build the app: `builds:buildpacks set https://HOST/PATH.git`
    ///
    /// They win over those that app.json and .buildpacks list, and over a Dockerfile.
    #[command(name = "builds:buildpacks", visible_alias = "buildpacks")]
    Buildpacks {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        words: buildpacks::Words,
        #[command(flatten)]
        form: Form,
    },
}

fn parse_id(text: &str) -> Result<BuildId, String> {
    let number = text.strip_prefix('#').unwrap_or(text).parse();
    number.map(BuildId).map_err(|_| format!("`{text}` is no build number; builds are numbered like 12"))
}

#[derive(Serialize)]
struct BuildView {
    id: i64,
    state: &'static str,
    commit: String,
    branch: String,
    pushed_by: String,
    queued_at: String,
    duration_ms: Option<u128>,
    release: Option<String>,
    /// Names of the config vars that it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    reads: Option<Vec<String>>,
    failure: Option<String>,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List { .. } | Self::Info { .. } | Self::Root { folder: None, unset: false, .. } => {
                Permission::ReadApp
            }
            Self::Buildpacks { words, .. } if !words.changes() => Permission::ReadApp,
            Self::Run { .. }
            | Self::Root { .. }
            | Self::PurgeCache { .. }
            | Self::Cancel { .. }
            | Self::Buildpacks { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::List { of, .. }
            | Self::Info { of, .. }
            | Self::Run { of }
            | Self::PurgeCache { of }
            | Self::Root { of, .. }
            | Self::Cancel { of, .. }
            | Self::Buildpacks { of, .. } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::List { form, .. } => list(context, console, &app, *form).await,
            Self::Info { id, form, .. } => info(context, console, &app, *id, *form).await,
            Self::Run { .. } => rebuild::run(context, console, &app).await,
            Self::Root { folder: None, unset: false, .. } => show_root(context, console, &app).await,
            Self::Root { folder, .. } => set_root(context, console, &app, folder.as_ref()).await,
            Self::PurgeCache { .. } => purge_cache(context, console, &app).await,
            Self::Cancel { id, .. } => cancel(context, console, &app, *id).await,
            Self::Buildpacks { words, form, .. } => buildpacks::run(context, console, &app, words, *form).await,
        }
    }
}

async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let builds = context.tools.store.builds(app.id, LISTED).await?;
    let now = context.tools.clock.now();
    if form.json {
        return print_json(console, &builds.iter().map(|build| view(build, now)).collect::<Vec<_>>()).await;
    }
    let rows: Vec<Vec<String>> = builds
        .iter()
        .map(|build| {
            let v = view(build, now);
            let took = v.duration_ms.map_or("-".to_owned(), |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100));
            let when = format!("{} ago", ago(now.since(build.queued_at)));
            let release = v.release.unwrap_or_else(|| "-".to_owned());
            vec![
                v.id.to_string(),
                v.state.to_owned(),
                build.moves.new.short().to_owned(),
                release,
                v.pushed_by,
                took,
                when,
            ]
        })
        .collect();
    let heads = ["BUILD", "STATE", "COMMIT", "RELEASE", "BY", "TOOK", "WHEN"];
    print(console, &heads, &rows, &format!("{} has no builds yet", app.name)).await;
    Ok(())
}

fn view(build: &Build, now: Moment) -> BuildView {
    let (release, failure) = match &build.state {
        BuildState::Released { release, .. } => (Some(release.to_string()), None),
        BuildState::Failed { failure } => (None, Some(failure.to_string())),
        BuildState::Queued | BuildState::Running => (None, None),
    };
    BuildView {
        id: build.id.0,
        state: build.state.word(),
        commit: build.moves.new.to_string(),
        branch: build.moves.branch.clone(),
        pushed_by: build.pusher.to_string(),
        queued_at: timestamp(build.queued_at),
        duration_ms: build.started_at.map(|from| build.ended_at.unwrap_or(now).since(from).as_millis()),
        release,
        reads: None,
        failure,
    }
}

async fn find(context: &Context, app: &App, id: Option<BuildId>) -> Result<Build, CommandError> {
    match id {
        Some(id) => Ok(context.tools.store.build(app.id, id).await?),
        None => {
            let newest = context.tools.store.builds(app.id, 1).await?.pop();
            newest.ok_or_else(|| CommandError::new(format!("{} has no builds yet", app.name)))
        }
    }
}

async fn info(context: &Context, console: &Console, app: &App, id: Option<BuildId>, form: Form) -> Done {
    let build = find(context, app, id).await?;
    let mut v = view(&build, context.tools.clock.now());
    v.reads = context.tools.store.reads(app.id, build.id).await?.map(|reads| reads.names);
    if form.json {
        return print_json(console, &v).await;
    }
    console
        .say(&format!("build {} of {}: {}, commit {}, by {}", build.id, app.name, v.state, v.commit, v.pushed_by))
        .await;
    if let Some(reads) = v.reads.filter(|reads| !reads.is_empty()) {
        console.say(&format!("given the config vars {}", reads.join(" "))).await;
    }
    let transcript = context.tools.logs.transcript(&app.key, TranscriptOf::Build(build.id))?;
    let mut follower = transcript.follow(From::Start)?;
    // Asked after the transcript was opened: one that is still in hand is closed at its end.
    if !context.tools.builder.has_in_hand(build.id) {
        for line in transcript.tail(usize::MAX, |_| true)? {
            if !console.say(&printable(&line)).await {
                break;
            }
        }
        return Ok(());
    }
    while let Some(line) = next_line(&mut follower, console).await? {
        if !console.say(&printable(&line)).await {
            break;
        }
    }
    Ok(())
}

async fn next_line(follower: &mut crate::logs::Follower, console: &Console) -> anyhow::Result<Option<String>> {
    tokio::select! {
        line = follower.next() => line,
        () = console.left.cancelled() => Ok(None),
    }
}

async fn show_root(context: &Context, console: &Console, app: &App) -> Done {
    let root = context.tools.store.build_root(app.id).await?;
    console.say(&root.map_or_else(|| "not set".to_owned(), |root| root.to_string())).await;
    Ok(())
}

async fn set_root(context: &Context, console: &Console, app: &App, root: Option<&BuildRoot>) -> Done {
    context.tools.store.set_build_root(app.id, root).await?;
    let built = root.map_or_else(|| "what its paas.toml says, or all of it".to_owned(), ToString::to_string);
    console.say(&format!("the next push to {} builds {built}", app.name)).await;
    Ok(())
}

async fn purge_cache(context: &Context, console: &Console, app: &App) -> Done {
    let removed = context.tools.builder.purge_cache(app).await?;
    let rest = match removed {
        Some(bytes) => format!("{} freed", Size(bytes)),
        None => "what is there goes as soon as the engine lets it".to_owned(),
    };
    console.say(&format!("the next build of {} begins with empty caches; {rest}", app.name)).await;
    Ok(())
}

async fn cancel(context: &Context, console: &Console, app: &App, id: Option<BuildId>) -> Done {
    let build = find(context, app, id).await?;
    let cancelled = context.desk().cancel(app, &build, &context.caller.to_string()).await?;
    console.say(&format!("cancelled build {cancelled}")).await;
    Ok(())
}
