//! What an image is made of, as one hash: the same fingerprint, the same image, no build.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::buildpack::PinnedBuildpack;
use crate::heroku_yml::DockerBuild;
use crate::plan::{BuildEnv, BuildPlan};
use crate::render::{RenderContext, render};
use crate::stack::hex;

/// sha256 in hex over the tree, how it is built, what it is built on, and the values the build is given.
/// The commit, the app's cache and the labels are no part of it: they change what an image is called.
pub fn fingerprint(plan: &BuildPlan, tree_oid: &str, env: &BuildEnv) -> String {
    let mut hash = Sha256::new();
    // Lengths between the parts: two of them never read as another two.
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(tree_oid.as_bytes());
    add(plan.language.id().as_bytes());
    add(built_as(plan).as_bytes());
    for PinnedBuildpack { buildpack, pin } in &plan.buildpacks {
        add(buildpack.to_string().as_bytes());
        add(pin.as_deref().unwrap_or_default().as_bytes());
    }
    for DockerBuild { folder, file, target, .. } in &plan.docker_builds {
        add(folder.as_bytes());
        add(file.as_bytes());
        add(target.as_deref().unwrap_or_default().as_bytes());
    }
    for (name, value) in &plan.docker_args {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    for image in &plan.stack {
        add(image.reference().as_bytes());
    }
    for name in &plan.reads_env {
        if let Some(value) = env.get(name) {
            add(name.as_bytes());
            add(value.as_bytes());
        }
    }
    hex(&hash.finalize())
}

/// The Dockerfile as it would be for nobody in particular: a newer `paas` may write another.
fn built_as(plan: &BuildPlan) -> String {
    let nobody = RenderContext {
        cache_id: "",
        cache_mark: "",
        git_rev: "",
        env: &BuildEnv::new(),
        ca_bundle: None,
        labels: &BTreeMap::new(),
    };
    render(plan, &nobody).dockerfile
}
