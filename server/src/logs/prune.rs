//! Transcripts of long ago.
use super::Logs;
use crate::domain::AppKey;
use anyhow::Context;
use std::path::PathBuf;

impl Logs {
    /// Keeps the newest `count` transcripts of builds, and as many of releases that no push made.
    pub fn drop_old_transcripts(&self, app: &AppKey, count: usize) -> anyhow::Result<()> {
        let dir = self.dir.join(app.as_str());
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("list {}", dir.display())),
        };
        let names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        for kind in ["build-", "release-"] {
            let mut numbered: Vec<(i64, PathBuf)> = names
                .iter()
                .filter_map(|name| {
                    let rest = name.strip_prefix(kind)?;
                    let number = rest.strip_suffix(".log").or_else(|| rest.strip_suffix(".log.1"))?.parse().ok()?;
                    Some((number, dir.join(name)))
                })
                .collect();
            numbered.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
            let mut numbers: Vec<i64> = numbered.iter().map(|(number, _)| *number).collect();
            numbers.dedup();
            let Some(oldest) = numbers.get(count.saturating_sub(1)) else { continue };
            for (_, path) in numbered.iter().filter(|(number, _)| number < oldest) {
                std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_newest_transcripts_stay_and_the_log_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, app) = (Logs::new(dir.path().to_owned(), SystemClock::shared()), AppKey::new("app"));
        std::fs::create_dir(dir.path().join("app")).unwrap();
        for name in ["build-9.log", "build-10.log", "build-10.log.1", "build-11.log", "release-1.log", "app.log"] {
            std::fs::write(dir.path().join("app").join(name), "x").unwrap();
        }
        logs.drop_old_transcripts(&app, 2).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path().join("app"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["app.log", "build-10.log", "build-10.log.1", "build-11.log", "release-1.log"]);
        logs.drop_old_transcripts(&AppKey::new("never"), 2).unwrap();
    }
}
