//! The command behind the first deploy of an app (app.json's `scripts.postdeploy`): once, in an instance of its own. Its
//! failure changes nothing that serves.
use super::Scheduler;
use super::run_once::{RunEnd, Watch};
use crate::crash_point;
use crate::domain::failure::Exit;
use crate::domain::instance::Slot;
use crate::domain::job::RELEASE_COMMAND_LIMIT;
use crate::domain::release::Release;
use crate::domain::{App, ProcessType};
use anyhow::Context;
use tokio_util::sync::CancellationToken;

impl Scheduler {
    /// Runs it to its end; what it says is told in the release's transcript. The error says how it failed.
    pub async fn run_postdeploy(
        &self,
        app: &App,
        release: &Release,
        line: &str,
        cancel: &CancellationToken,
    ) -> anyhow::Result<()> {
        let house = &self.0;
        let process: ProcessType = "postdeploy".parse().context("name the command's instance")?;
        let name = Slot { process, index: release.no.0 };
        let begun = house.tools.clock.now();
        let one_off = tokio::select! {
            started = house.start_line(app, release, line, &name) => started?,
            () = cancel.cancelled() => anyhow::bail!("it was cancelled"),
            () = house.tools.stop.cancelled() => anyhow::bail!("the server stopped"),
        };
        crash_point!("postdeploy-begun");
        let watch = Watch::of_command(app, release, begun, cancel);
        match house.see_to_end(one_off, watch).await {
            RunEnd::Exited(Exit::Status(0)) => Ok(()),
            RunEnd::Exited(exit) => Err(anyhow::anyhow!("it {exit}")),
            RunEnd::TimedOut => {
                Err(anyhow::anyhow!("it was ended after its limit of {} min", RELEASE_COMMAND_LIMIT.as_secs() / 60))
            }
            RunEnd::Cancelled => Err(anyhow::anyhow!("it was cancelled")),
            RunEnd::Lost { reason } => Err(anyhow::anyhow!("it was lost: {reason}")),
            RunEnd::Left => Err(anyhow::anyhow!("the server stopped")),
        }
    }
}
