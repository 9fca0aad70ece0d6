//! Which endpoints are in maintenance, as it was seen last: what begins and ends is told, and after the end a check comes
//! before anybody is told of what lasts.

use std::collections::HashSet;

use tokio::sync::mpsc;

use crate::board::{Board, Entry};
use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::EndpointState;
use crate::events::ConfirmRequest;

use super::rechecked::Rechecks;

/// The endpoints in maintenance, and those that were lately.
#[derive(Debug, Default)]
pub(super) struct Maintained {
    now: HashSet<EndpointId>,
    /// Those that were, and are checked before anybody is told of them.
    rechecks: Rechecks,
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
        Self { now, rechecks: Rechecks::default() }
    }

    /// A check was made in a window, which may be over before the board is looked at.
    pub(super) fn note(&mut self, id: EndpointId) {
        self.now.insert(id);
    }

    /// Follows the board.
    pub(super) fn follow(&mut self, board: &Board, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        self.rechecks.tidy(now);
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
                changes.ended.push(entry);
            }
        }
        self.now = present;
        changes
    }

    /// Has an endpoint checked after its window: what failed in it tells nothing.
    pub(super) fn recheck(&mut self, id: EndpointId, now: Timestamp) {
        self.rechecks.begin(id, Timestamp::MIN_UTC, now);
    }

    /// Until when messages wait at most, where what is known of an endpoint is of a window that has just ended.
    pub(super) fn waits_for_a_check(
        &self,
        id: EndpointId,
        state: &EndpointState,
        newest: Option<&CheckResult>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.rechecks.wait(id, state, newest, now)
    }

    /// Hands over what is to be examined, as far as there is room.
    pub(super) fn send(&mut self, confirmations: &mpsc::Sender<ConfirmRequest>) {
        self.rechecks.send(confirmations);
    }
}
