//! Releases that no push makes (config change, rollback, retry): made, followed live, and told to the end.
use super::config::changed;
use super::{CommandError, Context, Done};
use crate::console::Console;
use crate::desk::Made;
use crate::domain::card::one_line;
use crate::domain::{App, Release, ReleaseNo, release};
use crate::logs::{From, TranscriptOf, printable};
use crate::scheduler::Settled;
use crate::store::{ConfigChange, NewRelease, NewReleaseError, Rest};

/// The release that a new one is made of.
#[derive(Clone, Copy)]
pub(super) enum StandsOn {
    Live,
    Newest,
}

impl Context {
    /// The port of a release of `base`'s image with today's config vars.
    async fn port(&self, base: &Release, change: &ConfigChange, rest: Rest) -> Result<u16, CommandError> {
        let config = changed(self.tools.store.config(base.app).await?, change, rest);
        let info = self.tools.engine.image(base.image.as_str()).await?;
        let exposed = info.map(|info| info.exposed_ports).unwrap_or_default();
        release::port(&config, &exposed).map_err(|error| CommandError::new(error.to_string()))
    }

    /// Makes a release of another one when its turn comes: waits while another release of the app is starting. Its port
    /// is found anew, because a config var may set it.
    pub(super) async fn make_release(
        &self,
        console: &Console,
        app: &App,
        new: impl Fn(&Release) -> NewRelease + Send + Sync,
        (stands_on, rest): (StandsOn, Rest),
    ) -> Result<Option<ReleaseNo>, CommandError> {
        let mut changes = self.tools.store.changes();
        let mut is_told = false;
        loop {
            let base = match stands_on {
                StandsOn::Live => self.tools.store.live_release(app.id).await?,
                StandsOn::Newest => self.tools.store.releases(app.id, 1).await?.pop(),
            };
            let Some(base) = base else { return Ok(None) };
            let mut release = new(&base);
            release.port = self.port(&base, &release.change, rest).await?;
            match self.tools.store.create_release_with(&release, rest, self.tools.clock.now()).await {
                Ok(no) => {
                    self.tools.scheduler.wake(app.id);
                    return Ok(Some(no));
                }
                Err(NewReleaseError::Busy(no)) => {
                    if !is_told {
                        console.complain(&format!("waiting for {no}, which is still starting")).await;
                        is_told = true;
                    }
                    tokio::select! {
                        _ = changes.changed() => {}
                        () = console.left.cancelled() => return Err(CommandError::new("interrupted while waiting")),
                    }
                }
                Err(NewReleaseError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// Shows a release's rollout as it goes, and ends as it ends. A caller who leaves stops nothing.
    pub(super) async fn see_through(
        &self,
        console: &Console,
        app: &App,
        no: ReleaseNo,
        replaced: Option<ReleaseNo>,
    ) -> Done {
        let transcript = self.tools.logs.transcript(&app.key, TranscriptOf::Release(no))?;
        let mut follower = transcript.follow(From::Start)?;
        let showing = async {
            while let Some(line) = follower.next().await? {
                if !console.say(&printable(&line)).await {
                    break;
                }
            }
            anyhow::Ok(())
        };
        let desk = self.desk();
        let settling = desk.see_through(app, Made { no, replaced });
        let (settled, shown) = tokio::join!(settling, showing);
        shown?;
        match settled? {
            Settled::Live => Ok(()),
            Settled::Failed(failure) => {
                Err(CommandError::new(format!("{no} failed: {}", one_line(&failure, replaced))))
            }
        }
    }
}
