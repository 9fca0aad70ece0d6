//! Endpoints that nobody watches: their slots pass without a check, because of our own load.

use super::{
    AlertPolicy, CheckResult, Duration, EndpointState, Event, Facts, IncidentChange, Matter, Outcome, Status, Step,
    Tell, Timestamp, after, decide,
};
use crate::domain::outcome::MissedReason;

/// The least time without a check that is told.
const LEAST: Duration = Duration::from_mins(1);

/// Slots that passed one after the other without a check, for want of our own means. Not stored: only those count that
/// passed while this process was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MissedRun {
    slots: u32,
    since: Option<Timestamp>,
}

/// Counts the slots that pass without a verdict, and tells when they are too many. Asked of each result before
/// [`step`](super::step). `None`: nothing is to be told.
///
/// An endpoint that never had a verdict, or has an incident open, is passed over: the one is not known to be watched,
/// of the other something worse was told.
pub fn watch(
    state: &EndpointState,
    run: &mut MissedRun,
    result: &CheckResult,
    policy: &AlertPolicy,
    around: &Facts,
    now: Timestamp,
) -> Option<Step> {
    if result.in_maintenance || around.maintenance.is_some() {
        return None;
    }
    if !matches!(
        result.outcome,
        Outcome::Missed(MissedReason::Overload | MissedReason::Overrun | MissedReason::NotPermitted)
    ) {
        *run = MissedRun::default();
        return None;
    }
    run.slots = run.slots.saturating_add(result.slots);
    let since = *run.since.get_or_insert(result.scheduled_at);
    let is_told = state.status == Status::Pending || state.incident.is_some() || state.trail.unwatched.is_some();
    if is_told || run.slots < policy.no_data_after? || now < after(since, LEAST) {
        return None;
    }
    if decide(Matter::Opening, around, now).is_some() {
        // Asked again at the next slot.
        return None;
    }
    let mut state = state.clone();
    state.trail.unwatched = Some(since);
    let tell = Tell::of(Event::NoData, since);
    Some(Step { incident: Some(IncidentChange::Unwatched { since }), tell: Some(tell), ..Step::to(state) })
}

/// A good check of an endpoint that was told to be unwatched.
pub(super) fn ended(mut step: Step, result: &CheckResult, policy: &AlertPolicy) -> Step {
    if step.incident.is_some() || step.state.is_down() {
        return step;
    }
    if let Some(since) = step.state.trail.unwatched.take() {
        step.incident = Some(IncidentChange::WatchedAgain { since });
        step.tell = policy.send_recovery.then(|| Tell::of(Event::Up, result.started_at));
    }
    step
}
