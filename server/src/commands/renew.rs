//! `certs:renew`: a new certificate from the CA now, and how hosts fare with theirs, in words.
use super::{CommandError, Context, Done, Permission, Tools};
use crate::console::Console;
use crate::domain::Hostname;
use crate::domain::certificate_state::{CertificateState, Effort};
use crate::logs::timestamp;
use serde::Serialize;
use std::time::Duration;

/// How long a command waits for the CA; the order goes on behind it.
const WAIT_MAX: Duration = Duration::from_mins(3);

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Ask the CA for a new certificate of a host now, and wait for it
    #[command(
        name = "certs:renew",
        after_help = "Certificates are renewed by themselves at two thirds of their life. At most once a minute, once an hour after one that succeeded."
    )]
    Renew {
        /// Host name of an app or of the dashboard
        host: Hostname,
    },
}

/// How a host fares with its certificate, as JSON.
#[derive(Serialize)]
pub(super) struct StateView {
    pub(super) state: &'static str,
    /// The host, or the wildcard that stands for it.
    of: Option<String>,
    source: Option<&'static str>,
    ends_at: Option<String>,
    renews_at: Option<String>,
    /// Our words, or the CA's own.
    said: Option<String>,
    next_try: Option<String>,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::Renew { .. } => Permission::ChangeServer,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &Console) -> Done {
        match self {
            Self::Renew { host } => renew(context, console, host).await,
        }
    }
}

async fn renew(context: &Context, console: &Console, host: &Hostname) -> Done {
    let certs = &context.tools.certs;
    match tokio::time::timeout(WAIT_MAX, certs.renew(host.clone())).await {
        Ok(Ok(())) => {
            console.say(&format!("{host} has a new certificate")).await;
            Ok(())
        }
        Ok(Err(refusal)) => Err(CommandError::new(format!("no new certificate for {host}: {refusal}"))
            .next("what is served stays as it is")),
        Err(_elapsed) => {
            Err(CommandError::new(format!("the CA has not answered within {} min", WAIT_MAX.as_secs() / 60))
                .next("the order goes on; `paas domains:check -a APP` tells how it ends"))
        }
    }
}

/// For the doctor: what the CA refused last.
pub(super) fn complaints(tools: &Tools) -> Vec<String> {
    let (board, now) = (tools.certs.board(), tools.clock.now());
    let failed = board.states.iter().filter(|(_, state)| matches!(state.effort, Effort::Failed { .. }));
    failed.map(|(host, state)| format!("{host}: {}", state.detail(now))).collect()
}

impl StateView {
    pub(super) fn new(state: &CertificateState) -> Self {
        let live = state.live.as_ref();
        let (said, next_try) = match &state.effort {
            Effort::None | Effort::Queued | Effort::Issuing { .. } | Effort::Ended { .. } => (None, None),
            Effort::Off { reason } => (Some((*reason).to_owned()), None),
            Effort::WaitingDns { said, next_ask } => (Some(said.clone()), *next_ask),
            Effort::Failed { complaint, next_try, .. } => (Some(complaint.clone()), Some(*next_try)),
        };
        Self {
            state: state.word(),
            of: live.map(|live| live.of.clone()),
            source: live.map(|live| live.source.word()),
            ends_at: live.map(|live| timestamp(live.ends_at)),
            renews_at: live.and_then(|live| live.renews_at).map(timestamp),
            said,
            next_try: next_try.map(timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Moment;
    use crate::domain::certificate::CertificateSource;
    use crate::domain::certificate_state::Live;

    #[test]
    fn a_failed_renewal_is_told_with_the_ca_s_words_and_the_next_try() {
        let now = Moment::from_unix_ms(0);
        let live = Live {
            of: "www.example.com".to_owned(),
            source: CertificateSource::Acme,
            ends_at: now.plus(Duration::from_hours(48)),
            renews_at: Some(now),
        };
        let next_try = now.plus(Duration::from_mins(2));
        let effort = Effort::Failed { complaint: "no".to_owned(), failed_at: now, next_try };
        let state = CertificateState { live: Some(live), effort };
        assert_eq!(state.detail(now), "for another 2 d; renewal: no; next try in 2 min");
        let view = serde_json::to_value(StateView::new(&state)).unwrap();
        assert_eq!((view["state"].as_str(), view["said"].as_str()), (Some("Live"), Some("no")));
        assert_eq!(view["next_try"].as_str(), Some(timestamp(next_try).as_str()));
    }
}
