//! What an event says: its kind, the endpoint it is about, and its body, which is made once for all readers. No body
//! holds a secret, a header or a value of the configuration.

use std::net::IpAddr;

use serde::Serialize;

use crate::domain::Timestamp;
use crate::domain::check::{CheckResult, Trigger};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::notification::{Notification, Severity};
use crate::domain::outcome::{FailureKind, MissedReason, Outcome, OutcomeWord, Status, words};

words! {
    /// What an event is about.
    pub enum EventKind {
        /// A check was made, or a slot was missed.
        Check = "check",
        /// The status that is shown of an endpoint has changed.
        Status = "status",
        /// An incident was opened, has changed, or is over.
        Incident = "incident",
        /// An attempt to tell somebody: it arrived, failed, or is given up.
        Notification = "notification",
        /// Somebody changed something. For administrators.
        Config = "config",
        /// Somebody signed in, or was refused. For administrators.
        Login = "login",
        /// The monitor has a trouble of its own, or is rid of it.
        Error = "error",
    }
}

words! {
    /// A trouble of the monitor's own, or its end.
    pub enum TroubleCode {
        DatabaseAway = "database_away",
        DatabaseBack = "database_back",
        DatabaseDamaged = "database_damaged",
        /// Results waited for the database until there was no room for more.
        ResultsDropped = "results_dropped",
        /// The database refuses rows for good.
        RowsRefused = "rows_refused",
        /// More notifications wait in memory than can be told from there.
        NotificationsHeld = "notifications_held",
        ChannelFailing = "channel_failing",
        ChannelWorking = "channel_working",
        JobFailed = "job_failed",
        /// The targets of `connectivity` do not answer: failed checks are not counted.
        NetworkInDoubt = "network_in_doubt",
        /// They answer again.
        NetworkBack = "network_back",
        /// They do not answer, but endpoints do: they are ignored.
        ConnectivityIgnored = "connectivity_ignored",
    }
}

/// One event, ready for readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    kind: EventKind,
    about: Option<About>,
    data: Box<str>,
}

/// The endpoint that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct About {
    id: EndpointId,
    group: Box<str>,
    name: Box<str>,
}

/// How an endpoint is named in bodies.
#[derive(Debug, Clone, Copy, Serialize)]
struct EndpointRef<'a> {
    id: i64,
    name: &'a str,
    group: &'a str,
}

#[derive(Serialize)]
struct CheckBody<'a> {
    at: Timestamp,
    endpoint: EndpointRef<'a>,
    scheduled_at: Timestamp,
    outcome: OutcomeWord,
    success: Option<bool>,
    status_code: Option<u16>,
    response_time: Option<f64>,
    failure_kind: Option<FailureKind>,
    error_message: Option<&'a str>,
    missed_reason: Option<MissedReason>,
    slots: u32,
    attempts: u32,
    trigger: Trigger,
    in_maintenance: bool,
}

/// A change of the status that is shown.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StatusNews<'a> {
    pub at: Timestamp,
    /// Null: it was not there before.
    pub from: Option<Status>,
    /// Null: it is there no longer.
    pub to: Option<Status>,
    /// Since when `to` holds.
    pub since: Timestamp,
    /// Why it is down.
    pub error_message: Option<&'a str>,
}

/// A change of an incident.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct IncidentNews<'a> {
    pub at: Timestamp,
    /// As in its timeline: `opened`, `resolved`, …
    pub change: &'a str,
    pub incident_id: i64,
    pub severity: Severity,
    pub started_at: Timestamp,
    pub opened_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub failure_kind: FailureKind,
    pub error_message: &'a str,
}

/// What became of an attempt to tell.
#[derive(Debug, Clone, Copy)]
pub struct NotificationNews<'a> {
    pub at: Timestamp,
    pub facts: &'a Notification,
    pub channel: &'a str,
    /// `delivered`, `failed` (it is tried again), `dead`, `grouped`.
    pub state: &'a str,
    pub attempts: u32,
    pub error: Option<&'a str>,
    /// The id of the digest that tells it.
    pub digest: Option<&'a str>,
}

#[derive(Serialize)]
struct AboutEndpoint<'a, T> {
    endpoint: EndpointRef<'a>,
    #[serde(flatten)]
    news: T,
}

#[derive(Serialize)]
struct NotificationBody<'a> {
    at: Timestamp,
    endpoint: Option<EndpointRef<'a>>,
    notification_id: &'a str,
    event: crate::domain::notification::Event,
    incident_id: Option<i64>,
    channel: &'a str,
    state: &'a str,
    attempts: u32,
    error_message: Option<&'a str>,
    digest: Option<&'a str>,
}

#[derive(Serialize)]
struct ActionBody<'a> {
    at: Timestamp,
    actor: &'a str,
    address: Option<IpAddr>,
    action: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
}

#[derive(Serialize)]
struct TroubleBody<'a> {
    at: Timestamp,
    code: TroubleCode,
    subject: &'a str,
    message: &'a str,
}

impl<'a> EndpointRef<'a> {
    fn of(known: &'a KnownEndpoint) -> Self {
        Self { id: known.id.0, name: &known.endpoint.name, group: &known.endpoint.group }
    }
}

impl About {
    fn of(endpoint: EndpointRef<'_>) -> Self {
        Self { id: EndpointId(endpoint.id), group: endpoint.group.into(), name: endpoint.name.into() }
    }
}

impl Event {
    fn new(kind: EventKind, about: Option<EndpointRef<'_>>, body: &impl Serialize) -> Self {
        // Made of strings, numbers and maps with string keys, which JSON always has.
        let data = serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned()).into_boxed_str();
        Self { kind, about: about.map(About::of), data }
    }

    /// A check that was made, or a slot that was missed.
    pub fn check(known: &KnownEndpoint, result: &CheckResult) -> Self {
        let endpoint = EndpointRef::of(known);
        let missed_reason = match result.outcome {
            Outcome::Missed(reason) => Some(reason),
            _ => None,
        };
        let failure = result.outcome.failure();
        let body = CheckBody {
            at: result.started_at,
            endpoint,
            scheduled_at: result.scheduled_at,
            outcome: result.outcome.word(),
            success: missed_reason.is_none().then(|| result.outcome.is_good()),
            status_code: result.status_code,
            response_time: result.response_time_us().map(|us| f64::from(us) / 1e6),
            failure_kind: failure.map(|failure| failure.kind),
            error_message: failure.map(|failure| failure.message.as_str()),
            missed_reason,
            slots: result.slots,
            attempts: result.attempts,
            trigger: result.trigger,
            in_maintenance: result.in_maintenance,
        };
        Self::new(EventKind::Check, Some(endpoint), &body)
    }

    /// The status that is shown of an endpoint has changed.
    pub fn status(known: &KnownEndpoint, news: StatusNews<'_>) -> Self {
        let endpoint = EndpointRef::of(known);
        Self::new(EventKind::Status, Some(endpoint), &AboutEndpoint { endpoint, news })
    }

    pub fn incident(known: &KnownEndpoint, news: IncidentNews<'_>) -> Self {
        let endpoint = EndpointRef::of(known);
        Self::new(EventKind::Incident, Some(endpoint), &AboutEndpoint { endpoint, news })
    }

    pub fn notification(news: NotificationNews<'_>) -> Self {
        let NotificationNews { at, facts, channel, state, attempts, error, digest } = news;
        let of = &facts.endpoint;
        // A message about a channel is about no endpoint.
        let endpoint = (of.id > 0).then_some(EndpointRef { id: of.id, name: &of.name, group: &of.group });
        let body = NotificationBody {
            at,
            endpoint,
            notification_id: &facts.id,
            event: facts.event,
            incident_id: facts.incident.as_ref().map(|incident| incident.id),
            channel,
            state,
            attempts,
            error_message: error,
            digest,
        };
        Self::new(EventKind::Notification, endpoint, &body)
    }

    /// A change by somebody, after it is committed: what was done to what, without values.
    pub fn config(at: Timestamp, actor: &str, address: Option<IpAddr>, action: &str, subject: &str) -> Self {
        Self::new(EventKind::Config, None, &ActionBody { at, actor, address, action, subject, result: None })
    }

    /// As [`config`](Self::config), of an endpoint.
    pub fn config_of(known: &KnownEndpoint, at: Timestamp, actor: &str, address: Option<IpAddr>, action: &str) -> Self {
        let (endpoint, subject) = (EndpointRef::of(known), format!("endpoint/{}", known.id));
        let body = ActionBody { at, actor, address, action, subject: &subject, result: None };
        Self::new(EventKind::Config, Some(endpoint), &body)
    }

    /// Somebody signs in or out, or shows what is no key. `action` and `result` as in the audit log.
    pub fn login(
        at: Timestamp,
        actor: &str,
        address: Option<IpAddr>,
        action: &str,
        subject: &str,
        result: &str,
    ) -> Self {
        let body = ActionBody { at, actor, address, action, subject, result: Some(result) };
        Self::new(EventKind::Login, None, &body)
    }

    /// A trouble of the monitor's own with `subject`: `database`, `channel/mail`, `job/retention`.
    pub fn trouble(at: Timestamp, code: TroubleCode, subject: &str, message: &str) -> Self {
        Self::new(EventKind::Error, None, &TroubleBody { at, code, subject, message })
    }

    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// The body: JSON in one line.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// What it takes of memory, as estimated.
    pub fn bytes(&self) -> usize {
        let about = self.about.as_ref().map_or(0, |about| about.group.len() + about.name.len());
        size_of::<Self>() + 16 + self.data.len() + about
    }
}

/// Which events a reader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// By `EventKind as usize`.
    kinds: [bool; EventKind::ALL.len()],
    pub endpoint: Option<EndpointFilter>,
    /// Only those about endpoints of this group; empty: about endpoints without a group.
    pub group: Option<String>,
}

/// An endpoint as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointFilter {
    Id(EndpointId),
    /// `group/name`; without a group the name alone.
    Key(String),
}

impl Default for Filter {
    /// All.
    fn default() -> Self {
        Self::of(EventKind::ALL.iter().copied())
    }
}

impl Filter {
    /// Only of these kinds.
    pub fn of(kinds: impl IntoIterator<Item = EventKind>) -> Self {
        let mut filter = Self { kinds: [false; EventKind::ALL.len()], endpoint: None, group: None };
        for kind in kinds {
            filter.kinds[kind as usize] = true;
        }
        filter
    }

    pub fn lets_through(&self, event: &Event) -> bool {
        if !self.kinds[event.kind as usize] {
            return false;
        }
        let about = event.about.as_ref();
        let of_group = |group: &String| about.is_some_and(|about| *about.group == **group);
        let of_endpoint = |endpoint: &EndpointFilter| about.is_some_and(|about| endpoint.is(about));
        self.group.as_ref().is_none_or(of_group) && self.endpoint.as_ref().is_none_or(of_endpoint)
    }
}

impl EndpointFilter {
    fn is(&self, about: &About) -> bool {
        match self {
            Self::Id(id) => *id == about.id,
            Self::Key(key) if about.group.is_empty() => **key == *about.name,
            Self::Key(key) => key
                .strip_prefix(&*about.group)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|name| name == &*about.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::from_micros;

    #[test]
    fn an_endpoint_is_asked_for_by_its_id_or_by_group_and_name() {
        let about = |group: &str, name: &str| About { id: EndpointId(7), group: group.into(), name: name.into() };
        let key = |text: &str| EndpointFilter::Key(text.to_owned());
        assert!(EndpointFilter::Id(EndpointId(7)).is(&about("g", "n")));
        assert!(!EndpointFilter::Id(EndpointId(8)).is(&about("g", "n")));
        assert!(
            key("g/n").is(&about("g", "n"))
                && key("a/b/n").is(&about("a/b", "n"))
                && key("g/a/n").is(&about("g", "a/n"))
        );
        assert!(key("n").is(&about("", "n")) && key("a/n").is(&about("", "a/n")));
        for wrong in ["n", "g", "g/", "/n", "gn", "g/n/", "G/n", "g//n"] {
            assert!(!key(wrong).is(&about("g", "n")), "{wrong}");
        }
    }

    #[test]
    fn kinds_and_filters_add_up() {
        let event = Event::trouble(from_micros(0), TroubleCode::JobFailed, "job/retention", "one\nline");
        assert!(!event.data().contains('\n'));
        assert!(Filter::default().lets_through(&event) && Filter::of([EventKind::Error]).lets_through(&event));
        assert!(!Filter::of([EventKind::Check]).lets_through(&event));
        let of_group = Filter { group: Some(String::new()), ..Filter::default() };
        assert!(!of_group.lets_through(&event), "it is about no endpoint");
        for (place, kind) in EventKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place);
        }
    }
}
