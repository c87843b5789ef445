//! Archives as tools write them, and as nobody should.
use super::*;
use std::io::Seek;

/// A tar file of these entries: (path, type, contents or target).
fn archive(entries: &[(&str, EntryType, &[u8])]) -> File {
    let mut tar = tar::Builder::new(tempfile::tempfile().unwrap());
    for (path, kind, contents) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        // Written raw: the library would refuse the paths that are to be tested.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        if *kind == EntryType::Regular {
            header.set_size(contents.len() as u64);
            header.set_cksum();
            tar.append(&header, *contents).unwrap();
        } else {
            header.as_gnu_mut().unwrap().linkname[..contents.len()].copy_from_slice(contents);
            header.set_size(0);
            header.set_cksum();
            tar.append(&header, std::io::empty()).unwrap();
        }
    }
    tar.into_inner().unwrap()
}

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","config":{"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":["sha256:1","sha256:2"]}}"#;
const MANIFEST: &str =
    r#"[{"Config":"c.json","RepoTags":["debian:trixie-slim","paas/x:b1"],"Layers":["a/layer.tar","b/layer.tar"]}]"#;

fn refusal(entries: &[(&str, EntryType, &[u8])]) -> String {
    match ImageArchive::read(archive(entries), "amd64") {
        Ok(_) => panic!("it was taken: {:?}", entries.iter().map(|entry| entry.0).collect::<Vec<_>>()),
        Err(error) => error.to_string(),
    }
}

fn saved(manifest: &str, config: &str) -> Vec<(String, EntryType, Vec<u8>)> {
    let file = |path: &str, text: &str| (path.to_owned(), EntryType::Regular, text.as_bytes().to_vec());
    vec![
        file("a/layer.tar", "first"),
        ("b/layer.tar".to_owned(), EntryType::Symlink, b"../a/layer.tar".to_vec()),
        file("c.json", config),
        file("manifest.json", manifest),
        file("repositories", r#"{"debian":{"trixie-slim":"x"}}"#),
    ]
}

fn borrowed(entries: &[(String, EntryType, Vec<u8>)]) -> Vec<(&str, EntryType, &[u8])> {
    entries.iter().map(|(path, kind, bytes)| (path.as_str(), *kind, bytes.as_slice())).collect()
}

/// Everything in a tar stream, by path.
fn listed(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), contents)
    });
    entries.collect()
}

#[test]
fn what_goes_on_to_the_engine_has_no_name_but_ours() {
    let entries = saved(MANIFEST, CONFIG);
    let image = ImageArchive::read(archive(&borrowed(&entries)), "amd64").unwrap();
    assert_eq!(image.labels["a"], "b");
    assert!(image.digest().starts_with("sha256:") && image.digest().len() == 71);
    let mut tar = tar::Builder::new(Vec::new());
    image.write("paas-guest/x:1", 0, &mut tar).unwrap();
    let written = listed(&tar.into_inner().unwrap());
    assert_eq!(
        written.keys().collect::<Vec<_>>(),
        ["config.json", "layers/0.tar", "layers/1.tar", "manifest.json"],
        "and no `repositories`"
    );
    assert_eq!(written["layers/1.tar"], b"first", "the link was followed");
    assert_eq!(written["config.json"], CONFIG.as_bytes());
    let manifest = String::from_utf8(written["manifest.json"].clone()).unwrap();
    assert!(manifest.contains(r#""RepoTags":["paas-guest/x:1"]"#), "{manifest}");
    assert!(!manifest.contains("debian"), "{manifest}");
}

#[test]
fn an_oci_layout_is_read_through_its_indexes_to_the_image_of_this_machine() {
    let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
    let blob = |n: u8| format!("blobs/sha256/{}", format!("{n:02x}").repeat(32));
    let index = format!(
        r#"{{"manifests":[{{"digest":"{}","annotations":{{"org.opencontainers.image.ref.name":"debian:trixie-slim"}}}}]}}"#,
        digest(1)
    );
    let inner = format!(
        r#"{{"manifests":[{{"digest":"{}","platform":{{"os":"linux","architecture":"arm64"}}}},
            {{"digest":"{}","platform":{{"os":"linux","architecture":"amd64"}}}},
            {{"digest":"{}","platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#,
        digest(9),
        digest(2),
        digest(8)
    );
    let manifest = format!(
        r#"{{"config":{{"digest":"{}"}},"layers":[{{"digest":"{}"}},{{"digest":"{}"}}]}}"#,
        digest(3),
        digest(4),
        digest(4)
    );
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"layer").unwrap();
    let packed = packed.finish().unwrap();
    let (one, two, three, four) = (blob(1), blob(2), blob(3), blob(4));
    let entries: Vec<(&str, EntryType, &[u8])> = vec![
        ("oci-layout", EntryType::Regular, b"{}"),
        ("index.json", EntryType::Regular, index.as_bytes()),
        (&one, EntryType::Regular, inner.as_bytes()),
        (&two, EntryType::Regular, manifest.as_bytes()),
        (&three, EntryType::Regular, CONFIG.as_bytes()),
        (&four, EntryType::Regular, &packed),
    ];
    // Such an archive's names are longer than an old tar header takes: ours fit.
    assert!(four.len() < 100);
    let image = ImageArchive::read(archive(&entries), "amd64").unwrap();
    assert_eq!(image.layers.len(), 2);
    let Err(error) = ImageArchive::read(archive(&entries), "riscv64") else { panic!("taken") };
    assert!(error.to_string().contains("no image for linux/riscv64, but for linux/arm64, linux/amd64"), "{error}");
}

#[test]
fn what_is_no_image_of_one_app_is_told_with_the_way_out() {
    let file = EntryType::Regular;
    assert!(refusal(&[("README.md", file, b"hello")]).contains("neither manifest.json nor index.json"));
    assert!(refusal(&[("repositories", file, b"{}")]).contains("before 1.10"));
    assert!(refusal(&[("manifest.json", file, b"[}")]).contains("manifest.json cannot be read"));
    let two = format!("[{0},{0}]", &MANIFEST[1..MANIFEST.len() - 1]);
    assert!(refusal(&borrowed(&saved(&two, CONFIG))).contains("holds 2 images"));
    assert!(refusal(&borrowed(&saved("[]", CONFIG))).contains("holds 0 images"));
    let missing = MANIFEST.replace("c.json", "d.json");
    assert!(refusal(&borrowed(&saved(&missing, CONFIG))).contains("`d.json` is named in the archive and not in it"));
    let arm = CONFIG.replace("amd64", "arm64");
    assert!(refusal(&borrowed(&saved(MANIFEST, &arm))).contains("is for linux/arm64"));
    let fewer = CONFIG.replace(r#","sha256:2""#, "");
    assert!(refusal(&borrowed(&saved(MANIFEST, &fewer))).contains("has 2 layers, and its settings name 1"));
    let mut noise = tempfile::tempfile().unwrap();
    noise.write_all(&[7; 4096]).unwrap();
    assert!(matches!(ImageArchive::read(noise, "amd64"), Err(ArchiveError::NoArchive(_))));
    assert!(ImageArchive::read(tempfile::tempfile().unwrap(), "amd64").is_err());
}

#[test]
fn paths_and_links_that_lead_elsewhere_are_refused_and_never_followed() {
    let file = EntryType::Regular;
    for path in ["/etc/passwd", "../x", "a/../../x", "a/.."] {
        assert!(refusal(&[(path, file, b"x")]).contains("leads nowhere"), "{path}");
    }
    for target in ["/etc/passwd", "../../etc/passwd", "../.."] {
        let entries = [("a/layer.tar", EntryType::Symlink, target.as_bytes())];
        assert!(refusal(&entries).contains("leads out of the archive"), "{target}");
    }
    assert!(refusal(&[("a", file, b"1"), ("./a", file, b"2")]).contains("holds `a` twice"));
    assert!(refusal(&[("null", EntryType::Char, b"")]).contains("neither a file nor a link"));
    // Links in a ring end.
    let mut ring = saved(MANIFEST, CONFIG);
    ring[0] = ("a/layer.tar".to_owned(), EntryType::Symlink, b"../b/layer.tar".to_vec());
    assert!(refusal(&borrowed(&ring)).contains("not in it"));
}

#[test]
fn an_archive_has_bounds() {
    let names: Vec<String> = (0..5000).map(|n| format!("f{n}")).collect();
    let many: Vec<(&str, EntryType, &[u8])> =
        names.iter().map(|name| (name.as_str(), EntryType::Regular, &b""[..])).collect();
    assert!(refusal(&many).contains("more than 4096 files"));

    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        bomb.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let file = archive(&[("layer", EntryType::Regular, &bomb)]);
    let span = Contents::list(&file).unwrap().span("layer").unwrap();
    assert!(check_sizes(&file, &[span], 64 << 20).is_ok());
    let refused = check_sizes(&file, &[span, span], 100 << 20).unwrap_err().to_string();
    assert!(refused.contains("unpack to more than 100.0 MiB"), "{refused}");

    // A name of 100 KiB, which whoever lists the entries would read into memory.
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(100 << 10);
    header.set_cksum();
    let mut tar = tar::Builder::new(tempfile::tempfile().unwrap());
    tar.append(&header, std::io::repeat(b'a').take(100 << 10)).unwrap();
    let Err(error) = ImageArchive::read(tar.into_inner().unwrap(), "amd64") else { panic!("taken") };
    assert!(error.to_string().contains("far too long"), "{error}");

    // Cut off in the middle of its last layer.
    let mut file = archive(&[("layer", EntryType::Regular, &[1; 9000])]);
    file.seek(std::io::SeekFrom::Start(0)).unwrap();
    file.set_len(4096).unwrap();
    let Err(error) = ImageArchive::read(file, "amd64") else { panic!("taken") };
    assert!(error.to_string().contains("breaks off in `layer`"), "{error}");
}
