//! Our account at the CA, and its client's way out. What is asked for one order shares nothing with others but the account.
use crate::clock::Clock;
use crate::domain::Secret;
use crate::domain::acme::Acme;
use crate::domain::renewal::{Cause, Refused};
use crate::logs::printable;
use crate::outbound::{Outbound, OutboundError, retry_after};
use crate::store::{AcmeAccount, Store};
use anyhow::Context;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, AccountCredentials, BodyWrapper, BytesResponse, Error, ExternalAccountKey, HttpClient, NewAccount, Problem,
};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// A CA's words that are kept.
const COMPLAINT_CHARS_MAX: usize = 1000;
/// How often a request is made again whose nonce the CA did not like, beyond the client's own two times.
pub(super) const NONCES_MAX: u32 = 10;

/// Asks again as long as the CA refuses the nonce alone, which proves nothing but that (RFC 8555, section 6.5).
macro_rules! patiently {
    ($ask:expr) => {{
        let mut left = $crate::certs::authority::NONCES_MAX;
        loop {
            match $ask.await {
                Err(error) if left > 0 && $crate::certs::authority::is_bad_nonce(&error) => left -= 1,
                answer => break answer,
            }
        }
    }};
}
pub(super) use patiently;

pub(super) struct Authority {
    acme: Acme,
    outbound: Outbound,
    store: Store,
    clock: Arc<dyn Clock>,
    /// Made once, whoever asks first; another cell after the CA has forgotten us.
    account: Mutex<Arc<OnceCell<Secret<String>>>>,
}

/// One conversation with the CA, and when it wants to hear of us again.
#[derive(Clone)]
pub(super) struct Errand {
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

/// A broken answer, which no JSON explains.
#[derive(Debug, thiserror::Error)]
#[error("the CA answered {0}")]
struct NoAnswer(StatusCode);

impl Authority {
    pub(super) fn new(acme: Acme, outbound: Outbound, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { acme, outbound, store, clock, account: Mutex::default() }
    }

    pub(super) fn errand(&self) -> Errand {
        Errand { outbound: self.outbound.clone(), clock: Arc::clone(&self.clock), retry_after: Arc::default() }
    }

    /// Our account, made when there is none.
    pub(super) async fn account(&self, errand: &Errand) -> anyhow::Result<Account> {
        let cell = self.account.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let credentials = cell.get_or_try_init(|| self.load_or_make(errand)).await?;
        let read = || serde_json::from_str(credentials.reveal()).context("read our account at the CA");
        let builder = || Account::builder_with_http(Box::new(errand.clone()));
        Ok(builder().from_credentials(read()?).await?)
    }

    /// The CA does not know our account: the next one who asks makes another.
    pub(super) async fn forget_account(&self) -> anyhow::Result<()> {
        self.store.forget_acme_account(&self.acme.directory).await?;
        *self.account.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        Ok(())
    }

    async fn load_or_make(&self, errand: &Errand) -> anyhow::Result<Secret<String>> {
        let directory = &self.acme.directory;
        let contact = format!("mailto:{}", self.acme.email);
        if let Some(mut known) = self.store.acme_account(directory).await? {
            if known.email != self.acme.email {
                let credentials: AccountCredentials =
                    serde_json::from_str(known.credentials.reveal()).context("read our account at the CA")?;
                let account =
                    Account::builder_with_http(Box::new(errand.clone())).from_credentials(credentials).await?;
                patiently!(account.update_contacts(&[&contact]))?;
                known.email.clone_from(&self.acme.email);
                self.store.put_acme_account(directory, &known, self.clock.now()).await?;
            }
            return Ok(known.credentials);
        }
        let new = NewAccount { contact: &[&contact], terms_of_service_agreed: true, only_return_existing: false };
        let builder = || Account::builder_with_http(Box::new(errand.clone()));
        let known = self.acme.external_account.as_ref();
        let known = known.map(|account| ExternalAccountKey::new(account.id.clone(), account.key.reveal()));
        let (_, credentials) = patiently!(builder().create(&new, directory.clone(), known.as_ref()))?;
        let credentials = Secret::new(serde_json::to_string(&credentials).context("write our account down")?);
        let account = AcmeAccount { email: self.acme.email.clone(), credentials: credentials.clone() };
        self.store.put_acme_account(directory, &account, self.clock.now()).await?;
        tracing::info!("made an account at {directory} for {}", self.acme.email);
        Ok(credentials)
    }
}

impl Errand {
    /// What an error means for when to ask again, in the CA's words where it has some.
    pub(super) fn refused(&self, error: &anyhow::Error) -> Refused {
        let retry_after = *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner);
        let problem = problem_of(error);
        let cause = match problem.and_then(kind) {
            Some("rateLimited") => Cause::RateLimit,
            Some("serverInternal" | "badNonce") => Cause::Authority,
            None if is_the_authority_s(error) => Cause::Authority,
            Some(_) | None => Cause::Host,
        };
        let words = problem.map_or_else(|| format!("{error:#}"), words_of);
        let complaint = printable(&words).chars().take(COMPLAINT_CHARS_MAX).collect();
        Refused { complaint, cause, retry_after }
    }
}

impl HttpClient for Errand {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let errand = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let answer = errand.outbound.send(Request::from_parts(head, body)).await;
            let answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
            if answer.status().is_client_error() || answer.status().is_server_error() {
                *errand.retry_after.lock().unwrap_or_else(PoisonError::into_inner) =
                    retry_after(answer.headers(), errand.clock.now());
                let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                if !kind.is_some_and(|kind| kind.contains("json")) {
                    return Err(Error::Other(Box::new(NoAnswer(answer.status()))));
                }
            }
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

pub(super) fn is_bad_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == Some("badNonce"))
}

/// Whether the CA says that it does not know our account.
pub(super) fn is_unknown_account(error: &anyhow::Error) -> bool {
    problem_of(error).and_then(kind) == Some("accountDoesNotExist")
}

fn problem_of(error: &anyhow::Error) -> Option<&Problem> {
    error.chain().find_map(|cause| {
        let of_client = cause.downcast_ref::<Error>().and_then(|error| match error {
            Error::Api(problem) => Some(problem),
            _ => None,
        });
        of_client.or_else(|| cause.downcast_ref::<Problem>())
    })
}

/// The last word of a problem's type (RFC 8555, section 6.7).
fn kind(problem: &Problem) -> Option<&str> {
    problem.r#type.as_deref()?.strip_prefix("urn:ietf:params:acme:error:")
}

fn words_of(problem: &Problem) -> String {
    let details = problem.subproblems.iter().filter_map(|part| part.detail.as_deref());
    let mut words: Vec<&str> = problem.detail.as_deref().into_iter().chain(details).collect();
    words.dedup();
    let words = if words.is_empty() { "the CA refused without a word".to_owned() } else { words.join("; ") };
    let kind = kind(problem);
    let fix = match kind {
        Some("externalAccountRequired") => ": set `acme_external_account` in the configuration file",
        Some(_) | None => "",
    };
    format!("{words}{}{fix}", kind.map(|kind| format!(" ({kind})")).unwrap_or_default())
}

/// It cannot be reached, or speaks nonsense.
fn is_the_authority_s(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref() {
        Some(Error::Json(_)) => true,
        // It stands in for what is in it, which the chain therefore does not name.
        Some(Error::Other(within)) => within.is::<OutboundError>() || within.is::<NoAnswer>(),
        _ => false,
    })
}
