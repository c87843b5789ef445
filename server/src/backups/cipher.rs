//! What a backup is encrypted to: the format is age's (age-encryption.org/v1), so that `age` and `rage` open one without us.
use age::secrecy::SecretString;
use anyhow::{Context, bail};
use std::io::{self, BufRead, Read, Write};
use std::iter;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// How every age file begins.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";
/// A passphrase made expensive on a fast machine must open on a slow one: log2 of scrypt's N.
const WORK_FACTOR_MAX: u8 = 22;
/// Shorter passphrases are guessed.
const PASSPHRASE_CHARS_MIN: usize = 12;

/// To whom backups are encrypted.
pub enum Cipher {
    /// Nobody: the sealing key is left out of such a backup.
    Nothing,
    Passphrase(SecretString),
    PublicKey(Recipient),
}

/// A public key, `age1…` or an SSH one.
#[derive(Clone)]
pub enum Recipient {
    Age(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// What opens a backup.
pub(super) enum Opener {
    Nothing,
    Passphrase(SecretString),
    Identity(Box<dyn age::Identity + Send>),
}

/// A writer that encrypts, or does not.
pub(super) enum Sealed<W: Write> {
    Plain(W),
    Age(age::stream::StreamWriter<W>),
}

impl Cipher {
    /// From the configuration's `backup_recipient` and `backup_passphrase_file`.
    pub fn new(recipient: Option<&str>, passphrase_file: Option<&Path>) -> anyhow::Result<Self> {
        match (recipient, passphrase_file) {
            (None, None) => Ok(Self::Nothing),
            (Some(_), Some(_)) => bail!("backup_recipient and backup_passphrase_file are both set; keep one of them"),
            (Some(key), None) => Ok(Self::PublicKey(key.parse().context("backup_recipient")?)),
            (None, Some(file)) => Ok(Self::Passphrase(read_passphrase(file).context("backup_passphrase_file")?)),
        }
    }

    /// As the list of backups names it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Passphrase(_) => "passphrase",
            Self::PublicKey(_) => "public key",
        }
    }

    pub(super) fn encrypts(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Encrypts what is written to `out`, and gives what reads it back. A backup for a public key is encrypted to a second,
    /// fresh key too, which is forgotten as soon as the backup was read back.
    pub(super) fn seal<W: Write>(&self, out: W) -> anyhow::Result<(Sealed<W>, Opener)> {
        match self {
            Self::Nothing => Ok((Sealed::Plain(out), Opener::Nothing)),
            Self::Passphrase(passphrase) => {
                let encryptor = age::Encryptor::with_user_passphrase(passphrase.clone());
                Ok((Sealed::Age(encryptor.wrap_output(out)?), Opener::Passphrase(passphrase.clone())))
            }
            Self::PublicKey(recipient) => {
                let reader = age::x25519::Identity::generate();
                let public = reader.to_public();
                let to: [&dyn age::Recipient; 2] = [recipient.as_dyn(), &public];
                let encryptor = age::Encryptor::with_recipients(to.into_iter()).context("encrypt to the public key")?;
                Ok((Sealed::Age(encryptor.wrap_output(out)?), Opener::Identity(Box::new(reader))))
            }
        }
    }

    /// What opens the backups of this server later; `None`: only the holder of the private key can.
    pub(super) fn opener(&self) -> Option<Opener> {
        match self {
            Self::Nothing => Some(Opener::Nothing),
            Self::Passphrase(passphrase) => Some(Opener::Passphrase(passphrase.clone())),
            Self::PublicKey(_) => None,
        }
    }
}

impl Recipient {
    fn as_dyn(&self) -> &dyn age::Recipient {
        match self {
            Self::Age(key) => key,
            Self::Ssh(key) => key,
        }
    }
}

impl std::str::FromStr for Recipient {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        if let Ok(key) = text.parse() {
            return Ok(Self::Age(key));
        }
        match text.parse() {
            Ok(key) => Ok(Self::Ssh(key)),
            Err(_) => bail!("it is no public key; give one line such as `age1…` or `ssh-ed25519 AAAA…`"),
        }
    }
}

/// A passphrase is the first line of a file that only its owner may read.
pub(super) fn read_passphrase(file: &Path) -> anyhow::Result<SecretString> {
    let mode = std::fs::metadata(file).with_context(|| format!("read {}", file.display()))?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{} is readable by others (mode {:o}); run `chmod 600 {0}`", file.display(), mode & 0o777);
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() < PASSPHRASE_CHARS_MIN {
        bail!("the first line of {} is the passphrase and needs {PASSPHRASE_CHARS_MIN} characters", file.display());
    }
    Ok(SecretString::from(line.to_owned()))
}

/// The private half of a public key, out of a file: age's own, or an SSH key without a passphrase.
pub(super) fn read_identity(file: &Path) -> anyhow::Result<Opener> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let own = text.lines().find_map(|line| line.trim().parse::<age::x25519::Identity>().ok());
    if let Some(identity) = own {
        return Ok(Opener::Identity(Box::new(identity)));
    }
    match age::ssh::Identity::from_buffer(text.as_bytes(), None) {
        Ok(identity @ age::ssh::Identity::Unencrypted(_)) => Ok(Opener::Identity(Box::new(identity))),
        Ok(age::ssh::Identity::Encrypted(_)) => bail!(
            "the SSH key {0} has a passphrase; decrypt by hand: `age -d -i {0} BACKUP.age > BACKUP`, and give that",
            file.display()
        ),
        Ok(age::ssh::Identity::Unsupported(_)) | Err(_) => {
            bail!("{} holds no private key (AGE-SECRET-KEY-1… or an OpenSSH key)", file.display())
        }
    }
}

impl<W: Write> Sealed<W> {
    /// Writes the end, without which the backup does not open.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Age(stream) => stream.finish(),
        }
    }
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Age(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Age(stream) => stream.flush(),
        }
    }
}

/// The text behind the encryption.
pub(super) fn open<'a>(mut input: impl BufRead + 'a, opener: &Opener) -> anyhow::Result<Box<dyn Read + 'a>> {
    if !input.fill_buf()?.starts_with(MAGIC) {
        return Ok(Box::new(input));
    }
    let decryptor = age::Decryptor::new_buffered(input).context("read the head of the encryption")?;
    let opened = match opener {
        Opener::Nothing => {
            bail!("it is encrypted; give `--passphrase-file FILE`, or `--identity FILE` of its public key")
        }
        Opener::Passphrase(passphrase) => {
            let mut identity = age::scrypt::Identity::new(passphrase.clone());
            identity.set_max_work_factor(WORK_FACTOR_MAX);
            decryptor.decrypt(iter::once(&identity as &dyn age::Identity))
        }
        Opener::Identity(identity) => decryptor.decrypt(iter::once(&**identity as &dyn age::Identity)),
    };
    match opened {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error @ (age::DecryptError::NoMatchingKeys | age::DecryptError::DecryptionFailed)) => {
            Err(error).context("it opens with another key or passphrase")
        }
        Err(error) => Err(error).context("open the encryption"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret;

    fn round(cipher: &Cipher) -> (Vec<u8>, Opener) {
        let (mut sealed, opener) = cipher.seal(Vec::new()).unwrap();
        sealed.write_all(b"hunter2 and more").unwrap();
        (sealed.finish().unwrap(), opener)
    }

    fn read(bytes: &[u8], opener: &Opener) -> anyhow::Result<String> {
        let mut text = String::new();
        open(bytes, opener)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_with_no_other() {
        let own = age::x25519::Identity::generate();
        let to_key = Cipher::new(Some(&own.to_public().to_string()), None).unwrap();
        let (bytes, read_back) = round(&to_key);
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(read(&bytes, &read_back).unwrap(), "hunter2 and more");
        assert_eq!(read(&bytes, &Opener::Identity(Box::new(own))).unwrap(), "hunter2 and more");
        let other = Opener::Identity(Box::new(age::x25519::Identity::generate()));
        assert!(format!("{:#}", read(&bytes, &other).unwrap_err()).contains("another key"));
        assert!(format!("{:#}", read(&bytes, &Opener::Nothing).unwrap_err()).contains("it is encrypted"));
        // One byte less, and the end is missing.
        assert!(read(&bytes[..bytes.len() - 1], &read_back).is_err());
    }

    #[test]
    fn a_passphrase_comes_from_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("passphrase");
        std::fs::write(&file, "correct horse battery\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let Err(error) = Cipher::new(None, Some(&file)) else { panic!("others may read it") };
        assert!(format!("{error:#}").contains("chmod 600"), "{error:#}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let Ok(Cipher::Passphrase(passphrase)) = Cipher::new(None, Some(&file)) else { panic!("it is fine now") };
        assert_eq!(passphrase.expose_secret(), "correct horse battery");
        std::fs::write(&file, "short\n").unwrap();
        assert!(Cipher::new(None, Some(&file)).is_err());
    }

    #[test]
    fn a_public_key_is_ages_or_sshs() {
        let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN me@laptop";
        assert!(Cipher::new(Some(ssh), None).is_ok());
        for bad in ["", "age1", "hunter2", "AGE-SECRET-KEY-1QQQ"] {
            assert!(Cipher::new(Some(bad), None).is_err(), "{bad}");
        }
    }
}
