//! The stack images of Node.js: one to run with, and one to build with, which has npm too.

use super::version::{AVAILABLE, Node};
use crate::stack::{self, StackImage};

const NPM_TARBALL: &str = "/tmp/npm.tgz";
const NPM_FOLDER: &str = "/usr/local/lib/node_modules/npm";
const NODE_TARBALL: &str = "/tmp/node.tgz";

pub(super) fn run(base: &StackImage, node: Node) -> StackImage {
    let (name, install) = match node {
        Node::Debian(_) => (format!("node{}", node.major()), stack::run(&stack::apt_install(&["nodejs"]))),
        Node::Registry(registry) => (
            format!("node{}", registry.version),
            stack::run(&install_from_registry(&registry.version, &registry.x64, &registry.arm64)),
        ),
    };
    StackImage::new(
        &name,
        Some(base),
        &[
            "USER root".to_owned(),
            install,
            "ENV NODE_ENV=production PATH=/app/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "USER app".to_owned(),
        ],
    )
}

/// Debian's npm is several hundred packages; the registry's is one.
pub(super) fn build(run: &StackImage, node: Node) -> StackImage {
    let version = &AVAILABLE.npm.version;
    let url = format!("https://registry.npmjs.org/npm/-/npm-{version}.tgz");
    let mut commands = stack::download(&url, &AVAILABLE.npm.sha512, NPM_TARBALL);
    commands.extend([
        format!("mkdir -p {NPM_FOLDER}"),
        format!("tar -xzf {NPM_TARBALL} -C {NPM_FOLDER} --strip-components=1 --no-same-owner"),
        format!("rm {NPM_TARBALL}"),
        format!("chmod 0755 {NPM_FOLDER}/bin/npm-cli.js {NPM_FOLDER}/bin/npx-cli.js"),
        format!("ln -s {NPM_FOLDER}/bin/npm-cli.js /usr/local/bin/npm"),
        format!("ln -s {NPM_FOLDER}/bin/npx-cli.js /usr/local/bin/npx"),
        "npm --version".to_owned(),
    ]);
    let name = match node {
        Node::Debian(_) => format!("node{}-build", node.major()),
        Node::Registry(registry) => format!("node{}-build", registry.version),
    };
    StackImage::new(
        &name,
        Some(run),
        &[
            "USER root".to_owned(),
            stack::run(&commands),
            "ENV NPM_CONFIG_AUDIT=false NPM_CONFIG_FUND=false NPM_CONFIG_UPDATE_NOTIFIER=false HUSKY=0".to_owned(),
        ],
    )
}

fn install_from_registry(version: &str, x64: &str, arm64: &str) -> Vec<String> {
    let url = format!("https://registry.npmjs.org/node-linux-$arch/-/node-linux-$arch-{version}.tgz");
    let mut commands = vec![format!(
        "case $(dpkg --print-architecture) in amd64) arch=x64 hash={x64};; arm64) arch=arm64 hash={arm64};; *) exit 1;; esac"
    )];
    commands.extend(stack::download(&url, "$hash", NODE_TARBALL));
    commands.extend([
        format!("tar -xzf {NODE_TARBALL} -C /usr/local --strip-components=1 --no-same-owner package/bin/node"),
        format!("rm {NODE_TARBALL}"),
        "node --version".to_owned(),
    ]);
    commands
}
