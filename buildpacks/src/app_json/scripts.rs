//! `scripts`: what runs once around a deploy.

use super::place::{AppJsonError, Place};
use crate::command::quote;
use crate::procfile::COMMAND_BYTES_MAX;
use crate::text::excerpt;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scripts {
    /// Before each release's first instance, as the Procfile's `release:` is.
    pub(crate) predeploy: Option<String>,
    /// Behind the first deploy.
    pub(crate) postdeploy: Option<String>,
}

pub(crate) fn scripts<'a>(place: &Place<'a>, part: &'a str, unused: &mut Vec<String>) -> Result<Scripts, AppJsonError> {
    let mut scripts = Scripts::default();
    for (key, part) in place.fields(part)? {
        let field = place.below(&format!(".{}", excerpt(&key)));
        match key.as_str() {
            "predeploy" => scripts.predeploy = Some(field.words(part, COMMAND_BYTES_MAX)?),
            "postdeploy" => scripts.postdeploy = Some(field.words(part, COMMAND_BYTES_MAX)?),
            "dokku" => {
                for (key, _) in field.fields(part)? {
                    unused.push(format!("scripts.dokku.{} ({})", excerpt(&key), instead_of_dokku(&key)));
                }
            }
            _of_pipelines => unused.push(field.field),
        }
    }
    Ok(scripts)
}

fn instead_of_dokku(key: &str) -> &'static str {
    match key {
        "predeploy" => "write scripts.predeploy, or `release:` in the Procfile",
        "postdeploy" => "write scripts.postdeploy, which runs behind the first deploy; `release:` runs at each",
        _other => "a build step belongs into the build, what runs at each deploy into the Procfile's `release:`",
    }
}

impl Scripts {
    /// The release command: `predeploy` first, then the Procfile's, where the first has succeeded.
    pub(crate) fn release_command(&self, of_procfile: Option<&str>) -> Option<String> {
        match (&self.predeploy, of_procfile) {
            (Some(before), Some(line)) => Some(format!("sh -c {} && sh -c {}", quote(before), quote(line))),
            (Some(only), None) => Some(only.clone()),
            (None, line) => line.map(str::to_owned),
        }
    }
}
