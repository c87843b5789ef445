//! The server's side: it says what to guard, and looks whether that is done.
use super::report::{Health, health};
use super::wanted::Wanted;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct GuardWatch {
    dir: PathBuf,
    is_expected: bool,
}

impl GuardWatch {
    /// An installed server names the folder, and expects a guard; a server that is tried out does without.
    pub fn new(named: Option<PathBuf>, usual: PathBuf) -> Self {
        Self { is_expected: named.is_some(), dir: named.unwrap_or(usual) }
    }

    pub fn ask(&self, wanted: &Wanted) -> anyhow::Result<()> {
        wanted.write(&self.dir)
    }

    /// What doctor says.
    pub fn complaint(&self) -> Option<String> {
        match health(&self.dir) {
            Health::Keeps => None,
            Health::Fails(why) => Some(format!("host-guard fails: {why}")),
            Health::Silent => self.is_expected.then(|| {
                let next = "start it: `systemctl start paas-host-guard`; why it ended: `journalctl -u paas-host-guard`";
                format!("host-guard does not run: apps and builds may reach services of this machine; {next}")
            }),
        }
    }

    /// What the status says.
    pub fn word(&self) -> String {
        match health(&self.dir) {
            Health::Keeps => "keeps apps and builds away from this machine's services".to_owned(),
            Health::Fails(why) => format!("fails: {why}"),
            Health::Silent => "does not run: apps and builds may reach services of this machine".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_a_guard_is_expected_its_absence_is_complained_of() {
        let dir = tempfile::tempdir().unwrap();
        let usual = GuardWatch::new(None, dir.path().to_owned());
        assert_eq!(usual.complaint(), None);
        assert!(usual.word().starts_with("does not run"));
        let named = GuardWatch::new(Some(dir.path().to_owned()), PathBuf::new());
        assert!(named.complaint().is_some_and(|text| text.contains("systemctl start paas-host-guard")));
    }
}
