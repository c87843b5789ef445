//! How a program that a user ran ended, and what it said.
use std::process::Output;

/// The end of a command: its exit code and both of its outputs.
#[derive(Debug)]
pub(crate) struct Outcome {
    what: String,
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn new(what: &str, output: &Output) -> Self {
        Self {
            what: what.to_owned(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn succeeds(&self) -> &Self {
        assert!(self.code == Some(0), "{self:?} should have succeeded");
        self
    }

    /// Failed with exit code `code`, saying `text` on standard error.
    #[track_caller]
    pub(crate) fn fails_with(&self, code: i32, text: &str) -> &Self {
        assert!(self.code == Some(code), "{self:?} should have ended with {code}");
        assert!(self.stderr.contains(text), "{self:?} should have said `{text}`");
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text), "{self:?} should have said `{text}`");
        self
    }

    /// Standard output, read as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        self.succeeds();
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{} gave no JSON: {error}: {self:?}", self.what))
    }
}
