//! How much a folder takes on its disk.
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files and folders that one walk looks at; beyond it the sum is a lower bound.
const ENTRIES_MAX: usize = 500_000;
/// `st_blocks` counts in these, whatever the file system.
const BLOCK_BYTES: u64 = 512;

/// Bytes on the disk of every file below `root` that `counts`. Links are not followed; what vanishes meanwhile is nothing.
pub(crate) fn bytes_below(root: &Path, counts: impl Fn(&Path) -> bool) -> u64 {
    bytes_of_first(ENTRIES_MAX, root, counts)
}

fn bytes_of_first(entries_max: usize, root: &Path, counts: impl Fn(&Path) -> bool) -> u64 {
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    let (mut bytes, mut seen) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > entries_max {
                return bytes;
            }
            let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
            if metadata.is_dir() {
                folders.push(path);
            } else if counts(&path) {
                bytes += metadata.blocks() * BLOCK_BYTES;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_very_many_files_is_measured_so_far_and_no_further() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..20 {
            std::fs::write(dir.path().join(n.to_string()), vec![1; 4096]).unwrap();
        }
        let all = bytes_below(dir.path(), |_| true);
        assert_eq!(bytes_of_first(20, dir.path(), |_| true), all);
        assert_eq!(bytes_of_first(5, dir.path(), |_| true), all / 4);
    }

    #[test]
    fn files_are_counted_by_their_blocks_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/one"), vec![1; 100_000]).unwrap();
        std::fs::write(dir.path().join("two"), vec![1; 10_000]).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let bytes = bytes_below(dir.path(), |_| true);
        assert!((110_000..140_000).contains(&bytes), "{bytes}");
        assert!(bytes_below(dir.path(), |path| path.ends_with("two")) < 20_000);
        assert_eq!(bytes_below(&dir.path().join("missing"), |_| true), 0);
    }
}
