//! The verdicts: what one check said ([`Outcome`]), what is believed of an endpoint ([`Status`]), and the
//! stable words for every way to fail ([`FailureKind`]).

use serde::{Deserialize, Serialize};

/// Declares a field-less enum together with its stable `snake_case` words, which are the contract in the
/// database, in JSON and on pages.
macro_rules! words {
    ($(#[doc = $doc:literal])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        // By hand: the derived one names the variants instead of the words.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(Self::ALL.iter().map(|value| value.as_str())))
                    .description(Some(concat!($($doc),*).trim()))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}

        impl std::str::FromStr for $name {
            type Err = crate::domain::outcome::UnknownWord;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|v| v.as_str() == word).ok_or_else(|| crate::domain::outcome::UnknownWord(word.to_owned()))
            }
        }
    };
}
pub(crate) use words;

/// A word that belongs to no value of the enum it was read for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown word `{0}`")]
pub struct UnknownWord(pub String);

words! {
    /// Why an attempt failed: one word naming the layer that failed first (checks.md section 3).
    pub enum FailureKind {
        DnsNxdomain = "dns_nxdomain",
        DnsServfail = "dns_servfail",
        DnsRefused = "dns_refused",
        DnsTimeout = "dns_timeout",
        DnsNoRecords = "dns_no_records",
        ConnectRefused = "connect_refused",
        ConnectReset = "connect_reset",
        ConnectTimeout = "connect_timeout",
        ConnectUnreachable = "connect_unreachable",
        TlsExpired = "tls_expired",
        TlsNotYetValid = "tls_not_yet_valid",
        TlsHostnameMismatch = "tls_hostname_mismatch",
        TlsUntrusted = "tls_untrusted",
        /// A list of the operator's (`crl_file`) says so.
        TlsRevoked = "tls_revoked",
        TlsProtocol = "tls_protocol",
        TlsHandshake = "tls_handshake",
        TlsTimeout = "tls_timeout",
        ConnectionClosed = "connection_closed",
        TimeoutFirstByte = "timeout_first_byte",
        TimeoutBody = "timeout_body",
        HttpProtocol = "http_protocol",
        BodyTruncated = "body_truncated",
        RedirectLoop = "redirect_loop",
        RedirectLimit = "redirect_limit",
        /// From https to http.
        RedirectDowngrade = "redirect_downgrade",
        /// To a host that `redirects.hosts` does not name.
        RedirectHost = "redirect_host",
        HttpStatus = "http_status",
        /// The part of the body that was not read would have been needed.
        BodyTooLarge = "body_too_large",
        /// One of `conditions` does not hold, or what came is not what was expected.
        ConditionFailed = "condition_failed",
        IcmpTimeout = "icmp_timeout",
        /// The health protocol says that a service does not serve, or the call of it failed.
        GrpcStatus = "grpc_status",
        WebsocketRejected = "websocket_rejected",
        /// No heartbeat came in time.
        PushOverdue = "push_overdue",
        /// The other side reports that it failed.
        PushFailed = "push_failed",
        /// What came is not of the protocol.
        Protocol = "protocol",
        /// The policy of `outbound` refuses the address.
        OutboundRefused = "outbound_refused",
        /// The proxy cannot be used, or does not get us there.
        ProxyFailed = "proxy_failed",
        /// The token that the request needs was not given to us.
        OauthTokenFailed = "oauth_token_failed",
    }
}

words! {
    /// Our own trouble: why a slot has no verdict. Never counted against the endpoint.
    pub enum MissedReason {
        /// The previous check was still being made.
        Overrun = "overrun",
        /// The previous check was still waiting for a permit.
        Overload = "overload",
        /// This process was not running.
        Stopped = "stopped",
        /// The machine slept, or its clock jumped forwards.
        Suspended = "suspended",
        /// The check was cut because this process was told to stop.
        Shutdown = "shutdown",
        /// Our own network was in doubt: the targets of `connectivity` did not answer.
        OwnNetwork = "own_network",
        /// The system does not let this process examine it so.
        NotPermitted = "not_permitted",
    }
}

words! {
    /// What is believed of an endpoint now, confirmed by the alert policy.
    pub enum Status {
        Up = "up",
        Degraded = "degraded",
        Down = "down",
        /// No verdict yet.
        Pending = "pending",
        Paused = "paused",
        Maintenance = "maintenance",
        /// Nothing can be said: no data.
        Unknown = "unknown",
    }
}

impl Status {
    /// Up or degraded.
    pub fn is_healthy(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }

    /// Down. The remaining words are neither healthy nor unhealthy.
    pub fn is_unhealthy(self) -> bool {
        matches!(self, Self::Down)
    }
}

/// What was wrong: the stable word and one sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// One sentence without a full stop: `GET returned 502, expected 200`.
    pub message: String,
}

impl Failure {
    /// A NUL character in the message is replaced: not every database holds one.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: without_nul(message.into()) }
    }
}

/// A text as every database can hold it.
pub fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// Text of another party, fit for a sentence: no control characters, at most 200 characters.
pub fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(200).map(clean).collect();
    if text.chars().nth(200).is_some() {
        shown.push('…');
    }
    shown
}

/// The verdict of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Up,
    Degraded,
    Down(Failure),
    Missed(MissedReason),
}

words! {
    /// The bare word of an [`Outcome`], as stored and shown.
    pub enum OutcomeWord {
        Up = "up",
        Degraded = "degraded",
        Down = "down",
        Missed = "missed",
    }
}

impl Outcome {
    /// Up or degraded: the check counts as successful.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }

    pub fn word(&self) -> OutcomeWord {
        match self {
            Self::Up => OutcomeWord::Up,
            Self::Degraded => OutcomeWord::Degraded,
            Self::Down(_) => OutcomeWord::Down,
            Self::Missed(_) => OutcomeWord::Missed,
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Down(failure) => Some(failure),
            _ => None,
        }
    }
}
