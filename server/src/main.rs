//! The binary `paas`. Under the name of a git hook it is that hook.
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let started_as = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&started_as).file_name().unwrap_or_default().to_string_lossy();
    if paas::receiver::is_hook(&name) {
        return ExitCode::from(paas::receiver::run_hook(&name));
    }
    ExitCode::SUCCESS
}
