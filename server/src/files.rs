//! What several rooms do with files.
use anyhow::Context;
use std::io::ErrorKind;
use std::path::Path;

/// Removes a file; that there is none is fine.
pub fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
