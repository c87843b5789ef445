//! Deploys: hands the refs to the server, shows its lines, and answers git for every ref (githooks(5), proc-receive).
use super::{Server, pkt_line, tell_pusher, told};
use crate::logs::printable;
use crate::receiver::frames::{Answer, FromHook, ToHook};
use crate::receiver::limits::REASON_BYTES_MAX;
use anyhow::{Context, bail};
use std::io::{BufReader, Read, Write};

/// For refs beyond those that the server was told.
const TOGETHER: &str = "refused together with the others; push one branch at a time";

pub(super) fn run() -> anyhow::Result<()> {
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut output = std::io::stdout().lock();
    greet(&mut input, &mut output)?;
    let mut lines = Vec::new();
    while let Some(line) = pkt_line::read(&mut input)? {
        lines.push(line);
    }
    let mut server = Server::connect()?;
    let deploy = FromHook::Deploy { token: server.token.clone(), commands: told(&lines)? };
    server.tell(&deploy)?;
    let answers = loop {
        match server.hear()? {
            ToHook::Line { text } => tell_pusher(&text),
            ToHook::Answers { answers } => break answers,
            ToHook::Inspect { .. } | ToHook::Noted { .. } | ToHook::Sorry { .. } => {
                bail!("the server and its hook do not understand each other")
            }
        }
    };
    let together = Answer::Refused { reason: TOGETHER.to_owned() };
    for (at, line) in lines.iter().enumerate() {
        answer(&mut output, line, answers.get(at).unwrap_or(&together))?;
    }
    pkt_line::flush(&mut output)
}

/// Agrees on version 1 and on no features.
fn greet(input: &mut impl Read, output: &mut impl Write) -> anyhow::Result<()> {
    let mut hello = Vec::new();
    while let Some(packet) = pkt_line::read(input)? {
        hello.push(packet);
    }
    let version = hello.first().and_then(|packet| packet.split(|byte| *byte == 0).next());
    if version != Some(b"version=1") {
        bail!("this git speaks another version of the proc-receive protocol than 1");
    }
    pkt_line::write(output, b"version=1")?;
    pkt_line::flush(output)
}

/// Answers for the ref of `line`, under the very bytes that git gave.
fn answer(output: &mut impl Write, line: &[u8], answer: &Answer) -> anyhow::Result<()> {
    let name = line.splitn(3, |byte| *byte == b' ').nth(2).context("git's list of refs is cut off")?;
    match answer {
        Answer::Moved { moved_from } => {
            pkt_line::write(output, &[b"ok ", name].concat())?;
            if let Some(old) = moved_from {
                pkt_line::write(output, format!("option old-oid {old}").as_bytes())?;
            }
            Ok(())
        }
        Answer::Refused { reason } => {
            pkt_line::write(output, &[b"ng ", name, b" ", one_line(reason).as_bytes()].concat())
        }
    }
}

/// A reason as git can print it: one line, safe, of bearable length.
fn one_line(reason: &str) -> String {
    let mut text = printable(&reason.replace(['\n', '\r', '\t'], " ")).trim().to_owned();
    if text.len() > REASON_BYTES_MAX {
        let end = (0..=REASON_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    if text.is_empty() { "refused".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(reply: &Answer) -> String {
        let mut output = Vec::new();
        let line = format!("{0} {0} refs/heads/main", "1".repeat(40));
        answer(&mut output, line.as_bytes(), reply).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn each_answer_has_gits_form() {
        assert_eq!(answered(&Answer::Moved { moved_from: None }), "0016ok refs/heads/main");
        let old = "2".repeat(40);
        assert_eq!(
            answered(&Answer::Moved { moved_from: Some(old.parse().unwrap()) }),
            format!("0016ok refs/heads/main003boption old-oid {old}")
        );
        let refused = Answer::Refused { reason: "web exited\nwith \u{1b}[31m1".to_owned() };
        assert_eq!(answered(&refused), "0028ng refs/heads/main web exited with 1");
    }

    #[test]
    fn a_reason_is_one_bounded_line() {
        let long = one_line(&"ä".repeat(2000));
        assert!(long.len() <= REASON_BYTES_MAX + '…'.len_utf8());
        assert_eq!(one_line(" \n "), "refused");
    }

    #[test]
    fn another_protocol_version_is_refused() {
        let mut output = Vec::new();
        assert!(greet(&mut &b"000eversion=1\n0000"[..], &mut output).is_ok());
        assert_eq!(output, b"000dversion=10000");
        assert!(greet(&mut &b"0014version=1\0atomic0000"[..], &mut Vec::new()).is_ok());
        assert!(greet(&mut &b"000eversion=2\n0000"[..], &mut Vec::new()).is_err());
        assert!(greet(&mut &b"0000"[..], &mut Vec::new()).is_err());
    }
}
