//! The two forms of an image archive: `manifest.json` as Docker writes it, and the OCI layout's `index.json`.
use super::contents::Contents;
use super::{ArchiveError, parse};
use crate::domain::image_ref::is_digest;
use serde::Deserialize;

/// Indexes that lead to indexes.
const DEPTH_MAX: usize = 3;

/// Paths of what an image is made of.
pub(super) struct Found {
    pub(super) config: String,
    pub(super) layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// An index or a manifest: which it is shows in what it has.
#[derive(Deserialize)]
struct Document {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

pub(super) fn find(contents: &mut Contents<'_>, architecture: &str) -> Result<Found, ArchiveError> {
    if contents.has("manifest.json") {
        return saved(contents);
    }
    if contents.has("index.json") {
        return laid_out(contents, "index.json".to_owned(), architecture);
    }
    let kind = if contents.has("repositories") {
        "it has the form of Docker before 1.10"
    } else {
        "there is neither manifest.json nor index.json in it"
    };
    Err(ArchiveError::NoArchive(kind.to_owned()))
}

fn saved(contents: &mut Contents<'_>) -> Result<Found, ArchiveError> {
    let bytes = contents.json("manifest.json")?;
    let images: Vec<Saved> = parse("manifest.json", &bytes)?;
    match <[Saved; 1]>::try_from(images) {
        Ok([Saved { config, layers }]) => Ok(Found { config, layers }),
        Err(images) => Err(ArchiveError::Unfit(format!(
            "the archive holds {} images, and a release has one; save one alone: `docker save IMAGE`",
            images.len()
        ))),
    }
}

fn laid_out(contents: &mut Contents<'_>, mut path: String, architecture: &str) -> Result<Found, ArchiveError> {
    for _ in 0..DEPTH_MAX {
        let bytes = contents.json(&path)?;
        let document: Document = parse(&path, &bytes)?;
        match (document.manifests, document.config, document.layers) {
            (Some(manifests), ..) => path = blob(&chosen(manifests, architecture)?.digest)?,
            (None, Some(config), Some(layers)) => {
                let layers = layers.iter().map(|layer| blob(&layer.digest)).collect::<Result<_, _>>()?;
                return Ok(Found { config: blob(&config.digest)?, layers });
            }
            (None, ..) => return Err(ArchiveError::NoArchive(format!("{path} names neither an image nor images"))),
        }
    }
    Err(ArchiveError::NoArchive(format!("its indexes lead over {DEPTH_MAX} others to no image")))
}

/// The one image for this machine; what is no image (an attestation beside one) has the platform `unknown`.
fn chosen(manifests: Vec<Descriptor>, architecture: &str) -> Result<Descriptor, ArchiveError> {
    let is_image = |it: &Descriptor| it.platform.as_ref().is_none_or(|platform| platform.os != "unknown");
    let mut images: Vec<Descriptor> = manifests.into_iter().filter(is_image).collect();
    let platforms: Vec<String> = images
        .iter()
        .filter_map(|image| image.platform.as_ref())
        .map(|platform| format!("{}/{}", platform.os, platform.architecture))
        .collect();
    if images.len() > 1 {
        let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == architecture;
        images.retain(|image| image.platform.as_ref().is_some_and(fits));
    }
    match <[Descriptor; 1]>::try_from(images) {
        Ok([image]) => Ok(image),
        Err(images) if images.is_empty() => Err(ArchiveError::Unfit(format!(
            "the archive holds no image for linux/{architecture}, but for {}",
            if platforms.is_empty() { "nothing".to_owned() } else { platforms.join(", ") }
        ))),
        Err(images) => Err(ArchiveError::Unfit(format!(
            "the archive holds {} images for linux/{architecture}, and a release has one; save one alone",
            images.len()
        ))),
    }
}

fn blob(digest: &str) -> Result<String, ArchiveError> {
    if !is_digest(digest) {
        let shown: String = digest.escape_debug().take(100).collect();
        return Err(ArchiveError::NoArchive(format!("`{shown}` in it is no sha256 digest")));
    }
    Ok(digest.replacen(':', "/", 1)).map(|path| format!("blobs/{path}"))
}
