//! Endpoints whose messages were kept back until now: each is checked first, and told of only if it still fails.

use std::collections::{HashMap, VecDeque};

use chrono::TimeDelta;
use tokio::sync::mpsc;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::EndpointState;
use crate::domain::outcome::Outcome;
use crate::events::ConfirmRequest;

/// How long a message waits at most for the check, whatever holds that up.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(2);

/// The endpoints that wait, and the checks to be asked for. At most one of each endpoint, and one attempt at each
/// parent.
#[derive(Debug, Default)]
pub(super) struct Rechecks {
    waiting: HashMap<EndpointId, Recheck>,
    /// What there was no room for yet, in its order.
    to_send: VecDeque<ConfirmRequest>,
}

#[derive(Debug, Clone, Copy)]
struct Recheck {
    /// A check that began before tells nothing.
    since: Timestamp,
    until: Timestamp,
}

impl Recheck {
    fn is_told_by(self, verdict: &CheckResult) -> bool {
        !verdict.in_maintenance && verdict.started_at >= self.since
    }
}

impl Rechecks {
    /// Has an endpoint checked at once. A check in maintenance, or that began before `since`, tells nothing.
    pub(super) fn begin(&mut self, id: EndpointId, since: Timestamp, now: Timestamp) {
        self.waiting.insert(id, Recheck { since, until: now + LONGEST_WAIT });
        self.ask(ConfirmRequest::now(id));
    }

    /// Has a check made.
    pub(super) fn ask(&mut self, request: ConfirmRequest) {
        self.to_send.push_back(request);
    }

    /// Hands over what is to be asked for, as far as there is room.
    pub(super) fn send(&mut self, confirmations: &mpsc::Sender<ConfirmRequest>) {
        while let Some(request) = self.to_send.front() {
            match confirmations.try_send(*request) {
                Err(mpsc::error::TrySendError::Full(_)) => return,
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => drop(self.to_send.pop_front()),
            }
        }
    }

    /// A check that was under way before has ended: it took the place of the one that was asked for.
    pub(super) fn note(&mut self, result: &CheckResult) {
        if let Some(recheck) = self.waiting.get(&result.endpoint_id)
            && !recheck.is_told_by(result)
            && !matches!(result.outcome, Outcome::Missed(_))
        {
            self.ask(ConfirmRequest::now(result.endpoint_id));
        }
    }

    /// Until when messages about an endpoint wait at most; `None`: it has been checked since, and how it is now counts.
    /// While a recovery is to be confirmed, that is waited for too.
    pub(super) fn wait(
        &self,
        id: EndpointId,
        state: &EndpointState,
        newest: Option<&CheckResult>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let recheck = self.waiting.get(&id).filter(|recheck| recheck.is_due_after(now))?;
        let is_told = newest.is_some_and(|newest| recheck.is_told_by(newest)) && state.successes == 0;
        (!is_told).then_some(recheck.until)
    }

    /// Forgets those that wait no longer.
    pub(super) fn tidy(&mut self, now: Timestamp) {
        self.waiting.retain(|_, recheck| recheck.is_due_after(now));
    }

    pub(super) fn forget(&mut self, id: EndpointId) {
        self.waiting.remove(&id);
    }
}

impl Recheck {
    /// Also after the clock was set back.
    fn is_due_after(&self, now: Timestamp) -> bool {
        now < self.until && self.until <= now + LONGEST_WAIT
    }
}
