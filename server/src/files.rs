//! What several rooms do with files.
use anyhow::Context;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::net::UnixListener;

/// Removes a file; that there is none is fine.
pub fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A socket for us alone, in place of whatever has its name.
pub fn listen_alone(path: &Path) -> anyhow::Result<UnixListener> {
    remove_if_there(path)?;
    let listener = UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("keep {} to ourselves", path.display()))?;
    Ok(listener)
}
