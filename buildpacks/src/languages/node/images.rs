//! The stack images of Node.js: one to run with, and one to build with, which has npm too.

use super::manager::{Kind, Manager};
use super::version::Node;
use crate::stack::{self, StackImage};

const NPM_TARBALL: &str = "/tmp/npm.tgz";
const NPM_FOLDER: &str = "/usr/local/lib/node_modules/npm";
const NODE_TARBALL: &str = "/tmp/node.tgz";

pub(super) fn run(base: &StackImage, node: Node) -> StackImage {
    let (name, install) = match node {
        Node::Debian(_) => (format!("node{}", node.major()), stack::run(&stack::apt_install(&["nodejs"]))),
        Node::Registry(registry) => (
            format!("node{}", registry.version),
            stack::run(&install_from_registry(
                &registry.version,
                &stack::npm_hash_pinned(&registry.x64, &registry.arm64),
            )),
        ),
        Node::Unpinned(version) => (
            format!("node{version}"),
            stack::run(&install_from_registry(version, &stack::npm_hash("node-linux-$arch", version))),
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

/// The image to build in: npm, and whatever other manager the app has.
pub(super) fn build(run: &StackImage, node: Node, manager: &Manager) -> Vec<StackImage> {
    let npm = with_npm(run, node);
    let mut images = vec![npm];
    if manager.kind != Kind::Npm {
        images.push(with_manager(&images[0], node, manager));
    }
    images
}

fn with_manager(npm: &StackImage, node: Node, manager: &Manager) -> StackImage {
    let facts = manager.kind.facts();
    let commands = [
        "if [ -f /tmp/paas-meta/ca.crt ]; then export NODE_EXTRA_CA_CERTS=/tmp/paas-meta/ca.crt; fi".to_owned(),
        format!("npm install --global --cache /tmp/npm {}@{}", facts.package, manager.version),
        "rm -rf /tmp/npm".to_owned(),
        format!("{} --version", manager.kind.tool()),
    ];
    let cache = &facts.cache;
    let settings = match manager.kind {
        Kind::Npm => None,
        // Without it pnpm puts its store where it can make hard links into the app, and that is no cache.
        Kind::Pnpm => Some(format!("NPM_CONFIG_STORE_DIR={cache} PNPM_CONFIG_STORE_DIR={cache}")),
        Kind::Yarn => Some(format!("YARN_CACHE_FOLDER={cache}")),
        // Packages in node_modules, for programs that know nothing of Yarn's own way.
        Kind::Berry => Some(format!(
            "YARN_NODE_LINKER=node-modules YARN_GLOBAL_FOLDER={cache} YARN_ENABLE_GLOBAL_CACHE=true YARN_ENABLE_TELEMETRY=0 YARN_ENABLE_PROGRESS_BARS=false YARN_IGNORE_PATH=1"
        )),
        Kind::Bun => Some(format!("BUN_INSTALL_CACHE_DIR={cache} DO_NOT_TRACK=1")),
    };
    let lines: Vec<String> =
        [stack::run(&commands)].into_iter().chain(settings.map(|settings| format!("ENV {settings}"))).collect();
    let of_node = match node {
        Node::Debian(_) => node.major().to_string(),
        Node::Registry(_) | Node::Unpinned(_) => node.version().to_owned(),
    };
    let user = ["USER root".to_owned()];
    let name = format!("node{of_node}-{}{}", manager.kind.tool(), manager.version.to_lowercase());
    StackImage::new(&name, Some(npm), &user.into_iter().chain(lines).collect::<Vec<_>>())
}

/// Debian's npm is several hundred packages; the registry's is one.
fn with_npm(run: &StackImage, node: Node) -> StackImage {
    let version = &node.npm().version;
    let url = format!("https://registry.npmjs.org/npm/-/npm-{version}.tgz");
    let mut commands = stack::download(&url, &node.npm().sha512, NPM_TARBALL);
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
        Node::Registry(_) | Node::Unpinned(_) => format!("node{}-build", node.version()),
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

fn install_from_registry(version: &str, hash: &[String]) -> Vec<String> {
    let url = format!("https://registry.npmjs.org/node-linux-$arch/-/node-linux-$arch-{version}.tgz");
    let mut commands = hash.to_vec();
    commands.extend(stack::download(&url, "$hash", NODE_TARBALL));
    commands.extend([
        format!("tar -xzf {NODE_TARBALL} -C /usr/local --strip-components=1 --no-same-owner package/bin/node"),
        format!("rm {NODE_TARBALL}"),
        "node --version".to_owned(),
    ]);
    commands
}
