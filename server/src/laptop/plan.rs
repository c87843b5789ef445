//! `paas plan`: what a push would be built as, without a server.
use crate::builder::{plan_text, preview_commit, preview_folder};
use clap::Parser;
use std::path::PathBuf;

#[derive(Parser)]
#[command(name = "paas plan", about = "Show what a push would be built as, and why; nothing is built.")]
struct Line {
    /// The folder [default: this one]
    folder: Option<PathBuf>,
    /// Plan a commit of its checkout instead of the files as they are now
    #[arg(long, value_name = "NAME")]
    commit: Option<String>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Whether these words are for this file and not for a server.
pub fn takes(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "plan")
}

/// Runs the command; what to say, and the exit code.
pub fn run(words: &[String]) -> (String, u8) {
    // The first of them is the command's own name.
    let words = std::iter::once("paas plan".to_owned()).chain(words.iter().skip(1).cloned());
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => return (error.render().to_string(), if error.use_stderr() { 2 } else { 0 }),
    };
    let folder = line.folder.unwrap_or_else(|| PathBuf::from("."));
    let planned = match &line.commit {
        Some(name) => preview_commit(&folder, name),
        None => preview_folder(&folder),
    };
    let told = planned.and_then(|plan| {
        if line.json { Ok(serde_json::to_string_pretty(&plan)? + "\n") } else { Ok(plan_text(&plan)) }
    });
    match told {
        Ok(text) => (text, 0),
        Err(error) => (format!("paas: plan: {error:#}\n"), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> (String, u8) {
        run(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn its_usage_shows_what_is_typed() {
        let (help, code) = told("plan --help");
        assert!(help.contains("Usage: paas plan [OPTIONS] [FOLDER]"), "{help}");
        assert_eq!(code, 0);
        let (refusal, code) = told("plan --nonsense");
        assert!(refusal.contains("Usage: paas plan"), "{refusal}");
        assert_eq!(code, 2);
    }
}
