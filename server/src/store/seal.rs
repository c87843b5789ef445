//! Sealing of secret values at rest: XChaCha20-Poly1305 with a key file outside the database (security rules R9, R13).
use anyhow::{Context, bail};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;

pub struct SealKey(XChaCha20Poly1305);

impl SealKey {
    /// Reads the key file (32 bytes, mode 0400), or makes it when it is absent. Refuses a short file and one that
    /// others can read: a wrong key would only show when the first value is opened.
    pub fn load_or_make(file: &Path) -> anyhow::Result<Self> {
        if !file.exists() {
            Self::make(file).with_context(|| format!("make the key file {}", file.display()))?;
        }
        Self::load(file)
    }

    /// Reads a key file that must be there.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        let mut opened = File::open(file).with_context(|| format!("open the key file {}", file.display()))?;
        let mode = opened.metadata()?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            bail!("key file {} is readable by others (mode {mode:o}); run `chmod 400 {0}`", file.display());
        }
        opened.read_to_end(&mut bytes)?;
        if bytes.len() != KEY_LENGTH {
            bail!(
                "key file {} holds {} bytes, not {KEY_LENGTH}; restore it from a backup",
                file.display(),
                bytes.len()
            );
        }
        let key = Key::try_from(bytes.as_slice()).context("take the key file's bytes as a key")?;
        Ok(Self(XChaCha20Poly1305::new(&key)))
    }

    fn make(file: &Path) -> anyhow::Result<()> {
        let mut key = [0_u8; KEY_LENGTH];
        getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("read the system's randomness: {error}"))?;
        let mut made = OpenOptions::new().write(true).create_new(true).mode(0o400).open(file)?;
        made.write_all(&key)?;
        made.sync_all()?;
        Ok(())
    }

    /// Seals `plain` for one place: `place` (`config/7/DATABASE_URL`) must be the same when it is opened, so that a row
    /// copied to another place does not open there.
    pub(super) fn seal(&self, place: &str, plain: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut nonce = [0_u8; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|error| anyhow::anyhow!("read the system's randomness: {error}"))?;
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed =
            self.0.encrypt(&XNonce::from(nonce), payload).map_err(|_| anyhow::anyhow!("seal the value of {place}"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub(super) fn open(&self, place: &str, sealed: &[u8]) -> anyhow::Result<String> {
        let refuse =
            || anyhow::anyhow!("open the sealed value of {place}: is the key file the one it was sealed with?");
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LENGTH>().ok_or_else(refuse)?;
        let payload = Payload { msg: text, aad: place.as_bytes() };
        let plain = self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| refuse())?;
        String::from_utf8(plain).map_err(|_| refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let key = SealKey::load_or_make(&dir.path().join("a")).unwrap();
        let sealed = key.seal("config/1/A", b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        assert_eq!(key.open("config/1/A", &sealed).unwrap(), "hunter2");
        assert!(key.open("config/2/A", &sealed).is_err());
        assert!(SealKey::load_or_make(&dir.path().join("b")).unwrap().open("config/1/A", &sealed).is_err());
        assert_eq!(
            SealKey::load_or_make(&dir.path().join("a")).unwrap().open("config/1/A", &sealed).unwrap(),
            "hunter2"
        );
    }

    #[test]
    fn a_short_or_readable_key_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, b"short").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(SealKey::load_or_make(&file).is_err());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&file, [7; 32]).unwrap();
        assert!(SealKey::load_or_make(&file).err().unwrap().to_string().contains("chmod 400"));
    }
}
