//! Everything that can go wrong with one request of an app, by Heroku's codes, so that people find them by searching; and
//! by codes of ours (P…) what its owner has forbidden.
use http::StatusCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    AppCrashed,
    BacklogTooDeep,
    RequestTimeout,
    ClosedWithoutResponse,
    NoWebProcesses,
    IdleConnection,
    PoorResponse,
    ResponseCut,
    ConnectTimeout,
    BootTimeout,
    ConnectRefused,
    ForcedClose,
    UnknownExpectation,
    BrokenBody,
    ClientLeft,
    ClientIdle,
    Maintenance,
    Forbidden,
    LoginRequired,
    TooManyRequests,
    BodyTooLarge,
}

impl Fault {
    /// The code, what the router line says, and the status: of the page, or of the line alone where no page can be sent.
    fn facts(self) -> (&'static str, &'static str, StatusCode) {
        let client_closed = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        match self {
            Self::AppCrashed => ("H10", "App crashed", StatusCode::SERVICE_UNAVAILABLE),
            Self::BacklogTooDeep => ("H11", "Backlog too deep", StatusCode::SERVICE_UNAVAILABLE),
            Self::RequestTimeout => ("H12", "Request timeout", StatusCode::GATEWAY_TIMEOUT),
            Self::ClosedWithoutResponse => ("H13", "Connection closed without response", StatusCode::BAD_GATEWAY),
            Self::NoWebProcesses => ("H14", "No web processes running", StatusCode::SERVICE_UNAVAILABLE),
            Self::IdleConnection => ("H15", "Idle connection", StatusCode::SERVICE_UNAVAILABLE),
            Self::PoorResponse => ("H17", "Poorly formatted HTTP response", StatusCode::BAD_GATEWAY),
            Self::ResponseCut => ("H18", "Server Request Interrupted", StatusCode::SERVICE_UNAVAILABLE),
            Self::ConnectTimeout => ("H19", "Backend connection timeout", StatusCode::SERVICE_UNAVAILABLE),
            Self::BootTimeout => ("H20", "App boot timeout", StatusCode::SERVICE_UNAVAILABLE),
            Self::ConnectRefused => ("H21", "Backend connection refused", StatusCode::SERVICE_UNAVAILABLE),
            Self::ForcedClose => ("H24", "Forced close", StatusCode::SERVICE_UNAVAILABLE),
            Self::UnknownExpectation => ("H26", "Request Error", StatusCode::EXPECTATION_FAILED),
            Self::BrokenBody => ("H26", "Request Error", StatusCode::BAD_REQUEST),
            Self::ClientLeft => ("H27", "Client Request Interrupted", client_closed),
            Self::ClientIdle => ("H28", "Client Connection Idle", StatusCode::REQUEST_TIMEOUT),
            Self::Maintenance => ("H80", "Maintenance mode", StatusCode::SERVICE_UNAVAILABLE),
            Self::Forbidden => ("P01", "Address not allowed", StatusCode::FORBIDDEN),
            Self::LoginRequired => ("P02", "Login required", StatusCode::UNAUTHORIZED),
            Self::TooManyRequests => ("P03", "Too many requests", StatusCode::TOO_MANY_REQUESTS),
            Self::BodyTooLarge => ("P04", "Body too large", StatusCode::PAYLOAD_TOO_LARGE),
        }
    }

    /// How a router line calls it: what the owner wants so is no error.
    pub(super) fn level(self) -> &'static str {
        match self {
            Self::Forbidden | Self::LoginRequired | Self::TooManyRequests | Self::BodyTooLarge => "info",
            Self::AppCrashed
            | Self::BacklogTooDeep
            | Self::RequestTimeout
            | Self::ClosedWithoutResponse
            | Self::NoWebProcesses
            | Self::IdleConnection
            | Self::PoorResponse
            | Self::ResponseCut
            | Self::ConnectTimeout
            | Self::BootTimeout
            | Self::ConnectRefused
            | Self::ForcedClose
            | Self::UnknownExpectation
            | Self::BrokenBody
            | Self::ClientLeft
            | Self::ClientIdle
            | Self::Maintenance => "error",
        }
    }

    pub(super) fn code(self) -> &'static str {
        self.facts().0
    }

    pub(super) fn description(self) -> &'static str {
        self.facts().1
    }

    pub(super) fn status(self) -> StatusCode {
        self.facts().2
    }

    /// Seconds after which a visitor may try again; only where waiting helps.
    pub(super) fn retry_after_s(self) -> Option<u16> {
        match self {
            Self::BacklogTooDeep | Self::BootTimeout | Self::ConnectTimeout | Self::ConnectRefused => Some(5),
            Self::AppCrashed | Self::ForcedClose => Some(10),
            Self::Maintenance => Some(60),
            Self::RequestTimeout
            | Self::ClosedWithoutResponse
            | Self::NoWebProcesses
            | Self::IdleConnection
            | Self::PoorResponse
            | Self::ResponseCut
            | Self::UnknownExpectation
            | Self::BrokenBody
            | Self::ClientLeft
            | Self::ClientIdle
            | Self::Forbidden
            | Self::LoginRequired
            | Self::TooManyRequests
            | Self::BodyTooLarge => None,
        }
    }
}
