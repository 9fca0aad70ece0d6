//! Which endpoints are in maintenance, as it was seen last: what begins and ends is told, and after the end a check comes
//! before anybody is told of what lasts.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::suppression::{Facts, Hold};

/// How long a message waits at most for the check after a window, whatever holds that up.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(2);

/// The endpoints in maintenance, and those that were lately.
#[derive(Debug, Default)]
pub struct Maintained {
    now: HashSet<EndpointId>,
    /// Until when each waits for its check at most.
    waiting: HashMap<EndpointId, Timestamp>,
}

/// What has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub begun: Vec<EndpointId>,
    /// What failed in these is to be checked at once.
    pub ended: Vec<EndpointId>,
}

impl Maintained {
    /// These are in maintenance.
    pub fn begin(now: HashSet<EndpointId>) -> Self {
        Self { now, waiting: HashMap::new() }
    }

    /// A check was made in a window, which may be over before it is asked again what is open.
    pub fn note(&mut self, id: EndpointId) {
        self.now.insert(id);
    }

    /// Whether none was in maintenance when it was last asked.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    /// Waits no longer than the time has come to, which may have been set back.
    pub fn let_time_pass(&mut self, now: Timestamp) {
        self.waiting.retain(|_, until| now < *until && *until <= now + LONGEST_WAIT);
    }

    /// Takes what is in maintenance now. `is_checked`: whether an endpoint is checked at all.
    pub fn follow(
        &mut self,
        present: HashSet<EndpointId>,
        is_checked: impl Fn(EndpointId) -> bool,
        now: Timestamp,
    ) -> Changes {
        let mut changes = Changes {
            begun: present.difference(&self.now).copied().collect(),
            ended: self.now.difference(&present).copied().filter(|id| is_checked(*id)).collect(),
        };
        changes.begun.sort_unstable();
        changes.ended.sort_unstable();
        self.waiting.extend(changes.ended.iter().map(|id| (*id, now + LONGEST_WAIT)));
        self.now = present;
        changes
    }

    /// What keeps messages back, where all that is known of an endpoint is of a window that has just ended.
    pub fn beside(&self, facts: Facts, id: EndpointId, newest: Option<&CheckResult>, now: Timestamp) -> Facts {
        let until = self.waiting.get(&id).copied().filter(|until| now < *until);
        match until.filter(|_| newest.is_some_and(|newest| newest.in_maintenance)) {
            Some(until) => {
                let waits = || Hold { name: String::new(), until: Some(until) };
                Facts { maintenance: Some(facts.maintenance.clone().unwrap_or_else(waits)), ..facts }
            }
            None => facts,
        }
    }
}
