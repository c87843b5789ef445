//! `run`: a command in a fresh instance of the live release. `exec`: one inside an instance that runs already.
use super::grammar::OfApp;
use super::session::{Program, carry, exit_code};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::domain::failure::Exit;
use crate::domain::instance::{Slot, State};
use crate::domain::release::Config;
use crate::domain::terminal::TermName;
use crate::domain::{App, AppName, Command, ContainerId, Release, Secret, VarName};
use crate::engine::{Keep, ObservedState, Stdio};
use crate::scheduler::{OneOffError, Order, Run};
use std::str::FromStr;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Run a command in a fresh instance of the live release
    #[command(
        name = "run",
        after_help = "One word is a line for the image's shell (`paas run 'ls | wc -l'`) or a process type of the \
                      release (`paas run worker`); several words run as they are. The exit code is the command's."
    )]
    Run(RunArgs),
    /// Run a command inside an instance that runs already, such as web.1
    #[command(
        name = "exec",
        after_help = "One word is a line for the image's shell; several words run as they are. \
                      The exit code is the command's."
    )]
    Exec(ExecArgs),
}

#[derive(clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    of: OfApp,
    /// Print its name and leave it to itself; what it writes goes into the app's log
    #[arg(short, long)]
    detach: bool,
    /// Set a variable for this run alone; may be given several times
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<Variable>,
    /// The command, with its own options
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    words: Vec<String>,
}

#[derive(clap::Args)]
pub(super) struct ExecArgs {
    #[command(flatten)]
    of: OfApp,
    /// The instance, as `paas ps` names it
    instance: Slot,
    /// The command, with its own options
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    words: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Variable {
    name: VarName,
    value: Secret<String>,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text may hold a secret: it is not repeated.
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
        let name = name.parse().map_err(|error: crate::domain::name::NameError| error.to_string())?;
        Ok(Self { name, value: Secret::new(value.to_owned()) })
    }
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::Run(_) | Self::Exec(_) => Permission::ChangeApp,
        }
    }

    pub(super) fn app(&self) -> &AppName {
        match self {
            Self::Run(args) => &args.of.app,
            Self::Exec(args) => &args.of.app,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        let app = context.app(self.app()).await?;
        match self {
            Self::Run(args) => run(context, console, &app, args).await,
            Self::Exec(args) => exec(context, console, &app, args).await,
        }
    }
}

async fn run(context: &Context, console: &mut Console, app: &App, args: &RunArgs) -> Done {
    let live = context.tools.store.live_release(app.id).await?;
    let release = live.ok_or_else(|| {
        CommandError::new(format!("{} has no live release to run in", app.name)).next("push one: `git push paas main`")
    })?;
    let mut env: Config = args.env.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
    let scheduler = &context.tools.scheduler;
    let kind = "run".parse().map_err(|error: crate::domain::name::NameError| CommandError::new(error.to_string()))?;
    let name = scheduler.fresh_name(app.id, &kind);
    let run = what_to_run(&release, &args.words);
    if args.detach {
        let order = Order { name, run, env: env.clone(), stdio: Stdio::Logged, keep: Keep::Always };
        let (one_off, _) = scheduler.one_off(app, &release, order).await.map_err(|error| not_run(&error, app))?;
        console.say(&one_off.name().to_string()).await;
        console.complain(&format!("follow it with `paas logs -f -a {} -p {}`", app.name, one_off.name())).await;
        scheduler.detach(app, &release, one_off, env);
        return Ok(());
    }
    let terminal = console.take_terminal().await;
    env.extend(terminal.as_ref().and_then(|terminal| term(&terminal.name)));
    let stdio = if terminal.is_some() { Stdio::Terminal } else { Stdio::Streams };
    let order = Order { name: name.clone(), run, env, stdio, keep: Keep::WithServer };
    let (one_off, attachment) = scheduler.one_off(app, &release, order).await.map_err(|error| not_run(&error, app))?;
    let Some(attachment) = attachment else { return Err(CommandError::new(format!("{name} has no streams"))) };
    let memory_bytes = one_off.memory_bytes();
    let ended = carry(console, &Program::OneOff(one_off), attachment, terminal).await?;
    if ended == Some(Exit::OutOfMemory) {
        let limit = format!("{name} used all of its memory, {} MiB, and was ended", memory_bytes >> 20);
        console.complain(&format!("paas: run: {limit}")).await;
    }
    finish(console, ended, &name)
}

async fn exec(context: &Context, console: &mut Console, app: &App, args: &ExecArgs) -> Done {
    let id = find(context, app, &args.instance).await?;
    let terminal = console.take_terminal().await;
    let env: Config = terminal.as_ref().and_then(|terminal| term(&terminal.name)).into_iter().collect();
    let stdio = if terminal.is_some() { Stdio::Terminal } else { Stdio::Streams };
    let (exec, attachment) = context.tools.scheduler.exec(&id, words_or_line(&args.words), &env, stdio).await?;
    let ended = carry(console, &Program::Exec(exec), attachment, terminal).await;
    let ended = ended.map_err(|error| CommandError::new(format!("{}: {}", args.instance, error.what)))?;
    finish(console, ended, &args.instance)
}

/// An instance by its name, or a one-off; of two releases' the newer one.
async fn find(context: &Context, app: &App, slot: &Slot) -> Result<ContainerId, CommandError> {
    let scheduler = &context.tools.scheduler;
    let is_running = |state: State| matches!(state, State::Ready | State::Starting { .. });
    let instances = scheduler.instances(app.id).await?;
    let newest = instances.iter().rfind(|one| one.slot == *slot && is_running(one.state));
    if let Some(instance) = newest {
        return Ok(instance.id.clone());
    }
    let one_offs = scheduler.one_offs(app.id).await?;
    let is_it =
        |one: &&crate::engine::OneOffSeen| one.name == *slot && matches!(one.state, ObservedState::Running { .. });
    let found = one_offs.iter().find(is_it).map(|one| one.id.clone());
    found.ok_or_else(|| {
        CommandError::new(format!("no instance {slot} of {} runs", app.name))
            .next(format!("run `paas ps -a {}` to see them", app.name))
    })
}

/// A process type of the release alone means its own line.
fn what_to_run(release: &Release, words: &[String]) -> Run {
    let [word] = words else { return Run::Words(words.to_vec()) };
    let known = word.parse().ok().and_then(|process| release.processes.get(&process));
    match known {
        Some(Command::Shell(line)) => Run::Line(line.clone()),
        Some(Command::ImageDefault) => Run::ImageDefault,
        None => Run::Line(word.clone()),
    }
}

fn words_or_line(words: &[String]) -> Run {
    match words {
        [line] => Run::Line(line.clone()),
        words => Run::Words(words.to_vec()),
    }
}

fn term(name: &TermName) -> Option<(VarName, Secret<String>)> {
    Some(("TERM".parse().ok()?, Secret::new(name.to_string())))
}

fn finish(console: &mut Console, ended: Option<Exit>, name: &Slot) -> Done {
    let exit =
        ended.ok_or_else(|| CommandError::new(format!("{name} was ended: its user has left, or the server stops")))?;
    console.exit_code = exit_code(exit);
    Ok(())
}

fn not_run(error: &OneOffError, app: &App) -> CommandError {
    let next = match error {
        OneOffError::TooMany(_) => format!("run `paas ps -a {}`, and `paas ps:stop NAME` for one of them", app.name),
        OneOffError::Taken(_) => "try again".to_owned(),
        OneOffError::Other(_) => "run `paas server:doctor`".to_owned(),
    };
    let what = match error {
        OneOffError::TooMany(_) | OneOffError::Taken(_) => error.to_string(),
        OneOffError::Other(error) => format!("{error:#}"),
    };
    CommandError::new(what).next(next)
}
