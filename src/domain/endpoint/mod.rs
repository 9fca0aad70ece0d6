//! What is watched: the settings as a person wrote them ([`EndpointSettings`]), what they mean with all
//! defaults applied ([`Endpoint`]), and the rules between the two ([`resolve()`]).

mod connection;
mod resolve;
mod runbook;
mod settings;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::certificate::CertificatePolicy;
use crate::domain::check::CheckSpec;
use crate::domain::notification::Severity;
use crate::domain::outcome::words;
use crate::domain::retry::RetryPolicy;
use crate::domain::route::Route;
use crate::domain::schedule::Schedule;
use crate::domain::selector::Selectors;

pub use self::connection::{AuthSettings, BasicSettings, HostsSetting, OAuth2Settings, VersionSetting, proxy_url};
pub use self::resolve::{MAX_CHANNELS, no_such_channel, only_known, resolve, resolve_layer};
pub use self::settings::{
    AlertPolicySettings, CertificateSettings, DnsSettings, EndpointSettings, EscalationStepSettings, RedirectSettings,
    RetrySettings, TlsSettings, overlay,
};

/// The id of an endpoint. Never used again after a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(pub i64);

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

words! {
    /// Who made an endpoint, and so who may change it.
    pub enum Origin {
        Config = "config",
        Api = "api",
    }
}

words! {
    /// How an endpoint is examined. The scheme of the URL chooses it.
    pub enum Kind {
        Http = "http",
        Tcp = "tcp",
        Tls = "tls",
        Icmp = "icmp",
        Dns = "dns",
        Websocket = "websocket",
        Grpc = "grpc",
        /// The other side reports by itself.
        Push = "push",
    }
}
/// An endpoint with all defaults applied and every rule checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    pub name: String,
    /// Empty: no group.
    pub group: String,
    pub kind: Kind,
    pub tags: Vec<String>,
    pub description: String,
    pub is_active: bool,
    pub schedule: Schedule,
    pub retry: RetryPolicy,
    pub alert_policy: AlertPolicy,
    /// Names of the channels that are told, each once. `None`: the default route; empty: nobody.
    pub notify: Option<Vec<String>>,
    /// Its parents, as they are written; each once.
    pub depends_on: Selectors,
    pub severity: Severity,
    /// The link with name and group filled in.
    pub runbook: Option<String>,
    /// When the expiry of the certificate that it serves is told.
    pub certificate: CertificatePolicy,
    pub check: CheckSpec,
}

/// An endpoint as the monitor knows it: the settings, what they mean, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownEndpoint {
    pub id: EndpointId,
    pub origin: Origin,
    /// `file:line` of a configured endpoint.
    pub source: Option<String>,
    /// Counts changes; the ETag.
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// From when the present schedule applies (created, changed or resumed): slots before it were never due.
    pub scheduled_from: Timestamp,
    pub settings: EndpointSettings,
    pub endpoint: Endpoint,
    /// Paused by hand, whatever `is_active` says; survives a reload of the file.
    pub paused: bool,
}

impl KnownEndpoint {
    /// Whether the schedule makes checks for it.
    pub fn is_checked(&self) -> bool {
        self.endpoint.is_active && !self.paused
    }
}

/// What a change of an endpoint does beside its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aftermath {
    /// Its schedule applies from now on: slots before were never due.
    pub reschedule: bool,
    /// Its counters start again: what was counted is of another check.
    pub recount: bool,
}

impl Aftermath {
    /// Of a change from an endpoint to what it is then, each with whether it is paused by hand.
    pub fn of(before: (&Endpoint, bool), after: (&Endpoint, bool)) -> Self {
        let is_checked = |(endpoint, paused): (&Endpoint, bool)| endpoint.is_active && !paused;
        let starts = is_checked(after) && !is_checked(before);
        Self { reschedule: starts || before.0.schedule != after.0.schedule, recount: before.0.check != after.0.check }
    }
}

/// A rule that settings break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// JSON pointer to the place within the settings: `/retry/max_attempts`.
    pub pointer: String,
    /// Stable word: `required`, `invalid`, `out_of_range`, `conflict`.
    pub code: &'static str,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// What applies where an endpoint says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// `defaults:` of the configuration.
    pub defaults: &'a EndpointSettings,
    /// The settings of the endpoint's group, if it has any.
    pub group: Option<&'a EndpointSettings>,
    /// The routes, of which the first that means the endpoint applies.
    pub routes: &'a [Route],
    /// Of cron schedules without a `timezone` of their own.
    pub timezone: chrono_tz::Tz,
    /// The names that `notify` may hold. `None`: any.
    pub channels: Option<&'a [String]>,
}

impl Layers<'_> {
    /// The same for settings that were accepted before: a channel that has gone since is no reason not to watch.
    #[must_use]
    pub fn of_any_channel(self) -> Self {
        Self { channels: None, ..self }
    }
}

/// Header names whose values are always secret.
pub const SECRET_HEADERS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"];
