//! Attempts that fail are noted on the board while the check goes on: a parent counts as down from then, not only when
//! the last of its attempts has failed too.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::board::Board;
use crate::checks::Checker;
use crate::clock::Clock;
use crate::domain::check::{CheckSpec, Observation, judge};
use crate::domain::endpoint::{EndpointId, Origin};
use crate::domain::outcome::Outcome;

/// A checker of one check of an endpoint. What it noted is over with the check.
#[derive(Debug)]
pub(super) struct Noting<'a> {
    checker: &'a dyn Checker,
    board: &'a Board,
    clock: &'a dyn Clock,
    /// `None`: nobody depends on it.
    parent: Option<EndpointId>,
}

impl<'a> Noting<'a> {
    pub(super) fn new(checker: &'a dyn Checker, board: &'a Board, clock: &'a dyn Clock, id: EndpointId) -> Self {
        Self { checker, board, clock, parent: board.graph().is_parent(id).then_some(id) }
    }
}

impl Checker for Noting<'_> {
    fn check<'a>(&'a self, spec: &'a CheckSpec, origin: Origin, deadline: Instant) -> BoxFuture<'a, Observation> {
        let Some(id) = self.parent else { return self.checker.check(spec, origin, deadline) };
        Box::pin(async move {
            let observation = self.checker.check(spec, origin, deadline).await;
            self.board
                .note_attempt(id, matches!(judge(spec, &observation, self.clock.now()).outcome, Outcome::Down(_)));
            observation
        })
    }
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.parent {
            self.board.note_attempt(id, false);
        }
    }
}
