//! Which endpoints are in maintenance, as it was seen last: what begins and ends is told, and after the end a check comes
//! before anybody is told of what lasts.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;

use crate::board::{Board, Entry};
use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;

/// How long a message waits at most for the check after a window, whatever holds that up.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(2);

/// The endpoints in maintenance, and those that were lately.
#[derive(Debug, Default)]
pub(super) struct Maintained {
    now: HashSet<EndpointId>,
    /// Until when each waits for its check at most.
    waiting: HashMap<EndpointId, Timestamp>,
}

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) begun: Vec<Entry>,
    pub(super) ended: Vec<Entry>,
}

fn is_maintained(entry: &Entry) -> bool {
    entry.known.is_checked() && entry.maintenance.is_some()
}

impl Maintained {
    /// As the board shows it.
    pub(super) fn begin(board: &Board) -> Self {
        let now = board.entries().iter().filter(|entry| is_maintained(entry)).map(|entry| entry.known.id).collect();
        Self { now, waiting: HashMap::new() }
    }

    /// A check was made in a window, which may be over before the board is looked at.
    pub(super) fn note(&mut self, id: EndpointId) {
        self.now.insert(id);
    }

    /// Follows the board.
    pub(super) fn follow(&mut self, board: &Board, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        self.waiting.retain(|_, until| now < *until && *until <= now + LONGEST_WAIT);
        if self.now.is_empty() && !board.has_maintenance() {
            return changes;
        }
        let mut present = HashSet::new();
        for entry in board.entries() {
            let id = entry.known.id;
            if is_maintained(&entry) {
                present.insert(id);
                if !self.now.contains(&id) {
                    changes.begun.push(entry);
                }
            } else if self.now.contains(&id) && entry.known.is_checked() {
                self.waiting.insert(id, now + LONGEST_WAIT);
                changes.ended.push(entry);
            }
        }
        self.now = present;
        changes
    }

    /// Until when messages wait at most, where what is known of an endpoint is of a window that has just ended.
    pub(super) fn waits_for_a_check(
        &self,
        id: EndpointId,
        newest: Option<&CheckResult>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let until = self.waiting.get(&id).copied().filter(|until| now < *until);
        until.filter(|_| newest.is_some_and(|newest| newest.in_maintenance))
    }
}
