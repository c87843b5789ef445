//! The grammar of command lines: `topic:verb`, or `topic verb`; `-a/--app NAME`; `--json` on everything that reads.
use super::{
    Context, Done, Permission, apps, auth, backups, builds, certs, checks, config, cron, domains, errors, https, keys,
    login, logs, maintenance, ps, releases, renew, router, run, server, upgrade, volumes,
};
use crate::console::Console;
use crate::domain::AppName;
use clap::{CommandFactory, Parser};

#[derive(Parser)]
#[command(
    name = "paas",
    version,
    disable_help_subcommand = false,
    about = "Apps by `git push`: build, release, run, route.",
    after_help = "Commands are written `topic:verb` or `topic verb`; `paas COMMAND --help` explains one.\nIn a checkout, `paas plan` shows what a push would be built as.\nOn the server's machine, `paas server` is the server itself and `paas host-guard` keeps apps away from the machine; `paas server --help` and `paas host-guard --help` list their flags."
)]
pub(super) struct Line {
    #[command(subcommand)]
    command: Command,
}

/// All commands. A variant knows its permission, the app it is about, and how to run.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Apps(apps::Verb),
    #[command(flatten)]
    Config(config::Verb),
    #[command(flatten)]
    Ps(ps::Verb),
    #[command(flatten)]
    Run(run::Verb),
    #[command(flatten)]
    Logs(logs::Verb),
    #[command(flatten)]
    Releases(releases::Verb),
    #[command(flatten)]
    Builds(builds::Verb),
    #[command(flatten)]
    Domains(domains::Verb),
    #[command(flatten)]
    Certs(certs::Verb),
    #[command(flatten)]
    Https(https::Verb),
    #[command(flatten)]
    Renew(renew::Verb),
    #[command(flatten)]
    Checks(checks::Verb),
    #[command(flatten)]
    Router(router::Verb),
    #[command(flatten)]
    Auth(auth::Verb),
    #[command(flatten)]
    Errors(errors::Verb),
    #[command(flatten)]
    Maintenance(maintenance::Verb),
    #[command(flatten)]
    Volumes(volumes::Verb),
    #[command(flatten)]
    Cron(cron::Verb),
    #[command(flatten)]
    Keys(keys::Verb),
    #[command(flatten)]
    Backups(backups::Verb),
    #[command(flatten)]
    Login(login::Verb),
    #[command(flatten)]
    Server(server::Verb),
    #[command(flatten)]
    Upgrade(upgrade::Verb),
}

/// The app that a command is about.
#[derive(clap::Args, Clone)]
pub(super) struct OfApp {
    /// Name of the app
    #[arg(short, long, value_name = "NAME")]
    pub(super) app: AppName,
}

/// How a reading command answers.
#[derive(clap::Args, Clone, Copy)]
pub(super) struct Form {
    /// Print JSON instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// A command line, parsed.
pub(super) struct Parsed {
    name: String,
    command: Command,
}

/// Why there is nothing to run: help that was asked for (code 0), or a usage error (code 2).
pub(super) struct Refusal {
    pub(super) text: String,
    pub(super) code: u8,
    /// An option stands there twice, or beside one that excludes it.
    pub(super) is_conflict: bool,
}

pub(super) fn parse(words: Vec<String>) -> Result<Parsed, Refusal> {
    let words = joined(words);
    let name = words.first().cloned().unwrap_or_default();
    if words.is_empty() {
        return Err(Refusal { text: Line::command().render_help().to_string(), code: 0, is_conflict: false });
    }
    let line = std::iter::once("paas".to_owned()).chain(words);
    match Line::try_parse_from(line) {
        Ok(line) => Ok(Parsed { name, command: line.command }),
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            let is_conflict = error.kind() == clap::error::ErrorKind::ArgumentConflict;
            Err(Refusal { text: error.render().to_string(), code, is_conflict })
        }
    }
}

/// `apps create blog` becomes `apps:create blog` when there is such a command.
fn joined(mut words: Vec<String>) -> Vec<String> {
    if words.len() < 2 {
        return words;
    }
    let both = format!("{}:{}", words[0], words[1]);
    let is_known = Line::command()
        .get_subcommands()
        .any(|command| command.get_name() == both || command.get_all_aliases().any(|alias| alias == both));
    if is_known {
        words.splice(0..2, [both]);
    }
    words
}

impl Parsed {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn permission(&self) -> Permission {
        match &self.command {
            Command::Apps(verb) => verb.permission(),
            Command::Config(verb) => verb.permission(),
            Command::Ps(verb) => verb.permission(),
            Command::Run(verb) => verb.permission(),
            Command::Logs(verb) => verb.permission(),
            Command::Releases(verb) => verb.permission(),
            Command::Builds(verb) => verb.permission(),
            Command::Domains(verb) => verb.permission(),
            Command::Certs(verb) => verb.permission(),
            Command::Https(verb) => verb.permission(),
            Command::Renew(verb) => verb.permission(),
            Command::Checks(verb) => verb.permission(),
            Command::Router(verb) => verb.permission(),
            Command::Auth(verb) => verb.permission(),
            Command::Errors(verb) => verb.permission(),
            Command::Maintenance(verb) => verb.permission(),
            Command::Volumes(verb) => verb.permission(),
            Command::Cron(verb) => verb.permission(),
            Command::Keys(verb) => verb.permission(),
            Command::Backups(verb) => verb.permission(),
            Command::Login(verb) => verb.permission(),
            Command::Server(verb) => verb.permission(),
            Command::Upgrade(verb) => verb.permission(),
        }
    }

    /// It goes on for as long as the program of somebody's does.
    pub(super) fn runs_a_program(&self) -> bool {
        matches!(self.command, Command::Run(_))
    }

    pub(super) fn app(&self) -> Option<&AppName> {
        match &self.command {
            Command::Apps(verb) => verb.app(),
            Command::Config(verb) => Some(verb.app()),
            Command::Ps(verb) => Some(verb.app()),
            Command::Run(verb) => Some(verb.app()),
            Command::Logs(verb) => Some(verb.app()),
            Command::Releases(verb) => Some(verb.app()),
            Command::Builds(verb) => Some(verb.app()),
            Command::Cron(verb) => Some(verb.app()),
            Command::Domains(verb) => Some(verb.app()),
            Command::Https(verb) => Some(verb.app()),
            Command::Checks(verb) => Some(verb.app()),
            Command::Router(verb) => Some(verb.app()),
            Command::Auth(verb) => Some(verb.app()),
            Command::Errors(verb) => Some(verb.app()),
            Command::Maintenance(verb) => Some(verb.app()),
            Command::Volumes(verb) => verb.app(),
            Command::Certs(_)
            | Command::Renew(_)
            | Command::Keys(_)
            | Command::Backups(_)
            | Command::Login(_)
            | Command::Server(_)
            | Command::Upgrade(_) => None,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        match &self.command {
            Command::Apps(verb) => verb.run(context, console).await,
            Command::Config(verb) => verb.run(context, console).await,
            Command::Ps(verb) => verb.run(context, console).await,
            Command::Run(verb) => verb.run(context, console).await,
            Command::Logs(verb) => verb.run(context, console).await,
            Command::Releases(verb) => verb.run(context, console).await,
            Command::Builds(verb) => verb.run(context, console).await,
            Command::Domains(verb) => verb.run(context, console).await,
            Command::Certs(verb) => verb.run(context, console).await,
            Command::Https(verb) => verb.run(context, console).await,
            Command::Renew(verb) => verb.run(context, console).await,
            Command::Checks(verb) => verb.run(context, console).await,
            Command::Router(verb) => verb.run(context, console).await,
            Command::Auth(verb) => verb.run(context, console).await,
            Command::Errors(verb) => verb.run(context, console).await,
            Command::Maintenance(verb) => verb.run(context, console).await,
            Command::Volumes(verb) => verb.run(context, console).await,
            Command::Cron(verb) => verb.run(context, console).await,
            Command::Keys(verb) => verb.run(context, console).await,
            Command::Backups(verb) => verb.run(context, console).await,
            Command::Login(verb) => verb.run(context, console).await,
            Command::Server(verb) => verb.run(context, console).await,
            Command::Upgrade(verb) => verb.run(context, console).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_grammar_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn topic_verb_means_topic_colon_verb() {
        assert_eq!(joined(words("apps create blog")), words("apps:create blog"));
        assert_eq!(joined(words("apps -a blog")), words("apps -a blog"));
        assert_eq!(joined(words("rollback v3 -a blog")), words("rollback v3 -a blog"));
    }

    #[test]
    fn usage_errors_are_2_and_help_is_0() {
        for bad in [
            "nonsense",
            "apps:create",
            "apps:create ../x",
            "ps:scale -a blog web=two",
            "config:get -a blog",
            "apps:info",
        ] {
            assert_eq!(parse(words(bad)).err().unwrap().code, 2, "{bad}");
        }
        for help in ["--help", "apps:create --help", "help", "--version", ""] {
            assert_eq!(parse(words(help)).err().unwrap().code, 0, "{help}");
        }
    }

    #[test]
    fn help_names_what_runs_on_the_servers_machine_and_in_a_checkout() {
        let help = parse(Vec::new()).err().unwrap().text;
        for program in ["`paas plan`", "`paas server --help`", "`paas host-guard --help`"] {
            assert!(help.contains(program), "{program} is missing in {help}");
        }
    }

    #[test]
    fn every_command_explains_itself() {
        for command in Line::command().get_subcommands().filter(|c| c.get_name() != "help") {
            assert!(command.get_about().is_some(), "{} has no explanation", command.get_name());
        }
    }
}
