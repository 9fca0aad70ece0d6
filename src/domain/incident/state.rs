//! What is remembered of an endpoint between two checks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::degraded::Impaired;
use super::{after, before, passing};
use crate::domain::Timestamp;
use crate::domain::alert_policy::{AlertPolicy, FailureThreshold};
use crate::domain::check::CheckResult;
use crate::domain::notification::Event;
use crate::domain::outcome::{Failure, Status};
use crate::domain::suppression::{Facts, Hold};

/// What is remembered of an endpoint between two checks. Stored, so that a restart in the middle of a run
/// neither repeats nor forgets. A good check of a healthy endpoint changes nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// The confirmed status: pending, up, degraded or down. Paused and the like are not kept here.
    pub status: Status,
    /// Since when: the first check of the run that confirmed it; for pending when the endpoint was made.
    pub since: Timestamp,
    /// Failed checks in a row, or in the window, while not down; at most the threshold.
    pub failures: u32,
    /// Good checks in a row while down, at most the threshold.
    pub successes: u32,
    /// When the check began that began the run counted in `failures` or `successes`.
    pub run_started_at: Option<Timestamp>,
    /// Why it is down: the failure of the confirming check.
    pub cause: Option<Failure>,
    /// The incident that is open, if one is. Down always has one; a recovery that is held has one too.
    pub incident: Option<OpenIncident>,
    /// The last recovery that was told, for the cooldown. While an incident is open: of that one, which was reopened.
    pub recovered: Option<Recovered>,
    /// The rest.
    pub trail: Trail,
}

/// What has no column of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trail {
    /// The newest checks that count for a threshold of N of M, from the first failure on: when a failed one began, and
    /// null for a good one. Empty for thresholds in a row, and without a failure. At most
    /// [`MOST_CHECKS`](crate::domain::alert_policy::MOST_CHECKS).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub window: Vec<Option<Timestamp>>,
    /// The newest changes of status, for flapping; one more than the policy lets pass, at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Timestamp>,
    /// It was told that nobody watches it, since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwatched: Option<Timestamp>,
    /// Of an endpoint that is good, and degraded.
    #[serde(skip_serializing_if = "Impaired::is_nothing")]
    pub impaired: Impaired,
}

/// An incident that is not resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIncident {
    /// The first failed check of the run that opened it; with the endpoint its identity.
    pub started_at: Timestamp,
    /// The confirmation.
    pub opened_at: Timestamp,
    /// The first failed check of the present or last time down.
    pub span_started_at: Timestamp,
    /// It was told over once already, so that the next recovery is held.
    pub reopened: bool,
    /// Why it is, or last was, down.
    pub cause: Failure,
    /// Reminders told.
    pub reminders: u32,
    pub remind_at: Option<Timestamp>,
    /// A recovery that is not told yet.
    pub held: Option<HeldRecovery>,
    /// The outage that something keeps back: told once nothing does, if it is still down.
    #[serde(default)]
    pub untold: Option<Event>,
    /// Something of it was told, so its end is told too.
    #[serde(default = "yes")]
    pub is_told: bool,
    /// Steps of the escalation told.
    #[serde(default)]
    pub escalated: u32,
    #[serde(default)]
    pub escalate_at: Option<Timestamp>,
    /// The newest acknowledgement.
    #[serde(default)]
    pub acknowledged: Option<Acknowledged>,
    /// How many there were.
    #[serde(default)]
    pub acknowledgements: u32,
    /// It goes up and down.
    #[serde(default)]
    pub flapping: Option<Flapping>,
    /// Down, and a maintenance window is open: that time is no downtime.
    #[serde(default)]
    pub maintained: bool,
}

/// Before anything could be kept back, everything was told.
fn yes() -> bool {
    true
}

/// A recovery that waits until the endpoint has stayed good for the cooldown, or, flapping, for its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecovery {
    /// The first good check of the run.
    pub since: Timestamp,
    pub release_at: Timestamp,
}

/// Somebody looks after an outage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The name of the key.
    pub by: String,
    pub at: Timestamp,
    pub until: Timestamp,
    pub note: Option<String>,
    /// Its time is up: reminders and escalation go on.
    #[serde(default)]
    pub is_over: bool,
}

/// An endpoint that goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flapping {
    /// The change that was one too many.
    pub since: Timestamp,
    /// When it has stayed down for long enough to be told so; `None` while it is up.
    pub steady_at: Option<Timestamp>,
}

/// A recovery that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    pub told_at: Timestamp,
    /// Of the incident that it ended, which a new outage within the cooldown opens again.
    pub started_at: Timestamp,
    pub opened_at: Timestamp,
}

impl EndpointState {
    /// The state of an endpoint that has no verdict yet.
    pub fn pending(since: Timestamp) -> Self {
        Self {
            status: Status::Pending,
            since,
            failures: 0,
            successes: 0,
            run_started_at: None,
            cause: None,
            incident: None,
            recovered: None,
            trail: Trail::default(),
        }
    }

    /// The same status with its counters started again: what is checked was changed. The incident stays.
    #[must_use]
    pub fn recounted(&self) -> Self {
        let mut trail = Trail { changes: Vec::new(), ..self.trail.clone() };
        trail.impaired.uncount();
        Self { trail, ..self.clone() }.uncounted()
    }

    /// No run is under way.
    pub(super) fn uncounted(mut self) -> Self {
        (self.failures, self.successes, self.run_started_at) = (0, 0, None);
        self.trail.window.clear();
        self
    }

    /// Something was told, or is to be told, that is not over.
    pub fn is_open(&self) -> bool {
        let impaired = &self.trail.impaired;
        self.incident.is_some() || self.trail.unwatched.is_some() || impaired.told.is_some() || impaired.waits()
    }

    /// A failure or a recovery is not confirmed: the next check should come early, also after a restart.
    pub fn is_unconfirmed(&self) -> bool {
        self.failures > 0 || self.successes > 0
    }

    /// Its newest check failed, or what was seen before is not confirmed: a check is due before anything is told of it.
    pub fn is_in_question(&self, newest: Option<&CheckResult>) -> bool {
        self.is_unconfirmed() || newest.is_some_and(|verdict| !verdict.outcome.is_good())
    }

    pub(super) fn is_down(&self) -> bool {
        self.status == Status::Down
    }

    /// With one more check that counts, while not down: the start of a failed one, `None` for a good one.
    pub(super) fn counted(&self, failed: Option<Timestamp>, policy: &AlertPolicy) -> Self {
        if failed.is_none() && self.failures == 0 && self.trail.window.is_empty() {
            // The everyday case.
            return self.clone().uncounted();
        }
        let mut window = self.trail.window.clone();
        if window.is_empty()
            && let Some(began) = self.run_started_at
        {
            // In a row until now.
            window = vec![Some(began); self.failures.min(policy.failure_threshold.of) as usize];
        }
        let window = slid(&window, failed, policy.failure_threshold);
        let mut state = self.clone().uncounted();
        state.failures = u32::try_from(window.iter().flatten().count()).unwrap_or(u32::MAX);
        state.run_started_at = window.first().copied().flatten();
        if !policy.failure_threshold.is_in_a_row() {
            state.trail.window = window;
        }
        state
    }

    /// Notes a change of status; whether it was one too many.
    pub(super) fn note_change(&mut self, at: Timestamp, policy: &AlertPolicy) -> bool {
        let Some(flap) = &policy.flap else {
            self.trail.changes.clear();
            return false;
        };
        let oldest = before(at, flap.window);
        let changes = &mut self.trail.changes;
        // Those of the future are of a clock that was set back.
        changes.retain(|change| *change > oldest && *change <= at);
        changes.push(at);
        let allowed = flap.changes as usize;
        changes.drain(..changes.len().saturating_sub(allowed + 1));
        changes.len() > allowed
    }

    /// What the machine itself knows to keep messages back, added to what is known around it.
    pub fn facts(&self, around: &Facts) -> Facts {
        let Some(incident) = &self.incident else { return around.clone() };
        let hold = |until| Some(Hold { name: String::new(), until: Some(until) });
        let ends = incident.held.map(|held| held.release_at);
        let acknowledged = incident.acknowledged.as_ref().filter(|acknowledged| !acknowledged.is_over);
        Facts {
            acknowledged: acknowledged.map(|a| Hold { name: a.by.clone(), until: Some(a.until) }),
            flapping: incident.flapping.and_then(|flapping| hold(ends.or(flapping.steady_at)?)),
            cooldown: ends.filter(|_| incident.flapping.is_none()).and_then(hold),
            ..around.clone()
        }
    }
}

impl OpenIncident {
    /// For how long a recovery is held; `None`: it is not.
    pub(super) fn holds(&self, policy: &AlertPolicy) -> Option<Duration> {
        match (self.flapping, &policy.flap) {
            (Some(_), Some(flap)) => Some(flap.window.max(policy.cooldown)),
            _ if self.reopened => Some(policy.cooldown).filter(|cooldown| !cooldown.is_zero()),
            _ => None,
        }
    }

    /// Plans reminders and escalation from now on.
    pub(super) fn planned(self, policy: &AlertPolicy, now: Timestamp) -> Self {
        let remind_at = policy.reminder.as_ref().map(|reminder| after(now, reminder.pause(self.reminders + 1)));
        let escalate_at = passing::pause_of_step(policy, self.escalated).map(|pause| after(now, pause));
        Self { remind_at, escalate_at, ..self }
    }
}

/// A window of checks with one more, as far as it matters for a threshold: from the first one that counts on.
pub(super) fn slid(
    window: &[Option<Timestamp>],
    next: Option<Timestamp>,
    threshold: FailureThreshold,
) -> Vec<Option<Timestamp>> {
    let mut window = window.to_vec();
    window.push(next);
    let first = if threshold.is_in_a_row() {
        window.iter().rposition(Option::is_none).map_or(0, |good| good + 1)
    } else {
        let surplus = window.len().saturating_sub(threshold.of as usize);
        window.iter().skip(surplus).position(Option::is_some).map_or(window.len(), |at| surplus + at)
    };
    window.drain(..first);
    window
}
