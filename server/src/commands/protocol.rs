//! `ps:protocol`: what the proxy and an app's instances speak with each other.
use super::grammar::Form;
use super::table::{print, print_json};
use super::{CommandError, Context, Done};
use crate::console::Console;
use crate::domain::{App, ProcessType, Protocol};
use serde::Serialize;
use std::str::FromStr;

/// `web=h2c`.
#[derive(Clone)]
pub(super) struct Setting {
    process: ProcessType,
    protocol: Protocol,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (process, protocol) = text.split_once('=').ok_or("write web=h2c, or web=http1")?;
        let process: ProcessType =
            process.parse().map_err(|error: crate::domain::name::NameError| error.to_string())?;
        if !process.is_web() {
            return Err(format!("`{process}` gets no requests: only `web` has a protocol"));
        }
        Ok(Self { process, protocol: protocol.parse()? })
    }
}

#[derive(Serialize)]
struct ProtocolView {
    process: String,
    protocol: &'static str,
}

pub(super) async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let web = ProcessType::web();
    let protocol = context.tools.store.protocols(app.id).await?.get(&web).copied().unwrap_or_default();
    if form.json {
        let view = [ProtocolView { process: web.to_string(), protocol: protocol.as_str() }];
        return print_json(console, &view).await;
    }
    let rows = [vec![web.to_string(), protocol.to_string()]];
    print(console, &["TYPE", "PROTOCOL"], &rows, "").await;
    Ok(())
}

pub(super) async fn set(context: &Context, console: &Console, app: &App, setting: &Setting) -> Done {
    let Setting { process, protocol } = setting;
    let store = &context.tools.store;
    let before = store.protocols(app.id).await?.get(process).copied().unwrap_or_default();
    if before == *protocol {
        console.say(&format!("nothing changed: {process} of {} speaks {protocol} already", app.name)).await;
        return Ok(());
    }
    store.set_protocol(app.id, process, *protocol).await.map_err(CommandError::from)?;
    context.tools.scheduler.wake(app.id);
    let is_live = store.live_release(app.id).await?.is_some();
    let then = if is_live { "; they replace those that run, each once it is ready" } else { "" };
    console.say(&format!("new {process} instances of {} are spoken to in {protocol}{then}", app.name)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_has_a_protocol_and_only_known_ones() {
        let setting: Setting = "web=h2c".parse().ok().unwrap();
        assert_eq!((setting.process, setting.protocol), (ProcessType::web(), Protocol::H2c));
        for bad in ["web", "h2c", "worker=h2c", "web=", "web=http2", "=h2c"] {
            assert!(bad.parse::<Setting>().is_err(), "{bad:?}");
        }
    }
}
