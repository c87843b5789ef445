//! `errors`: an app's own pages for visitors whom nothing answers. An answer of the app itself is never replaced.
use super::grammar::{Form, OfApp};
use super::table::{print, print_json};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::error_page::{ErrorPage, PageKind};
use crate::domain::{App, AppName};
use serde::Serialize;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List an app's own error pages
    #[command(name = "errors:list", visible_alias = "errors")]
    List {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Show the HTML on standard input to visitors who would read our page of 502, 503, 504 or maintenance
    #[command(name = "errors:set")]
    Set {
        #[command(flatten)]
        of: OfApp,
        #[arg(value_name = "502|503|504|maintenance")]
        page: PageKind,
    },
    /// Show our own page again
    #[command(name = "errors:unset")]
    Unset {
        #[command(flatten)]
        of: OfApp,
        #[arg(value_name = "502|503|504|maintenance")]
        page: PageKind,
    },
}

#[derive(Serialize)]
struct PageView {
    page: &'static str,
    size_bytes: Option<usize>,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List { .. } => Permission::ReadApp,
            Self::Set { .. } | Self::Unset { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::List { of, .. } | Self::Set { of, .. } | Self::Unset { of, .. } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::List { form, .. } => list(context, console, &app, *form).await,
            Self::Set { page, .. } => set(context, console, &app, *page).await,
            Self::Unset { page, .. } => unset(context, console, &app, *page).await,
        }
    }
}

async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let pages = context.tools.store.router_policy(app.id).await?.pages;
    let size = |kind| pages.get(&kind).map(|page| page.html().len());
    let views = PageKind::ALL.map(|kind| PageView { page: kind.word(), size_bytes: size(kind) });
    if form.json {
        return print_json(console, &views).await;
    }
    let rows = views.map(|view| {
        let shown = view.size_bytes.map_or_else(|| "ours".to_owned(), |bytes| format!("the app's, {bytes} bytes"));
        vec![view.page.to_owned(), shown]
    });
    print(console, &["PAGE", "SHOWN"], &rows, "no pages").await;
    Ok(())
}

async fn set(context: &Context, console: &mut Console, app: &App, kind: PageKind) -> Done {
    let too_long = || CommandError::new(format!("the page is longer than {} KiB", ErrorPage::BYTES_MAX >> 10));
    let html = console.read_all(ErrorPage::BYTES_MAX).await.ok_or_else(too_long)?;
    let html = String::from_utf8(html).map_err(|_| CommandError::new("the page is not written in UTF-8"))?;
    let page = ErrorPage::try_from(html).map_err(|error| {
        CommandError::new(error).next(format!("`paas errors:set {kind} -a {} < page.html` reads a file", app.name))
    })?;
    context.tools.store.set_error_page(app.id, kind, &page).await?;
    context.tools.scheduler.rehost(app.id).await?;
    console.say(&format!("visitors of {} read this page on {kind}: {} bytes", app.name, page.html().len())).await;
    Ok(())
}

async fn unset(context: &Context, console: &Console, app: &App, kind: PageKind) -> Done {
    if !context.tools.store.remove_error_page(app.id, kind).await? {
        return Err(CommandError::new(format!("{} has no page of its own for {kind}", app.name))
            .next(format!("`paas errors -a {}` lists them", app.name)));
    }
    context.tools.scheduler.rehost(app.id).await?;
    console.say(&format!("visitors of {} read our page on {kind}", app.name)).await;
    Ok(())
}
