//! The loop: looks at what is wanted and known, asks the planner, begins what it says, and takes in how that ended.
use super::Tools;
use super::board::Board;
use super::order::Orders;
use super::wish::{Refusal, Waiting, Wish, grant};
use crate::domain::acme::{Acme, AcmeOff};
use crate::domain::certificate::{CertificateSource, StoredCertificate};
use crate::domain::certificate_plan::{CertificateAction, CertificateSituation, DnsAnswer, plan};
use crate::domain::renewal::{Attempt, Cause, Refused};
use crate::domain::{CertificateHost, Hostname, Moment};
use crate::outbound::{Finding, look_at};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Changes of the store come in bursts: one look for all of them.
const SETTLE: Duration = Duration::from_millis(100);
/// When a look failed, and at the latest.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_hours(1);
/// When the CA has troubles or we asked for too much, nobody asks for this long.
const QUIET: Duration = Duration::from_mins(1);

pub(super) struct Reconciler {
    tools: Arc<Tools>,
    /// `None`: no CA is asked.
    orders: Option<Arc<Orders>>,
    wishes: mpsc::Receiver<Wish>,
    board: watch::Sender<Arc<Board>>,
    asked_for: BTreeMap<CertificateHost, Vec<Waiting>>,
    under_way: BTreeMap<CertificateHost, UnderWay>,
    dns: BTreeMap<CertificateHost, DnsAnswer>,
    is_asking_dns: bool,
    quiet_until: Moment,
    jobs: FuturesUnordered<BoxFuture<'static, Outcome>>,
}

struct UnderWay {
    since: Moment,
    /// What the row said before this order: it counts on from there.
    before: Option<Attempt>,
}

/// How something that was begun ended.
enum Outcome {
    Dns(Vec<Finding>),
    Order(CertificateHost, Result<StoredCertificate, Refused>),
}

impl Reconciler {
    pub(super) fn new(tools: Tools, wishes: mpsc::Receiver<Wish>, board: watch::Sender<Arc<Board>>) -> Self {
        let orders = tools.acme.as_ref().ok().map(|acme| Arc::new(Orders::new(acme, &tools)));
        Self {
            tools: Arc::new(tools),
            orders,
            wishes,
            board,
            asked_for: BTreeMap::new(),
            under_way: BTreeMap::new(),
            dns: BTreeMap::new(),
            is_asking_dns: false,
            quiet_until: Moment::default(),
            jobs: FuturesUnordered::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let (stop, mut changes) = (self.tools.stop.clone(), self.tools.store.changes());
        loop {
            let pause = match self.look().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!("cannot look at the certificates: {error:#}");
                    LOOK_AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(outcome) = self.jobs.next(), if !self.jobs.is_empty() => self.take(outcome).await,
                Some(wish) = self.wishes.recv() => self.consider(wish).await,
                _ = changes.changed() => self.settle().await,
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Orders watch the stop token by themselves: they take back what they set in DNS.
        while let Some(outcome) = self.jobs.next().await {
            if let Outcome::Order(..) = outcome {
                self.take(outcome).await;
            }
        }
    }

    /// Lets a burst of changes pass; what is under way goes on.
    async fn settle(&mut self) {
        let mut pause = std::pin::pin!(tokio::time::sleep(SETTLE));
        loop {
            tokio::select! {
                () = &mut pause => return,
                Some(outcome) = self.jobs.next(), if !self.jobs.is_empty() => self.take(outcome).await,
            }
        }
    }

    /// One look; returns after how long the next one is due by itself.
    async fn look(&mut self) -> anyhow::Result<Duration> {
        let now = self.tools.clock.now();
        let mut situation = self.situation().await?;
        let mut wake_at = None;
        if self.orders.is_some() {
            let plan = plan(&situation, now);
            wake_at = plan.wake_at;
            for action in plan.actions {
                self.act(action, &mut situation, now).await?;
            }
        }
        self.forget_strangers(&situation, now).await?;
        let off = self.tools.acme.as_ref().err().copied();
        self.board.send_replace(Arc::new(Board::of(&situation, off, now)));
        // A millisecond later, so that what is due then is due.
        let pause = wake_at.map_or(LOOK_EVERY, |at| at.since(now) + Duration::from_millis(1));
        Ok(pause.min(LOOK_EVERY))
    }

    async fn situation(&mut self) -> anyhow::Result<CertificateSituation> {
        let Tools { store, site, admin_host, .. } = &*self.tools;
        let (domains, names) = (store.all_domains().await?, store.all_names().await?);
        // Where no CA is asked, hosts have a state all the same.
        let wanted = self.acme().wanted(&domains, &names, site, admin_host);
        let certificates = store.certificates().await?;
        Ok(CertificateSituation {
            wanted,
            certificates: certificates.iter().map(|stored| (stored.host.clone(), stored.into())).collect(),
            attempts: store.acme_attempts().await?,
            dns: self.dns.clone(),
            under_way: self.under_way.iter().map(|(host, order)| (host.clone(), order.since)).collect(),
            asked_for: self.asked_for.keys().cloned().collect(),
            quiet_until: self.quiet_until,
        })
    }

    fn acme(&self) -> Acme {
        self.tools.acme.clone().unwrap_or_else(|_: AcmeOff| Acme {
            directory: String::new(),
            email: String::new(),
            challenge: crate::domain::acme::Challenge::Http,
            dns_program: None,
            external_account: None,
        })
    }

    async fn act(
        &mut self,
        action: CertificateAction,
        situation: &mut CertificateSituation,
        now: Moment,
    ) -> anyhow::Result<()> {
        match action {
            CertificateAction::AskDns(hosts) => self.ask_dns(&hosts),
            CertificateAction::Order(host) => self.order(host, situation, now).await?,
            CertificateAction::Forget(host) => {
                self.tools.store.remove_certificate(&host, CertificateSource::Acme).await?;
                situation.certificates.remove(&host);
                self.tools.publisher.certificates_changed().await;
                tracing::info!("forgot the certificate of {host}: it ended, and no app has the host");
            }
        }
        Ok(())
    }

    fn ask_dns(&mut self, hosts: &[CertificateHost]) {
        if self.is_asking_dns {
            return;
        }
        self.is_asking_dns = true;
        let hosts: Vec<Hostname> = hosts
            .iter()
            .filter_map(|host| match host {
                CertificateHost::Exact(host) => Some(host.clone()),
                // By a record in DNS alone.
                CertificateHost::Below(_) => None,
            })
            .collect();
        let base_domain = self.tools.site.base_domain.clone();
        self.jobs.push(Box::pin(async move { Outcome::Dns(look_at(&hosts, &base_domain).await) }));
    }

    async fn order(
        &mut self,
        host: CertificateHost,
        situation: &mut CertificateSituation,
        now: Moment,
    ) -> anyhow::Result<()> {
        let Some(orders) = self.orders.clone() else { return Ok(()) };
        let before = situation.attempts.get(&host).cloned();
        let begun = Attempt::begin(before.as_ref(), &host, now);
        self.tools.store.put_acme_attempt(&host, &begun).await?;
        situation.under_way.insert(host.clone(), now);
        self.under_way.insert(host.clone(), UnderWay { since: now, before });
        tracing::info!("asking the CA for a certificate of {host}");
        self.jobs.push(Box::pin(async move {
            let got = orders.get(&host).await;
            Outcome::Order(host, got)
        }));
        Ok(())
    }

    async fn take(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Dns(findings) => {
                self.is_asking_dns = false;
                let now = self.tools.clock.now();
                for finding in &findings {
                    self.take_finding(finding, now);
                }
            }
            Outcome::Order(host, got) => {
                let before = self.under_way.remove(&host).and_then(|order| order.before);
                let kept = match got {
                    Ok(certificate) => self.keep(&certificate).await.map_err(|error| Refused::by_us(&error)),
                    Err(refused) => Err(refused),
                };
                self.record(&host, before.as_ref(), kept).await;
            }
        }
    }

    fn take_finding(&mut self, finding: &Finding, now: Moment) {
        let Ok(host) = finding.host.parse::<CertificateHost>() else { return };
        let addresses: Vec<String> = finding.dns.iter().map(ToString::to_string).collect();
        let said = match &addresses[..] {
            [] => finding.state.word().to_owned(),
            _ => format!("{}: {}", finding.state.word(), addresses.join(" ")),
        };
        let leads_here = !finding.is_wrong();
        if !leads_here {
            // Whoever waits is told; it goes on by itself when DNS has changed.
            self.answer(&host, &Err(Refusal::new(format!("DNS is not ready: {host} {said}"))));
        }
        let before = self.dns.get(&host).filter(|before| !before.leads_here);
        let waiting_since = before.map_or(now, |before| before.waiting_since);
        self.dns.insert(host, DnsAnswer { leads_here, said, asked_at: now, waiting_since });
    }

    async fn keep(&mut self, certificate: &StoredCertificate) -> anyhow::Result<()> {
        if !self.tools.store.put_certificate(certificate).await? {
            anyhow::bail!("an uploaded certificate took its place meanwhile");
        }
        self.tools.publisher.certificates_changed().await;
        Ok(())
    }

    /// Writes down how an order ended, and tells whoever waits.
    async fn record(&mut self, host: &CertificateHost, before: Option<&Attempt>, ended: Result<(), Refused>) {
        let now = self.tools.clock.now();
        let (attempt, answer) = match ended {
            Ok(()) => {
                self.quiet_until = Moment::default();
                tracing::info!("{host} has a new certificate");
                (Attempt::succeed(now), Ok(()))
            }
            Err(refused) => {
                match refused.cause {
                    Cause::Authority | Cause::RateLimit => self.quiet_until = now.plus(QUIET),
                    Cause::Host => {}
                }
                tracing::warn!("no certificate for {host}: {}", refused.complaint);
                let answer = Err(Refusal::new(refused.complaint.clone()));
                (Attempt::fail(before, host, &refused, now), answer)
            }
        };
        if let Err(error) = self.tools.store.put_acme_attempt(host, &attempt).await {
            tracing::warn!("cannot write down what the CA said of {host}: {error:#}");
        }
        // DNS is looked at again before the next order.
        self.dns.remove(host);
        self.answer(host, &answer);
    }

    async fn consider(&mut self, wish: Wish) {
        let tools = Arc::clone(&self.tools);
        let granted = match &tools.acme {
            Err(off) => Err(Refusal::new(format!("no CA is asked: {}", off.reason()))),
            Ok(_) => match self.situation().await {
                Ok(situation) => grant(&wish.host, &situation, tools.clock.now()),
                Err(error) => Err(Refusal::new(format!("{error:#}"))),
            },
        };
        match granted {
            Ok(host) => {
                // What DNS said a while ago does not count.
                self.dns.remove(&host);
                self.asked_for.entry(host).or_default().push(wish.answer);
            }
            // Who asked may have gone.
            Err(refusal) => drop(wish.answer.send(Err(refusal))),
        }
    }

    fn answer(&mut self, host: &CertificateHost, answer: &Result<(), Refusal>) {
        for waiting in self.asked_for.remove(host).unwrap_or_default() {
            // Who asked may have gone.
            let _ = waiting.send(answer.clone());
        }
    }

    /// What was tried and asked for hosts that nobody wants any more. Waits are waited out all the same: a domain that is
    /// removed and added again is no way around them.
    async fn forget_strangers(&mut self, situation: &CertificateSituation, now: Moment) -> anyhow::Result<()> {
        let is_strange =
            |host: &CertificateHost| !situation.wanted.contains_key(host) && !situation.under_way.contains_key(host);
        self.dns.retain(|host, _| !is_strange(host));
        let asked: Vec<CertificateHost> = self.asked_for.keys().filter(|host| is_strange(host)).cloned().collect();
        for host in asked {
            self.answer(&host, &Err(Refusal::new(format!("{host} was removed meanwhile"))));
        }
        for (host, attempt) in situation.attempts.iter().filter(|(host, _)| is_strange(host)) {
            if attempt.next_at < now {
                self.tools.store.forget_acme_attempt(host).await?;
            }
        }
        Ok(())
    }
}
