//! Which Elixir an app gets: there is Debian's, which builds what was written for an older 1.x.

use super::TABLE;
use crate::PlanError;
use crate::range::{Range, Version, spelled_as_npm};
use crate::tree::{SourceTree, config_text};
use crate::versions;

pub(super) struct Chosen {
    pub(super) note: String,
    pub(super) warning: Option<String>,
}

pub(super) fn choose(tree: &dyn SourceTree) -> Result<Chosen, PlanError> {
    let debian = TABLE.debian.version.as_str();
    let ours = format!("elixir {debian} on Erlang {} (Debian's elixir", TABLE.debian.erlang);
    let Some(request) = versions::find(tree, &TABLE.language)? else {
        return Ok(Chosen { note: format!("{ours}; no elixir_version)"), warning: erlang_warning(tree)? });
    };
    // `v1.17.3`, `1.17.3-otp-27`
    let text = request.text.trim_start_matches('v');
    let text = text.split("-otp-").next().unwrap_or(text);
    let line = debian.rsplit_once('.').map_or(debian, |(line, _)| line);
    let refusal = || {
        request.refused("Elixir", format!("and there is Debian's {debian} only: write \"{line}\", or add a Dockerfile"))
    };
    let version = Version::parse(debian).ok_or_else(refusal)?;
    let range = spelled_as_npm(&text.replace(" and ", ",").replace(" or ", "|")).and_then(|text| Range::parse(&text));
    let range = range.ok_or_else(refusal)?;
    let note = format!("{ours} satisfies {} \"{}\")", request.place, request.text);
    if range.holds(version) {
        return Ok(Chosen { note, warning: erlang_warning(tree)? });
    }
    let first = if text.matches('.').count() == 1 { format!("{text}.0") } else { text.to_owned() };
    if Version::parse(&first).is_none_or(|wanted| wanted > version || wanted.major() != version.major()) {
        return Err(refusal());
    }
    let warning = format!(
        "{} asks for Elixir {text}, Debian's {debian} is used, which promises to build what an older 1.x did",
        request.file
    );
    Ok(Chosen { note: format!("{ours}, newer than {} \"{}\")", request.place, request.text), warning: Some(warning) })
}

/// Erlang comes with Debian's Elixir: another one that is asked for is told.
fn erlang_warning(tree: &dyn SourceTree) -> Result<Option<String>, PlanError> {
    for (file, key) in [("elixir_buildpack.config", "erlang_version="), (".tool-versions", "erlang ")] {
        let text = config_text(tree, file)?.unwrap_or_default();
        let Some(wanted) = text.lines().find_map(|line| line.trim().strip_prefix(key)) else { continue };
        let wanted = wanted.trim();
        let ours = &TABLE.debian.erlang;
        if wanted.split('.').next() != Some(ours) {
            let wanted = crate::text::excerpt(wanted);
            return Ok(Some(format!("{file} asks for Erlang {wanted}, Debian's {ours} is used")));
        }
    }
    Ok(None)
}
