//! The one client that asks servers elsewhere: resolve, check, connect to that very address, TLS (security rule R12).
//!
//! A name is resolved once, and what is connected to is one of the addresses that were checked: a second answer of DNS
//! changes nothing. Nothing is followed: an answer that sends elsewhere is an error. Every request has a connection of its
//! own, and limits of time and size.
use super::address::is_public;
use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// For DNS alone: what is asked for then is another program's to wait for.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Beyond it nothing more is read of a head that has not ended.
const HEAD_BYTES_MAX: usize = 64 << 10;
const USUAL_LIMITS: AnswerLimits = AnswerLimits { time: Duration::from_secs(30), body_bytes: 1 << 20 };
const USUAL_PORT: u16 = 443;

/// What an answer may take and be.
#[derive(Clone, Copy, Debug)]
pub struct AnswerLimits {
    /// From the first question to DNS to the last byte of the answer.
    pub time: Duration,
    pub body_bytes: usize,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Outbound(Arc<Inner>);

struct Inner {
    /// Trusted beside the system's own authorities (PEM).
    ca_bundle: Option<Vec<u8>>,
    /// The one address that may be private, because the configuration names it.
    allowed: Option<IpAddr>,
    tls: OnceCell<TlsConnector>,
}

#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("`{0}` is no https address")]
    NotHttps(Uri),
    #[error("{host} has no address that DNS knows of")]
    Unresolved { host: String, source: Option<std::io::Error> },
    #[error("{host} leads to {address}, which is no public address")]
    Private { host: String, address: IpAddr },
    #[error("connect to {host} ({address})")]
    Connect { host: String, address: SocketAddr, source: std::io::Error },
    #[error("greet {host} by TLS")]
    Tls { host: String, source: std::io::Error },
    #[error("speak HTTP with {host}")]
    Http { host: String, source: hyper::Error },
    #[error("the answer of {host} broke off or is longer than {body_bytes_max} bytes")]
    Body { host: String, body_bytes_max: usize, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{host} sent us on to {to}, and redirects are not followed")]
    Redirect { host: String, to: String },
    #[error("{host} did not answer within {secs} s")]
    Slow { host: String, secs: u64 },
    #[error("load the certificate authorities to trust: {0:#}")]
    Roots(anyhow::Error),
}

/// Where a request goes.
struct Target {
    host: String,
    port: u16,
}

impl Outbound {
    /// `allowed` is an address of this machine or its site that may be asked all the same.
    pub fn new(ca_bundle: Option<Vec<u8>>, allowed: Option<IpAddr>) -> Self {
        Self(Arc::new(Inner { ca_bundle, allowed, tls: OnceCell::new() }))
    }

    /// Sends one request and reads the whole answer.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, OutboundError> {
        self.send_within(request, USUAL_LIMITS).await
    }

    /// The same for an answer that may take longer, or be longer.
    pub async fn send_within(
        &self,
        request: Request<Bytes>,
        limits: AnswerLimits,
    ) -> Result<Response<Bytes>, OutboundError> {
        let target = Target::of(request.uri())?;
        let exchange = self.exchange(&target, request, limits.body_bytes);
        match tokio::time::timeout(limits.time, exchange).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(OutboundError::Slow { host: target.host, secs: limits.time.as_secs() }),
        }
    }

    async fn exchange(
        &self,
        target: &Target,
        request: Request<Bytes>,
        body_bytes_max: usize,
    ) -> Result<Response<Bytes>, OutboundError> {
        let tls = self.0.tls.get_or_try_init(|| connector(self.0.ca_bundle.clone())).await?;
        let stream = connect(target, &checked(target, |address| self.0.allowed == Some(address.ip())).await?).await?;
        let name =
            ServerName::try_from(target.host.clone()).map_err(|_| OutboundError::NotHttps(request.uri().clone()))?;
        let refused = |source| OutboundError::Tls { host: target.host.clone(), source };
        let stream = tls.connect(name, stream).await.map_err(refused)?;
        talk(target, stream, request, body_bytes_max).await
    }
}

/// The addresses of a name that may be connected to; none that is refused is tried, and one alone refuses the name.
async fn checked(target: &Target, is_allowed: impl Fn(SocketAddr) -> bool) -> Result<Vec<SocketAddr>, OutboundError> {
    let host = || target.host.clone();
    let found: Vec<SocketAddr> = match target.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, target.port)],
        Err(_) => tokio::net::lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(|source| OutboundError::Unresolved { host: host(), source: Some(source) })?
            .collect(),
    };
    if let Some(refused) = found.iter().find(|address| !is_public(address.ip()) && !is_allowed(**address)) {
        return Err(OutboundError::Private { host: host(), address: refused.ip() });
    }
    if found.is_empty() {
        return Err(OutboundError::Unresolved { host: host(), source: None });
    }
    Ok(found)
}

/// The same check for what another program will connect to by the name: an address that is not public is refused unless
/// `is_allowed`. That program asks DNS once more, and may be told something else.
pub async fn check_host(host: &str, port: u16, is_allowed: impl Fn(SocketAddr) -> bool) -> Result<(), OutboundError> {
    // A dot at the end says that a name is whole, and not everybody's resolver takes it for the same name.
    let target = Target { host: host.trim_end_matches('.').to_owned(), port };
    match tokio::time::timeout(LOOKUP_TIME_MAX, checked(&target, is_allowed)).await {
        Ok(found) => found.map(drop),
        Err(_elapsed) => Err(OutboundError::Slow { host: target.host, secs: LOOKUP_TIME_MAX.as_secs() }),
    }
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, OutboundError> {
        let refuse = || OutboundError::NotHttps(uri.clone());
        let host = uri.host().filter(|_| uri.scheme() == Some(&Scheme::HTTPS)).ok_or_else(refuse)?;
        // An IPv6 address stands in brackets there, and nowhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(USUAL_PORT) })
    }
}

/// Connects to the first address that answers.
async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, OutboundError> {
    let mut last = None;
    for address in addresses.iter().take(ADDRESSES_MAX) {
        let source = match tokio::time::timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_elapsed) => std::io::ErrorKind::TimedOut.into(),
        };
        last = Some(OutboundError::Connect { host: target.host.clone(), address: *address, source });
    }
    Err(last.unwrap_or_else(|| OutboundError::Unresolved { host: target.host.clone(), source: None }))
}

async fn talk(
    target: &Target,
    stream: TlsStream<TcpStream>,
    request: Request<Bytes>,
    body_bytes_max: usize,
) -> Result<Response<Bytes>, OutboundError> {
    let broken = |source| OutboundError::Http { host: target.host.clone(), source };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let answer = sender.send_request(prepared(request)?).await.map_err(broken)?;
        if answer.status().is_redirection() {
            let to =
                answer.headers().get(header::LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
            return Err(OutboundError::Redirect { host: target.host.clone(), to: to.unwrap_or_default() });
        }
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, body_bytes_max).collect().await;
        let body = body.map_err(|source| OutboundError::Body { host: target.host.clone(), body_bytes_max, source })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    // The connection moves the bytes; how it ended is told by the exchange, which it wakes.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = exchange => answer,
        never = drive => match never {},
    }
}

/// As it goes over the wire: the path alone, and the host in its field.
fn prepared(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, OutboundError> {
    let (mut head, body) = request.into_parts();
    let refuse = || OutboundError::NotHttps(head.uri.clone());
    let authority = head.uri.authority().ok_or_else(refuse)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| refuse())?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = path.parse().map_err(|_| refuse())?;
    head.headers.insert(header::HOST, host);
    head.uri = uri;
    Ok(Request::from_parts(head, Full::new(body)))
}

/// Trusts what the system trusts, and the bundle.
async fn connector(ca_bundle: Option<Vec<u8>>) -> Result<TlsConnector, OutboundError> {
    // Hundreds of files.
    let roots = tokio::task::spawn_blocking(move || roots(ca_bundle.as_deref()));
    let roots = roots.await.map_err(anyhow::Error::from).and_then(|roots| roots).map_err(OutboundError::Roots)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OutboundError::Roots(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca_bundle: Option<&[u8]>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    for certificate in CertificateDer::pem_slice_iter(ca_bundle.unwrap_or_default()) {
        roots.add(certificate.context("read ca_bundle")?).context("trust a certificate of ca_bundle")?;
    }
    if roots.is_empty() {
        anyhow::bail!("the system has none (install ca-certificates), and ca_bundle is not set");
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
