//! What the server wants guarded: a small file that it writes at its start, and that the guard trusts no further than its types.
use super::shared_file::replace;
use crate::domain::BridgePrefix;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The file is far smaller.
const BYTES_MAX: u64 = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Which bridges are ours.
    pub bridges: BridgePrefix,
    /// Ports of the proxy, which apps may use like everybody.
    pub ports: Vec<u16>,
}

impl Wanted {
    pub(super) fn write(&self, guard_dir: &Path) -> anyhow::Result<()> {
        replace(&path(guard_dir), self).context("tell host-guard what to guard")
    }

    /// Names nothing of what it read: the guard may read more than those who read its report.
    pub(super) fn read(guard_dir: &Path) -> anyhow::Result<Self> {
        let path = path(guard_dir);
        let mut text = String::new();
        let file = std::fs::File::open(&path)
            .with_context(|| format!("open {}, which the server writes at its start", path.display()))?;
        let read = file.take(BYTES_MAX).read_to_string(&mut text);
        match read.ok().and_then(|_| serde_json::from_str(&text).ok()) {
            Some(wanted) => Ok(wanted),
            None => bail!("{} is not as the server writes it; restart the server", path.display()),
        }
    }
}

fn path(guard_dir: &Path) -> PathBuf {
    guard_dir.join("server/wanted.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::InstallationId;

    #[test]
    fn what_the_server_writes_the_guard_reads() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = Wanted { bridges: BridgePrefix::of(&InstallationId::new("abcdef")), ports: vec![80, 443] };
        wanted.write(dir.path()).unwrap();
        assert_eq!(Wanted::read(dir.path()).unwrap(), wanted);
    }

    #[test]
    fn what_nobody_wrote_or_somebody_else_did_is_named_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", Wanted::read(dir.path()).unwrap_err());
        assert!(error.contains("which the server writes at its start"), "{error}");
        std::fs::create_dir(dir.path().join("server")).unwrap();
        for text in ["secret", "{\"bridges\":\"lo\",\"ports\":[]}", "{\"bridges\":\"paas12345\",\"ports\":[70000]}"] {
            std::fs::write(path(dir.path()), text).unwrap();
            let error = format!("{:#}", Wanted::read(dir.path()).unwrap_err());
            assert!(error.contains("wanted.json is not as the server writes it") && !error.contains(text), "{error}");
        }
    }
}
