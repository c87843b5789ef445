//! `login`: a one-time link to the pages, and the end of what such links opened.
use super::grammar::Form;
use super::table::print_json;
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::Pusher;
use crate::domain::session::{LINK_LIFE, Token};
use crate::domain::site::LOCAL_ADMIN_HOST;
use serde::Serialize;

/// Ports below this one belong to root on most machines: a tunnel's near end takes another one then.
const PRIVILEGED_PORT_END: u16 = 1024;
/// The near end of a tunnel to such a port.
const TUNNEL_PORT: u16 = 8080;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Print a link that logs you in to the web pages, once, within 15 minutes
    #[command(name = "login")]
    Login(Login),
}

#[derive(clap::Args)]
pub(super) struct Login {
    /// End all sessions and unused links that your logins made (on the server itself: everybody's)
    #[arg(long)]
    revoke: bool,
    #[command(flatten)]
    form: Form,
}

#[derive(Serialize)]
struct LinkView {
    /// From everywhere, once a certificate lives for the admin host.
    https_url: Option<String>,
    url: String,
    tunnel_url: String,
    tunnel: String,
    expires_in_secs: u64,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        let Self::Login(_) = self;
        Permission::ChangeServer
    }

    pub(super) async fn run(&self, context: &Context, console: &Console) -> Done {
        let Self::Login(login) = self;
        if login.revoke { revoke(context, console, login.form).await } else { link(context, console, login.form).await }
    }
}

async fn revoke(context: &Context, console: &Console, form: Form) -> Done {
    let ended = context.tools.store.revoke_logins(&context.caller).await?;
    if form.json {
        return print_json(console, &serde_json::json!({ "ended": ended })).await;
    }
    let whose = match context.caller {
        Pusher::Key { .. } => "of this key",
        Pusher::Host { .. } => "of everybody",
    };
    let sessions = if ended == 1 { "1 session".to_owned() } else { format!("{ended} sessions") };
    console.say(&format!("ended {sessions} {whose}; unused links are void")).await;
    Ok(())
}

async fn link(context: &Context, console: &Console, form: Form) -> Done {
    let store = &context.tools.store;
    if !store.has_keys().await? {
        return Err(CommandError::new("there is no key yet, and without one the pages answer nobody")
            .next("run `paas keys:add laptop < ~/.ssh/id_ed25519.pub` first"));
    }
    let token = store.add_login_link(&context.caller, context.tools.clock.now()).await?;
    let view = view(context, &token);
    if form.json {
        return print_json(console, &view).await;
    }
    let minutes = LINK_LIFE.as_secs() / 60;
    console.say(&format!("Open this link within {minutes} minutes; it works once:")).await;
    console.say("").await;
    if let Some(url) = &view.https_url {
        console.say(&format!("  {url}")).await;
        console.say("").await;
        return Ok(());
    }
    let is_on_host = matches!(context.caller, Pusher::Host { .. });
    if is_on_host || view.url == view.tunnel_url {
        console.say(&format!("  {}", view.url)).await;
        console.say("").await;
    }
    console.say("From another machine, leave this tunnel open there (the pages answer this machine alone):").await;
    console.say("").await;
    console.say(&format!("  {}", view.tunnel)).await;
    console.say("").await;
    if view.url != view.tunnel_url {
        console.say("and open:").await;
        console.say("").await;
        console.say(&format!("  {}", view.tunnel_url)).await;
        console.say("").await;
    }
    Ok(())
}

fn view(context: &Context, token: &Token) -> LinkView {
    let site = &context.tools.site;
    let path = format!("/login?token={}", token.reveal());
    let port = site.http_port;
    let near = if port < PRIVILEGED_PORT_END { TUNNEL_PORT } else { port };
    let host = match site.base_domain.as_str() {
        "localhost" => "HOST",
        domain => domain,
    };
    let admin_host = context.tools.admin_host.as_str();
    LinkView {
        https_url: site.is_secure(admin_host).then(|| format!("{}{path}", site.url_of(admin_host))),
        url: format!("{}{path}", site.url_of(LOCAL_ADMIN_HOST)),
        tunnel_url: format!("http://{LOCAL_ADMIN_HOST}:{near}{path}"),
        tunnel: format!("ssh -N -L {near}:127.0.0.1:{port} USER@{host}"),
        expires_in_secs: LINK_LIFE.as_secs(),
    }
}
