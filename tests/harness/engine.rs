//! A look past the product at the container engine, by its command line, which only tests may use.
use super::Outcome;
use serde_json::Value;
use std::process::Command;

/// The engine, as far as one installation goes.
pub(crate) struct Engine {
    pub(crate) installation: String,
    /// `None`: the one that all share.
    pub(super) host: Option<String>,
}

impl Engine {
    /// Ids of all our containers that carry these labels (`paas.release=2`), newest first.
    pub(crate) fn instances(&self, filters: &[&str]) -> Vec<String> {
        let mut words = vec!["ps".to_owned(), "--all".to_owned(), "--quiet".to_owned(), "--no-trunc".to_owned()];
        words.extend(self.filters(filters));
        let host = self.host.iter().flat_map(|host| ["--host", host.as_str()]);
        lines(&docker(&host.chain(words.iter().map(String::as_str)).collect::<Vec<_>>()))
    }

    /// A stray container that carries our label and names an app that does not exist.
    pub(crate) fn plant_stray(&self) -> String {
        let labels = [format!("paas.installation={}", self.installation), "paas.app=987654".to_owned()];
        let made = docker(&["create", "--label", &labels[0], "--label", &labels[1], "debian:trixie-slim", "true"]);
        made.succeeds().stdout.trim().to_owned()
    }

    /// Removes everything of this installation but the stack images, which all share.
    pub(crate) fn sweep(&self) {
        for id in self.instances(&[]) {
            docker(&["rm", "--force", "--volumes", &id]);
        }
        let ours = self.filters(&[]);
        let list = |words: &[&str]| {
            let words: Vec<&str> = words.iter().copied().chain(ours.iter().map(String::as_str)).collect();
            lines(&docker(&words))
        };
        for id in list(&["network", "ls", "--quiet", "--no-trunc"]) {
            docker(&["network", "rm", &id]);
        }
        for name in list(&["volume", "ls", "--quiet"]) {
            docker(&["volume", "rm", &name]);
        }
        let mut images = list(&["images", "--quiet", "--no-trunc", "--filter", "label=paas.app"]);
        images.dedup();
        for id in images {
            docker(&["rmi", "--force", &id]);
        }
    }

    /// Names of our volumes.
    pub(crate) fn volumes(&self) -> Vec<String> {
        let words = [vec!["volume".to_owned(), "ls".to_owned(), "--quiet".to_owned()], self.filters(&[])].concat();
        lines(&docker(&words.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// Ids of everything that the engine keeps for apps: containers, networks, images.
    pub(crate) fn everything(&self) -> Vec<String> {
        let of_apps = self.filters(&["paas.app"]);
        let list = |words: &[&str]| {
            let words: Vec<&str> = words.iter().copied().chain(of_apps.iter().map(String::as_str)).collect();
            lines(&docker(&words))
        };
        [
            list(&["ps", "--all", "--quiet", "--no-trunc"]),
            list(&["network", "ls", "--quiet", "--no-trunc"]),
            list(&["images", "--quiet", "--no-trunc"]),
        ]
        .concat()
    }

    /// Ids of all images of apps.
    pub(crate) fn images(&self) -> Vec<String> {
        let mut words = vec!["images".to_owned(), "--quiet".to_owned(), "--no-trunc".to_owned()];
        words.extend(self.filters(&[]));
        words.extend(["--filter".to_owned(), "label=paas.app".to_owned()]);
        lines(&docker(&words.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    fn filters(&self, more: &[&str]) -> Vec<String> {
        let ours = format!("label=paas.installation={}", self.installation);
        let more = more.iter().map(|filter| format!("label={filter}"));
        std::iter::once(ours).chain(more).flat_map(|filter| ["--filter".to_owned(), filter]).collect()
    }
}

pub(crate) fn inspect(id: &str) -> Value {
    docker(&["inspect", id]).json()[0].take()
}

/// How an image was made, step by step.
pub(crate) fn history(image: &str) -> String {
    docker(&["history", "--no-trunc", image]).succeeds().stdout.clone()
}

/// All layers of an image, on the child's standard output.
pub(crate) fn save(image: &str) -> std::process::Child {
    let saving = Command::new("docker").args(["save", image]).stdout(std::process::Stdio::piped()).spawn();
    saving.expect("start docker: is docker.io installed?")
}

pub(crate) fn remove_by_force(id: &str) {
    docker(&["rm", "--force", id]).succeeds();
}

/// Runs a command inside an instance.
pub(crate) fn exec(id: &str, words: &[&str]) -> Outcome {
    docker(&[&["exec", id], words].concat())
}

/// Builds a folder with a Dockerfile, as CI does; gives the image's id.
pub(crate) fn build(folder: &std::path::Path, reference: &str) -> String {
    docker(&["build", "--quiet", "--tag", reference, &folder.display().to_string()]).succeeds();
    image_id(reference)
}

/// The id behind a name; empty where there is none.
pub(crate) fn image_id(reference: &str) -> String {
    docker(&["images", "--quiet", "--no-trunc", reference]).succeeds().stdout.trim().to_owned()
}

/// Pushes an image to its registry, with the logins of this folder, and forgets it here.
pub(crate) fn publish(reference: &str, config: &str) {
    docker(&["--config", config, "push", "--quiet", reference]).succeeds();
    docker(&["rmi", reference]).succeeds();
}

pub(crate) fn untag(reference: &str) {
    docker(&["rmi", reference]);
}

/// An image as `docker save` writes it.
pub(crate) fn saved(reference: &str) -> Vec<u8> {
    save(reference).wait_with_output().expect("wait for docker save").stdout
}

/// What the engine's build cache says of itself.
pub(crate) fn build_cache() -> String {
    docker(&["system", "df", "--verbose", "--format", "{{json .BuildCache}}"]).succeeds().stdout.clone()
}

/// The caches that steps mount, as the engine describes them: by the step that made them.
pub(crate) fn cache_mounts() -> String {
    let records: Value = serde_json::from_str(&build_cache()).expect("the engine's build cache");
    let mounts = records.as_array().expect("a list").iter().filter(|one| one["CacheType"] == "exec.cachemount");
    mounts.map(|one| one["Description"].as_str().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every name that an image has.
pub(crate) fn image_names() -> Vec<String> {
    lines(&docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]))
}

fn docker(words: &[&str]) -> Outcome {
    let output = Command::new("docker").args(words).output().expect("start docker: is docker.io installed?");
    Outcome::new(&format!("docker {}", words.join(" ")), &output)
}

fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.stdout.lines().map(str::to_owned).collect()
}

/// How many processes run in an instance, as the engine counts them from outside.
pub(crate) fn processes(id: &str) -> usize {
    docker(&["top", id, "-eo", "pid"]).succeeds().stdout.lines().skip(1).count()
}
