//! What users type: one file per topic with its permission, the same over SSH and the local socket.
//!
//! A command line is parsed by one grammar (clap), checked against the caller's permission, run, and audited when it
//! changes something. Exit codes: 0 done, 1 failed, 2 usage.

mod apps;
mod auth;
mod backups;
mod buildpacks;
mod builds;
mod certs;
mod checks;
pub mod client;
mod config;
mod config_file;
mod cron;
mod deploy;
mod destroy;
mod disk;
mod doctor;
mod domain_redirects;
mod domains;
mod errors;
mod from_image;
mod grammar;
mod https;
mod keys;
mod limits;
mod login;
mod logs;
mod maintenance;
mod outline;
mod protocol;
mod ps;
mod raw_terminal;
mod rebuild;
mod releases;
mod rename;
mod renew;
mod router;
mod run;
mod server;
mod session;
pub mod socket;
mod table;
mod upgrade;
mod volumes;

use crate::backups::Backups;
use crate::builder::{Builder, Repos};
use crate::certs::Certs;
use crate::clock::Clock;
use crate::console::Console;
use crate::desk::{Desk, Refusal};
use crate::disk::Disk;
use crate::domain::{App, AppName, Hostname, Pusher, Site};
use crate::engine::Engine;
use crate::generation::{Duty, HandOver, Relieved, Task};
use crate::guard::GuardWatch;
use crate::logs::Logs;
use crate::scheduler::Scheduler;
use crate::store::{Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use crate::domain::Permission;
pub use keys::KeyParser;
pub use outline::{Outline, help, outline};

/// Exit code of a command that failed.
const FAILED: u8 = 1;

/// What commands work with.
pub struct Tools {
    pub store: Store,
    pub backups: Backups,
    pub certs: Certs,
    pub builder: Builder,
    pub scheduler: Scheduler,
    pub engine: Arc<dyn Engine>,
    pub repos: Repos,
    pub logs: Logs,
    pub disk: Disk,
    pub clock: Arc<dyn Clock>,
    pub parse_key: KeyParser,
    pub site: Site,
    /// Name that no app may have: the admin host's label.
    pub reserved_names: Vec<String>,
    pub guard: GuardWatch,
    pub admin_host: Hostname,
    pub data_dir: PathBuf,
    pub duty: Duty,
    pub hand_over: HandOver,
}

/// The handle: runs command lines.
#[derive(Clone)]
pub struct Commands(Arc<Tools>);

/// A failed command: what failed and why, then the next step.
#[derive(Debug)]
pub(crate) struct CommandError {
    what: String,
    next: Option<String>,
}

type Done = Result<(), CommandError>;

impl CommandError {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None }
    }

    fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let next = match &error {
            StoreError::Missing { what: "app", .. } => Some("run `paas apps` to see all apps"),
            StoreError::Missing { what: "key", .. } => Some("run `paas keys` to see all keys"),
            StoreError::Missing { what: "build", .. } => Some("run `paas builds -a APP` to see its builds"),
            StoreError::Missing { what: "release", .. } => Some("run `paas releases -a APP` to see its releases"),
            StoreError::Missing { what: "volume", .. } => Some("run `paas volumes -a APP` to see its volumes"),
            StoreError::Missing { what: "volume without an app", .. } => Some("run `paas volumes --all` to see them"),
            StoreError::FormerName { name, of } => {
                let next = format!("run `paas apps:free {name} -a {of}` to free it");
                return Self::new(error.to_string()).next(next);
            }
            StoreError::TooMany { what: "former names", .. } => {
                Some("run `paas apps:free NAME -a APP` to give one up; `paas apps:info` lists them")
            }
            StoreError::Destroying { .. } => Some("run `paas apps` to see whether it is gone"),
            StoreError::Replaced => Some("type it again"),
            StoreError::Missing { .. } | StoreError::Taken { .. } | StoreError::TooMany { .. } => None,
            StoreError::Troubled { .. } | StoreError::Database(_) | StoreError::Other(_) => {
                Some("run `paas server:doctor`")
            }
        };
        Self { what: error.to_string(), next: next.map(str::to_owned) }
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}")).next("run `paas server:doctor`")
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Said { what, next } => Self { what, next },
            Refusal::Store(error) => error.into(),
            Refusal::World(error) => error.into(),
        }
    }
}

impl From<crate::engine::EngineError> for CommandError {
    fn from(error: crate::engine::EngineError) -> Self {
        Self::new(error.to_string()).next("run `paas server:doctor`")
    }
}

impl Commands {
    pub fn new(tools: Tools) -> Self {
        Self(Arc::new(tools))
    }

    /// What changes something is not torn in two by a hand-over. A program that somebody runs goes on behind one.
    async fn begin(&self, parsed: &grammar::Parsed) -> Result<Option<Task>, Relieved> {
        match parsed.permission() {
            Permission::ChangeApp | Permission::ChangeServer if !parsed.runs_a_program() => {
                self.0.duty.begin(&format!("`{}`", parsed.name())).await.map(Some)
            }
            Permission::ReadApp
            | Permission::ReadServer
            | Permission::ChangeApp
            | Permission::ChangeServer
            | Permission::Host => Ok(None),
        }
    }

    /// Runs one command line to its end and returns its exit code.
    pub async fn run(&self, words: Vec<String>, caller: Pusher, mut console: Console) -> u8 {
        let parsed = match grammar::parse(words) {
            Ok(parsed) => parsed,
            Err(refusal) => {
                let text = refusal.text.trim_end();
                let _ = if refusal.code == 0 { console.say(text).await } else { console.complain(text).await };
                return refusal.code;
            }
        };
        let context = Context { tools: Arc::clone(&self.0), caller };
        let (name, permission) = (parsed.name(), parsed.permission());
        if !permission.is_granted_to(&context.caller) {
            let refusal = match permission {
                Permission::Host => "only root may do this, on the server's own machine",
                Permission::ReadApp | Permission::ChangeApp | Permission::ReadServer | Permission::ChangeServer => {
                    "not allowed for this key"
                }
            };
            console.complain(&format!("paas: {name}: {refusal}")).await;
            return FAILED;
        }
        let _under_way = match self.begin(&parsed).await {
            Ok(task) => task,
            Err(relieved) => {
                console.complain(&format!("paas: {name}: {relieved}; type it again")).await;
                return FAILED;
            }
        };
        let app = parsed.app().cloned();
        if let (Permission::ReadApp | Permission::ChangeApp, Some(app)) = (permission, &app) {
            context.note_new_name(&console, app).await;
        }
        let done = parsed.run(&context, &mut console).await;
        context.audit(permission, name, app.as_ref(), &done).await;
        match done {
            Ok(()) => console.exit_code,
            Err(error) => {
                console.complain(&format!("paas: {name}: {}", error.what)).await;
                if let Some(next) = error.next {
                    console.complain(&format!("      {next}")).await;
                }
                FAILED
            }
        }
    }
}

/// One call: the tools and who called.
pub(crate) struct Context {
    tools: Arc<Tools>,
    caller: Pusher,
}

impl Context {
    /// The verbs that are shared with the pages.
    fn desk(&self) -> Desk {
        let tools = &self.tools;
        Desk {
            store: tools.store.clone(),
            builder: tools.builder.clone(),
            scheduler: tools.scheduler.clone(),
            engine: Arc::clone(&tools.engine),
            logs: tools.logs.clone(),
            clock: Arc::clone(&tools.clock),
        }
    }

    /// The app of this name, or of this name before it was renamed; one that is being destroyed takes no commands.
    async fn app(&self, name: &AppName) -> Result<App, CommandError> {
        let app = self.tools.store.app(name).await?;
        if app.destroying {
            return Err(StoreError::Destroying { app: app.name.to_string() }.into());
        }
        Ok(app)
    }

    /// Who names an app as it was called before hears the new name, beside the answer.
    async fn note_new_name(&self, console: &Console, name: &AppName) {
        let Ok(Some(app)) = self.tools.store.find_app(name).await else { return };
        if app.name != *name {
            let remote = self.tools.site.remote(&app.name);
            let now = &app.name;
            console
                .complain(&format!("note: {name} is called {now} now; run `git remote set-url paas {remote}`"))
                .await;
        }
    }

    async fn audit(&self, permission: Permission, name: &str, app: Option<&AppName>, done: &Done) {
        let result = match (permission, done) {
            (Permission::ReadApp | Permission::ReadServer, _) => return,
            (Permission::ChangeApp | Permission::ChangeServer | Permission::Host, Ok(())) => "done".to_owned(),
            (Permission::ChangeApp | Permission::ChangeServer | Permission::Host, Err(error)) => error.what.clone(),
        };
        let now = self.tools.clock.now();
        if let Err(error) = self.tools.store.record(now, &self.caller, app, name, &result).await {
            tracing::warn!("cannot write the audit log: {error}");
        }
    }
}
