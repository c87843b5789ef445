//! `volumes`: files of an app that outlive its instances and releases.
use super::grammar::{Form, OfApp};
use super::table::{print, print_json};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::volume::{Owner, Stage, Volume};
use crate::domain::{App, AppName, MountPath, VolumeName};
use crate::engine::EngineError;
use serde::Serialize;
use std::collections::HashMap;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the volumes of an app, or with --all those of every app and those that destroyed apps left
    #[command(name = "volumes:list", visible_alias = "volumes")]
    List {
        /// Name of the app
        #[arg(short, long, value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
        app: Option<AppName>,
        /// Every volume on this server
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Create an empty volume
    #[command(name = "volumes:create")]
    Create {
        #[command(flatten)]
        of: OfApp,
        /// Name: a-z, 0-9 and inner dashes, at most 40 characters
        name: VolumeName,
    },
    /// Let all instances of the app see a volume; they restart
    #[command(name = "volumes:mount")]
    Mount {
        #[command(flatten)]
        of: OfApp,
        name: VolumeName,
        /// Where, such as /data
        path: MountPath,
    },
    /// Take a volume out of the app's instances, which restart; its files stay
    #[command(name = "volumes:unmount")]
    Unmount {
        #[command(flatten)]
        of: OfApp,
        name: VolumeName,
    },
    /// Whether the old and the new release may have the volumes at the same time, instead of one after the other
    #[command(name = "volumes:overlap")]
    Overlap {
        #[command(flatten)]
        of: OfApp,
        #[arg(value_parser = ["on", "off"])]
        to: String,
    },
    /// Give a volume that a destroyed app left to another app
    #[command(name = "volumes:adopt")]
    Adopt {
        #[command(flatten)]
        of: OfApp,
        /// Its number in `volumes --all`
        id: i64,
        /// Its name from now on; the one it had when left out
        name: Option<VolumeName>,
    },
    /// Delete a volume and all its files
    #[command(name = "volumes:destroy")]
    Destroy {
        /// Name of the app; left out for a volume that a destroyed app left
        #[arg(short, long, value_name = "NAME")]
        app: Option<AppName>,
        /// Name of the volume, or the number of one without an app
        volume: String,
        /// The volume once more
        #[arg(long, value_name = "VOLUME")]
        confirm: String,
    },
}

#[derive(Serialize)]
struct View {
    id: i64,
    name: String,
    app: Option<String>,
    /// The destroyed app that left it.
    left_by: Option<String>,
    path: Option<String>,
    created_at: String,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List { all: true, .. } => Permission::ReadServer,
            Self::List { all: false, .. } => Permission::ReadApp,
            Self::Create { .. } | Self::Mount { .. } | Self::Unmount { .. } | Self::Overlap { .. } => {
                Permission::ChangeApp
            }
            Self::Destroy { app: Some(_), .. } => Permission::ChangeApp,
            // What belongs to no app is the server's.
            Self::Adopt { .. } | Self::Destroy { app: None, .. } => Permission::ChangeServer,
        }
    }

    pub(super) fn app(&self) -> Option<&AppName> {
        match self {
            Self::List { app, .. } | Self::Destroy { app, .. } => app.as_ref(),
            Self::Create { of, .. }
            | Self::Mount { of, .. }
            | Self::Unmount { of, .. }
            | Self::Overlap { of, .. }
            | Self::Adopt { of, .. } => Some(&of.app),
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = match self.app() {
            Some(name) => Some(context.app(name).await?),
            None => None,
        };
        match (self, app) {
            (Self::List { form, .. }, app) => list(context, console, app.as_ref(), *form).await,
            (Self::Destroy { volume, confirm, .. }, app) => {
                destroy(context, console, app.as_ref(), (volume, confirm)).await
            }
            (Self::Create { name, .. }, Some(app)) => create(context, console, &app, name).await,
            (Self::Mount { name, path, .. }, Some(app)) => mount(context, console, &app, (name, path)).await,
            (Self::Unmount { name, .. }, Some(app)) => unmount(context, console, &app, name).await,
            (Self::Overlap { to, .. }, Some(app)) => overlap(context, console, &app, to == "on").await,
            (Self::Adopt { id, name, .. }, Some(app)) => adopt(context, console, &app, (*id, name.as_ref())).await,
            (
                Self::Create { .. }
                | Self::Mount { .. }
                | Self::Unmount { .. }
                | Self::Overlap { .. }
                | Self::Adopt { .. },
                None,
            ) => Err(CommandError::new("name the app with -a NAME")),
        }
    }
}

async fn list(context: &Context, console: &Console, app: Option<&App>, form: Form) -> Done {
    let volumes = match app {
        Some(app) => context.tools.store.volumes(app.id).await?,
        None => context.tools.store.all_volumes().await?,
    };
    let names: HashMap<_, _> =
        context.tools.store.apps().await?.into_iter().map(|app| (app.id, app.name.to_string())).collect();
    let views: Vec<View> = volumes.iter().map(|volume| view(volume, &names)).collect();
    if form.json {
        return print_json(console, &views).await;
    }
    let rows: Vec<Vec<String>> = views
        .iter()
        .map(|v| {
            let left = v.left_by.as_ref().map(|was| format!("- (left by {was})"));
            let owner = v.app.clone().or(left).unwrap_or_else(|| "-".to_owned());
            vec![v.id.to_string(), v.name.clone(), owner, v.path.clone().unwrap_or_else(|| "not mounted".to_owned())]
        })
        .collect();
    print(console, &["ID", "NAME", "APP", "PATH"], &rows, "no volumes").await;
    let overlaps = match app {
        Some(app) => !rows.is_empty() && context.tools.store.overlaps(app.id).await?,
        None => false,
    };
    if overlaps {
        console.say("releases overlap: `paas volumes:overlap off` lets one end before the next starts").await;
    }
    Ok(())
}

fn view(volume: &Volume, names: &HashMap<crate::domain::AppId, String>) -> View {
    let (app, left_by) = match &volume.owner {
        Owner::App(app) => (names.get(app).cloned(), None),
        Owner::Nobody { was } => (None, Some(was.clone())),
    };
    View {
        id: volume.id,
        name: volume.name.to_string(),
        app,
        left_by,
        path: volume.path.as_ref().map(ToString::to_string),
        created_at: crate::logs::timestamp(volume.created_at),
    }
}

async fn create(context: &Context, console: &Console, app: &App, name: &VolumeName) -> Done {
    let tools = &context.tools;
    let volume = tools.store.add_volume(app.id, &app.key, name, tools.clock.now()).await?;
    if let Err(error) = tools.engine.ensure_volume(&volume.key).await {
        tools.store.forget_volume(volume.id).await?;
        return Err(error.into());
    }
    console.say(&format!("created volume {name}; `paas volumes:mount {name} /data -a {}` mounts it", app.name)).await;
    Ok(())
}

async fn mount(context: &Context, console: &Console, app: &App, (name, path): (&VolumeName, &MountPath)) -> Done {
    let store = &context.tools.store;
    let volume = store.volume(app.id, name).await?;
    if volume.path.as_ref() == Some(path) {
        console.say(&format!("{name} is mounted at {path} already")).await;
        return Ok(());
    }
    let others = store.volumes(app.id).await?;
    let clashes = |other: &&Volume| other.id != volume.id && other.path.as_ref().is_some_and(|it| it.overlaps(path));
    if let Some(Volume { name: other, path: Some(at), .. }) = others.iter().find(clashes) {
        return Err(CommandError::new(format!("{path} and {at}, where `{other}` is mounted, lie in each other"))
            .next("choose a path beside it, such as /data"));
    }
    store.mount_volume(volume.id, Some(path)).await?;
    let restarted = restart(context, app).await?;
    console.say(&format!("mounted {name} at {path}{restarted}")).await;
    if !store.overlaps(app.id).await? {
        console.say("from now on a release ends before the next one starts; requests wait meanwhile").await;
    }
    Ok(())
}

async fn unmount(context: &Context, console: &Console, app: &App, name: &VolumeName) -> Done {
    let volume = context.tools.store.volume(app.id, name).await?;
    let Some(path) = &volume.path else {
        console.say(&format!("{name} is not mounted")).await;
        return Ok(());
    };
    context.tools.store.mount_volume(volume.id, None).await?;
    let restarted = restart(context, app).await?;
    console.say(&format!("unmounted {name} from {path}; its files stay{restarted}")).await;
    Ok(())
}

/// Mounts are made when an instance is.
async fn restart(context: &Context, app: &App) -> Result<String, CommandError> {
    let Some(live) = context.tools.store.live_release(app.id).await? else { return Ok(String::new()) };
    for process in live.processes.keys() {
        context.tools.store.restart(app.id, process, None).await?;
    }
    context.tools.scheduler.wake(app.id);
    Ok(if app.stopped { String::new() } else { format!("; restarting {}", app.name) })
}

async fn overlap(context: &Context, console: &Console, app: &App, is_on: bool) -> Done {
    context.tools.store.set_overlaps(app.id, is_on).await?;
    context.tools.scheduler.wake(app.id);
    let text = if is_on {
        "releases may have the volumes at the same time: deploys hold no request, and the app has to bear it"
    } else {
        "a release ends before the next one has the volumes; requests wait meanwhile"
    };
    console.say(&format!("{}: {text}", app.name)).await;
    Ok(())
}

async fn adopt(context: &Context, console: &Console, app: &App, (id, name): (i64, Option<&VolumeName>)) -> Done {
    let volume = context.tools.store.left_volume(id).await?;
    let name = name.unwrap_or(&volume.name);
    context.tools.store.adopt_volume(id, app.id, name).await?;
    console
        .say(&format!("{name} belongs to {0} now; `paas volumes:mount {name} /data -a {0}` mounts it", app.name))
        .await;
    Ok(())
}

async fn destroy(context: &Context, console: &Console, app: Option<&App>, (text, confirm): (&str, &str)) -> Done {
    let volume = match app {
        Some(app) => {
            let name = text.parse().map_err(|error: crate::domain::volume::VolumeError| {
                CommandError::new(error.to_string()).next("a volume that a destroyed app left is named without -a")
            })?;
            context.tools.store.volume(app.id, &name).await?
        }
        None => {
            let id = text.parse().map_err(|_| {
                CommandError::new(format!("`{text}` is no number of a volume without an app"))
                    .next("name the app with -a NAME, or see `paas volumes --all`")
            })?;
            context.tools.store.left_volume(id).await?
        }
    };
    if confirm != text {
        return Err(CommandError::new(format!(
            "`--confirm {confirm}` does not name volume {text}; nothing was deleted"
        ))
        .next(format!("write `--confirm {text}` to delete all its files")));
    }
    if let Some(path) = &volume.path {
        return Err(CommandError::new(format!("volume {text} is mounted at {path}; nothing was deleted"))
            .next(format!("run `paas volumes:unmount {text}` first")));
    }
    remove(context, &volume).await?;
    console.say(&format!("destroyed volume {text}")).await;
    Ok(())
}

/// Files first: what is left when we die in between is a row without files, which the same command removes.
pub(super) async fn remove(context: &Context, volume: &Volume) -> Result<(), CommandError> {
    match context.tools.engine.remove_volume(&volume.key).await {
        Ok(()) => {}
        Err(EngineError::Refused(words)) if words.contains("in use") => {
            return Err(CommandError::new(format!("volume {} is still in use by an instance that ends", volume.name))
                .next("try again in a moment; `paas ps` shows what runs"));
        }
        Err(error @ (EngineError::Refused(_) | EngineError::Unreachable(_) | EngineError::Missing(_))) => {
            return Err(error.into());
        }
        Err(error @ EngineError::Other(_)) => return Err(error.into()),
    }
    Ok(context.tools.store.forget_volume(volume.id).await?)
}

/// What doctor says of volumes: each is in the database and in the engine.
pub(super) async fn complaints(tools: &super::Tools) -> Vec<String> {
    let (rows, there) = match (tools.store.all_volumes().await, tools.engine.volumes().await) {
        (Ok(rows), Ok(there)) => (rows, there),
        (Err(error), _) => return vec![error.to_string()],
        (_, Err(error)) => return vec![error.to_string()],
    };
    let is_missing = |volume: &&Volume| !there.contains(&volume.key);
    let missing = rows.iter().filter(is_missing).map(|volume| match volume.stage {
        Stage::Used => format!("volume {} ({}) held data and is not in the engine", volume.name, volume.key),
        Stage::Fresh => format!("volume {} ({}) is not in the engine yet", volume.name, volume.key),
    });
    let strays = there.iter().filter(|key| !rows.iter().any(|volume| volume.key == **key));
    let strays = strays.map(|key| format!("volume {key} in the engine is nobody's"));
    missing.chain(strays).collect()
}
