//! Looks at a push while its objects are still in quarantine. It only finds out: the refusal is proc-receive's, because
//! git prints no reason of pre-receive's in its `! [remote rejected]` line.
use super::{Server, told, warn_pusher};
use crate::builder::check_pushed;
use crate::receiver::frames::{FromHook, ToHook};
use crate::receiver::limits::REFS_MAX;
use anyhow::{Context, bail};
use git2::Repository;
use std::io::BufRead;

pub(super) fn run() -> anyhow::Result<()> {
    let lines: Vec<Vec<u8>> = std::io::stdin()
        .lock()
        .split(b'\n')
        .take(REFS_MAX + 1)
        .collect::<Result<_, _>>()
        .context("read git's list of refs")?;
    let mut server = Server::connect()?;
    let check = FromHook::Check { token: server.token.clone(), commands: told(&lines)? };
    server.tell(&check)?;
    let mut heard = server.hear()?;
    if let ToHook::Inspect { commit, limits, fetch_allow } = &heard {
        // The pack was verified a moment ago; doing it again costs seconds on large trees.
        git2::opts::strict_hash_verification(false);
        let repo = Repository::open_from_env().context("open the repository")?;
        let sentences = check_pushed(&repo, commit, limits, fetch_allow)?;
        server.tell(&FromHook::Findings { sentences })?;
        heard = server.hear()?;
    }
    let ToHook::Noted { sentences } = heard else { bail!("the server and its hook do not understand each other") };
    warn_pusher(&sentences);
    Ok(())
}
