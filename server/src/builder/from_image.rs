//! A release of an image that was built elsewhere: pulled from a registry, or sent as an archive.
//!
//! The image is a guest in the engine while an image of the app's own is made of it: the same layers and settings, with
//! our labels, so that it is kept, gone back to and collected like one that was built here.
use super::context::{Extra, pipe, stream_extras};
use super::image_archive::{ArchiveError, ImageArchive};
use super::{Builder, RegistryRefusal, Workshop, registries, registry_logins};
use crate::console::Console;
use crate::domain::release::PortError;
use crate::domain::{App, Command, Failure, ImageId, ImageRef, Jobs, Makeup, Oid, Origin, ReleaseNo, release};
use crate::engine::{
    ARCHITECTURE, BuildError, BuildSpec, EngineError, GuestName, ImageInfo, RegistryLogin, StepCache, label,
};
use crate::store::{ConfigChange, NewRelease, NewReleaseError, StoreError};
use std::collections::BTreeMap;
use std::fs::File;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Where the image comes from.
pub enum Brought {
    Registry {
        image: ImageRef,
        login: Option<RegistryLogin>,
    },
    /// A file that holds an archive; nobody else writes to it.
    Archive(File),
}

/// Why there is no release of it.
#[derive(Debug, thiserror::Error)]
pub enum ImageRefusal {
    #[error("{0} carries the label {label}: a server like this one made it for one of its apps", label = label::INSTALLATION)]
    Ours(String),
    #[error("{0} has neither CMD nor ENTRYPOINT, so there is nothing to run")]
    NoCommand(String),
    #[error("{0} has ONBUILD steps: it is there to be built on, and does not run by itself")]
    Triggers(String),
    #[error("{name} is for {given}, and this server is {ARCHITECTURE}")]
    Architecture { name: String, given: String },
    #[error("{0}")]
    Registry(String),
    #[error(transparent)]
    NotAsked(#[from] RegistryRefusal),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("no image after {} min, the limit of a build", .0 / 60)]
    TimedOut(u64),
    #[error("interrupted before there was a release")]
    Left,
    #[error("{0}")]
    Room(Failure),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    World(#[from] anyhow::Error),
}

impl From<EngineError> for ImageRefusal {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(words) => Self::Registry(words),
            error => Self::World(error.into()),
        }
    }
}

/// What of an image becomes a release.
struct Admitted {
    source: String,
    info: ImageInfo,
}

impl Builder {
    /// An image of a registry that may be asked, with the login for it.
    pub async fn registry_image(&self, image: ImageRef) -> Result<Brought, ImageRefusal> {
        let tools = &self.0.tools;
        registries::check(&image, &tools.fetch_allow).await?;
        let login = match &tools.registry_auth_file {
            Some(file) => registry_logins::find(file, &image)?,
            None => None,
        };
        Ok(Brought::Registry { image, login })
    }

    /// Makes a release of the image, Starting, and wakes the scheduler. Nothing else that the engine has is changed.
    pub async fn release_image(
        &self,
        app: &App,
        brought: Brought,
        by: &str,
        console: &Console,
    ) -> Result<ReleaseNo, ImageRefusal> {
        let tools = &self.0.tools;
        tools.scheduler.make_room().await.map_err(ImageRefusal::Room)?;
        let guest = tools.engine.guest_name()?;
        let limit = tools.build_limit;
        let making = async {
            let admitted = tokio::time::timeout(limit, self.0.admit(brought, &guest, console));
            let admitted = admitted.await.unwrap_or(Err(ImageRefusal::TimedOut(limit.as_secs())))?;
            self.0.release_guest(app, &guest, admitted, by, console).await
        };
        let made = tokio::select! {
            made = making => made,
            failure = tools.scheduler.until_short() => Err(ImageRefusal::Room(failure)),
            () = console.left.cancelled() => Err(ImageRefusal::Left),
            () = tools.stop.cancelled() => Err(ImageRefusal::Left),
        };
        self.0.see_off(&guest).await;
        made
    }
}

impl Workshop {
    /// Takes away what a server that died left half way.
    pub(super) async fn see_off_all(&self) {
        match self.tools.engine.guests().await {
            Ok(guests) => {
                for guest in guests {
                    self.see_off(&guest).await;
                }
            }
            Err(error) => tracing::debug!("cannot look for images of nobody: {error}"),
        }
    }

    async fn see_off(&self, guest: &GuestName) {
        if let Err(error) = self.tools.engine.see_off(guest).await {
            tracing::warn!("cannot remove {}, the next start tries again: {error}", guest.as_str());
        }
    }

    /// Brings the image into the engine by the guest's name, and looks at it.
    async fn admit(&self, brought: Brought, guest: &GuestName, console: &Console) -> Result<Admitted, ImageRefusal> {
        let engine = &self.tools.engine;
        let (name, source) = match brought {
            Brought::Registry { image, login } => {
                self.refuse_ours(&image.to_string()).await?;
                let digest = engine.resolve(&image, login.as_ref()).await?;
                let source = match image.digest() {
                    Some(_) => image.to_string(),
                    None => format!("{image}@{digest}"),
                };
                console.say(&format!("-----> Pulling {image}")).await;
                console.say(&format!("       {digest}")).await;
                engine.fetch(&image, &digest, login.as_ref(), guest).await?;
                (image.to_string(), source)
            }
            Brought::Archive(file) => {
                let reading = tokio::task::spawn_blocking(move || ImageArchive::read(file, ARCHITECTURE));
                let archive = reading.await.map_err(anyhow::Error::from)??;
                if archive.labels.contains_key(label::INSTALLATION) {
                    return Err(ImageRefusal::Ours("the image".to_owned()));
                }
                let digest = archive.digest();
                console.say("-----> Loading the image of the archive").await;
                console.say(&format!("       {digest}")).await;
                let (name, now_secs) = (guest.as_str().to_owned(), self.now_secs());
                engine.load(pipe(move |tar| archive.write(&name, now_secs, tar))).await?;
                ("the image".to_owned(), format!("archive@{digest}"))
            }
        };
        let info = engine.image(guest.as_str()).await?.ok_or(EngineError::Missing("image"))?;
        check(&name, &info)?;
        Ok(Admitted { source, info })
    }

    /// A name that means, in this engine, what was built here is answered at once, whatever a registry has by that name.
    async fn refuse_ours(&self, name: &str) -> Result<(), ImageRefusal> {
        let known = self.tools.engine.image(name).await?;
        let is_ours = known.is_some_and(|image| image.labels.contains_key(label::INSTALLATION));
        if is_ours { Err(ImageRefusal::Ours(name.to_owned())) } else { Ok(()) }
    }

    /// Waits while another release of the app is starting. The app's own image is made anew each time: in between it
    /// would be nobody's, and collected.
    async fn release_guest(
        &self,
        app: &App,
        guest: &GuestName,
        admitted: Admitted,
        by: &str,
        console: &Console,
    ) -> Result<ReleaseNo, ImageRefusal> {
        let mut changes = self.tools.store.changes();
        let mut is_told = false;
        loop {
            let starting = {
                let _turn = self.tools.scheduler.image_turn().await;
                match self.try_release_guest(app, guest, &admitted, by).await {
                    Err(NewReleaseError::Busy(no)) => no,
                    Err(NewReleaseError::Store(error)) => return Err(error.into()),
                    Ok(made) => return made,
                }
            };
            if !is_told {
                console.complain(&format!("waiting for {starting}, which is still starting")).await;
                is_told = true;
            }
            changes.changed().await.map_err(anyhow::Error::from)?;
        }
    }

    /// The outer error is the store's, which may mean to try again.
    async fn try_release_guest(
        &self,
        app: &App,
        guest: &GuestName,
        admitted: &Admitted,
        by: &str,
    ) -> Result<Result<ReleaseNo, ImageRefusal>, NewReleaseError> {
        let store = &self.tools.store;
        if let Some(starting) = store.starting_release(app.id).await? {
            return Err(NewReleaseError::Busy(starting.no));
        }
        let port = match release::port(&store.config(app.id).await?, &admitted.info.exposed_ports) {
            Ok(port) => port,
            Err(error) => return Ok(Err(error.into())),
        };
        let image = match self.adopt(app, guest).await {
            Ok(image) => image,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let new = NewRelease {
            app: app.id,
            origin: Origin::Image,
            image,
            commit: Oid::zero(),
            source: Some(admitted.source.clone()),
            processes: BTreeMap::from([(
                "web".parse().map_err(anyhow::Error::from).map_err(StoreError::from)?,
                Command::ImageDefault,
            )]),
            port,
            jobs: Jobs::default(),
            makeup: Makeup::default(),
            description: format!("Image {}", release::short_source(&admitted.source)),
            created_by: by.to_owned(),
            change: ConfigChange::new(),
        };
        let no = store.create_release(&new, self.tools.clock.now()).await?;
        self.tools.scheduler.wake(app.id);
        Ok(Ok(no))
    }

    /// An image of the app's own with the guest's layers and settings.
    async fn adopt(&self, app: &App, guest: &GuestName) -> Result<ImageId, ImageRefusal> {
        let recipe = format!("FROM {}\n", guest.as_str()).into_bytes();
        let spec = BuildSpec {
            reference: format!("paas/{}:i{}", app.key, crate::store::random_hex(6)?),
            dockerfile: "Dockerfile".to_owned(),
            target: None,
            args: BTreeMap::new(),
            labels: BTreeMap::from([
                (label::APP.to_owned(), app.id.0.to_string()),
                (label::APP_KEY.to_owned(), app.key.to_string()),
            ]),
            cache: StepCache::Used,
            context: stream_extras(
                vec![Extra { path: "Dockerfile".to_owned(), contents: recipe, executable: false }],
                self.now_secs(),
            ),
        };
        // Nothing runs: there is nothing to tell.
        let (to, mut events) = mpsc::channel(1);
        let building = self.tools.engine.build(spec, to, CancellationToken::new());
        let (built, ()) = tokio::join!(building, async { while events.recv().await.is_some() {} });
        built.map_err(|error| match error {
            BuildError::Step { reason, .. } => ImageRefusal::Registry(reason),
            BuildError::Cancelled => ImageRefusal::Left,
            BuildError::Engine(error) => error.into(),
        })
    }
}

fn check(name: &str, info: &ImageInfo) -> Result<(), ImageRefusal> {
    if info.labels.contains_key(label::INSTALLATION) {
        return Err(ImageRefusal::Ours(name.to_owned()));
    }
    if info.architecture != ARCHITECTURE {
        return Err(ImageRefusal::Architecture { name: name.to_owned(), given: info.architecture.clone() });
    }
    if info.has_triggers {
        return Err(ImageRefusal::Triggers(name.to_owned()));
    }
    if !info.has_command {
        return Err(ImageRefusal::NoCommand(name.to_owned()));
    }
    Ok(())
}
