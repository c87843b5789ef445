//! The command lines of each package manager.

use super::manager::{Kind, Manager};

/// Which packages an install brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    Production,
    All,
}

impl Manager {
    /// Installs from the lockfile as it is, or without one.
    pub(super) fn install(&self, include: Include, npm_major: u64) -> String {
        let is_locked = self.lockfile.is_some();
        let is_all = include == Include::All;
        match self.kind {
            Kind::Npm => {
                // The manifests are mounted and cannot be written.
                let tool = if is_locked { "npm ci" } else { "npm install --no-save --no-package-lock" };
                let flag = match (npm_major < 7, is_all) {
                    (true, true) => "--production=false",
                    (true, false) => "--production",
                    (false, true) => "--include=dev",
                    (false, false) => "--omit=dev",
                };
                format!("{tool} {flag}")
            }
            Kind::Pnpm => {
                let lock = if is_locked { "--frozen-lockfile" } else { "--no-lockfile" };
                let flag = if is_all { "--prod=false" } else { "--prod" };
                // Without a terminal pnpm asks nobody only where it takes the build for CI.
                format!("CI=true pnpm install {lock} {flag}")
            }
            Kind::Yarn => {
                let lock = if is_locked { "--frozen-lockfile" } else { "--no-lockfile" };
                format!("yarn install {lock} --non-interactive --production={}", !is_all)
            }
            Kind::Berry if !is_all && self.prunes() => "yarn workspaces focus --all --production".to_owned(),
            Kind::Berry if is_locked => "yarn install --immutable".to_owned(),
            Kind::Berry => "yarn install --no-immutable".to_owned(),
            Kind::Bun => {
                let lock = if is_locked { "--frozen-lockfile" } else { "--no-save" };
                let flag = if is_all { "" } else { " --production" };
                format!("bun install {lock}{flag}")
            }
        }
    }

    /// Takes the development packages away again, where the manager can do that and keep what install scripts built.
    pub(super) fn prune(&self, npm_major: u64) -> Option<String> {
        match self.kind {
            Kind::Npm if npm_major < 7 => Some("npm prune --production".to_owned()),
            Kind::Npm => Some("npm prune --omit=dev --no-save --ignore-scripts".to_owned()),
            Kind::Pnpm => Some("CI=true pnpm prune --prod --ignore-scripts".to_owned()),
            Kind::Yarn => Some(
                "yarn install --frozen-lockfile --non-interactive --production --ignore-scripts --prefer-offline"
                    .to_owned(),
            ),
            Kind::Berry => self.prunes().then(|| "yarn workspaces focus --all --production".to_owned()),
            Kind::Bun => Some(format!("rm -rf node_modules && {}", self.install(Include::Production, npm_major))),
        }
    }

    /// `workspaces focus` came with Yarn 4.
    fn prunes(&self) -> bool {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u64>().ok());
        self.lockfile.is_some() && major.is_some_and(|major| major >= 4)
    }

    /// The short name of what installs, for sentences.
    pub(super) fn summary(&self) -> String {
        let is_locked = self.lockfile.is_some();
        match self.kind {
            Kind::Npm => if is_locked { "npm ci" } else { "npm install" }.to_owned(),
            Kind::Pnpm | Kind::Yarn | Kind::Berry | Kind::Bun => format!("{self} install"),
        }
    }

    pub(super) fn run(&self, script: &str) -> String {
        format!("{} run {script}", self.kind.tool())
    }
}
