//! Endpoints that are good and degraded: that status is confirmed and ended by the thresholds of outages, and told where
//! the policy says so. It opens no incident. While one is open, and while something keeps messages back, nothing is said
//! of it; if it lasts, it is told then.
//!
//! As with outages the cooldown damps ends, never beginnings: within it of a told end it is told again at once, and its
//! next end only once the endpoint has not been degraded for the cooldown.

use serde::{Deserialize, Serialize};

use super::{
    AlertPolicy, CheckResult, EndpointState, Event, Facts, HeldRecovery, IncidentChange, Matter, Outcome, Status, Step,
    Suppressor, Tell, Timestamp, Transition, Trigger, after, slid, suppression,
};

/// What is remembered of an endpoint that is, was or may soon be degraded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Impaired {
    /// The newest good checks that count for the threshold while it is not degraded, from the first degraded one on: when a
    /// degraded one began, and null for one that was not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub window: Vec<Option<Timestamp>>,
    /// While degraded, checks in a row that were not.
    pub recovering: u32,
    /// When the first of them began.
    pub recovering_since: Option<Timestamp>,
    /// It was told, and its end is not: the first check of that span.
    pub told: Option<Timestamp>,
    /// It is to be told once nothing keeps that back.
    pub untold: bool,
    /// It was told over within the cooldown, so that its next end is held.
    pub again: bool,
    /// An end that is not told yet.
    pub held: Option<HeldRecovery>,
    /// When an end was told last.
    pub ended: Option<Timestamp>,
}

impl Impaired {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Time may have something to do.
    pub(super) fn waits(&self) -> bool {
        self.untold || self.held.is_some()
    }

    /// No run is under way.
    pub(super) fn uncount(&mut self) {
        self.window.clear();
        (self.recovering, self.recovering_since) = (0, None);
    }

    /// An outage was told to be over, or is: that ends this too. Whether this was told.
    pub(super) fn end_with_outage(&mut self) -> bool {
        (self.held, self.again) = (None, false);
        self.told.take().is_some()
    }

    /// It is told from now on.
    fn tell(&mut self, span: Timestamp, policy: &AlertPolicy, now: Timestamp) {
        (self.untold, self.told) = (false, Some(span));
        self.again = self.ended.is_some_and(|ended| now < after(ended, policy.cooldown));
    }

    /// The end of what was told. Its message, where recoveries are told.
    fn end(&mut self, since: Timestamp, policy: &AlertPolicy, now: Timestamp) -> Option<Tell> {
        (self.told, self.held, self.again) = (None, None, false);
        self.ended = Some(now);
        // The ordinal tells it from another end that began with the same check.
        policy.send_recovery.then(|| Tell { ordinal: 1, ..Tell::of(Event::Up, since) })
    }
}

/// A failed check: it says nothing of being degraded, but an end under way did not hold.
pub(super) fn after_failure(mut step: Step) -> Step {
    let impaired = &mut step.state.trail.impaired;
    (impaired.recovering, impaired.recovering_since, impaired.held) = (0, None, None);
    if step.state.status == Status::Down {
        impaired.uncount();
        impaired.untold = false;
    }
    step
}

/// A good check, after the outage machine has had it.
pub(super) fn after_success(
    mut step: Step,
    result: &CheckResult,
    policy: &AlertPolicy,
    around: &Facts,
    now: Timestamp,
) -> Step {
    if step.state.status == Status::Down || result.in_maintenance {
        return step;
    }
    if step.transition.is_some() {
        // What it is beside being up is seen from the next check on.
        step.state.trail.impaired.uncount();
        return step;
    }
    match (&result.outcome, step.state.status) {
        (Outcome::Degraded, Status::Degraded) => {
            let impaired = &mut step.state.trail.impaired;
            (impaired.recovering, impaired.recovering_since) = (0, None);
            step
        }
        (Outcome::Degraded, _) => degraded(step, result, policy, around, now),
        (_, Status::Degraded) => better(step, result, policy, now),
        _ => well(step, result, policy, now),
    }
}

fn degraded(mut step: Step, result: &CheckResult, policy: &AlertPolicy, around: &Facts, now: Timestamp) -> Step {
    let impaired = &mut step.state.trail.impaired;
    impaired.held = None;
    if result.trigger == Trigger::Manual {
        return step;
    }
    impaired.window = slid(&impaired.window, Some(result.started_at), policy.failure_threshold);
    let count = impaired.window.iter().flatten().count();
    if count < policy.failure_threshold.failures as usize {
        return step;
    }
    let since = impaired.window.first().copied().flatten().unwrap_or(result.started_at);
    impaired.uncount();
    step.transition = Some(Transition { from: step.state.status, to: Status::Degraded, since, at: result.started_at });
    (step.state.status, step.state.since) = (Status::Degraded, since);
    // Where its last end is not told, nothing is told of this either.
    if !policy.notify_degraded || impaired.told.is_some() {
        return step;
    }
    if step.incident.is_some() || step.state.incident.is_some() {
        impaired.untold = true;
        return step;
    }
    let held_by = quieted_by(around, now);
    if held_by.is_some() {
        impaired.untold = true;
    } else {
        impaired.tell(since, policy, now);
    }
    step.incident = Some(IncidentChange::Impaired { since });
    step.tell = Some(Tell { held_by, ..Tell::of(Event::Degraded, since) });
    step
}

/// Degraded until now, and this check was not.
fn better(mut step: Step, result: &CheckResult, policy: &AlertPolicy, now: Timestamp) -> Step {
    let impaired = &mut step.state.trail.impaired;
    let since = *impaired.recovering_since.get_or_insert(result.started_at);
    impaired.recovering = impaired.recovering.saturating_add(1);
    if impaired.recovering < policy.success_threshold {
        return step;
    }
    impaired.uncount();
    impaired.untold = false;
    step.transition = Some(Transition { from: Status::Degraded, to: Status::Up, since, at: result.started_at });
    (step.state.status, step.state.since) = (Status::Up, since);
    ended(step, since, policy, now)
}

/// Neither degraded now nor before.
fn well(mut step: Step, result: &CheckResult, policy: &AlertPolicy, now: Timestamp) -> Step {
    let impaired = &mut step.state.trail.impaired;
    if !impaired.window.is_empty() {
        impaired.window = slid(&impaired.window, None, policy.failure_threshold);
    }
    if impaired.held.is_some() {
        return step;
    }
    // A held end that did not hold begins again.
    ended(step, result.started_at, policy, now)
}

/// What was told is over, or will be once it has stayed so.
fn ended(mut step: Step, since: Timestamp, policy: &AlertPolicy, now: Timestamp) -> Step {
    // The end of an open incident is told, and with it this.
    if step.state.trail.impaired.told.is_none() || step.state.incident.is_some() {
        return step;
    }
    let impaired = &mut step.state.trail.impaired;
    if impaired.again && !policy.cooldown.is_zero() {
        impaired.held = Some(HeldRecovery { since, release_at: after(now, policy.cooldown) });
    } else if step.incident.is_some() {
        // Something else is told of this check.
        impaired.held = Some(HeldRecovery { since, release_at: now });
    } else {
        step.incident = Some(IncidentChange::Unimpaired { since });
        step.tell = impaired.end(since, policy, now);
    }
    step
}

/// What keeps it back: what counts for failures alone does not.
fn quieted_by(around: &Facts, now: Timestamp) -> Option<Suppressor> {
    let of_failures = |by: &Suppressor| matches!(by, Suppressor::StartGrace | Suppressor::OwnNetwork);
    suppression::all(Matter::Opening, around, now).map(|held| held.by).find(|by| !of_failures(by))
}

/// What the passing of time does where no incident is open.
pub(super) fn advance(state: &EndpointState, policy: &AlertPolicy, around: &Facts, now: Timestamp) -> Option<Step> {
    let mut state = state.clone();
    let since = state.since;
    let status = state.status;
    let impaired = &mut state.trail.impaired;
    if let Some(held) = impaired.held {
        let latest = if impaired.again { after(now, policy.cooldown) } else { now };
        let release_at = held.release_at.min(latest);
        if now >= release_at {
            let tell = impaired.end(held.since, policy, now);
            let change = IncidentChange::Unimpaired { since: held.since };
            return Some(Step { incident: Some(change), tell, ..Step::to(state) });
        }
        impaired.held = Some(HeldRecovery { release_at, ..held });
        return (release_at != held.release_at).then(|| Step::to(state));
    }
    if !impaired.untold || status != Status::Degraded || !policy.notify_degraded || quieted_by(around, now).is_some() {
        return None;
    }
    impaired.tell(since, policy, now);
    let tell = Tell::of(Event::Degraded, since);
    Some(Step { incident: Some(IncidentChange::Impaired { since }), tell: Some(tell), ..Step::to(state) })
}
