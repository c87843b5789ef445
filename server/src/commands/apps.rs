//! `apps`: list, create, info, rename, free, destroy.
use super::grammar::{Form, OfApp};
use super::table::{ago, print, print_json};
use super::{CommandError, Context, Done, Permission, destroy, rename};
use crate::console::Console;
use crate::domain::limits::Limits;
use crate::domain::release::Release;
use crate::domain::{App, AppName, Maintenance, VolumeName};
use serde::Serialize;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List all apps
    #[command(name = "apps:list", visible_alias = "apps")]
    List(Form),
    /// Create an app (the first push to a new name does it too)
    #[command(name = "apps:create")]
    Create {
        /// Name: a-z, 0-9 and inner dashes, at most 40 characters
        name: AppName,
    },
    /// Show one app
    #[command(name = "apps:info")]
    Info {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Print the address of an app; in a checkout, open it too
    #[command(name = "apps:open", visible_alias = "open")]
    Open {
        #[command(flatten)]
        of: OfApp,
    },
    /// Give an app another name: `apps:rename NEW -a OLD`, or `apps:rename OLD NEW`
    #[command(name = "apps:rename")]
    Rename {
        /// The new name; with two names, the one it has now
        #[arg(value_name = "NAME")]
        first: AppName,
        /// The new name, when the first is the one it has now
        #[arg(value_name = "NEW")]
        second: Option<AppName>,
        /// Name of the app
        #[arg(short, long, value_name = "NAME", required_unless_present = "second", conflicts_with = "second")]
        app: Option<AppName>,
    },
    /// Give up a name that an app had before: nothing leads from there any more
    #[command(name = "apps:free")]
    Free {
        /// The former name
        name: AppName,
        #[command(flatten)]
        of: OfApp,
    },
    /// Destroy an app: its instances, images, repository, logs and settings
    #[command(name = "apps:destroy")]
    Destroy {
        /// Name of the app
        #[arg(required_unless_present = "app")]
        name: Option<AppName>,
        /// Name of the app
        #[arg(short, long, value_name = "NAME", conflicts_with = "name")]
        app: Option<AppName>,
        /// The name once more, because it cannot be undone
        #[arg(long, value_name = "NAME")]
        confirm: Option<AppName>,
        /// Volumes to destroy with it; others are left and can be given to another app
        #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
        volumes: Vec<VolumeName>,
    },
}

#[derive(Serialize)]
struct AppView {
    name: String,
    state: &'static str,
    maintenance: Maintenance,
    url: String,
    release: Option<String>,
    commit: Option<String>,
    deploy_branch: Option<String>,
    former_names: Vec<String>,
    domains: Vec<String>,
    created_at: String,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List(_) => Permission::ReadServer,
            Self::Create { .. } => Permission::ChangeServer,
            Self::Info { .. } | Self::Open { .. } => Permission::ReadApp,
            Self::Rename { .. } | Self::Free { .. } | Self::Destroy { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> Option<&AppName> {
        match self {
            Self::List(_) => None,
            Self::Create { name } => Some(name),
            Self::Info { of, .. } | Self::Open { of } | Self::Free { of, .. } => Some(&of.app),
            Self::Rename { first, second, app } => {
                if second.is_some() {
                    Some(first)
                } else {
                    app.as_ref()
                }
            }
            Self::Destroy { name, app, .. } => name.as_ref().or(app.as_ref()),
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        match self {
            Self::List(form) => list(context, console, *form).await,
            Self::Create { name } => create(context, console, name).await,
            Self::Info { of, form } => info(context, console, &of.app, *form).await,
            Self::Open { of } => {
                let app = context.app(&of.app).await?;
                console.say(&context.tools.site.url(&app.name)).await;
                Ok(())
            }
            Self::Free { name, of } => rename::free(context, console, &of.app, name).await,
            Self::Rename { first, second, .. } => {
                let old = self.app().ok_or_else(unnamed)?;
                rename::rename(context, console, old, second.as_ref().unwrap_or(first)).await
            }
            Self::Destroy { confirm, volumes, .. } => {
                let name = self.app().ok_or_else(unnamed)?;
                destroy::destroy(context, console, name, (confirm.as_ref(), volumes)).await
            }
        }
    }
}

/// The grammar lets no such line through.
fn unnamed() -> CommandError {
    CommandError::new("no app is named").next("name it with `-a NAME`")
}

impl Context {
    /// Names that lead to the dashboard cannot be an app's.
    pub(super) fn refuse_reserved(&self, name: &AppName) -> Done {
        if self.tools.reserved_names.iter().any(|reserved| reserved == name.as_str()) {
            return Err(CommandError::new(format!("app name `{name}` is reserved; choose another one")));
        }
        Ok(())
    }
}

async fn list(context: &Context, console: &Console, form: Form) -> Done {
    let mut views = Vec::new();
    let mut rows = Vec::new();
    let now = context.tools.clock.now();
    for app in context.tools.store.apps().await? {
        let live = context.tools.store.live_release(app.id).await?;
        let view = view(context, &app, live.as_ref()).await?;
        let deployed = live.map_or("-".to_owned(), |r| format!("{} ({} ago)", r.no, ago(now.since(r.created_at))));
        rows.push(vec![view.name.clone(), shown_state(&view), deployed, view.url.clone()]);
        views.push(view);
    }
    if form.json {
        return print_json(console, &views).await;
    }
    let empty = "no apps yet; push one: `git remote add paas ssh://paas@HOST:2222/NAME`, then `git push paas main`";
    print(console, &["NAME", "STATE", "RELEASE", "URL"], &rows, empty).await;
    Ok(())
}

async fn create(context: &Context, console: &Console, name: &AppName) -> Done {
    context.refuse_reserved(name)?;
    let app = context.tools.store.create_app(name, context.tools.clock.now()).await?;
    context.tools.repos.ensure(&app.key)?;
    context.tools.scheduler.wake(app.id);
    console.say(&format!("created {name}; it will answer at {}", context.tools.site.url(name))).await;
    Ok(())
}

async fn info(context: &Context, console: &Console, name: &AppName, form: Form) -> Done {
    let app = context.app(name).await?;
    let live = context.tools.store.live_release(app.id).await?;
    let view = view(context, &app, live.as_ref()).await?;
    if form.json {
        return print_json(console, &view).await;
    }
    let store = &context.tools.store;
    let formation = store.formation(app.id).await?;
    let health = store.health(app.id).await?;
    let limits = store.limits(app.id).await?;
    let limits: Vec<String> = limits
        .iter()
        .filter(|(_, limits)| **limits != Limits::default())
        .map(|(process, limits)| {
            let cpu = limits.cpu.map(|cpu| format!(" {cpu} cores")).unwrap_or_default();
            format!("{process}: {}{cpu}", limits.memory())
        })
        .collect();
    let scale: Vec<String> = formation.iter().map(|(process, count)| format!("{process}={count}")).collect();
    let missing = || "-".to_owned();
    for (what, value) in [
        ("name", view.name.clone()),
        ("state", shown_state(&view)),
        ("url", view.url),
        ("release", view.release.unwrap_or_else(missing)),
        ("commit", view.commit.unwrap_or_else(missing)),
        ("branch", view.deploy_branch.unwrap_or_else(missing)),
        ("scale", scale.join(" ")),
        ("limits", if limits.is_empty() { "default".to_owned() } else { limits.join(", ") }),
        ("check", format!("GET {} within {} s", health.path(), health.ready_budget().as_secs())),
        ("domains", joined(&view.domains)),
        ("formerly", joined(&view.former_names)),
        ("created", view.created_at),
    ] {
        console.say(&format!("{what:<10}{value}")).await;
    }
    Ok(())
}

fn joined(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

async fn view(context: &Context, app: &App, live: Option<&Release>) -> Result<AppView, CommandError> {
    let store = &context.tools.store;
    let state = context.desk().state(app, live, &context.tools.scheduler.routes()).await?;
    let domains = store.domains(app.id).await?;
    let former_names = store.former_names(app.id).await?;
    Ok(AppView {
        name: app.name.to_string(),
        state: state.word(),
        maintenance: context.tools.store.maintenance(app.id).await?,
        url: context.tools.site.url(&app.name),
        release: live.map(|release| release.no.to_string()),
        commit: live.filter(|release| release.source.is_none()).map(|release| release.commit.to_string()),
        deploy_branch: app.deploy_branch.clone(),
        former_names: former_names.iter().map(ToString::to_string).collect(),
        domains: domains.iter().map(|domain| domain.host.to_string()).collect(),
        created_at: crate::logs::timestamp(app.created_at),
    })
}

/// The state, and what stands before it.
fn shown_state(view: &AppView) -> String {
    match view.maintenance {
        Maintenance::Off => view.state.to_owned(),
        Maintenance::On => format!("{}, maintenance", view.state),
        Maintenance::Pause => format!("{}, paused", view.state),
    }
}
