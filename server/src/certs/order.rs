//! One order from its beginning to a checked certificate (RFC 8555, section 7.4).
use super::authority::{Authority, Errand, is_unknown_account, patiently};
use super::challenges::{Challenges, Record, Shown};
use super::dns_program::DnsProgram;
use super::issued::Wanted;
use super::{Publisher, Tools};
use crate::clock::Clock;
use crate::domain::acme::{Acme, Challenge};
use crate::domain::certificate::StoredCertificate;
use crate::domain::renewal::{Cause, Refused};
use crate::domain::{CertificateHost, Hostname};
use anyhow::{Context, anyhow, bail};
use instant_acme::{
    AuthorizationStatus, ChallengeType, Error, Identifier, KeyAuthorization, NewOrder, Order, OrderStatus, RetryPolicy,
};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// From the account to the certificate.
const ORDER_TIME_MAX: Duration = Duration::from_mins(5);
/// How the CA is asked whether it has made up its mind: after 0.3 s, then less and less often.
const ASKING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(300)).backoff(1.5).timeout(Duration::from_mins(2));

/// Carries orders out.
pub(super) struct Orders {
    acme: Acme,
    authority: Authority,
    challenges: Challenges,
    dns_program: Option<DnsProgram>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

/// What is shown to the CA while it checks.
enum Shows<'a> {
    Here(Shown<'a>),
    InDns(Record<'a>),
}

impl Orders {
    pub(super) fn new(acme: &Acme, tools: &Tools) -> Self {
        let publisher: Arc<dyn Publisher> = Arc::clone(&tools.publisher);
        let clock = Arc::clone(&tools.clock);
        Self {
            authority: Authority::new(acme.clone(), tools.outbound.clone(), tools.store.clone(), Arc::clone(&clock)),
            challenges: Challenges::new(publisher),
            dns_program: DnsProgram::of(acme),
            acme: acme.clone(),
            clock,
            stop: tools.stop.clone(),
        }
    }

    /// Gets a certificate, or says why not.
    pub(super) async fn get(&self, host: &CertificateHost) -> Result<StoredCertificate, Refused> {
        let errand = self.authority.errand();
        let mut got = self.converse(&errand, host).await;
        // It may have been set up anew; once, a fresh account is worth a try.
        if got.as_ref().is_err_and(is_unknown_account) && self.authority.forget_account().await.is_ok() {
            got = self.converse(&errand, host).await;
        }
        got.map_err(|error| errand.refused(&error))
    }

    async fn converse(&self, errand: &Errand, host: &CertificateHost) -> anyhow::Result<StoredCertificate> {
        let begin = async {
            let account = self.authority.account(errand).await?;
            let names = [Identifier::Dns(host.to_string())];
            Ok(patiently!(account.new_order(&NewOrder::new(&names)))?)
        };
        let mut order = self.bounded(begin).await?;
        let mut shows = Vec::new();
        let proven = self.bounded(self.prove(&mut order, host, &mut shows)).await;
        // Also when the time is over or the server stops: what was set in DNS is taken back.
        for shown in shows {
            match shown {
                Shows::Here(shown) => drop(shown),
                Shows::InDns(record) => record.take_back().await,
            }
        }
        proven?;
        self.bounded(self.finish(&mut order, host)).await
    }

    async fn bounded<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        within(ORDER_TIME_MAX, &self.stop, work).await
    }

    /// Shows the CA that the host is ours, and waits until it believes it.
    async fn prove<'a>(
        &'a self,
        order: &mut Order,
        host: &CertificateHost,
        shows: &mut Vec<Shows<'a>>,
    ) -> anyhow::Result<()> {
        patiently!(fetch_authorizations(order))?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => bail!("the CA's authorization is {status:?}"),
            }
            let kind = self.acme.challenge_for(host);
            let mut challenge = authorization
                .challenge(type_of(kind))
                .with_context(|| format!("the CA does not offer {} for {host}", word_of(kind)))?;
            let key = challenge.key_authorization();
            shows.push(self.show(kind, host, &challenge.token, &key).await?);
            patiently!(challenge.set_ready())?;
        }
        match patiently!(order.poll_ready(&ASKING)) {
            Ok(OrderStatus::Invalid) => Err(why_invalid(order).await),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn show<'a>(
        &'a self,
        kind: Challenge,
        host: &CertificateHost,
        token: &str,
        key: &KeyAuthorization,
    ) -> anyhow::Result<Shows<'a>> {
        Ok(match kind {
            Challenge::Http => Shows::Here(self.challenges.show_token(token, key)),
            Challenge::TlsAlpn => Shows::Here(self.challenges.show_handshake(name_of(host), key)?),
            Challenge::Dns => {
                let program = self.dns_program.as_ref().context("acme_dns_program is not set")?;
                Shows::InDns(Record::set(program, name_of(host), key).await?)
            }
        })
    }

    async fn finish(&self, order: &mut Order, host: &CertificateHost) -> anyhow::Result<StoredCertificate> {
        let wanted = Wanted::make(host)?;
        patiently!(order.finalize_csr(&wanted.request))?;
        let chain = patiently!(order.poll_certificate(&ASKING))?;
        wanted.take(host, &chain, self.clock.now()).context("the CA's certificate is refused")
    }
}

/// What is proven is the name itself, also for what is below it.
fn name_of(host: &CertificateHost) -> &Hostname {
    match host {
        CertificateHost::Exact(host) | CertificateHost::Below(host) => host,
    }
}

fn type_of(kind: Challenge) -> ChallengeType {
    match kind {
        Challenge::Http => ChallengeType::Http01,
        Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
        Challenge::Dns => ChallengeType::Dns01,
    }
}

fn word_of(kind: Challenge) -> &'static str {
    match kind {
        Challenge::Http => "http-01",
        Challenge::TlsAlpn => "tls-alpn-01",
        Challenge::Dns => "dns-01",
    }
}

async fn fetch_authorizations(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization?;
    }
    Ok(())
}

/// The CA's words about the check that failed; they stand in the authorizations, not in the order.
async fn why_invalid(order: &mut Order) -> anyhow::Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if let Err(error) = patiently!(authorization.refresh()) {
            return error.into();
        }
        if let Some(problem) = authorization.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return problem.into();
        }
    }
    anyhow!("the CA's check failed, and it does not say why")
}

impl Refused {
    /// Trouble of ours, behind the CA's yes.
    pub(super) fn by_us(error: &anyhow::Error) -> Self {
        Self { complaint: format!("{error:#}"), cause: Cause::Host, retry_after: None }
    }
}

async fn within<T>(
    limit: Duration,
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        () = stop.cancelled() => bail!("the server was stopped while the CA was asked"),
        done = tokio::time::timeout(limit, work) => {
            done.unwrap_or_else(|_elapsed| bail!("it took longer than {} min", limit.as_secs() / 60))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_hangs_ends_with_its_time_and_with_the_server() {
        let (stop, hangs) = (CancellationToken::new(), std::future::pending::<anyhow::Result<()>>);
        let slow = within(Duration::from_millis(20), &stop, hangs()).await.unwrap_err();
        assert_eq!(slow.to_string(), "it took longer than 0 min");
        assert_eq!(within(ORDER_TIME_MAX, &stop, async { Ok(7) }).await.unwrap(), 7);
        stop.cancel();
        assert!(within(ORDER_TIME_MAX, &stop, hangs()).await.unwrap_err().to_string().contains("was stopped"));
    }
}
