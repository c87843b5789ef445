//! The binary `paas`: the server, the command line on its host, and, under the name of a git hook, that hook.
use paas::commands::{self, client};
use paas::config::{Config, NoConfig, Start, log_filter, named_data_dir, terminal_name, usual_data_dir};
use paas::laptop::{self, Way};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// It packs what an idle connection holds into half of the memory that glibc's takes (tests/bench/RESULTS.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let started_as = if words.is_empty() { String::new() } else { words.remove(0) };
    let name = Path::new(&started_as).file_name().unwrap_or_default().to_string_lossy();
    if paas::receiver::is_hook(&name) {
        return ExitCode::from(paas::receiver::run_hook(&name));
    }
    if words.first().is_some_and(|first| first == "host-guard") {
        return paas::guard::main(&words[1..], log_filter());
    }
    let is_server = words.first().is_some_and(|first| first == "server")
        && words.get(1).is_none_or(|second| second.starts_with('-'));
    if is_server { serve(&words[1..]) } else { ask(words) }
}

fn serve(words: &[String]) -> ExitCode {
    let config = match Config::load(words) {
        Ok(config) => config,
        Err(NoConfig::Help(text)) => return say(&mut std::io::stdout(), &text, 0),
        Err(NoConfig::Usage(text)) => return say(&mut std::io::stderr(), &text, 2),
    };
    tracing_subscriber::fmt()
        .with_env_filter(log_filter())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    if config.start == Start::Detach {
        return match paas::generation::detach(&config.words) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(&mut std::io::stderr(), &format!("paas server: {error:#}\n"), 1),
        };
    }
    if config.start == Start::Check {
        return match runtime().and_then(|runtime| runtime.block_on(paas::lifecycle::check(&config))) {
            Ok(text) => say(&mut std::io::stdout(), &text, 0),
            Err(error) => say(&mut std::io::stderr(), &format!("paas server: {error:#}\n"), 1),
        };
    }
    match runtime().and_then(|runtime| runtime.block_on(paas::lifecycle::run(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(&mut std::io::stderr(), &format!("paas server: {error:#}\n"), 1),
    }
}

/// A command: for the server that a checkout's remote leads to, or for the one on this host.
fn ask(mut words: Vec<String>) -> ExitCode {
    let named = named_data_dir(&mut words);
    if let Some(text) = commands::help(&words) {
        return say(&mut std::io::stdout(), &text, 0);
    }
    if paas::backups::offline::takes(&words) {
        return told_by(paas::backups::offline::run(&words, &named.unwrap_or_else(usual_data_dir)));
    }
    if laptop::plan::takes(&words) {
        return told(laptop::plan::run(&words));
    }
    if paas::upgrade::takes(&words) {
        return told_by(paas::upgrade::run(&words, &named.unwrap_or_else(usual_data_dir)));
    }
    let here = std::env::current_dir().unwrap_or_default();
    let looked_for = match laptop::choose(&mut words, &here, named.is_some()) {
        Ok(Way::Remote(remote)) => return ExitCode::from(laptop::run(&remote, words)),
        Ok(Way::Local { looked_for }) => looked_for,
        Err(refusal) => return say(&mut std::io::stderr(), &format!("paas: {refusal}\n"), 2),
    };
    let is_program = commands::outline(&words).is_some_and(|outline| outline.is_program);
    let ask = client::Ask { words, is_program, term: terminal_name(), looked_for };
    match runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(client::ask(&named.unwrap_or_else(usual_data_dir), ask));
            // A read of standard input may still block in its own thread; nothing waits for it.
            runtime.shutdown_background();
            ExitCode::from(code)
        }
        Err(error) => say(&mut std::io::stderr(), &format!("paas: {error:#}\n"), 1),
    }
}

/// A command that is done here and not by a server.
fn told_by(work: impl Future<Output = (String, u8)>) -> ExitCode {
    match runtime() {
        Ok(runtime) => told(runtime.block_on(work)),
        Err(error) => say(&mut std::io::stderr(), &format!("paas: {error:#}\n"), 1),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// What went well on standard output, what did not on standard error.
fn told((text, code): (String, u8)) -> ExitCode {
    if code == 0 { say(&mut std::io::stdout(), &text, 0) } else { say(&mut std::io::stderr(), &text, code) }
}

fn say(out: &mut dyn Write, text: &str, code: u8) -> ExitCode {
    // Nobody is left to tell when this fails.
    let _ = out.write_all(text.as_bytes());
    ExitCode::from(code)
}
