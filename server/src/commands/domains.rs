//! `domains`: list, add, remove, check. Requests for a host follow at once; nothing restarts.
use super::grammar::{Form, OfApp};
use super::renew::StateView;
use super::table::{ago, print, print_json};
use super::{CommandError, Context, Done, Permission, domain_redirects};
use crate::console::Console;
use crate::domain::{App, AppName, Hostname};
use crate::logs::timestamp;
use crate::outbound;
use crate::store::StoreError;
use serde::Serialize;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the hosts that an app answers at
    #[command(name = "domains:list", visible_alias = "domains")]
    List {
        #[command(flatten)]
        of: OfApp,
        #[command(flatten)]
        form: Form,
    },
    /// Let an app answer at a host name of yours
    #[command(name = "domains:add")]
    Add {
        #[command(flatten)]
        of: OfApp,
        /// Host name, such as www.example.com
        host: Hostname,
    },
    /// Let an app answer at a host name no longer
    #[command(name = "domains:remove")]
    Remove {
        #[command(flatten)]
        of: OfApp,
        host: Hostname,
    },
    /// Send visitors of a domain on to another host of the app, such as from www to the apex
    #[command(name = "domains:redirect")]
    Redirect {
        #[command(flatten)]
        of: OfApp,
        /// A domain of the app
        from: Hostname,
        /// Another host of the app
        #[arg(required_unless_present = "off", conflicts_with = "off")]
        to: Option<Hostname>,
        /// Let the domain answer itself again
        #[arg(long)]
        off: bool,
    },
    /// Ask DNS where the hosts of an app lead now, and tell how they fare with their certificates
    #[command(name = "domains:check")]
    Check {
        #[command(flatten)]
        of: OfApp,
        /// Only this one; all of the app's when left out
        host: Option<Hostname>,
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Serialize)]
struct DomainView {
    host: String,
    kind: &'static str,
    /// Where visitors are sent on to.
    to: Option<String>,
    added_at: Option<String>,
    certificate: StateView,
}

/// What DNS answers, and how the host fares with its certificate.
#[derive(Serialize)]
struct CheckView {
    #[serde(flatten)]
    dns: outbound::Finding,
    certificate: StateView,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List { .. } | Self::Check { .. } => Permission::ReadApp,
            Self::Add { .. } | Self::Remove { .. } | Self::Redirect { .. } => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::List { of, .. }
            | Self::Add { of, .. }
            | Self::Remove { of, .. }
            | Self::Redirect { of, .. }
            | Self::Check { of, .. } => &of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::List { form, .. } => list(context, console, &app, *form).await,
            Self::Add { host, .. } => add(context, console, &app, host).await,
            Self::Redirect { from, to: Some(to), .. } => {
                domain_redirects::redirect(context, console, &app, from, to).await
            }
            Self::Redirect { from, to: None, .. } => {
                domain_redirects::answer_itself(context, console, &app, from).await
            }
            Self::Remove { host, .. } => remove(context, console, &app, host).await,
            Self::Check { host, form, .. } => check(context, console, &app, host.as_ref(), *form).await,
        }
    }
}

async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let tools = &context.tools;
    let now = tools.clock.now();
    let view = |host: Hostname, kind, to: Option<String>, added_at| {
        let certificate = StateView::new(&tools.certs.state(&host));
        DomainView { host: host.to_string(), kind, to, added_at, certificate }
    };
    let own = |name: &AppName, kind| Some((view(tools.site.host(name).ok()?, kind, None, None), "-".to_owned()));
    let mut all: Vec<(DomainView, String)> = own(&app.name, "own").into_iter().collect();
    let redirects = tools.store.domain_redirects(app.id).await?;
    for domain in tools.store.domains(app.id).await? {
        let to = redirects.get(&domain.host).map(ToString::to_string);
        let when = format!("{} ago", ago(now.since(domain.added_at)));
        let added_at = Some(timestamp(domain.added_at));
        let kind = if to.is_some() { "redirect" } else { "domain" };
        all.push((view(domain.host, kind, to, added_at), when));
    }
    let home = tools.site.host(&app.name).ok().map(|host| host.to_string());
    all.extend(tools.store.former_names(app.id).await?.iter().filter_map(|name| {
        let (view, when) = own(name, "redirect")?;
        Some((DomainView { to: home.clone(), ..view }, when))
    }));
    if form.json {
        return print_json(console, &all.into_iter().map(|(view, _)| view).collect::<Vec<_>>()).await;
    }
    let row = |(view, when): (DomainView, String)| {
        let to = view.to.unwrap_or_else(|| "-".to_owned());
        vec![view.host, view.kind.to_owned(), to, when, view.certificate.state.to_owned()]
    };
    let rows: Vec<Vec<String>> = all.into_iter().map(row).collect();
    print(console, &["HOST", "KIND", "LEADS ON TO", "ADDED", "CERTIFICATE"], &rows, "no hosts").await;
    Ok(())
}

async fn add(context: &Context, console: &Console, app: &App, host: &Hostname) -> Done {
    let tools = &context.tools;
    refuse_ours(context, host)?;
    match tools.store.add_domain(app.id, host, tools.clock.now()).await {
        Ok(()) => {}
        Err(StoreError::Taken { .. }) => {
            let is_own = tools.store.domains(app.id).await?.iter().any(|domain| domain.host == *host);
            return Err(if is_own {
                CommandError::new(format!("{host} leads to {} already", app.name))
            } else {
                CommandError::new(format!("{host} is taken")).next("a host leads to one app; remove it there first")
            });
        }
        Err(error) => return Err(error.into()),
    }
    tools.scheduler.rehost(app.id).await?;
    console.say(&format!("added {host}; {} answers at {}", app.name, tools.site.url_of(host.as_str()))).await;
    console.say(&format!("`paas domains:check {host} -a {}` says whether DNS leads here", app.name)).await;
    Ok(())
}

/// Hosts that the server itself hands out, or answers at.
fn refuse_ours(context: &Context, host: &Hostname) -> Done {
    let tools = &context.tools;
    let text = host.as_str();
    if *host == tools.admin_host || text == "paas.localhost" {
        return Err(CommandError::new(format!("{host} is the dashboard's")));
    }
    if !text.contains('.') {
        return Err(CommandError::new(format!("`{host}` is no domain; write one with a dot, such as www.example.com")));
    }
    let label = text.strip_suffix(tools.site.base_domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
    // `www` is no app's name anywhere, so it may be a domain.
    if let Some(label) = label.filter(|label| !label.contains('.') && *label != "www") {
        return Err(CommandError::new(format!("{host} belongs to the app called {label}, if there is one"))
            .next(format!("`paas apps:rename {label} -a APP` gives an app that name")));
    }
    Ok(())
}

async fn remove(context: &Context, console: &Console, app: &App, host: &Hostname) -> Done {
    let redirects = context.tools.store.domain_redirects(app.id).await?;
    if let Some((from, _)) = redirects.iter().find(|(_, to)| *to == host) {
        return Err(CommandError::new(format!("visitors of {from} are sent on to {host}"))
            .next(format!("`paas domains:redirect {from} --off -a {}` ends that", app.name)));
    }
    if !context.tools.store.remove_domain(app.id, host).await? {
        return Err(CommandError::new(format!("{} has no domain {host}", app.name))
            .next(format!("`paas domains -a {}` lists them", app.name)));
    }
    context.tools.scheduler.rehost(app.id).await?;
    console.say(&format!("removed {host}; {} answers there no longer", app.name)).await;
    Ok(())
}

async fn check(context: &Context, console: &Console, app: &App, only: Option<&Hostname>, form: Form) -> Done {
    let tools = &context.tools;
    let mut hosts: Vec<Hostname> = tools.store.domains(app.id).await?.into_iter().map(|domain| domain.host).collect();
    hosts.extend(tools.site.host(&app.name).ok());
    if let Some(only) = only {
        hosts.retain(|host| host == only);
        if hosts.is_empty() {
            return Err(CommandError::new(format!("{} has no domain {only}", app.name))
                .next(format!("`paas domains:add {only} -a {}` adds it", app.name)));
        }
    }
    let findings = outbound::look_at(&hosts, &tools.site.base_domain).await;
    let (wrong, count) = (findings.iter().filter(|finding| finding.is_wrong()).count(), findings.len());
    let state = |finding: &outbound::Finding| finding.host.parse::<Hostname>().map(|host| tools.certs.state(&host));
    if form.json {
        let view = |dns: outbound::Finding| {
            let certificate = StateView::new(&state(&dns).ok()?);
            Some(CheckView { dns, certificate })
        };
        print_json(console, &findings.into_iter().filter_map(view).collect::<Vec<_>>()).await?;
    } else {
        let join = |addresses: &[std::net::IpAddr]| match addresses {
            [] => "-".to_owned(),
            some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|f| vec![f.host.clone(), f.state.word().to_owned(), join(&f.dns), join(&f.expected)])
            .collect();
        print(console, &["HOST", "STATE", "DNS SAYS", "SHOULD BE ONE OF"], &rows, "no hosts").await;
        let now = tools.clock.now();
        let certificates = findings.iter().filter_map(|finding| Some((finding.host.clone(), state(finding).ok()?)));
        let rows: Vec<Vec<String>> =
            certificates.map(|(host, state)| vec![host, state.word().to_owned(), state.detail(now)]).collect();
        console.say("").await;
        print(console, &["HOST", "CERTIFICATE", ""], &rows, "no hosts").await;
    }
    match wrong {
        0 => Ok(()),
        _ => Err(CommandError::new(format!("{wrong} of {count} hosts do not lead here"))
            .next("point them here where the domain is kept: A and AAAA records, or a CNAME")),
    }
}
