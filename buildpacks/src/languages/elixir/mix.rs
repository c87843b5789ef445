//! What mix.exs says, as far as text can tell: it is a program, and nobody runs it here.

use super::is_umbrella;
use crate::PlanError;
use crate::tree::{SourceTree, config_text, has};

#[derive(Debug)]
pub(super) struct Mix {
    /// The release that it describes.
    pub(super) release: Option<String>,
    pub(super) is_phoenix: bool,
    pub(super) has_dependencies: bool,
    /// Dependencies are folders of the app.
    pub(super) needs_source: bool,
    /// The task that makes the assets.
    pub(super) assets: Option<&'static str>,
}

impl Mix {
    pub(super) fn read(tree: &dyn SourceTree) -> Result<Self, PlanError> {
        let text = config_text(tree, "mix.exs")?.unwrap_or_default();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let code = code.join("\n");
        let names_app =
            |folder: &str| config_text(tree, folder).ok().flatten().is_some_and(|text| names(&text, "phoenix"));
        let is_umbrella = is_umbrella(tree);
        let of_members = tree.files().iter().filter(|file| is_umbrella && super::is_app_manifest(&file.path));
        let members: Vec<&str> = of_members.map(|file| file.path.as_str()).collect();
        let lock = tree.read("mix.lock").unwrap_or_default();
        let is_locked = String::from_utf8_lossy(&lock).contains("{:");
        Ok(Self {
            release: release(tree, &code)?,
            is_phoenix: names(&code, "phoenix") || members.iter().any(|path| names_app(path)),
            has_dependencies: is_locked || lists_dependencies(&code),
            needs_source: is_umbrella || code.contains("path:"),
            assets: ["assets.deploy", "assets.build"].into_iter().find(|task| code.contains(&format!("\"{task}\""))),
        })
    }
}

/// `{:phoenix, "~> 1.7"}`
fn names(code: &str, dependency: &str) -> bool {
    code.contains(&format!("{{:{dependency},"))
}

/// Whether the list of `defp deps` holds anything.
fn lists_dependencies(code: &str) -> bool {
    let body = ["defp deps do", "def deps do", "deps: ["].into_iter().find_map(|start| code.split_once(start));
    let body = body.map_or("", |(_, body)| body);
    let end = body.find("\n  end").or_else(|| body.find(']')).unwrap_or(body.len());
    body[..end].contains("{:")
}

/// The first release of `releases: [ name: [`, or the app's name where a script of its own expects one.
fn release(tree: &dyn SourceTree, code: &str) -> Result<Option<String>, PlanError> {
    let app = word_behind(code, "app: :");
    if let Some((_, list)) = code.split_once("releases: [") {
        let name: String = list.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        return Ok(if name.is_empty() { app } else { Some(name) });
    }
    if has(tree, "rel/overlays/bin/server") {
        return app.map(Some).ok_or_else(|| {
            PlanError::Unclear(
                "rel/overlays/bin/server starts a release, and mix.exs names no app: write `app: :NAME` in `project`"
                    .to_owned(),
            )
        });
    }
    Ok(None)
}

fn word_behind(code: &str, start: &str) -> Option<String> {
    let (_, rest) = code.split_once(start)?;
    let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;

    #[test]
    fn mix_exs_is_read_as_text() {
        let text = "def project do\n[app: :blog, # app: :x\nreleases: [\n web: []]]\nend\ndefp deps do\n[{:phoenix, \"~> 1.7\"}]\n  end\n";
        let mix = Mix::read(&MemoryTree::new().file("mix.exs", text)).unwrap();
        assert_eq!((mix.release.as_deref(), mix.is_phoenix, mix.has_dependencies), (Some("web"), true, true));
        let plain = "[app: :blog]\ndefp deps do\n[\n# {:dep, \"1\"}\n]\n  end\n {:not, one}";
        let mix = Mix::read(&MemoryTree::new().file("mix.exs", plain)).unwrap();
        assert_eq!((mix.release, mix.is_phoenix, mix.has_dependencies), (None, false, false));
    }
}
