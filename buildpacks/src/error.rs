//! Why a tree cannot be planned: people's mistakes, each with the way out. Shown as they are.

use crate::app_json::AppJsonError;
use crate::procfile::ProcfileError;

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("the pushed commit holds no files: `git add` your app, commit and push again")]
    EmptyTree,

    #[error(
        "no language detected; looked at the root of the repository for {}{}",
        .sought.join(", "), listed(.hints)
    )]
    NothingDetected { sought: Vec<String>, hints: Vec<String> },

    #[error(
        "{file} is a symlink, and files that steer the build must be regular files: replace it with a copy of what it points to"
    )]
    ConfigIsSymlink { file: String },

    #[error("{file} is a submodule, which is a folder: commit a regular file instead")]
    ConfigIsSubmodule { file: String },

    #[error("{file} is {size_bytes} bytes long, more than the {size_bytes_max} that are read: make it shorter")]
    ConfigTooLarge { file: String, size_bytes: u64, size_bytes_max: u64 },

    #[error("{file} is listed in the commit but cannot be read: push again")]
    ConfigUnreadable { file: String },

    #[error("{file} is not valid UTF-8: save it as UTF-8, commit and push again")]
    ConfigNotUtf8 { file: String },

    #[error(transparent)]
    Procfile(#[from] ProcfileError),

    #[error(transparent)]
    AppJson(#[from] AppJsonError),

    #[error("package.json line {line}, column {column}: {reason}: correct it, then `npm pkg get name` checks the file")]
    PackageJson { line: usize, column: usize, reason: String },

    #[error("package.json: {field} must be {wanted}")]
    PackageField { field: String, wanted: &'static str },

    #[error("{file} line {line}: {included} is not in the commit: add it (`git add {included}`) or remove the line")]
    RequirementsInclude { file: String, line: usize, included: String },

    /// A manifest that cannot be read, or says what cannot be.
    #[error("{file} line {line}: {reason}")]
    Manifest { file: String, line: usize, reason: String },

    /// A version that cannot be had.
    #[error("{place} asks for {what} \"{request}\", {fix}")]
    Version { place: String, what: String, request: String, fix: String },

    /// Anything else that its author has to decide or mend.
    #[error("{0}")]
    Unclear(String),

    #[error("no start command: {fix}")]
    NoStartCommand { fix: String },

    #[error("Staticfile line {line}: {reason}")]
    Staticfile { line: usize, reason: String },

    #[error(
        "Staticfile makes {folder} the folder to serve, and there is no {folder}/index.html: commit one, or correct the `root:` line"
    )]
    StaticFolder { folder: String },

    #[error(
        "Staticfile names no folder, and there is no index.html at the root of the repository: commit one, or add a line `root: FOLDER` with the folder of yours"
    )]
    StaticRoot,
}

/// `; a; b` for a list, and nothing for none.
fn listed(hints: &[String]) -> String {
    hints.iter().flat_map(|hint| ["; ", hint.as_str()]).collect()
}
