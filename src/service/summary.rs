//! How the whole stands, counted on the board.

use crate::board::{Board, Entry};
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::Status;

/// Counts of current endpoints. Every active endpoint is in exactly one of healthy (of which `degraded` are
/// some), unhealthy, pending, unknown and maintenance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    pub total: u64,
    pub active: u64,
    pub inactive: u64,
    /// Up or degraded.
    pub healthy: u64,
    /// Down.
    pub unhealthy: u64,
    pub degraded: u64,
    /// No verdict yet.
    pub pending: u64,
    pub unknown: u64,
    pub maintenance: u64,
    /// Endpoints with an incident that is not resolved, its recovery perhaps held.
    pub open_incidents: u64,
    /// The endpoint in the worst condition, if any is not well: down the longest, else degraded the longest.
    pub worst: Option<Worst>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Worst {
    pub id: EndpointId,
    pub name: String,
    pub group: String,
    pub status: Status,
    pub since: crate::domain::Timestamp,
}

/// Counts the board.
pub fn summary(board: &Board) -> Summary {
    let entries = board.entries();
    let mut sum = Summary::default();
    for entry in &entries {
        sum.total += 1;
        if entry.known.is_checked() {
            sum.active += 1;
        } else {
            sum.inactive += 1;
        }
        sum.open_incidents += u64::from(entry.live.state.incident.is_some());
        match entry.status() {
            Status::Up => sum.healthy += 1,
            Status::Degraded => {
                sum.healthy += 1;
                sum.degraded += 1;
            }
            Status::Down => sum.unhealthy += 1,
            Status::Pending => sum.pending += 1,
            Status::Unknown => sum.unknown += 1,
            Status::Maintenance => sum.maintenance += 1,
            Status::Paused => {}
        }
    }
    sum.worst = worst(&entries);
    sum
}

fn worst(entries: &[Entry]) -> Option<Worst> {
    let severity = |entry: &Entry| match entry.status() {
        Status::Down => Some(0),
        Status::Degraded => Some(1),
        _ => None,
    };
    entries
        .iter()
        .filter_map(|entry| Some((severity(entry)?, entry.since(), entry)))
        .min_by_key(|(severity, since, _)| (*severity, *since))
        .map(|(_, since, entry)| Worst {
            id: entry.known.id,
            name: entry.known.endpoint.name.clone(),
            group: entry.known.endpoint.group.clone(),
            status: entry.status(),
            since,
        })
}
