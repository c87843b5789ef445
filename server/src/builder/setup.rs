//! What the first deploy of an app sets up as its files ask: config vars before the build, quantities before the release.
//! What somebody has set before stays as it is.
use super::Workshop;
use crate::domain::release::{Config, Formation};
use crate::domain::{App, BuildId, Failure, ProcessType, Secret, VarName};
use crate::store::ConfigChange;
use buildpacks::{BuildPlan, WantedVar, Wish};
use std::fmt::Write;

/// Of a generated secret, as Heroku makes them: 64 hex digits.
const SECRET_BYTES: usize = 32;
/// A description longer than this is cut.
const DESCRIPTION_CHARS_MAX: usize = 120;

/// What was set.
#[derive(PartialEq, Eq)]
pub(super) enum VarsSet {
    None,
    Some,
}

impl Workshop {
    /// Whether no release of the app was ever live.
    pub(super) async fn is_first_deploy(&self, app: &App) -> Result<bool, Failure> {
        let store = &self.tools.store;
        let platform = |error: crate::store::StoreError| Failure::Platform { reason: error.to_string() };
        let is_live = store.live_release(app.id).await.map_err(platform)?.is_some();
        Ok(!is_live && store.previous_live_release(app.id).await.map_err(platform)?.is_none())
    }

    /// Sets the config vars that the app's files give a value. One that only a person can give refuses a first deploy,
    /// and is warned of in a later one.
    pub(super) async fn set_vars(
        &self,
        app: &App,
        build: BuildId,
        plan: &BuildPlan,
        config: &Config,
    ) -> Result<VarsSet, Failure> {
        let is_set = |var: &&WantedVar| config.keys().any(|name| name.as_str() == var.name);
        let (required, given): (Vec<&WantedVar>, Vec<&WantedVar>) = plan
            .setup
            .vars
            .iter()
            .filter(|var| var.wish != Wish::Optional && !is_set(var))
            .partition(|var| var.wish == Wish::Required);
        if required.is_empty() && given.is_empty() {
            return Ok(VarsSet::None);
        }
        if !self.is_first_deploy(app).await? {
            let warn = |var: &&WantedVar| format!(" !     {} asks for {}, which is not set", var.place, var.name);
            self.tell(app, build, required.iter().map(warn));
            return Ok(VarsSet::None);
        }
        if !required.is_empty() {
            return Err(Failure::Plan { reason: missing(app, &required) });
        }
        let change = given.iter().map(|var| change_of(var)).collect::<Result<ConfigChange, Failure>>()?;
        let names: Vec<&str> = given.iter().map(|var| var.name.as_str()).collect();
        let stored = self.tools.store.change_config(app.id, &change).await;
        stored.map_err(|error| Failure::Platform { reason: error.to_string() })?;
        self.tell(app, build, [format!("       set for the first deploy: {}", names.join(", "))]);
        Ok(VarsSet::Some)
    }

    /// Sets the quantities of a first deploy, but for types that somebody has scaled.
    pub(super) async fn set_formation(&self, app: &App, build: BuildId, plan: &BuildPlan) -> Result<(), Failure> {
        if plan.setup.formation.is_empty() || !self.is_first_deploy(app).await? {
            return Ok(());
        }
        let platform = |error: crate::store::StoreError| Failure::Platform { reason: error.to_string() };
        let now = self.tools.store.formation(app.id).await.map_err(platform)?;
        let mut wanted = Formation::new();
        for (name, quantity) in &plan.setup.formation {
            if !plan.processes.contains_key(name) {
                let warning = format!(" !     formation names `{name}`, which is no process type of this app");
                self.tell(app, build, [warning]);
                continue;
            }
            let process: ProcessType = name
                .parse()
                .map_err(|error: crate::domain::name::NameError| Failure::Plan { reason: error.to_string() })?;
            // A new app has one web, which nobody asked for.
            let is_untouched = now.get(&process).is_none_or(|count| process.is_web() && *count == 1);
            if is_untouched {
                wanted.insert(process, *quantity);
            }
        }
        self.tools.store.scale(app.id, &wanted).await.map_err(platform)
    }
}

fn change_of(var: &WantedVar) -> Result<(VarName, Option<Secret<String>>), Failure> {
    let name: VarName = var
        .name
        .parse()
        .map_err(|error: crate::domain::name::NameError| Failure::Plan { reason: format!("{}: {error}", var.place) })?;
    let value = match &var.wish {
        Wish::Value(value) => value.clone(),
        Wish::Secret => {
            let made = crate::store::random_hex(SECRET_BYTES);
            made.map_err(|error| Failure::Platform { reason: format!("cannot make a secret: {error}") })?
        }
        Wish::Required | Wish::Optional => return Ok((name, None)),
    };
    Ok((name, Some(Secret::new(value))))
}

/// What to set, why, and what to type.
fn missing(app: &App, required: &[&WantedVar]) -> String {
    let mut text = String::from("the app asks for config vars that are not set: ");
    for (at, var) in required.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{} ({}", var.name, var.place);
        if let Some(description) = &var.description {
            let _ = write!(text, ": {}", shown(description));
        }
        text.push(')');
    }
    let _ = write!(text, "; run `paas config:set");
    for var in required {
        let _ = write!(text, " {}=…", var.name);
    }
    let _ = write!(text, " -a {}`, then push again", app.name);
    text
}

fn shown(description: &str) -> String {
    let line: String = description.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(DESCRIPTION_CHARS_MAX).collect();
    buildpacks::excerpt(&cut)
}
