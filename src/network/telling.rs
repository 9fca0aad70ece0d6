//! What is told of our own network.

use std::time::Duration;

use crate::board::Board;
use crate::domain::Timestamp;
use crate::domain::connectivity::Change;
use crate::domain::notification::{Event, Notification, Routing, Severity, Subject, network_status, notification_id};
use crate::handover::Told;
use crate::store::Outgoing;

/// What is told of a change of what began `since` and, if it is over, lasted `until`. `answered` of so many targets did the last time.
pub(super) fn message(
    change: &Change,
    (since, until): (Timestamp, Timestamp),
    (answered, targets): (u32, usize),
    now: Timestamp,
    board: &Board,
    routing: &Routing,
) -> Outgoing {
    let asked = format!("{answered} of {targets} connectivity targets answer");
    let (ordinal, status, previous, error, mut remarks) = match change {
        Change::Blind { .. } => {
            let remarks = vec!["Checks that fail are not counted meanwhile, and nobody is told of them".to_owned()];
            (0, network_status::BLIND, network_status::REACHABLE, Some(asked), remarks)
        }
        Change::Ignored { by, .. } => {
            let by = board.get(*by).map_or_else(|| by.to_string(), |entry| entry.known.endpoint.name.clone());
            let why = format!("{asked}, but {by} does");
            let remarks = vec!["Checks that fail are counted; the targets are ignored until they answer".to_owned()];
            (1, network_status::IGNORED, network_status::BLIND, Some(why), remarks)
        }
        Change::Over { .. } => (2, network_status::REACHABLE, network_status::BLIND, None, Vec::new()),
        Change::Heeded { .. } => (2, network_status::REACHABLE, network_status::IGNORED, None, Vec::new()),
    };
    if ordinal == 2 {
        let seconds = (until - since).to_std().unwrap_or_default().as_secs();
        let length = humantime::format_duration(Duration::from_secs(seconds.max(1)));
        remarks.push(format!("It lasted {length}, since {}", since.format("%Y-%m-%d %H:%M:%S UTC")));
    }
    let facts = facts(since, ordinal, (status, previous), error, remarks, now);
    let channels = if routing.enabled { routing.channels_for(None, facts.severity) } else { Vec::new() };
    let first = (ordinal > 0).then(|| notification_id(Subject::OwnNetwork, since, Event::Blind, 0));
    let told = Told { facts, endpoint: None, incident: None, first_of_incident: first };
    Outgoing::new(told, channels, routing, now)
}

fn facts(
    since: Timestamp,
    ordinal: u32,
    (status, previous_status): (&str, &str),
    error: Option<String>,
    remarks: Vec<String>,
    now: Timestamp,
) -> Notification {
    let id = notification_id(Subject::OwnNetwork, since, Event::Blind, ordinal);
    Notification {
        status: status.to_owned(),
        previous_status: previous_status.to_owned(),
        severity: Severity::Critical,
        error,
        remarks,
        ..Notification::about("own_network", "own network".to_owned(), id, Event::Blind, now)
    }
}
