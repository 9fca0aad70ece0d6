//! The status and the incidents of an endpoint as a pure machine: state, result, policy → state, what changed,
//! what is to be told.
//!
//! It does not send, store, sleep or read a clock. The recorder feeds it results in the order of `scheduled_at`
//! and stores what changed, with the notifications, in the transaction of the results. What keeps a message back is
//! decided by [`suppression`] alone: the machine adds what it knows itself to the facts
//! that it is given.

mod by_hand;
mod degraded;
mod passing;
mod unwatched;

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::alert_policy::{AlertPolicy, FailureThreshold};
use crate::domain::check::{CheckResult, Trigger};
use crate::domain::notification::Event;
use crate::domain::outcome::{Failure, FailureKind, Outcome, Status};
use crate::domain::suppression::{self, Facts, Hold, Matter, Suppressor, decide};

pub use by_hand::{Acknowledging, Unresolvable, acknowledge, resolve_by_hand};
pub use degraded::Impaired;
pub use passing::{MOST_AT_ONCE, advance};
pub use unwatched::{MissedRun, watch};

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
    /// What was kept back is told.
    Told,
    /// It was flapping, and stays down.
    StaysDown,
    /// A maintenance window has opened over it.
    MaintenanceBegan,
    /// The window is over, and it is still down.
    MaintenanceEnded,
    /// Others are told.
    Escalated {
        /// The first is 1.
        step: u32,
        notify: Vec<String>,
    },
    Acknowledged,
    /// The time of the acknowledgement is up.
    AcknowledgementEnded,
    /// No incident: nobody watches it, since then.
    Unwatched {
        since: Timestamp,
    },
    /// No incident: it is watched again, or not any longer on purpose.
    WatchedAgain {
        since: Timestamp,
    },
    /// No incident: it is degraded, since then.
    Impaired {
        since: Timestamp,
    },
    /// No incident: it is no longer degraded, or not watched any longer.
    Unimpaired {
        since: Timestamp,
    },
}

impl IncidentChange {
    /// Whether it is the change of an incident.
    pub fn is_of_incident(&self) -> bool {
        !matches!(
            self,
            Self::Unwatched { .. } | Self::WatchedAgain { .. } | Self::Impaired { .. } | Self::Unimpaired { .. }
        )
    }
}

/// One thing to tell, by the deterministic parts of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tell {
    pub event: Event,
    /// The instant that began what is told: of the first failed check for down events, of the first good one
    /// for recoveries.
    pub span: Timestamp,
    /// Counts reminders, acknowledgements and steps of the escalation.
    pub ordinal: u32,
    /// What keeps it back: it is noted, not told. It may be told later, under the same id.
    pub held_by: Option<Suppressor>,
}

impl Tell {
    fn of(event: Event, span: Timestamp) -> Self {
        Self { event, span, ordinal: 0, held_by: None }
    }
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

/// A window of checks with one more, as far as it matters for a threshold: from the first one that counts on.
fn slid(window: &[Option<Timestamp>], next: Option<Timestamp>, threshold: FailureThreshold) -> Vec<Option<Timestamp>> {
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

fn before(at: Timestamp, pause: Duration) -> Timestamp {
    TimeDelta::from_std(pause).ok().and_then(|pause| at.checked_sub_signed(pause)).unwrap_or(Timestamp::MIN_UTC)
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
    fn uncounted(mut self) -> Self {
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

    fn is_down(&self) -> bool {
        self.status == Status::Down
    }

    /// With one more check that counts, while not down: the start of a failed one, `None` for a good one.
    fn counted(&self, failed: Option<Timestamp>, policy: &AlertPolicy) -> Self {
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
    fn note_change(&mut self, at: Timestamp, policy: &AlertPolicy) -> bool {
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
    fn holds(&self, policy: &AlertPolicy) -> Option<Duration> {
        match (self.flapping, &policy.flap) {
            (Some(_), Some(flap)) => Some(flap.window.max(policy.cooldown)),
            _ if self.reopened => Some(policy.cooldown).filter(|cooldown| !cooldown.is_zero()),
            _ => None,
        }
    }

    /// Plans reminders and escalation from now on.
    fn planned(self, policy: &AlertPolicy, now: Timestamp) -> Self {
        let remind_at = policy.reminder.as_ref().map(|reminder| after(now, reminder.pause(self.reminders + 1)));
        let escalate_at = passing::pause_of_step(policy, self.escalated).map(|pause| after(now, pause));
        Self { remind_at, escalate_at, ..self }
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
