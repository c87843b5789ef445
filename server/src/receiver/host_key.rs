//! The server's own Ed25519 key, made from the system's randomness at the first start (security rule R13).
use anyhow::{Context, bail};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{Algorithm, PrivateKey};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Reads the key, or makes it when there is none. Refuses one that others can read: who has it can pose as this server.
pub(super) fn load_or_make(file: &Path) -> anyhow::Result<PrivateKey> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return make(file),
        Err(error) => return Err(error).with_context(|| format!("read the SSH host key {}", file.display())),
    };
    let mode = std::fs::metadata(file)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "the SSH host key {0} can be read by others (mode {1:o}); run `chmod 600 {0}`, or remove it to get a new one",
            file.display(),
            mode & 0o777
        );
    }
    let key = PrivateKey::from_openssh(&text)
        .with_context(|| format!("read the SSH host key {}; remove it to get a new one", file.display()))?;
    if key.algorithm() != Algorithm::Ed25519 || key.is_encrypted() {
        bail!("the SSH host key {} is no plain Ed25519 key; remove it to get a new one", file.display());
    }
    Ok(key)
}

fn make(file: &Path) -> anyhow::Result<PrivateKey> {
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("read the system's randomness: {error}"))?;
    let key = PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "paas")?;
    let text = key.to_openssh(LineEnding::LF)?;
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("make the folder {}", dir.display()))?;
    }
    // Written whole under another name first: a crash leaves no half key behind.
    let fresh = file.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(|| format!("make the SSH host key {}", fresh.display()))?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&fresh, file).with_context(|| format!("keep the SSH host key {}", file.display()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys/host");
        let made = load_or_make(&file).unwrap();
        assert_eq!(load_or_make(&file).unwrap().public_key(), made.public_key());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_damaged_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("host");
        load_or_make(&file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load_or_make(&file).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&file, "").unwrap();
        assert!(load_or_make(&file).unwrap_err().to_string().contains("remove it"));
    }
}
