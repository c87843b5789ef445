//! `paas host-guard`: the small process that may touch the firewall and the control groups, so that the server need not.
//!
//! It runs as root with CAP_NET_ADMIN and CAP_SYS_NICE alone and listens nowhere. The server tells it what to guard in a
//! file, and it tells the server how that fares in another. What it made is looked at again and again: somebody's flush of
//! the firewall, or a restart of Docker, is mended within five seconds. Its own end changes nothing: the rules stay.
mod build_limits;
mod control_groups;
mod cores;
mod crowds;
mod engine_threads;
mod firewall;
mod name_servers;
mod report;
mod rules;
mod settings;
mod shared_file;
mod wanted;
mod watch;

pub use wanted::Wanted;
pub use watch::GuardWatch;

use build_limits::BuildLimits;
use control_groups::ControlGroups;
use crowds::Crowds;
use engine_threads::EngineThreads;
use firewall::Firewall;
use report::Report;
use settings::{Act, Settings};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often the firewall is looked at.
const FIREWALL_EVERY: Duration = Duration::from_secs(5);
/// How often crowds are looked for, and new build steps, where each has a control group of its own.
const BUILDS_EVERY: Duration = Duration::from_millis(500);

/// Runs it with the words after `paas host-guard`, until it is killed.
pub fn main(words: &[String], log_filter: String) -> ExitCode {
    let settings = match Settings::load(words) {
        Ok(settings) => settings,
        Err(help) => {
            let _ = help.print();
            return ExitCode::from(if help.use_stderr() { 2 } else { 0 });
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(log_filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    let guard = Guard::new(settings);
    match guard.settings.act {
        Act::Guard => guard.run(),
        Act::Once => ExitCode::from(u8::from(guard.report().complaint().is_some())),
        Act::Remove => guard.remove(),
    }
}

struct Guard {
    settings: Settings,
    firewall: Firewall,
    groups: ControlGroups,
    crowds: Crowds,
    engine_threads: EngineThreads,
}

impl Guard {
    fn new(settings: Settings) -> Self {
        let firewall = Firewall::new(settings.nft.clone());
        let groups = ControlGroups::new(&settings.cgroup_root, &settings.build_cgroup);
        let root = Path::new("/");
        Self { settings, firewall, groups, crowds: Crowds::new(root), engine_threads: EngineThreads::new(root) }
    }

    fn run(mut self) -> ExitCode {
        tracing::info!("guarding the host, as {} asks", self.settings.guard_dir.display());
        let mut last_complaint = None;
        loop {
            let begun = Instant::now();
            let report = self.tick();
            if report.complaint() != last_complaint {
                match report.complaint() {
                    Some(complaint) => tracing::error!("{complaint}"),
                    None => tracing::info!("the firewall's rules and the limits of builds are in place"),
                }
                last_complaint = report.complaint();
            }
            while begun.elapsed() < FIREWALL_EVERY {
                std::thread::sleep(BUILDS_EVERY);
                // What goes wrong here goes wrong in the next report too.
                drop(self.limit_builds());
            }
        }
    }

    fn report(mut self) -> Report {
        let report = self.tick();
        if let Some(complaint) = report.complaint() {
            tracing::error!("{complaint}");
        }
        report
    }

    /// Puts everything in its place, and says how that went.
    fn tick(&mut self) -> Report {
        // A thread inherits where it may run: only a restart of the engine makes this new work.
        let limited = self.limit_builds().and_then(|()| self.engine_threads.keep_off_the_first_core());
        let report = Report::new(self.apply_rules(), limited);
        if let Err(error) = report.write(&self.settings.guard_dir) {
            tracing::error!("{error:#}");
        }
        report
    }

    fn apply_rules(&mut self) -> anyhow::Result<()> {
        let wanted = Wanted::read(&self.settings.guard_dir)?;
        let servers = name_servers::of_host(Path::new("/"));
        let rules = rules::script(&wanted, self.settings.build_bridge.as_deref(), &servers);
        self.firewall.keep(&rules::table(&wanted), &rules)
    }

    fn limit_builds(&self) -> anyhow::Result<()> {
        let limits = BuildLimits::of_machine(Path::new("/"))?;
        self.groups.limit(&limits)?;
        self.crowds.keep_off_the_first_core(&self.groups)
    }

    /// Takes away what it made.
    fn remove(self) -> ExitCode {
        let removed = Wanted::read(&self.settings.guard_dir)
            .and_then(|wanted| self.firewall.remove(&rules::table(&wanted)))
            .and_then(|()| self.groups.unlimit())
            .and_then(|()| Crowds::free(&self.groups))
            .and_then(|()| self.engine_threads.free());
        match removed {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            }
        }
    }
}
