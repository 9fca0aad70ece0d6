//! Which endpoints are in maintenance, as it was seen last: what begins and ends is told, and after the end a check comes
//! before anybody is told of what lasts.

use std::collections::HashSet;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::EndpointState;
use crate::domain::recheck::{Rechecks, Request};
use crate::domain::suppression::{Facts, Hold};

/// The endpoints in maintenance, and those that were lately.
#[derive(Debug, Default)]
pub struct Maintained {
    now: HashSet<EndpointId>,
    /// Those that were, and are checked before anybody is told of them.
    rechecks: Rechecks,
}

/// What has changed, each in the order of its ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub begun: Vec<EndpointId>,
    pub ended: Vec<EndpointId>,
}

impl Maintained {
    /// These are in maintenance.
    pub fn begin(now: HashSet<EndpointId>) -> Self {
        Self { now, rechecks: Rechecks::default() }
    }

    /// A check was taken in. One in a window counts for the window, which may be over before it is asked again what is
    /// open.
    pub fn note(&mut self, result: &CheckResult) {
        if result.in_maintenance {
            self.now.insert(result.endpoint_id);
        }
        self.rechecks.note(result);
    }

    /// Whether none was in maintenance when it was last asked.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    /// Takes what is in maintenance now. What failed in a window that is over is to be checked at once.
    ///
    /// `is_checked`: whether an endpoint is checked at all. `is_in_question`: [`EndpointState::is_in_question`].
    pub fn follow(
        &mut self,
        present: HashSet<EndpointId>,
        is_checked: impl Fn(EndpointId) -> bool,
        is_in_question: impl Fn(EndpointId) -> bool,
        now: Timestamp,
    ) -> Changes {
        self.rechecks.tidy(now);
        let mut changes = Changes {
            begun: present.difference(&self.now).copied().collect(),
            ended: self.now.difference(&present).copied().filter(|id| is_checked(*id)).collect(),
        };
        changes.begun.sort_unstable();
        changes.ended.sort_unstable();
        for id in changes.ended.iter().copied().filter(|id| is_in_question(*id)) {
            // What failed in the window tells nothing, whenever it began.
            self.rechecks.begin(id, Timestamp::MIN_UTC, now);
        }
        self.now = present;
        changes
    }

    /// What keeps messages back, where all that is known of an endpoint is of a window that has just ended.
    pub fn beside(
        &self,
        facts: Facts,
        id: EndpointId,
        state: &EndpointState,
        newest: Option<&CheckResult>,
        now: Timestamp,
    ) -> Facts {
        let Some(until) = self.rechecks.wait(id, state, newest, now) else { return facts };
        let waits = || Hold { name: String::new(), until: Some(until) };
        Facts { maintenance: Some(facts.maintenance.clone().unwrap_or_else(waits)), ..facts }
    }

    /// Hands over the checks that are to be made, until `take` has no room for one.
    pub fn hand_over(&mut self, take: impl FnMut(Request) -> bool) {
        self.rechecks.hand_over(take);
    }
}
