//! One message that tells many: each endpoint once.

use std::collections::HashMap;
use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::domain::notification::{EndpointFacts, Event, IncidentFacts, Notification, Severity};

/// What a digest says of one endpoint. All of it is of the newest of its messages, but for `events`, `ids` and
/// `previous_status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DigestItem {
    /// The ids of the notifications that this tells, oldest first.
    #[schema(min_items = 1)]
    pub ids: Vec<String>,
    pub event: Event,
    /// What happened, oldest first: `down`, `up` where it was down in between.
    #[schema(min_items = 1)]
    pub events: Vec<Event>,
    pub occurred_at: DateTime<Utc>,
    pub endpoint: EndpointFacts,
    /// After what happened.
    pub status: String,
    /// Before all of it.
    pub previous_status: String,
    pub severity: Severity,
    pub runbook: Option<String>,
    pub failure_kind: Option<String>,
    pub error: Option<String>,
    pub incident: Option<IncidentFacts>,
    /// Further sentences for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl DigestItem {
    fn of(n: &Notification) -> Self {
        Self {
            ids: vec![n.id.clone()],
            event: n.event,
            events: vec![n.event],
            occurred_at: n.occurred_at,
            endpoint: n.endpoint.clone(),
            status: n.status.clone(),
            previous_status: n.previous_status.clone(),
            severity: n.severity,
            runbook: n.runbook.clone(),
            failure_kind: n.failure_kind.clone(),
            error: n.error.clone(),
            incident: n.incident.clone(),
            remarks: n.remarks.clone(),
        }
    }

    /// Tells a later message of the same endpoint too.
    pub fn add(&mut self, later: &Notification) {
        let Self { mut ids, mut events, previous_status, .. } = std::mem::replace(self, Self::of(later));
        ids.push(later.id.clone());
        events.push(later.event);
        (self.ids, self.events, self.previous_status) = (ids, events, previous_status);
    }

    /// Whether what it tells of is over, an outage that it began telling included.
    pub fn is_over(&self) -> bool {
        self.event.is_resolve()
    }

    /// Whether it went down and is up again, both told by this.
    pub fn was_down(&self) -> bool {
        self.is_over() && self.events.iter().any(|event| matches!(event, Event::Down | Event::DownAgain))
    }
}

/// What a digest says of these messages, which are in their order: each endpoint once, those that need somebody first,
/// then by severity, group and name.
pub fn items<'a>(messages: impl IntoIterator<Item = &'a Notification>) -> Vec<DigestItem> {
    let mut items: Vec<DigestItem> = Vec::new();
    let mut places: HashMap<i64, usize> = HashMap::new();
    for message in messages {
        match places.get(&message.endpoint.id) {
            Some(place) => items[*place].add(message),
            None => {
                places.insert(message.endpoint.id, items.len());
                items.push(DigestItem::of(message));
            }
        }
    }
    sort(&mut items);
    items
}

/// Puts items in the order in which they are told.
pub fn sort(items: &mut [DigestItem]) {
    items.sort_by(|a, b| {
        let of = |item: &DigestItem| (item.is_over(), std::cmp::Reverse(item.severity));
        of(a)
            .cmp(&of(b))
            .then_with(|| a.endpoint.group.cmp(&b.endpoint.group))
            .then_with(|| a.endpoint.name.cmp(&b.endpoint.name))
            .then_with(|| a.endpoint.id.cmp(&b.endpoint.id))
    });
}

/// The id of a digest: the same for the same messages, in whatever order they are given.
pub fn digest_id(ids: &[String]) -> String {
    let mut sorted: Vec<&String> = ids.iter().collect();
    sorted.sort();
    let mut hash = Sha256::new();
    for id in sorted {
        hash.update(id.as_bytes());
        // Ids hold no such byte, so that no two lists read the same.
        hash.update([0]);
    }
    hash.finalize().iter().take(16).fold("ntf_digest_".to_owned(), |mut text, byte| {
        // A `String` takes everything.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// The message that tells these, which are about endpoints and in their order. All of it comes from them, so that two
/// processes make the same. `None`: there is nothing to tell.
pub fn digest(messages: &[&Notification]) -> Option<Notification> {
    let newest = messages.iter().max_by_key(|message| message.occurred_at)?;
    let ids: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
    let items = items(messages.iter().copied());
    Some(told(Notification::about("digest", String::new(), digest_id(&ids), Event::Digest, newest.occurred_at), items))
}

/// A digest with these items in the place of its own; its id stays.
pub fn told(digest: Notification, items: Vec<DigestItem>) -> Notification {
    let name = match items.len() {
        1 => "1 endpoint".to_owned(),
        count => format!("{count} endpoints"),
    };
    let needs_somebody = || items.iter().filter(|item| !item.is_over());
    let severity = needs_somebody().map(|item| item.severity).max();
    let severity = severity.or(items.iter().map(|item| item.severity).max()).unwrap_or(Severity::Info);
    let is = |status: &str| needs_somebody().any(|item| item.status == status);
    let status = match () {
        () if is("down") => "down",
        () if needs_somebody().next().is_some() => "unknown",
        () if items.iter().any(|item| item.event == Event::Up) => "up",
        () => "unknown",
    };
    Notification {
        endpoint: EndpointFacts { name: name.clone(), ..digest.endpoint },
        endpoint_name: name,
        status: status.to_owned(),
        severity,
        items,
        ..digest
    }
}
