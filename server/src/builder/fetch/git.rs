//! One commit of a repository by git's protocol version 2 over https (gitprotocol-v2(5)): what a name stands for, and the
//! files of a commit without its history. libgit2 checks the pack; it is built without any transport of its own.
use super::pkt_line::{self, Packet};
use super::{Budget, FetchError, FetchedFile, Fetcher, check_path, pack, unusable};
use crate::builder::source::GitTree;
use crate::domain::Oid;
use buildpacks::{EntryKind, SourceTree};
use bytes::Bytes;
use http::{HeaderName, Method, header};
use std::io::Write;

const OID_DIGITS: usize = 40;
const PROTOCOL: (HeaderName, &str) = (HeaderName::from_static("git-protocol"), "version=2");

/// The commit that a branch or tag stands for, or HEAD; a whole id stands for itself.
pub(super) async fn resolve(fetcher: &Fetcher, url: &str, reference: Option<&str>) -> Result<String, FetchError> {
    if let Some(oid) = reference.filter(|text| is_oid(text)) {
        return Ok(oid.to_ascii_lowercase());
    }
    greet(fetcher, url).await?;
    let names = match reference {
        None => vec!["HEAD".to_owned()],
        Some(name) => vec![format!("refs/heads/{name}"), format!("refs/tags/{name}"), name.to_owned()],
    };
    let mut arguments = vec!["peel".to_owned()];
    arguments.extend(names.iter().map(|name| format!("ref-prefix {name}")));
    let answer = command(fetcher, url, "ls-refs", &arguments).await?;
    let refs = refs(&answer)?;
    let find = |name: &String| refs.iter().find(|(listed, _)| listed == name).map(|(_, oid)| oid.clone());
    names.iter().find_map(find).ok_or_else(|| match reference {
        Some(name) => unusable(format!("it has no branch or tag {name}")),
        None => unusable("it has no default branch: write one behind `#`"),
    })
}

/// The pack of one commit, without what was before it.
pub(super) async fn fetch(fetcher: &Fetcher, url: &str, oid: &str) -> Result<Vec<u8>, FetchError> {
    let arguments = ["no-progress", "ofs-delta", "deepen 1", &format!("want {oid}"), "done"].map(str::to_owned);
    let answer = command(fetcher, url, "fetch", &arguments).await?;
    let checked = tokio::task::spawn_blocking(move || {
        let pack = pack_of(&answer)?;
        pack::check_sizes(&pack)?;
        Ok(pack)
    });
    checked.await.unwrap_or_else(|error| Err(unusable(error)))
}

/// The files of a commit that a pack holds.
pub(super) fn unpack(pack: &[u8], oid: &str) -> Result<Vec<FetchedFile>, FetchError> {
    let folder = tempfile::tempdir().map_err(unusable)?;
    let repo = git2::Repository::init_bare(folder.path()).map_err(unusable)?;
    {
        let odb = repo.odb().map_err(unusable)?;
        let mut writer = odb.packwriter().map_err(unusable)?;
        writer.write_all(pack).map_err(unusable)?;
        writer.commit().map_err(unusable)?;
    }
    let commit: Oid = oid.parse().map_err(unusable)?;
    let tree = GitTree::open(repo, &commit).map_err(|error| unusable(format!("{error:#}")))?;
    let mut budget = Budget::default();
    let mut files = Vec::new();
    for entry in tree.files() {
        check_path(&entry.path)?;
        budget.take(entry.size_bytes)?;
        let contents = match entry.kind {
            // What it stands for is not in the pack.
            EntryKind::Submodule => continue,
            EntryKind::File | EntryKind::Executable | EntryKind::Symlink => tree.blob(&entry.path).map_err(unusable)?,
        };
        files.push(FetchedFile { path: entry.path.clone(), kind: entry.kind, contents });
    }
    Ok(files)
}

fn is_oid(text: &str) -> bool {
    text.len() == OID_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether this is a repository that can be fetched from.
pub(super) async fn greet(fetcher: &Fetcher, url: &str) -> Result<(), FetchError> {
    let address = format!("{}/info/refs?service=git-upload-pack", url.trim_end_matches('/'));
    let answer = fetcher.ask(Method::GET, &address, &[PROTOCOL], Bytes::new()).await?;
    let mut from = answer.as_ref();
    while let Some(packet) = pkt_line::next(&mut from)? {
        if matches!(packet, Packet::Line(line) if pkt_line::text(line) == "version 2") {
            return Ok(());
        }
    }
    Err(unusable("its server does not speak version 2 of git's protocol"))
}

async fn command(fetcher: &Fetcher, url: &str, name: &str, arguments: &[String]) -> Result<Bytes, FetchError> {
    let address = format!("{}/git-upload-pack", url.trim_end_matches('/'));
    let headers = [
        PROTOCOL,
        (header::CONTENT_TYPE, "application/x-git-upload-pack-request"),
        (header::ACCEPT, "application/x-git-upload-pack-result"),
    ];
    fetcher.ask(Method::POST, &address, &headers, pkt_line::request(name, arguments).into()).await
}

/// Names and the commits that they lead to.
fn refs(answer: &[u8]) -> Result<Vec<(String, String)>, FetchError> {
    let mut from = answer;
    let mut refs = Vec::new();
    while let Some(Packet::Line(line)) = pkt_line::next(&mut from)? {
        let mut words = pkt_line::text(line).split(' ');
        let (Some(oid), Some(name)) = (words.next(), words.next()) else { continue };
        // An annotated tag is an object of its own.
        let oid = words.find_map(|word| word.strip_prefix("peeled:")).unwrap_or(oid);
        if is_oid(oid) {
            refs.push((name.to_owned(), oid.to_owned()));
        }
    }
    Ok(refs)
}

/// What stands in the section `packfile`, put together.
fn pack_of(answer: &[u8]) -> Result<Vec<u8>, FetchError> {
    let mut from = answer;
    let (mut pack, mut is_pack) = (Vec::new(), false);
    while let Some(packet) = pkt_line::next(&mut from)? {
        match packet {
            Packet::Line(line) if !is_pack => is_pack = pkt_line::text(line) == "packfile",
            Packet::Line([1, data @ ..]) => pack.extend_from_slice(data),
            Packet::Line([3, said @ ..]) => {
                let said: String = String::from_utf8_lossy(said).trim().chars().take(200).collect();
                return Err(unusable(format!("its server said: {said}")));
            }
            // Progress, and the marks between sections.
            Packet::Line(_) | Packet::Flush | Packet::Delimiter => {}
        }
    }
    if pack.is_empty() {
        return Err(unusable("its server has no such commit"));
    }
    Ok(pack)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(lines: &[&[u8]]) -> Vec<u8> {
        lines.iter().flat_map(|line| [format!("{:04x}", line.len() + 4).as_bytes(), line].concat()).collect()
    }

    #[test]
    fn a_tag_is_followed_to_its_commit() {
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let lines = [format!("{one} HEAD\n"), format!("{one} refs/tags/v1 peeled:{two}\n"), "odd HEAD\n".to_owned()];
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let answer = [packets(&lines), b"0000".to_vec()].concat();
        assert_eq!(refs(&answer).unwrap(), [("HEAD".to_owned(), one), ("refs/tags/v1".to_owned(), two)]);
    }

    #[test]
    fn a_pack_is_put_together_and_an_error_in_it_is_told() {
        let answer =
            [packets(&[b"shallow-info\n", b"shallow 1\n"]), b"0001".to_vec(), packets(&[b"packfile\n", b"\x01PA"])]
                .concat();
        let more = packets(&[b"\x02going on", b"\x01CK"]);
        assert_eq!(pack_of(&[answer.clone(), more, b"0000".to_vec()].concat()).unwrap(), b"PACK");
        let failed = pack_of(&[answer, packets(&[b"\x03no room"])].concat()).unwrap_err();
        assert_eq!(failed.to_string(), "its server said: no room");
        assert!(pack_of(b"0000").is_err());
    }

    #[test]
    fn what_is_no_pack_is_refused() {
        assert!(unpack(b"PACK", &"1".repeat(40)).is_err());
        assert!(unpack(b"", &"1".repeat(40)).is_err());
    }
}
