//! A buildpack as a packed folder (`.tgz`), unpacked in memory.
use super::{Budget, FetchError, FetchedFile, UNPACKED_BYTES_MAX, check_path, unusable};
use buildpacks::EntryKind;
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::io::Read;
use tar::{Archive, EntryType};

/// Headers and padding come on top of what the files hold.
const STREAM_BYTES_MAX: u64 = 2 * UNPACKED_BYTES_MAX;

pub(super) fn sha256(bytes: &[u8]) -> String {
    crate::domain::hex::hex(&Sha256::digest(bytes))
}

/// The files; a single folder around all of them, as hosts of repositories pack it, is taken away.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<FetchedFile>, FetchError> {
    let broken = |error: std::io::Error| unusable(format!("the archive cannot be read: {error}"));
    let mut archive = Archive::new(MultiGzDecoder::new(bytes).take(STREAM_BYTES_MAX));
    let mut budget = Budget::default();
    let mut files = Vec::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let kind = match entry.header().entry_type() {
            EntryType::Regular if entry.header().mode().map_err(broken)? & 0o100 != 0 => EntryKind::Executable,
            EntryType::Regular => EntryKind::File,
            EntryType::Symlink => EntryKind::Symlink,
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            other => return Err(unusable(format!("the archive holds an entry of the odd kind {other:?}"))),
        };
        let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(unusable)?;
        let path = path.trim_start_matches("./").to_owned();
        check_path(&path)?;
        budget.take(entry.size())?;
        let mut contents = Vec::new();
        match entry.link_name_bytes().filter(|_| kind == EntryKind::Symlink) {
            Some(target) => contents.extend_from_slice(&target),
            None => drop(entry.read_to_end(&mut contents).map_err(broken)?),
        }
        files.push(FetchedFile { path, kind, contents });
    }
    Ok(without_wrapper(files))
}

fn without_wrapper(mut files: Vec<FetchedFile>) -> Vec<FetchedFile> {
    let wrapper = files.first().and_then(|file| file.path.split_once('/')).map(|(folder, _)| format!("{folder}/"));
    let Some(wrapper) =
        wrapper.filter(|wrapper| wrapper != "bin/" && files.iter().all(|file| file.path.starts_with(wrapper.as_str())))
    else {
        return files;
    };
    for file in &mut files {
        file.path.drain(..wrapper.len());
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn packed(files: &[(&str, EntryType, u32, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, kind, mode, contents) in files {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            if *kind == EntryType::Symlink {
                header.set_size(0);
                tar.append_link(&mut header, path, contents).unwrap();
            } else {
                header.set_size(contents.len() as u64);
                // `append_data` would refuse what is refused here.
                header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
                header.set_cksum();
                tar.append(&header, contents.as_bytes()).unwrap();
            }
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar.into_inner().unwrap()).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn files_keep_their_modes_and_lose_the_folder_around_them() {
        let bytes = packed(&[
            ("pack-1/", EntryType::Directory, 0o755, ""),
            ("pack-1/bin/compile", EntryType::Regular, 0o755, "#!"),
            ("pack-1/lib/a", EntryType::Regular, 0o644, "a"),
            ("pack-1/lib/b", EntryType::Symlink, 0o777, "a"),
        ]);
        let files = unpack(&bytes).unwrap();
        let shown: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.kind, f.contents.as_slice())).collect();
        assert_eq!(
            shown,
            [
                ("bin/compile", EntryKind::Executable, b"#!".as_slice()),
                ("lib/a", EntryKind::File, b"a"),
                ("lib/b", EntryKind::Symlink, b"a"),
            ]
        );
        assert_eq!(sha256(b"").len(), 64);
    }

    #[test]
    fn what_leaves_its_place_or_is_odd_is_refused() {
        for (path, kind) in [
            ("../a", EntryType::Regular),
            ("/a", EntryType::Regular),
            ("a/../../b", EntryType::Regular),
            ("a", EntryType::Link),
            ("a", EntryType::Fifo),
        ] {
            assert!(unpack(&packed(&[(path, kind, 0o644, "")])).is_err(), "{path} {kind:?}");
        }
        assert!(unpack(b"no gzip").is_err());
    }
}
