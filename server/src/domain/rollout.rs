//! How a release fares: `Starting → Live → Replaced`, or `Failed`. Transitions consume the state they leave.
use super::{Failure, Moment};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Rollout {
    Starting { since: Moment },
    Live { since: Moment },
    Replaced { at: Moment },
    Failed { at: Moment, failure: Failure },
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a release that is {from} cannot become {to}")]
pub struct NoSuchStep {
    from: &'static str,
    to: &'static str,
}

impl Rollout {
    pub fn promote(self, now: Moment) -> Result<Self, NoSuchStep> {
        match self {
            Self::Starting { .. } => Ok(Self::Live { since: now }),
            other @ (Self::Live { .. } | Self::Replaced { .. } | Self::Failed { .. }) => Err(other.refuses("live")),
        }
    }

    pub fn replace(self, now: Moment) -> Result<Self, NoSuchStep> {
        match self {
            Self::Live { .. } => Ok(Self::Replaced { at: now }),
            other @ (Self::Starting { .. } | Self::Replaced { .. } | Self::Failed { .. }) => {
                Err(other.refuses("replaced"))
            }
        }
    }

    pub fn fail(self, now: Moment, failure: Failure) -> Result<Self, NoSuchStep> {
        match self {
            Self::Starting { .. } => Ok(Self::Failed { at: now, failure }),
            other @ (Self::Live { .. } | Self::Replaced { .. } | Self::Failed { .. }) => Err(other.refuses("failed")),
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting { .. } => "starting",
            Self::Live { .. } => "live",
            Self::Replaced { .. } => "replaced",
            Self::Failed { .. } => "failed",
        }
    }

    fn refuses(&self, to: &'static str) -> NoSuchStep {
        NoSuchStep { from: self.word(), to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_unix_ms(1_000);

    #[test]
    fn a_release_goes_live_and_is_replaced() {
        let live = Rollout::Starting { since: NOW }.promote(NOW).unwrap();
        assert_eq!(live.clone().replace(NOW), Ok(Rollout::Replaced { at: NOW }));
        assert!(live.promote(NOW).is_err());
    }

    #[test]
    fn what_has_failed_stays_failed() {
        let failed = Rollout::Starting { since: NOW }.fail(NOW, Failure::Interrupted).unwrap();
        assert!(failed.clone().promote(NOW).is_err());
        assert!(failed.clone().replace(NOW).is_err());
        assert!(failed.fail(NOW, Failure::StaleRef).is_err());
    }
}
