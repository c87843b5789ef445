//! `certs`: certificates that are served, uploaded ones and those that a CA gave out.
use super::grammar::Form;
use super::table::{print, print_json};
use super::{CommandError, Context, Done, Permission, Tools};
use crate::console::Console;
use crate::domain::certificate::{CertificateSource, StoredCertificate};
use crate::domain::certificate_pem::{Leaf, Parts};
use crate::domain::moment::date;
use crate::domain::{CertificateHost, Moment, upload};
use crate::logs::timestamp;
use serde::Serialize;
use std::time::Duration;

/// A chain with its key may be this long.
const BUNDLE_BYTES_MAX: usize = 64 << 10;
/// An uploaded certificate nobody renews: its end is told so long before.
const SOON: Duration = Duration::from_hours(14 * 24);

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the certificates that are served
    #[command(name = "certs:list", visible_alias = "certs")]
    List(Form),
    /// Show what a certificate says
    #[command(name = "certs:info")]
    Info {
        /// Host name, or *.DOMAIN
        host: CertificateHost,
        #[command(flatten)]
        form: Form,
    },
    /// Serve a certificate of yours, read with its chain and its key from standard input (PEM)
    #[command(
        name = "certs:add",
        after_help = "Example: cat fullchain.pem privkey.pem | paas certs:add www.example.com\nIt is served until it is removed or replaced, and renewed by nobody."
    )]
    Add {
        /// Host name, or *.DOMAIN for all hosts one label below it
        host: CertificateHost,
    },
    /// Serve a certificate no longer
    #[command(name = "certs:remove")]
    Remove { host: CertificateHost },
}

#[derive(Serialize)]
struct CertificateView {
    host: String,
    source: &'static str,
    state: &'static str,
    not_before: String,
    not_after: String,
    added_at: String,
}

#[derive(Serialize)]
struct DetailView {
    #[serde(flatten)]
    certificate: CertificateView,
    subject: String,
    issuer: String,
    names: Vec<String>,
    chain_length: usize,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List(_) | Self::Info { .. } => Permission::ReadServer,
            Self::Add { .. } | Self::Remove { .. } => Permission::ChangeServer,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        match self {
            Self::List(form) => list(context, console, *form).await,
            Self::Info { host, form } => info(context, console, host, *form).await,
            Self::Add { host } => add(context, console, host).await,
            Self::Remove { host } => remove(context, console, host).await,
        }
    }
}

fn view(stored: &StoredCertificate, now: Moment) -> CertificateView {
    CertificateView {
        host: stored.host.to_string(),
        source: stored.source.word(),
        state: state(stored, now),
        not_before: timestamp(stored.not_before),
        not_after: timestamp(stored.not_after),
        added_at: timestamp(stored.added_at),
    }
}

fn state(stored: &StoredCertificate, now: Moment) -> &'static str {
    if stored.not_after <= now {
        "expired"
    } else if stored.not_before > now {
        "not yet valid"
    } else if stored.not_after.since(now) < SOON && stored.source == CertificateSource::Uploaded {
        "ends soon"
    } else {
        "live"
    }
}

async fn list(context: &Context, console: &Console, form: Form) -> Done {
    let (all, now) = (context.tools.store.certificates().await?, context.tools.clock.now());
    if form.json {
        return print_json(console, &all.iter().map(|stored| view(stored, now)).collect::<Vec<_>>()).await;
    }
    let row = |stored: &StoredCertificate| {
        let (state, until) = (state(stored, now).to_owned(), date(stored.not_after));
        vec![stored.host.to_string(), state, stored.source.word().to_owned(), until]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let empty = "no certificates; add one: `cat fullchain.pem privkey.pem | paas certs:add HOST`";
    print(console, &["HOST", "STATE", "SOURCE", "VALID UNTIL"], &rows, empty).await;
    Ok(())
}

/// For the doctor: a CA's certificate is renewed long before its end, an uploaded one by nobody.
pub(super) async fn complaints(tools: &Tools) -> Vec<String> {
    let (all, now) = match tools.store.certificates().await {
        Ok(all) => (all, tools.clock.now()),
        Err(error) => return vec![error.to_string()],
    };
    let is_at_end = |stored: &&StoredCertificate| matches!(state(stored, now), "expired" | "ends soon");
    let complain = |stored: &StoredCertificate| {
        let (host, until) = (&stored.host, date(stored.not_after));
        format!("the certificate for {host} is valid until {until}; `paas certs:add {host}` takes another one")
    };
    all.iter().filter(is_at_end).map(complain).collect()
}

async fn find(context: &Context, host: &CertificateHost) -> Result<StoredCertificate, CommandError> {
    let found = context.tools.store.certificates().await?.into_iter().find(|stored| stored.host == *host);
    found.ok_or_else(|| {
        CommandError::new(format!("there is no certificate for {host}"))
            .next("run `paas certs` to see all certificates")
    })
}

async fn info(context: &Context, console: &Console, host: &CertificateHost, form: Form) -> Done {
    let stored = find(context, host).await?;
    let broken = |error: crate::domain::certificate_pem::CertificateError| CommandError::new(error.to_string());
    let parts = Parts::of(&stored.certificate).map_err(broken)?;
    let Leaf { names, subject, issuer, .. } = parts.leaf().map_err(broken)?;
    let view = DetailView {
        certificate: view(&stored, context.tools.clock.now()),
        subject,
        issuer,
        names: names.iter().map(ToString::to_string).collect(),
        chain_length: parts.chain.len(),
    };
    if form.json {
        return print_json(console, &view).await;
    }
    for (what, value) in [
        ("host", view.certificate.host),
        ("state", view.certificate.state.to_owned()),
        ("source", view.certificate.source.to_owned()),
        ("valid", format!("{} to {}", date(stored.not_before), date(stored.not_after))),
        ("names", view.names.join(" ")),
        ("subject", view.subject),
        ("issuer", view.issuer),
        ("chain", format!("{} certificates", view.chain_length)),
    ] {
        console.say(&format!("{what:<9}{value}")).await;
    }
    Ok(())
}

async fn add(context: &Context, console: &mut Console, host: &CertificateHost) -> Done {
    let tools = &context.tools;
    let usage = format!("run `cat fullchain.pem privkey.pem | paas certs:add {host}`");
    let bytes = console
        .read_all(BUNDLE_BYTES_MAX)
        .await
        .ok_or_else(|| CommandError::new("that is too long for a chain and its key").next(&usage))?;
    let text = String::from_utf8(bytes).map_err(|_| CommandError::new("that is no PEM text").next(&usage))?;
    if text.trim().is_empty() {
        return Err(CommandError::new("nothing on standard input").next(usage));
    }
    let stored = upload::check(&text, host, tools.clock.now())
        .map_err(|error| CommandError::new(format!("this certificate is not taken: {error}")))?;
    tools.store.put_certificate(&stored).await?;
    let faults = tools.scheduler.serve_certificates().await?;
    if let Some(fault) = faults.iter().find(|fault| fault.host == *host) {
        return Err(CommandError::new(fault.to_string()));
    }
    console.say(&format!("added the certificate for {host}, valid until {}", date(stored.not_after))).await;
    match (&tools.site.https, host) {
        (None, _) => console.say("this server does not serve HTTPS: its https_listen is off").await,
        (Some(_), CertificateHost::Exact(host)) => console.say(&tools.site.url_of(host.as_str())).await,
        (Some(_), CertificateHost::Below(_)) => true,
    };
    Ok(())
}

async fn remove(context: &Context, console: &Console, host: &CertificateHost) -> Done {
    let stored = find(context, host).await?;
    context.tools.store.remove_certificate(host, stored.source).await?;
    context.tools.scheduler.serve_certificates().await?;
    console.say(&format!("removed the certificate for {host}")).await;
    Ok(())
}
