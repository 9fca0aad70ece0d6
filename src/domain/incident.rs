//! The status and the incidents of an endpoint as a pure machine: state, result, policy → state, what changed,
//! what is to be told.
//!
//! It does not send, store, sleep or read a clock. The recorder feeds it results in the order of `scheduled_at`
//! and stores what changed, with the notifications, in the transaction of the results. What keeps a message back is
//! decided by [`suppression`] alone: the machine adds what it knows itself to the facts
//! that it is given.

mod by_hand;
mod change;
mod degraded;
mod passing;
mod state;
mod unwatched;

use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::Timestamp;
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::check::{CheckResult, Trigger};
use crate::domain::notification::Event;
use crate::domain::outcome::{Failure, FailureKind, Outcome, Status};
use crate::domain::suppression::{self, Facts, Matter, Suppressor, decide};

pub use by_hand::{Acknowledging, Unresolvable, acknowledge, resolve_by_hand};
pub use change::{IncidentChange, Step, Tell, Transition};
pub use degraded::Impaired;
pub use passing::{MOST_AT_ONCE, advance};
pub use state::{Acknowledged, EndpointState, Flapping, HeldRecovery, OpenIncident, Recovered, Trail};
pub use unwatched::{MissedRun, watch};

use state::slid;

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
            | FailureKind::IcmpTimeout
    )
}

fn after(at: Timestamp, pause: Duration) -> Timestamp {
    TimeDelta::from_std(pause).ok().and_then(|pause| at.checked_add_signed(pause)).unwrap_or(Timestamp::MAX_UTC)
}

fn before(at: Timestamp, pause: Duration) -> Timestamp {
    TimeDelta::from_std(pause).ok().and_then(|pause| at.checked_sub_signed(pause)).unwrap_or(Timestamp::MIN_UTC)
}

/// Takes in one result: counts the slots that nobody examined, else advances the machine. `edited`: what is checked has
/// changed since the result before.
pub fn take(
    state: &EndpointState,
    missed: &mut MissedRun,
    edited: bool,
    result: &CheckResult,
    policy: &AlertPolicy,
    around: &Facts,
    now: Timestamp,
) -> Step {
    let recounted = edited.then(|| state.recounted());
    let state = recounted.as_ref().unwrap_or(state);
    // A slot that is told to be missed has no verdict.
    watch(state, missed, result, policy, around, now).unwrap_or_else(|| step(state, result, policy, around, now))
}

/// Advances the machine by one result, taken in at `now`.
///
/// Missed results change nothing, nor do those in maintenance, but that good ones end an incident. A failure by hand ends a run of good checks but
/// never advances the failure threshold; a good check by hand counts fully.
pub fn step(state: &EndpointState, result: &CheckResult, policy: &AlertPolicy, around: &Facts, now: Timestamp) -> Step {
    if result.in_maintenance && !(result.outcome.is_good() && state.incident.is_some()) {
        return Step::unchanged(state);
    }
    match &result.outcome {
        Outcome::Missed(_) => Step::unchanged(state),
        Outcome::Down(failure) => degraded::after_failure(after_failure(state, result, failure, policy, around, now)),
        Outcome::Up | Outcome::Degraded => {
            let step = unwatched::ended(after_success(state, result, policy, around, now), result, policy);
            degraded::after_success(step, result, policy, around, now)
        }
    }
}

fn after_failure(
    state: &EndpointState,
    result: &CheckResult,
    failure: &Failure,
    policy: &AlertPolicy,
    around: &Facts,
    now: Timestamp,
) -> Step {
    if state.is_down() {
        // A recovery under way did not hold.
        let mut step = Step::to(state.clone().uncounted());
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
    let mut state = state.counted(Some(result.started_at), policy);
    let around = Facts {
        start_grace: around.start_grace.clone().filter(|_| may_be_our_network(failure.kind)),
        ..around.clone()
    };
    let held_back =
        state.incident.is_none() && decide(Matter::Opening, &around, now).is_some_and(|held| held.by.opens_nothing());
    if state.failures < policy.failure_threshold.failures || held_back {
        state.failures = state.failures.min(policy.failure_threshold.failures);
        return Step { confirm: true, ..Step::to(state) };
    }
    confirmed_down(&state, result, failure, policy, quieted_by(&around, now), now)
}

/// What keeps the message of an incident back that is, or becomes, open: what keeps an incident closed does not keep an
/// open one quiet.
fn quieted_by(around: &Facts, now: Timestamp) -> Option<Suppressor> {
    suppression::all(Matter::Opening, around, now).map(|held| held.by).find(|by| !by.opens_nothing())
}

/// `held_by`: what keeps the message back, though the incident opens.
fn confirmed_down(
    state: &EndpointState,
    result: &CheckResult,
    failure: &Failure,
    policy: &AlertPolicy,
    held_by: Option<Suppressor>,
    now: Timestamp,
) -> Step {
    let span = state.run_started_at.unwrap_or(result.started_at);
    let transition = Transition { from: state.status, to: Status::Down, since: span, at: result.started_at };
    let mut down = state.clone().uncounted();
    let too_many = state.status != Status::Pending && down.note_change(result.started_at, policy);
    let recent = state.recovered.filter(|recovered| now < after(recovered.told_at, policy.cooldown));
    let begun = |started_at, opened_at, reopened| OpenIncident {
        started_at,
        opened_at,
        span_started_at: span,
        reopened,
        cause: failure.clone(),
        reminders: 0,
        remind_at: None,
        held: None,
        untold: None,
        is_told: false,
        escalated: 0,
        escalate_at: None,
        acknowledged: None,
        acknowledgements: 0,
        flapping: None,
        maintained: false,
    };
    let (mut incident, change, event) = match (&state.incident, recent) {
        (Some(incident), _) => {
            let flapping = incident.flapping.filter(|_| policy.flap.is_some());
            let begins = flapping.is_none() && too_many;
            let since = flapping.map_or(span, |flapping| flapping.since);
            let steady_at = Some(after(now, policy.cooldown));
            let flapping = (flapping.is_some() || begins).then_some(Flapping { since, steady_at });
            let cause = failure.clone();
            // Where nothing is flapping any longer by the policy, what was left untold for it is told.
            let is_over = incident.flapping.is_some() && policy.flap.is_none();
            let event = if is_over { Some(Event::DownAgain) } else { begins.then_some(Event::Flapping) };
            let incident = OpenIncident { span_started_at: span, held: None, cause, flapping, ..incident.clone() };
            let again = |incident: OpenIncident| OpenIncident { reopened: true, ..incident }.planned(policy, now);
            let incident = if is_over { again(incident) } else { incident };
            (incident, IncidentChange::DownAgain, event)
        }
        (None, Some(recovered)) => {
            let incident = begun(recovered.started_at, recovered.opened_at, true).planned(policy, now);
            (incident, IncidentChange::Reopened, Some(Event::DownAgain))
        }
        (None, None) => {
            let incident = begun(span, result.started_at, false).planned(policy, now);
            (incident, IncidentChange::Opened, Some(Event::Down))
        }
    };
    match (event, held_by) {
        (Some(_), None) => (incident.untold, incident.is_told) = (None, true),
        (Some(Event::Flapping) | None, _) => {}
        (Some(event), Some(_)) => incident.untold = Some(event),
    }
    down.status = Status::Down;
    down.since = span;
    down.cause = Some(failure.clone());
    down.incident = Some(incident);
    if state.incident.is_none() {
        // Of the same incident, in case it ends before anybody is told that it is open again.
        down.recovered = recent;
    }
    // What is told now tells that too.
    down.trail.unwatched = None;
    let tell = event.map(|event| Tell { held_by, ..Tell::of(event, span) });
    Step { state: down, transition: Some(transition), confirm: false, incident: Some(change), tell }
}

fn after_success(
    state: &EndpointState,
    result: &CheckResult,
    policy: &AlertPolicy,
    around: &Facts,
    now: Timestamp,
) -> Step {
    if state.status == Status::Pending {
        return confirmed_up(state, result.started_at, result.started_at, policy, around, now);
    }
    if !state.is_down() {
        let mut step = Step::to(state.counted(None, policy));
        if let Some(incident) = &mut step.state.incident
            && incident.held.is_none()
        {
            let since = result.started_at;
            let release_at = after(now, incident.holds(policy).unwrap_or_default());
            incident.held = Some(HeldRecovery { since, release_at });
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
    confirmed_up(state, run_started_at, result.started_at, policy, around, now)
}

fn confirmed_up(
    state: &EndpointState,
    since: Timestamp,
    at: Timestamp,
    policy: &AlertPolicy,
    around: &Facts,
    now: Timestamp,
) -> Step {
    let transition = Transition { from: state.status, to: Status::Up, since, at };
    // The first good check of all ends no outage: what failed before it stays in the window.
    let counted = if state.status == Status::Pending { state.counted(None, policy) } else { state.clone().uncounted() };
    let mut up = EndpointState { status: Status::Up, since, cause: None, ..counted };
    let too_many = state.status != Status::Pending && up.note_change(at, policy);
    let mut step = match up.incident.take() {
        None => Step::to(up),
        Some(mut incident) => {
            let flapping = incident.flapping.filter(|_| policy.flap.is_some());
            let begins = flapping.is_none() && too_many;
            let begun = flapping.map_or(since, |flapping| flapping.since);
            incident.maintained = false;
            incident.flapping = (flapping.is_some() || begins).then_some(Flapping { since: begun, steady_at: None });
            match incident.holds(policy) {
                None => resolved(up, incident, since, policy, now),
                Some(hold) => {
                    // A good check in a window may be the change too many; that is not told in it either.
                    let is_of_failures =
                        |by: &Suppressor| matches!(by, Suppressor::StartGrace | Suppressor::OwnNetwork);
                    let mut all = suppression::all(Matter::Opening, around, now).map(|held| held.by);
                    let held_by = all.find(|by| !is_of_failures(by));
                    incident.held = Some(HeldRecovery { since, release_at: after(now, hold) });
                    if begins && held_by.is_none() {
                        (incident.untold, incident.is_told) = (None, true);
                    }
                    up.incident = Some(incident);
                    let tell = begins.then(|| Tell { held_by, ..Tell::of(Event::Flapping, since) });
                    Step { incident: Some(IncidentChange::RecoveryHeld { since }), tell, ..Step::to(up) }
                }
            }
        }
    };
    step.transition = Some(transition);
    step
}

/// What nobody was told of ends without a word.
fn resolved(
    mut state: EndpointState,
    incident: OpenIncident,
    resolved_at: Timestamp,
    policy: &AlertPolicy,
    now: Timestamp,
) -> Step {
    state.incident = None;
    state = state.uncounted();
    if incident.flapping.is_some() {
        state.trail.changes.clear();
    }
    let is_told = policy.send_recovery && incident.is_told;
    let was_degraded = state.trail.impaired.end_with_outage();
    if incident.is_told {
        let OpenIncident { started_at, opened_at, .. } = incident;
        state.recovered = is_told.then_some(Recovered { told_at: now, started_at, opened_at });
    }
    // Else the recovery that was told last is still the last word, and its cooldown goes on.
    // Who was told that it was degraded before it went down hears of the end, too.
    let ends = is_told || policy.send_recovery && was_degraded;
    let tell = ends.then(|| Tell::of(Event::Up, resolved_at));
    Step { incident: Some(IncidentChange::Resolved { incident, resolved_at }), tell, ..Step::to(state) }
}

/// The endpoint leaves monitoring (paused, archived, removed): an open incident is closed, and whoever was told of it
/// is told so. Back again it begins without a verdict. `None` when it had no incident, and nobody was told that it is
/// not watched.
pub fn abandon(state: &EndpointState, now: Timestamp) -> Option<Step> {
    let (change, span) = match (&state.incident, state.trail.unwatched) {
        (Some(incident), _) => {
            (IncidentChange::Abandoned { incident: incident.clone(), at: now }, incident.span_started_at)
        }
        (None, Some(since)) => (IncidentChange::WatchedAgain { since }, since),
        (None, None) => {
            let since = state.trail.impaired.told?;
            (IncidentChange::Unimpaired { since }, since)
        }
    };
    let tell = Tell::of(Event::NoLongerMonitored, span);
    Some(Step { incident: Some(change), tell: Some(tell), ..Step::to(EndpointState::pending(now)) })
}

#[cfg(test)]
mod expectations;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
