//! The status and the incidents of an endpoint as a pure machine: state, result, policy → state, what changed,
//! what is to be told.
//!
//! It does not send, store, sleep or read a clock. The recorder feeds it results in the order of `scheduled_at`
//! and stores what changed, with the notifications, in the transaction of the results.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::check::{CheckResult, Trigger};
use crate::domain::notification::Event;
use crate::domain::outcome::{Failure, FailureKind, Outcome, Status};

/// What is remembered of an endpoint between two checks. Stored, so that a restart in the middle of a run
/// neither repeats nor forgets. A good check of a healthy endpoint changes nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// The confirmed status: pending, up, degraded or down. Paused and the like are not kept here.
    pub status: Status,
    /// Since when: the first check of the run that confirmed it; for pending when the endpoint was made.
    pub since: Timestamp,
    /// Failed checks in a row while not down, at most the threshold.
    pub failures: u32,
    /// Good checks in a row while down, at most the threshold.
    pub successes: u32,
    /// When the check began that began the run counted in `failures` or `successes`.
    pub run_started_at: Option<Timestamp>,
    /// Why it is down: the failure of the confirming check.
    pub cause: Option<Failure>,
    /// The incident that is open, if one is. Down always has one; a recovery that is held has one too.
    pub incident: Option<OpenIncident>,
    /// The last recovery that was told, for the cooldown.
    pub recovered: Option<Recovered>,
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
}

/// A recovery that waits until the endpoint has stayed good for the cooldown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecovery {
    /// The first good check of the run.
    pub since: Timestamp,
    pub release_at: Timestamp,
}

/// A recovery that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    pub told_at: Timestamp,
    /// Of the incident that it ended, which a new outage within the cooldown opens again.
    pub started_at: Timestamp,
    pub opened_at: Timestamp,
}

/// A change of the confirmed status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub from: Status,
    pub to: Status,
    /// The first check of the confirming run.
    pub since: Timestamp,
    /// The confirming check.
    pub at: Timestamp,
}

/// What happened to the incident of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncidentChange {
    /// A new one; the state holds it.
    Opened,
    /// Down again within the cooldown of a told recovery: the resolved one is open again.
    Reopened,
    /// Down again while its recovery was held.
    DownAgain,
    /// The failure is another one than before.
    CauseChanged,
    /// Good again, and the recovery is held.
    RecoveryHeld {
        since: Timestamp,
    },
    Resolved {
        incident: OpenIncident,
        resolved_at: Timestamp,
    },
    /// It is no longer monitored.
    Abandoned {
        incident: OpenIncident,
        at: Timestamp,
    },
    Reminded,
    /// What kept it from being told is over, and it still lasts.
    HoldEnded,
}

/// One thing to tell, by the deterministic parts of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tell {
    pub event: Event,
    /// The instant that began what is told: of the first failed check for down events, of the first good one
    /// for recoveries.
    pub span: Timestamp,
    /// Counts reminders.
    pub ordinal: u32,
}

/// What one result, or the passing of time, did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub state: EndpointState,
    pub transition: Option<Transition>,
    /// A failure or a recovery is unconfirmed: the next check should come early.
    pub confirm: bool,
    pub incident: Option<IncidentChange>,
    pub tell: Option<Tell>,
}

/// What holds around the endpoint when a result is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// The process has just started and nothing has succeeded yet: failures of the name and connect layers may be
    /// our own network's, and open nothing.
    pub start_grace: bool,
}

/// Whether a failure lies in the layers that our own network, just coming up, would fail in.
fn may_be_our_network(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::DnsNxdomain
            | FailureKind::DnsServfail
            | FailureKind::DnsRefused
            | FailureKind::DnsTimeout
            | FailureKind::DnsNoRecords
            | FailureKind::ConnectRefused
            | FailureKind::ConnectReset
            | FailureKind::ConnectTimeout
            | FailureKind::ConnectUnreachable
    )
}

fn after(at: Timestamp, pause: std::time::Duration) -> Timestamp {
    TimeDelta::from_std(pause).ok().and_then(|pause| at.checked_add_signed(pause)).unwrap_or(Timestamp::MAX_UTC)
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
        }
    }

    /// The same status with its counters started again: what is checked was changed. The incident stays.
    #[must_use]
    pub fn recounted(&self) -> Self {
        Self { failures: 0, successes: 0, run_started_at: None, ..self.clone() }
    }

    fn is_down(&self) -> bool {
        self.status == Status::Down
    }
}

impl Step {
    fn unchanged(state: &EndpointState) -> Self {
        Self::to(state.clone())
    }

    fn to(state: EndpointState) -> Self {
        Self { state, transition: None, confirm: false, incident: None, tell: None }
    }
}

/// Advances the machine by one result, taken in at `now`.
///
/// Missed results change nothing, nor do those in maintenance, but that good ones end an incident. A failure by hand ends a run of good checks but
/// never advances the failure threshold; a good check by hand counts fully.
pub fn step(
    state: &EndpointState,
    result: &CheckResult,
    policy: &AlertPolicy,
    around: Surroundings,
    now: Timestamp,
) -> Step {
    if result.in_maintenance && !(result.outcome.is_good() && state.incident.is_some()) {
        return Step::unchanged(state);
    }
    match &result.outcome {
        Outcome::Missed(_) => Step::unchanged(state),
        Outcome::Down(failure) => after_failure(state, result, failure, policy, around, now),
        Outcome::Up | Outcome::Degraded => after_success(state, result, policy, now),
    }
}

fn after_failure(
    state: &EndpointState,
    result: &CheckResult,
    failure: &Failure,
    policy: &AlertPolicy,
    around: Surroundings,
    now: Timestamp,
) -> Step {
    if state.is_down() {
        // A recovery under way did not hold.
        let mut step = Step::to(state.recounted());
        if state.cause.as_ref().is_some_and(|cause| cause.kind != failure.kind) {
            step.state.cause = Some(failure.clone());
            if let Some(incident) = &mut step.state.incident {
                incident.cause = failure.clone();
            }
            step.incident = Some(IncidentChange::CauseChanged);
        }
        return step;
    }
    // A held recovery did not hold either, however many failures a confirmation takes.
    let mut state = state.clone();
    if let Some(incident) = &mut state.incident {
        incident.held = None;
    }
    if result.trigger == Trigger::Manual {
        let confirm = state.failures > 0;
        return Step { confirm, ..Step::to(state) };
    }
    let run_started_at = match state.run_started_at {
        Some(at) if state.failures > 0 => at,
        _ => result.started_at,
    };
    let failures = state.failures.saturating_add(1);
    let held_back = around.start_grace && may_be_our_network(failure.kind) && state.incident.is_none();
    if failures < policy.failure_threshold || held_back {
        let failures = failures.min(policy.failure_threshold);
        let state = EndpointState { failures, run_started_at: Some(run_started_at), ..state };
        return Step { confirm: true, ..Step::to(state) };
    }
    confirmed_down(&state, result, failure, run_started_at, policy, now)
}

fn confirmed_down(
    state: &EndpointState,
    result: &CheckResult,
    failure: &Failure,
    span: Timestamp,
    policy: &AlertPolicy,
    now: Timestamp,
) -> Step {
    let transition = Transition { from: state.status, to: Status::Down, since: span, at: result.started_at };
    let remind_at = policy.reminder.as_ref().map(|reminder| after(now, reminder.pause(1)));
    let recent = state.recovered.filter(|recovered| now < after(recovered.told_at, policy.cooldown));
    let (incident, change, tell) = match (&state.incident, recent) {
        (Some(incident), _) => {
            let cause = failure.clone();
            let incident = OpenIncident { span_started_at: span, held: None, cause, ..incident.clone() };
            (incident, IncidentChange::DownAgain, None)
        }
        (None, Some(recovered)) => {
            let incident = OpenIncident {
                started_at: recovered.started_at,
                opened_at: recovered.opened_at,
                span_started_at: span,
                reopened: true,
                cause: failure.clone(),
                reminders: 0,
                remind_at,
                held: None,
            };
            (incident, IncidentChange::Reopened, Some(Event::DownAgain))
        }
        (None, None) => {
            let incident = OpenIncident {
                started_at: span,
                opened_at: result.started_at,
                span_started_at: span,
                reopened: false,
                cause: failure.clone(),
                reminders: 0,
                remind_at,
                held: None,
            };
            (incident, IncidentChange::Opened, Some(Event::Down))
        }
    };
    let state = EndpointState {
        status: Status::Down,
        since: span,
        cause: Some(failure.clone()),
        incident: Some(incident),
        recovered: None,
        ..state.recounted()
    };
    let tell = tell.map(|event| Tell { event, span, ordinal: 0 });
    Step { state, transition: Some(transition), confirm: false, incident: Some(change), tell }
}

fn after_success(state: &EndpointState, result: &CheckResult, policy: &AlertPolicy, now: Timestamp) -> Step {
    if state.status == Status::Pending {
        return confirmed_up(state, result.started_at, result.started_at, policy, now);
    }
    if !state.is_down() {
        let mut step = Step::to(state.recounted());
        if let Some(incident) = &mut step.state.incident
            && incident.held.is_none()
        {
            let since = result.started_at;
            incident.held = Some(HeldRecovery { since, release_at: after(now, policy.cooldown) });
        }
        return step;
    }
    let run_started_at = match state.run_started_at {
        Some(at) if state.successes > 0 => at,
        _ => result.started_at,
    };
    let successes = state.successes.saturating_add(1);
    if successes < policy.success_threshold {
        let state = EndpointState { successes, run_started_at: Some(run_started_at), ..state.clone() };
        return Step { confirm: true, ..Step::to(state) };
    }
    confirmed_up(state, run_started_at, result.started_at, policy, now)
}

fn confirmed_up(state: &EndpointState, since: Timestamp, at: Timestamp, policy: &AlertPolicy, now: Timestamp) -> Step {
    let transition = Transition { from: state.status, to: Status::Up, since, at };
    let mut up = EndpointState { status: Status::Up, since, cause: None, ..state.recounted() };
    let mut step = match up.incident.take() {
        None => Step::to(up),
        Some(incident) if incident.reopened && !policy.cooldown.is_zero() => {
            let held = Some(HeldRecovery { since, release_at: after(now, policy.cooldown) });
            up.incident = Some(OpenIncident { held, ..incident });
            Step { incident: Some(IncidentChange::RecoveryHeld { since }), ..Step::to(up) }
        }
        Some(incident) => resolved(up, incident, since, policy, now),
    };
    step.transition = Some(transition);
    step
}

fn resolved(
    mut state: EndpointState,
    incident: OpenIncident,
    resolved_at: Timestamp,
    policy: &AlertPolicy,
    now: Timestamp,
) -> Step {
    state.incident = None;
    state.recovered = policy.send_recovery.then_some(Recovered {
        told_at: now,
        started_at: incident.started_at,
        opened_at: incident.opened_at,
    });
    let tell = policy.send_recovery.then_some(Tell { event: Event::Up, span: resolved_at, ordinal: 0 });
    Step { incident: Some(IncidentChange::Resolved { incident, resolved_at }), tell, ..Step::to(state) }
}

/// Advances the machine by the passing of time: releases a held recovery, reminds of an open incident. `None` when
/// nothing is due at `now`.
///
/// Nothing waits for longer than the policy says now, whatever was planned: the clock may have been set back since,
/// or the policy changed.
pub fn advance(state: &EndpointState, policy: &AlertPolicy, now: Timestamp) -> Option<Step> {
    let incident = state.incident.as_ref()?;
    if let Some(held) = incident.held {
        let release_at = held.release_at.min(after(now, policy.cooldown));
        if now >= release_at {
            return Some(resolved(state.clone(), incident.clone(), held.since, policy, now));
        }
        let held = Some(HeldRecovery { release_at, ..held });
        return replanned(state, OpenIncident { held, ..incident.clone() });
    }
    if !state.is_down() {
        return None;
    }
    let Some(reminder) = &policy.reminder else {
        return replanned(state, OpenIncident { remind_at: None, ..incident.clone() });
    };
    let latest = after(now, reminder.pause(incident.reminders.saturating_add(1)));
    let remind_at = incident.remind_at.map_or(latest, |at| at.min(latest));
    if now < remind_at {
        return replanned(state, OpenIncident { remind_at: Some(remind_at), ..incident.clone() });
    }
    let reminders = incident.reminders.saturating_add(1);
    let remind_at = Some(after(now, reminder.pause(reminders.saturating_add(1))));
    let tell = Tell { event: Event::Reminder, span: incident.span_started_at, ordinal: reminders };
    let state = with_incident(state, OpenIncident { reminders, remind_at, ..incident.clone() });
    Some(Step { incident: Some(IncidentChange::Reminded), tell: Some(tell), ..Step::to(state) })
}

fn with_incident(state: &EndpointState, incident: OpenIncident) -> EndpointState {
    EndpointState { incident: Some(incident), ..state.clone() }
}

/// The incident with another plan, if it is another one.
fn replanned(state: &EndpointState, incident: OpenIncident) -> Option<Step> {
    (state.incident.as_ref() != Some(&incident)).then(|| Step::to(with_incident(state, incident)))
}

/// The endpoint leaves monitoring (paused, archived, removed): an open incident is closed, and whoever was told of it
/// is told so. Back again it begins without a verdict. `None` when it had no incident.
pub fn abandon(state: &EndpointState, now: Timestamp) -> Option<Step> {
    let incident = state.incident.clone()?;
    let tell = Tell { event: Event::NoLongerMonitored, span: incident.span_started_at, ordinal: 0 };
    let change = IncidentChange::Abandoned { incident, at: now };
    Some(Step { incident: Some(change), tell: Some(tell), ..Step::to(EndpointState::pending(now)) })
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
