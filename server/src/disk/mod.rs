//! How much room there is and what takes it: the disks of the data folder and of the engine.
//!
//! Free space is asked of the system each time (microseconds); what takes it is measured on demand, at most every
//! [`REPORT_AGE_MAX`], because the engine walks through all its folders for it.

mod report;
mod walk;

pub(crate) use report::RELEASES_WITH_IMAGES;
pub use report::{AppUse, Category, Place, Report};
pub(crate) use walk::bytes_below;

use crate::domain::{Failure, Size};
use crate::engine::Engine;
use crate::store::Store;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

const REPORT_AGE_MAX: Duration = Duration::from_mins(1);
/// A refusal names the largest things as they were this long ago, rather than wait.
const REPORT_AGE_OF_REFUSAL: Duration = Duration::from_mins(10);
/// Largest things that a refusal names.
const LARGEST: usize = 3;

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Room that must be left for a build to begin.
    pub reserve: Size,
    /// What an instance may write to its own disk.
    pub instance_max: Size,
    /// What the engine's build cache is pruned back to.
    pub build_cache_max: Size,
}

/// The handle; cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<Inner>);

struct Inner {
    engine: Arc<dyn Engine>,
    store: Store,
    data_dir: PathBuf,
    allowance: Allowance,
    engine_dir: OnceLock<PathBuf>,
    measured: tokio::sync::Mutex<Option<(Instant, Report)>>,
}

/// A disk with less room than the reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub place: PathBuf,
    pub free_bytes: u64,
}

impl Disk {
    pub fn new(engine: Arc<dyn Engine>, store: Store, data_dir: PathBuf, allowance: Allowance) -> Self {
        let (engine_dir, measured) = (OnceLock::new(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { engine, store, data_dir, allowance, engine_dir, measured }))
    }

    pub fn instance_max(&self) -> Size {
        self.0.allowance.instance_max
    }

    pub fn reserve(&self) -> Size {
        self.0.allowance.reserve
    }

    pub fn build_cache_max(&self) -> Size {
        self.0.allowance.build_cache_max
    }

    /// Free bytes on the engine's disk; `None` while the engine has never said where that is.
    pub async fn engine_free_bytes(&self) -> Option<u64> {
        self.engine_place().await.map(|(_, free_bytes)| free_bytes)
    }

    /// Where the engine keeps everything, and the free bytes there.
    pub async fn engine_place(&self) -> Option<(PathBuf, u64)> {
        let place = self.engine_dir().await?;
        let free_bytes = free_bytes(&place)?;
        Some((place, free_bytes))
    }

    /// The first disk with less room than the reserve.
    pub async fn shortage(&self) -> Option<Shortage> {
        let places = [Some(self.0.data_dir.clone()), self.engine_dir().await];
        places.into_iter().flatten().find_map(|place| self.shortage_at(&place))
    }

    /// Less room than the reserve on the disk of this folder.
    pub fn shortage_at(&self, place: &Path) -> Option<Shortage> {
        let free_bytes = free_bytes(place)?;
        (free_bytes < self.0.allowance.reserve.0).then(|| Shortage { place: place.to_owned(), free_bytes })
    }

    /// The refusal of what would need more room.
    pub async fn refusal(&self, shortage: &Shortage) -> Failure {
        let report = self.measured(REPORT_AGE_OF_REFUSAL).await;
        Failure::NoRoom {
            place: shortage.place.display().to_string(),
            needed_bytes: self.0.allowance.reserve.0,
            free_bytes: shortage.free_bytes,
            largest: report.largest(LARGEST),
        }
    }

    /// What takes the room.
    pub async fn report(&self) -> Report {
        self.measured(REPORT_AGE_MAX).await
    }

    /// One measures, the others wait for it.
    async fn measured(&self, age_max: Duration) -> Report {
        let mut measured = self.0.measured.lock().await;
        if let Some((_, report)) = measured.as_ref().filter(|(at, _)| at.elapsed() < age_max) {
            return report.clone();
        }
        let report = report::measure(self).await;
        *measured = Some((Instant::now(), report.clone()));
        report
    }

    async fn engine_dir(&self) -> Option<PathBuf> {
        if let Some(known) = self.0.engine_dir.get() {
            return Some(known.clone());
        }
        let found = self.0.engine.root_dir().await.ok()?;
        Some(self.0.engine_dir.get_or_init(|| found).clone())
    }
}

/// What may still be written there without being root; `None` where the system does not say.
fn free_bytes(place: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(place).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
