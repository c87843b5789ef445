//! The one place that starts processes: git, by fixed argv, in an emptied environment (security rules R1 and R2).
use super::frames::{SOCKET_VARIABLE, TOKEN_VARIABLE};
use super::limits::TERMINATE_GRACE;
use super::{ReceiverSettings, hook_socket};
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Configuration for both directions; nothing of it can be overridden by a repository or the system.
const COMMON: [&str; 9] = [
    "safe.directory=*",
    "protocol.allow=never",
    "transfer.hideRefs=refs/paas",
    "core.fsmonitor=false",
    // What is above this streams through git instead of standing in its memory.
    "core.bigFileThreshold=16m",
    "core.packedGitLimit=256m",
    "pack.threads=1",
    "pack.windowMemory=64m",
    // Collecting beside a push may take what the push has just brought and nothing points at yet: `collection` begins it.
    "gc.auto=0",
];

/// A push: everything is checked, and every ref, deletes and tags included, goes through proc-receive.
const RECEIVE: [&str; 9] = [
    "transfer.fsckObjects=true",
    "receive.fsckObjects=true",
    // Harmless flaws of old histories, which nobody can mend without rewriting them.
    "receive.fsck.zeroPaddedFilemode=ignore",
    "receive.fsck.missingSpaceBeforeDate=ignore",
    "receive.fsck.badTimezone=ignore",
    "receive.procReceiveRefs=refs",
    "receive.advertisePushOptions=false",
    "receive.autogc=false",
    // git's own handling of shallow pushes does not work with proc-receive: see `shallow`.
    "receive.shallowUpdate=false",
];

/// A clone or fetch: whole objects of visible refs, nothing else.
const UPLOAD: [&str; 3] =
    ["uploadpack.allowFilter=false", "uploadpack.allowAnySHA1InWant=false", "uploadpack.allowTipSHA1InWant=false"];

/// Starts `git receive-pack` for the push that `token` stands for.
pub(super) fn receive_pack(
    settings: &ReceiverSettings,
    repo: &Path,
    protocol: Option<&str>,
    token: &str,
) -> anyhow::Result<Child> {
    let mut command = git(settings, protocol);
    for setting in RECEIVE {
        command.arg("-c").arg(setting);
    }
    let hooks = hook_socket::hooks_dir(settings);
    command.arg("-c").arg(format!("core.hooksPath={}", hooks.display()));
    command.arg("-c").arg(format!("receive.maxInputSize={}", settings.limits.pack_bytes));
    command.env(TOKEN_VARIABLE, token).env(SOCKET_VARIABLE, hook_socket::path(settings));
    command.args(["receive-pack", "--end-of-options"]).arg(repo);
    command.spawn().context("start git receive-pack")
}

/// Starts `git upload-pack`; it runs no hooks.
pub(super) fn upload_pack(settings: &ReceiverSettings, repo: &Path, protocol: Option<&str>) -> anyhow::Result<Child> {
    let mut command = git(settings, protocol);
    for setting in UPLOAD {
        command.arg("-c").arg(setting);
    }
    command.args(["-c", "core.hooksPath=/dev/null", "upload-pack", "--strict", "--end-of-options"]).arg(repo);
    command.spawn().context("start git upload-pack")
}

/// Starts `git gc`, which drops what nothing points at and is older than `age`. git itself refuses a second one beside
/// it: one that a server which died has left.
pub(super) fn collect(settings: &ReceiverSettings, repo: &Path, age: Duration) -> anyhow::Result<Child> {
    let mut command = git(settings, None);
    command.args(["-c", "core.hooksPath=/dev/null", "--git-dir"]).arg(repo);
    command.args(["gc", "--quiet"]).arg(format!("--prune={}.seconds.ago", age.as_secs()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("start git gc")
}

#[expect(clippy::disallowed_methods, reason = "this file is the one place that starts processes")]
fn git(settings: &ReceiverSettings, protocol: Option<&str>) -> Command {
    let mut command = Command::new(&settings.git);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(protocol.map(|version| ("GIT_PROTOCOL", version)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for setting in COMMON {
        command.arg("-c").arg(setting);
    }
    command
}

/// Ends git and all it has started: politely, so that it removes what it has put into quarantine, then for certain.
pub(super) async fn terminate(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    // A group that is gone already is what was wanted.
    let _ = kill_process_group(group, Signal::TERM);
    let ended = tokio::time::timeout(TERMINATE_GRACE, child.wait()).await;
    let _ = kill_process_group(group, Signal::KILL);
    if ended.is_err() {
        let _ = child.wait().await;
    }
}
