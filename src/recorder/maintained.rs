//! Which endpoints are in maintenance by the board, and what begins and ends there.

use std::collections::{HashMap, HashSet};

use crate::board::{Board, Entry};
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::maintenance::Maintained;

use super::tracked::Tracked;

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) begun: Vec<Entry>,
    pub(super) ended: Vec<Entry>,
}

/// The endpoints that are in maintenance now, their parents' included.
pub(super) fn present(board: &Board) -> HashSet<EndpointId> {
    let is_maintained = |entry: &Entry| entry.known.is_checked() && entry.maintenance.is_some();
    board.entries().iter().filter(|entry| is_maintained(entry)).map(|entry| entry.known.id).collect()
}

/// Follows the board.
pub(super) fn follow(
    maintained: &mut Maintained,
    board: &Board,
    tracked: &HashMap<EndpointId, Tracked>,
    now: Timestamp,
) -> Changed {
    let idle = maintained.is_empty() && !board.has_maintenance();
    let present = if idle { HashSet::new() } else { present(board) };
    let is_checked = |id| board.get(id).is_some_and(|entry| entry.known.is_checked());
    // What reports by itself cannot be checked to find out.
    let can_be_checked = |id| board.get(id).is_some_and(|entry| entry.known.endpoint.check.push().is_none());
    let is_failing =
        |id| tracked.get(&id).is_some_and(|of_it| of_it.state.is_in_question(of_it.last_verdict.as_deref()));
    let is_in_question = |id| can_be_checked(id) && is_failing(id);
    let changes = maintained.follow(present, is_checked, is_in_question, now);
    let entries = |ids: Vec<EndpointId>| ids.into_iter().filter_map(|id| board.get(id)).collect();
    Changed { begun: entries(changes.begun), ended: entries(changes.ended) }
}
