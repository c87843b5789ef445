//! `apps:open` on a laptop: shows the app's address and opens it.
use super::remote::Remote;
use super::ssh;
use std::io::Write;

/// Linux' and macOS' own.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

pub(super) fn open(remote: &Remote, line: &str) -> anyhow::Result<u8> {
    let (code, said) = ssh::read(remote, line)?;
    std::io::stdout().write_all(&said)?;
    let said = String::from_utf8_lossy(&said);
    let url = said.trim();
    // Nothing but one address of a page is handed on.
    let is_page = (url.starts_with("http://") || url.starts_with("https://")) && !url.contains(char::is_whitespace);
    if code == 0 && is_page {
        ssh::start_first(&OPENERS, url);
    }
    Ok(code)
}
