//! `apps`: list, create, info.
use super::grammar::{Form, OfApp};
use super::table::{ago, print, print_json};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::release::Release;
use crate::domain::{App, AppName};
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
}

#[derive(Serialize)]
struct AppView {
    name: String,
    state: &'static str,
    url: String,
    release: Option<String>,
    commit: Option<String>,
    deploy_branch: Option<String>,
    created_at: String,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List(_) => Permission::ReadServer,
            Self::Create { .. } => Permission::ChangeServer,
            Self::Info { .. } => Permission::ReadApp,
        }
    }

    pub(super) fn app(&self) -> Option<&AppName> {
        match self {
            Self::List(_) => None,
            Self::Create { name } => Some(name),
            Self::Info { of, .. } => Some(&of.app),
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        match self {
            Self::List(form) => list(context, console, *form).await,
            Self::Create { name } => create(context, console, name).await,
            Self::Info { of, form } => info(context, console, &of.app, *form).await,
        }
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
        rows.push(vec![view.name.clone(), view.state.to_owned(), deployed, view.url.clone()]);
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
    if context.tools.reserved_names.iter().any(|reserved| reserved == name.as_str()) {
        return Err(CommandError::new(format!("app name `{name}` is reserved; choose another one")));
    }
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
    let formation = context.tools.store.formation(app.id).await?;
    let scale: Vec<String> = formation.iter().map(|(process, count)| format!("{process}={count}")).collect();
    let missing = || "-".to_owned();
    for (what, value) in [
        ("name", view.name),
        ("state", view.state.to_owned()),
        ("url", view.url),
        ("release", view.release.unwrap_or_else(missing)),
        ("commit", view.commit.unwrap_or_else(missing)),
        ("branch", view.deploy_branch.unwrap_or_else(missing)),
        ("scale", scale.join(" ")),
        ("created", view.created_at),
    ] {
        console.say(&format!("{what:<9}{value}")).await;
    }
    Ok(())
}

async fn view(context: &Context, app: &App, live: Option<&Release>) -> Result<AppView, CommandError> {
    let state = context.desk().state(app, live, &context.tools.scheduler.routes()).await?;
    Ok(AppView {
        name: app.name.to_string(),
        state: state.word(),
        url: context.tools.site.url(&app.name),
        release: live.map(|release| release.no.to_string()),
        commit: live.map(|release| release.commit.to_string()),
        deploy_branch: app.deploy_branch.clone(),
        created_at: crate::logs::timestamp(app.created_at),
    })
}
