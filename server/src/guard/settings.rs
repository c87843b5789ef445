//! The command line of `paas host-guard`; each flag also as `PAAS_…`.
use clap::Parser;
use std::path::PathBuf;

/// `paas host-guard`: keeps apps and builds away from the host.
#[derive(Parser)]
#[command(
    name = "paas host-guard",
    version,
    about = "Keep the firewall's rules and the limits of builds in place, beside the server."
)]
struct Flags {
    /// Folder shared with the server [default: run/guard in the data folder]
    #[arg(long, env = "PAAS_GUARD_DIR", value_name = "DIR")]
    guard_dir: Option<PathBuf>,
    /// The server's data folder
    #[arg(long, env = "PAAS_DATA_DIR", value_name = "DIR", default_value = "/var/lib/paas")]
    data_dir: PathBuf,
    /// The bridge that build steps run on, or `off` to leave it alone
    #[arg(long, env = "PAAS_BUILD_BRIDGE", value_name = "NAME", default_value = "docker0")]
    build_bridge: String,
    /// The control group that build steps run in, below each controller
    #[arg(long, env = "PAAS_BUILD_CGROUP", value_name = "PATH", default_value = "docker/buildkit")]
    build_cgroup: PathBuf,
    /// Where the control groups are mounted
    #[arg(long, env = "PAAS_CGROUP_ROOT", value_name = "DIR", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    /// The program that sets the rules
    #[arg(long, env = "PAAS_NFT", value_name = "FILE", default_value = "/usr/sbin/nft")]
    nft: PathBuf,
    /// Put everything in place once, and end
    #[arg(long, conflicts_with = "remove")]
    once: bool,
    /// Take the rules and limits away, and end
    #[arg(long)]
    remove: bool,
}

/// What it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Guard,
    Once,
    Remove,
}

/// Everything that can be set, checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) guard_dir: PathBuf,
    pub(super) build_bridge: Option<String>,
    pub(super) build_cgroup: PathBuf,
    pub(super) cgroup_root: PathBuf,
    pub(super) nft: PathBuf,
    pub(super) act: Act,
}

impl Settings {
    pub(super) fn load(words: &[String]) -> Result<Self, clap::Error> {
        let line = std::iter::once("paas host-guard".to_owned()).chain(words.iter().cloned());
        let flags = Flags::try_parse_from(line)?;
        let build_bridge = Some(flags.build_bridge).filter(|name| name != "off");
        if let Some(wrong) = build_bridge.as_deref().filter(|name| !is_interface(name)) {
            let text = format!("build_bridge: `{wrong}` is no name of a network interface\n");
            return Err(clap::Error::raw(clap::error::ErrorKind::InvalidValue, text));
        }
        let act = match (flags.once, flags.remove) {
            (_, true) => Act::Remove,
            (true, false) => Act::Once,
            (false, false) => Act::Guard,
        };
        Ok(Self {
            guard_dir: flags.guard_dir.unwrap_or_else(|| flags.data_dir.join("run/guard")),
            build_bridge,
            // Joined to a root: a leading slash would replace it.
            build_cgroup: flags.build_cgroup.components().filter(|part| is_plain(*part)).collect(),
            cgroup_root: flags.cgroup_root,
            nft: flags.nft,
            act,
        })
    }
}

fn is_plain(part: std::path::Component<'_>) -> bool {
    matches!(part, std::path::Component::Normal(_))
}

/// It stands between quotes in a rule: nothing that could leave them.
fn is_interface(name: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=15).contains(&name.len()) && name.chars().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(line: &str) -> Result<Settings, clap::Error> {
        Settings::load(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_shared_folder_is_in_the_data_folder_unless_it_is_named() {
        let settings = load("--data-dir /d").unwrap();
        assert_eq!(settings.guard_dir, PathBuf::from("/d/run/guard"));
        assert_eq!((settings.build_bridge.as_deref(), settings.act), (Some("docker0"), Act::Guard));
        let settings = load("--guard-dir /g --build-bridge off --build-cgroup /a/../b --remove").unwrap();
        assert_eq!((settings.guard_dir, settings.build_bridge), (PathBuf::from("/g"), None));
        assert_eq!((settings.build_cgroup, settings.act), (PathBuf::from("a/b"), Act::Remove));
    }

    #[test]
    fn a_bridge_that_could_leave_its_quotes_is_refused() {
        for wrong in ["--build-bridge=a\"b", "--build-bridge=a*", "--build-bridge=", "--build-bridge=0123456789abcdef"]
        {
            assert!(load(wrong).is_err(), "{wrong}");
        }
    }
}
