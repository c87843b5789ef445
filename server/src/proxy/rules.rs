//! What an app's owner set about the router, prepared for the hot path when it is published. An app of which nothing was
//! set has none, and pays for none.
use super::buckets::Buckets;
use super::cookies;
use super::crowd::Crowd;
use super::fault::Fault;
use super::held::HoldLimits;
use super::limits::Spans;
use super::logins::Logins;
use crate::domain::error_page::{ErrorPage, PageKind};
use crate::domain::router::{
    AccessLog, BodyLimit, HOLD_BYTES, HOLD_REQUESTS, HoldRequests, HoldSize, QueueTime, RouterPolicy, Sticky, Wait,
    WsDrain,
};
use crate::domain::{Cidr, hex::hex};
use bytes::Bytes;
use http::StatusCode;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Rules {
    pub(super) allow: Vec<Cidr>,
    pub(super) rate: Option<Buckets>,
    pub(super) logins: Option<Logins>,
    pub(super) body_bytes_max: Option<u64>,
    /// Requests that an instance gets at a time.
    pub(super) room: Option<u64>,
    pub(super) sticky: Sticky,
    pub(super) access_log: AccessLog,
    pages: BTreeMap<PageKind, Bytes>,
    bypass: Option<String>,
}

/// The spans of an app in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) first_byte: u32,
    pub(super) body_idle: u32,
    pub(super) queue: u32,
    pub(super) ws_drain: u32,
}

impl Pace {
    pub(super) fn new(policy: &RouterPolicy, spans: &Spans) -> Self {
        let ticks = |set: Option<Duration>, usual| spans.ticks(set.unwrap_or(usual));
        Self {
            first_byte: ticks(policy.first_byte.map(Wait::span), spans.first_byte),
            body_idle: ticks(policy.body_idle.map(Wait::span), spans.body_idle),
            queue: ticks(policy.queue.map(QueueTime::span), spans.queue),
            ws_drain: ticks(policy.ws_drain.map(WsDrain::span), spans.ws_drain),
        }
    }
}

impl Rules {
    fn new(policy: &RouterPolicy) -> Self {
        let page = |page: &ErrorPage| Bytes::copy_from_slice(page.html().as_bytes());
        Self {
            allow: policy.allow.clone(),
            rate: policy.rate_limit.map(Buckets::new),
            logins: Logins::new(&policy.logins),
            body_bytes_max: policy.body_limit.map(BodyLimit::get),
            room: policy.concurrency.map(|room| u64::from(room.get())),
            sticky: policy.sticky,
            access_log: policy.access_log,
            pages: policy.pages.iter().map(|(kind, html)| (*kind, page(html))).collect(),
            bypass: policy.bypass.clone(),
        }
    }

    /// The app's own page for a fault.
    pub(super) fn page(&self, fault: Fault) -> Option<Bytes> {
        let kind = match fault.status() {
            _ if fault == Fault::Maintenance => PageKind::Maintenance,
            StatusCode::BAD_GATEWAY => PageKind::BadGateway,
            StatusCode::SERVICE_UNAVAILABLE => PageKind::Unavailable,
            StatusCode::GATEWAY_TIMEOUT => PageKind::Timeout,
            _ => return None,
        };
        self.pages.get(&kind).cloned()
    }

    /// Whether it lets its bearer past a maintenance.
    pub(super) fn is_bypass(&self, token: &str) -> bool {
        self.bypass.as_ref().is_some_and(|known| *known == hex(&Sha256::digest(token)))
    }

    /// Whether cookies of ours may be among those of a request.
    pub(super) fn own_cookies(&self) -> impl Iterator<Item = &'static str> {
        let instance = (self.sticky == Sticky::On).then_some(cookies::INSTANCE);
        instance.into_iter().chain(self.bypass.is_some().then_some(cookies::BYPASS))
    }
}

/// What stays of an app from one table to the next, as long as its owner changes nothing: buckets, and who waits.
#[derive(Default)]
pub(super) struct Standing {
    policy: Arc<RouterPolicy>,
    pub(super) rules: Option<Arc<Rules>>,
    pub(super) crowd: Arc<Crowd>,
}

impl Standing {
    pub(super) fn follow(&mut self, policy: &Arc<RouterPolicy>) {
        if self.policy != *policy {
            self.policy = policy.clone();
            self.rules = (**policy != RouterPolicy::default()).then(|| Arc::new(Rules::new(policy)));
        }
    }
}

pub(super) fn hold_limits(policy: &RouterPolicy) -> HoldLimits {
    HoldLimits {
        requests: policy.hold_requests.map_or(HOLD_REQUESTS, HoldRequests::get) as usize,
        bytes: policy.hold_size.map_or(HOLD_BYTES, HoldSize::get),
    }
}
