//! The files by which server and guard speak: readable by both, whoever wrote them, and always whole.
use anyhow::Context;
use serde::Serialize;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Written beside and renamed: a reader sees all of it or none.
pub(super) fn replace(path: &Path, content: &impl Serialize) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, serde_json::to_vec(content)?)?;
        // Whatever the umask: they run as different users, and neither may read everything.
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o644))?;
        std::fs::rename(&fresh, path)?;
        Ok(())
    };
    write().with_context(|| format!("write {}", path.display()))
}
