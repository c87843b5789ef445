//! Django's static files, which are collected into the image when the settings say where to.

use super::manager::Install;
use crate::language::App;
use crate::tree::{SourceTree, has};

/// So many settings files are looked into, and no more.
const SETTINGS_MAX: usize = 20;

/// Whether collectstatic has somewhere to write to, and nobody asked for it not to run.
pub(super) fn collects_static(app: &App<'_>, install: &Install) -> bool {
    let is_disabled = app.env.get("DISABLE_COLLECTSTATIC").is_some_and(|value| !value.is_empty() && value != "0");
    let is_django = has(app.tree, "manage.py") && (install.asks_for("django") || install.needs_source.is_some());
    is_django && !is_disabled && names_static_root(app.tree)
}

fn names_static_root(tree: &dyn SourceTree) -> bool {
    let is_settings = |path: &&str| path.ends_with("settings.py") || path.contains("settings/");
    let paths = tree.files().iter().map(|file| file.path.as_str());
    let mut settings = paths
        .filter(is_settings)
        .filter(|path| crate::tree::ending(path) == "py" && path.matches('/').count() <= 3)
        .take(SETTINGS_MAX);
    settings.any(|path| {
        let text = tree.read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().any(|line| line.trim_start().starts_with("STATIC_ROOT"))
    })
}
