//! One thing to tell about an endpoint: the facts, the same for every channel. How they read in a channel is not
//! decided here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::alert_rule::{AlertId, Comparison};
use crate::domain::grouping::digest::DigestItem;
use crate::domain::outcome::words;
use crate::domain::secret_names::hide_query;
use crate::domain::suppression::{self, Matter};
use crate::domain::{Timestamp, micros};

words! {
    /// What happened.
    pub enum Event {
        Down = "down",
        Up = "up",
        /// Down again within the cooldown of a told recovery: the same incident.
        DownAgain = "down_again",
        Reminder = "reminder",
        /// It goes up and down: that is told once, until it has been steady.
        Flapping = "flapping",
        /// Nobody has acknowledged the outage for some time: others are told.
        Escalated = "escalated",
        /// Somebody looks after the outage.
        Acknowledged = "acknowledged",
        /// No check was made for some time: unwatched, not down.
        NoData = "no_data",
        /// Our own network is in doubt, or no longer, or what says so is ignored: `status` says which.
        Blind = "blind",
        /// A certificate that endpoints serve expires soon.
        CertificateExpiring = "certificate_expiring",
        /// A channel does not deliver; told through the others.
        ChannelFailing = "channel_failing",
        /// The endpoint was paused or removed while its incident was open.
        NoLongerMonitored = "no_longer_monitored",
        /// A metric of the monitor itself crossed the threshold of an alert rule.
        AlertFiring = "alert_firing",
        /// It is back, or its rule was changed or deleted.
        AlertResolved = "alert_resolved",
        /// Sent by hand to try a channel.
        Test = "test",
        /// Many messages at once, told as one.
        Digest = "digest",
    }
}

impl Event {
    /// Whether it tells that something is down: whoever hears of it hears of the end too.
    pub fn tells_of_an_outage(self) -> bool {
        matches!(self, Self::Down | Self::DownAgain | Self::Reminder | Self::Flapping | Self::Escalated)
    }

    /// Whether it ends what a `down` (or `alert_firing`) told: it goes to exactly the channels that were told.
    pub fn is_resolve(self) -> bool {
        matches!(self, Self::Up | Self::NoLongerMonitored | Self::AlertResolved)
    }
}

/// What `status` and `previous_status` are of a `blind`.
pub mod network_status {
    /// The connectivity targets do not answer: failed checks are not counted.
    pub const BLIND: &str = "blind";
    /// They do not answer, but endpoints do.
    pub const IGNORED: &str = "ignored";
    /// They answer: it is over.
    pub const REACHABLE: &str = "reachable";
}

words! {
    /// How bad it is when this endpoint is down.
    pub enum Severity {
        Info = "info",
        Warning = "warning",
        Critical = "critical",
    }
}

/// The facts of a notification; its JSON is the default webhook body (`version` 1) and what the outbox stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// Version of this form: 1.
    pub version: u32,
    /// The same for every attempt and from every process: [`notification_id`].
    pub id: String,
    pub event: Event,
    pub occurred_at: DateTime<Utc>,
    /// It could not be delivered before the outage was over.
    pub told_late: bool,
    pub endpoint: EndpointFacts,
    /// `endpoint.name` again, as the original's webhook had it.
    pub endpoint_name: String,
    /// `endpoint.url` again, without credentials.
    pub url: String,
    /// `occurred_at` again.
    pub timestamp: DateTime<Utc>,
    /// `up`, `down`, …: the status after the event.
    pub status: String,
    pub previous_status: String,
    pub severity: Severity,
    pub runbook: Option<String>,
    pub failure_kind: Option<String>,
    /// Why, in one sentence without a full stop. For `up` the cause of the outage that ended.
    pub error: Option<String>,
    /// Absent for `test`, `blind`, `certificate_expiring`, `channel_failing`, `alert_firing` and `alert_resolved`.
    pub incident: Option<IncidentFacts>,
    /// The check that confirmed it.
    pub check: Option<CheckFacts>,
    /// The rule that fired; there for `alert_firing` and `alert_resolved` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertFacts>,
    /// What else a person should know, one sentence each: outages waiting in a failing channel, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The endpoints of a `digest`, each once; there for that only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<DigestItem>,
}

/// The endpoint of a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndpointFacts {
    pub id: i64,
    pub name: String,
    pub group: String,
    pub tags: Vec<String>,
    /// Without credentials.
    pub url: String,
    pub kind: String,
}

/// The incident of a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentFacts {
    pub id: i64,
    /// The first failed check of the confirming run.
    pub started_at: DateTime<Utc>,
    /// The confirmation.
    pub opened_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// From `started_at` to `resolved_at`, or to `occurred_at` while it is open.
    pub duration_seconds: i64,
    /// A link for a person, when `public_url` is set.
    pub url: Option<String>,
    /// A link by which the person who reads this acknowledges it. Made when it is sent, for one channel: whoever sees
    /// what is stored must not be able to.
    #[serde(skip)]
    #[schema(ignore)]
    pub acknowledge_url: Option<String>,
    /// The newest acknowledgement; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<AcknowledgementFacts>,
}

/// Who looks after an outage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AcknowledgementFacts {
    /// The name of the key.
    #[schema(example = "on-call")]
    pub by: String,
    pub at: DateTime<Utc>,
    /// Until then nobody is reminded.
    pub until: DateTime<Utc>,
    pub note: Option<String>,
}

/// The check of a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckFacts {
    pub scheduled_at: DateTime<Utc>,
    pub attempts: u32,
    pub status_code: Option<u16>,
    pub response_time_ms: Option<f64>,
}

/// The alert rule of a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertFacts {
    #[schema(example = "alert_001")]
    pub alert_id: String,
    #[schema(example = "memory_usage")]
    pub metric: String,
    pub comparison: Comparison,
    /// As it is written in the rule; a number there has the unit of the metric here.
    #[schema(example = "80%")]
    pub threshold: String,
    /// What was measured at this event, as it is compared; null: nothing could be.
    pub value: Option<f64>,
    /// Of `value`.
    #[schema(example = "percent")]
    pub unit: Option<String>,
    /// Since when it was on the wrong side.
    pub crossed_at: DateTime<Utc>,
    pub fired_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// From `crossed_at` to `resolved_at`, or to `occurred_at`.
    pub duration_seconds: i64,
    /// How it ended.
    pub ending: Option<AlertEnding>,
}

words! {
    /// How an alert ended.
    pub enum AlertEnding {
        /// The metric is back past the threshold.
        Cleared = "cleared",
        RuleChanged = "rule_changed",
        RuleDeleted = "rule_deleted",
    }
}

impl Notification {
    /// About something that is no endpoint: `kind` says what, `name` which. A warning that says nothing yet.
    pub fn about(kind: &str, name: String, id: String, event: Event, occurred_at: Timestamp) -> Self {
        Self {
            version: 1,
            id,
            event,
            occurred_at,
            told_late: false,
            endpoint: EndpointFacts {
                id: 0,
                name: name.clone(),
                group: String::new(),
                tags: Vec::new(),
                url: String::new(),
                kind: kind.to_owned(),
            },
            endpoint_name: name,
            url: String::new(),
            timestamp: occurred_at,
            status: "unknown".to_owned(),
            previous_status: "unknown".to_owned(),
            severity: Severity::Warning,
            runbook: None,
            failure_kind: None,
            error: None,
            incident: None,
            check: None,
            alert: None,
            remarks: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Whether it ends what was told before, for whoever keeps count of what is open.
    pub fn is_end(&self) -> bool {
        self.event.is_resolve() || (self.event == Event::Blind && self.status == network_status::REACHABLE)
    }

    /// Of a message about an alert rule the first one of the same firing, under which mails thread.
    pub fn first_of_alert(&self) -> Option<String> {
        let fired = self.alert.as_ref()?;
        let number = AlertId::read(&fired.alert_id)?;
        Some(notification_id(Subject::Alert(number), fired.fired_at, Event::AlertFiring, 0))
    }
}

/// What a notification is about, as far as its id goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    Endpoint(i64),
    Channel(&'a str),
    /// A rule; the span is the instant at which it fired, also for the end: so each firing has one end.
    Alert(AlertId),
    /// The span is the instant at which it came in doubt, for all that is told of that time.
    OwnNetwork,
    /// By its fingerprint; the span is the instant from which that is told.
    Certificate(&'a str),
}

/// The deterministic id: two processes or two attempts make the same one. `span` is the instant that began what is
/// told (the first failing check for down events, the first good one for recoveries), `ordinal` counts reminders, acknowledgements and the steps of an escalation.
pub fn notification_id(subject: Subject<'_>, span: Timestamp, event: Event, ordinal: u32) -> String {
    let subject = match subject {
        Subject::Endpoint(id) => format!("e{id}"),
        Subject::Alert(AlertId(id)) => format!("r{id}"),
        Subject::OwnNetwork => "n".to_owned(),
        // Half of it tells certificates well enough apart.
        Subject::Certificate(fingerprint) => format!("t{}", fingerprint.get(..32).unwrap_or(fingerprint)),
        // Channel names are the configuration's and hold no control characters; what is not a plain letter is
        // written as its code, so that the id is fit for headers.
        Subject::Channel(name) => {
            let mut plain = String::from("c-");
            for c in name.chars() {
                if c.is_ascii_alphanumeric() {
                    plain.push(c);
                } else {
                    plain = format!("{plain}_{:x}", u32::from(c));
                }
            }
            plain
        }
    };
    let span = micros(span);
    if ordinal == 0 {
        format!("ntf_{subject}_{span}_{event}")
    } else {
        format!("ntf_{subject}_{span}_{event}_{ordinal}")
    }
}

/// Who is told, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routing {
    /// `notifications.enabled`.
    pub enabled: bool,
    /// Every channel, those that are off included.
    pub channels: Vec<ChannelRoute>,
    /// The top-level `notify`; `None`: every channel that is a default one.
    pub default_route: Option<Vec<String>>,
    /// Base of links, without a slash at its end.
    pub public_url: Option<String>,
}

/// A channel, as far as routing goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRoute {
    pub name: String,
    pub enabled: bool,
    pub default: bool,
    /// Tell only what is at least this severe.
    pub severity: Option<Severity>,
}

impl Routing {
    /// The channels that are told of an endpoint. `wanted` is what the endpoint says itself: `None` for the
    /// default route, empty for nobody. Channels that are there no longer are passed over; a list in which there is
    /// no other says nothing, so that nobody goes untold because a channel was removed.
    pub fn channels_for(&self, wanted: Option<&[String]>, severity: Severity) -> Vec<String> {
        let says_something = |names: &&[String]| names.is_empty() || names.iter().any(|name| self.knows(name));
        let wanted = wanted.filter(says_something).or(self.default_route.as_deref().filter(says_something));
        self.channels
            .iter()
            .filter(|channel| channel.enabled)
            .filter(|channel| wanted.map_or(channel.default, |names| names.contains(&channel.name)))
            .filter(|channel| channel.severity.is_none_or(|least| severity >= least))
            .map(|channel| channel.name.clone())
            .collect()
    }

    /// Whether there is an enabled channel of this name.
    pub fn has(&self, channel: &str) -> bool {
        self.channels.iter().any(|there| there.enabled && there.name == channel)
    }

    /// The channels of these names that are on, in the order of all.
    pub fn named(&self, names: &[String]) -> Vec<String> {
        let there = self.channels.iter().filter(|channel| channel.enabled && names.contains(&channel.name));
        there.map(|channel| channel.name.clone()).collect()
    }

    fn knows(&self, channel: &str) -> bool {
        self.channels.iter().any(|there| there.name == channel)
    }

    /// What keeps every message back, by a word.
    pub fn held_by(&self, channels: &[String], event: Event) -> Option<&'static str> {
        let facts = suppression::Facts {
            notifications_disabled: !self.enabled,
            no_channels: channels.is_empty(),
            ..suppression::Facts::default()
        };
        // Neither ends by the time.
        let held = suppression::decide(Matter::of(event), &facts, Timestamp::MIN_UTC);
        held.map(|held| held.by.as_str())
    }
}

/// A URL as it may be told: without user and password, and without the secrets of its query.
pub fn without_credentials(url: &url::Url) -> String {
    let mut shown = url.clone();
    // These fail only for URLs that cannot hold credentials.
    if shown.set_username("").and_then(|()| shown.set_password(None)).is_err() {
        return hide_query(url.as_str(), "***");
    }
    hide_query(shown.as_str(), "***")
}
