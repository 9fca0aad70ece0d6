//! What the recorder remembers of one endpoint between two results. Pure.

use std::sync::Arc;

use crate::board::{Live, NewestDetail, Share};
use crate::domain::Timestamp;
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::certificate::ServedChain;
use crate::domain::check::{CheckResult, Seen};
use crate::domain::counts::Counts;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::hold::Hold;
use crate::domain::incident;
use crate::domain::incident::{
    Acknowledging, EndpointState, IncidentChange, MissedRun, Step, Tell, Transition, Unresolvable, abandon,
    acknowledge, advance, resolve_by_hand,
};
use crate::domain::outcome::Outcome;
use crate::domain::suppression::Facts;
use crate::domain::uptime::{OpenHour, Rollup, hour_of};

/// The running state of one endpoint.
#[derive(Debug, Clone)]
pub struct Tracked {
    pub state: EndpointState,
    pub last: Option<Arc<CheckResult>>,
    pub last_verdict: Option<Arc<CheckResult>>,
    pub open_hour: Option<OpenHour>,
    /// Hours that begin before this are written; a result for one of them amends it.
    pub closed_until: Option<Timestamp>,
    /// As it was when its newest result came; a change of what is examined starts the counters again.
    known: Option<Arc<KnownEndpoint>>,
    /// Slots that passed without a check, since this process started.
    missed: MissedRun,
    /// Hours closed since the board was last told.
    newly_closed: Vec<(Timestamp, Share)>,
    /// Checks since the board was last told.
    newly_counted: Counts,
    certificate: Option<Arc<ServedChain>>,
    detail: Option<NewestDetail>,
    /// Its newest check was not counted, because our own network is in doubt.
    pub in_doubt: Option<Arc<Hold>>,
    /// What is being written of it.
    writing: Writing,
}

/// What the board is told of an endpoint.
#[derive(Debug, Clone)]
struct View {
    state: EndpointState,
    last: Option<Arc<CheckResult>>,
    last_verdict: Option<Arc<CheckResult>>,
    open_hour: Option<OpenHour>,
    newly_closed: Vec<(Timestamp, Share)>,
    newly_counted: Counts,
    certificate: Option<Arc<ServedChain>>,
    detail: Option<NewestDetail>,
    in_doubt: Option<Arc<Hold>>,
}

/// What of an endpoint is being written, which the board is told once it is.
#[derive(Debug, Clone, Default)]
enum Writing {
    #[default]
    Nothing,
    /// All that there is.
    AsItIs,
    /// What there was before it went on.
    Before(Box<View>),
}

impl View {
    fn show(self, live: &mut Live) {
        live.state = self.state;
        live.last = self.last;
        live.last_verdict = self.last_verdict;
        live.open_hour = self.open_hour;
        for (start, share) in self.newly_closed {
            live.windows.close(start, share);
        }
        let mut counted = self.newly_counted;
        live.counts.take(&mut counted);
        live.certificate = self.certificate;
        live.detail = self.detail;
        live.in_doubt = self.in_doubt;
    }
}

/// What one result did to its endpoint.
#[derive(Debug, Default)]
pub struct Effect {
    /// The slot was recorded before: nothing happened.
    pub repeated: bool,
    pub state_changed: bool,
    pub transition: Option<Transition>,
    pub confirm: bool,
    pub incident: Option<IncidentChange>,
    pub tell: Option<Tell>,
    /// The hour that this result closed.
    pub closed: Option<(Timestamp, Rollup)>,
    /// The result belongs to an hour that is already written.
    pub amends: bool,
}

impl Tracked {
    /// As it stands on the board, whose open hour and newest result were rebuilt from the store.
    pub fn from_live(live: &Live) -> Self {
        // Every hour up to the newest result's is written, but for the open one.
        let closed_until = match (&live.open_hour, &live.last) {
            (Some(open), Some(last)) if open.holds(last.scheduled_at) => Some(open.start),
            (_, Some(last)) => Some(OpenHour::holding(last.scheduled_at).end()),
            (Some(open), None) => Some(open.start),
            (None, None) => None,
        };
        Self {
            state: live.state.clone(),
            last: live.last.clone(),
            last_verdict: live.last_verdict.clone(),
            open_hour: live.open_hour.clone(),
            closed_until,
            known: None,
            missed: MissedRun::default(),
            newly_closed: Vec::new(),
            newly_counted: Counts::default(),
            certificate: live.certificate.clone(),
            detail: live.detail.clone(),
            in_doubt: live.in_doubt.clone(),
            writing: Writing::Nothing,
        }
    }

    /// Takes one result in.
    pub fn take(&mut self, result: &CheckResult, known: &Arc<KnownEndpoint>, around: &Facts, now: Timestamp) -> Effect {
        if self.last.as_ref().is_some_and(|last| result.scheduled_at <= last.scheduled_at) {
            return Effect { repeated: true, ..Effect::default() };
        }
        self.go_on();
        let mut effect = Effect::default();
        // The first result after a start compares with nothing: the verb that changed what is checked has reset the
        // stored counters itself.
        let edited = self.known.as_ref().is_some_and(|before| before.endpoint.check != known.endpoint.check);
        if edited {
            self.certificate = None;
        }
        self.known = Some(known.clone());
        let policy = &known.endpoint.alert_policy;
        let step = incident::take(&self.state, &mut self.missed, edited, result, policy, around, now);
        self.apply(step, &mut effect);
        self.count(result, &mut effect);
        let result = Arc::new(result.clone());
        if !matches!(result.outcome, Outcome::Missed(_)) {
            self.last_verdict = Some(result.clone());
        }
        self.last = Some(result);
        effect
    }

    /// Notes what is counted since the start and what is not stored, of a result that was taken in.
    pub fn note(&mut self, result: &CheckResult, seen: Seen) {
        self.newly_counted.add(result, seen.connected);
        if let Some(detail) = seen.detail {
            self.detail = Some(NewestDetail { scheduled_at: result.scheduled_at, detail });
        }
        // A connection that is used again shows none.
        let Some(served) = seen.certificate else { return };
        // Of a check that was begun before an edit it is perhaps another's.
        if self.known.as_ref().is_some_and(|known| result.started_at < known.updated_at) {
            return;
        }
        // The one that is known stays, so that whoever looks sees at once that nothing has changed.
        if self.certificate.as_ref().is_none_or(|before| before.leaf.fingerprint != served.leaf.fingerprint) {
            self.certificate = Some(served);
        }
    }

    /// Which of the conditions for not being degraded did not hold in the newest check.
    pub fn why_degraded(&self) -> Option<String> {
        self.detail.as_ref()?.detail.why_degraded()
    }

    /// Lets the passing of time work on the incident. `None`: nothing was due.
    pub fn advance(&mut self, policy: &AlertPolicy, around: &Facts, now: Timestamp) -> Option<Effect> {
        let mut effect = Effect::default();
        self.apply(advance(&self.state, policy, around, now)?, &mut effect);
        Some(effect)
    }

    /// Somebody looks after the incident. `None`: none is open.
    pub fn acknowledge(
        &mut self,
        acknowledging: Acknowledging,
        policy: &AlertPolicy,
        now: Timestamp,
    ) -> Option<Effect> {
        let mut effect = Effect::default();
        self.apply(acknowledge(&self.state, acknowledging, policy, now)?, &mut effect);
        Some(effect)
    }

    /// Somebody ends the incident.
    ///
    /// # Errors
    /// Why not.
    pub fn resolve_by_hand(&mut self, policy: &AlertPolicy, now: Timestamp) -> Result<Effect, Unresolvable> {
        let mut effect = Effect::default();
        self.apply(resolve_by_hand(&self.state, policy, now)?, &mut effect);
        Ok(effect)
    }

    /// Whether time may have something to do.
    pub fn is_open(&self) -> bool {
        self.state.is_open()
    }

    /// The endpoint is no longer monitored. `None`: it had no incident, and nobody was told that it is not watched.
    pub fn abandon(&mut self, now: Timestamp) -> Option<Effect> {
        let mut effect = Effect::default();
        self.apply(abandon(&self.state, now)?, &mut effect);
        Some(effect)
    }

    /// The endpoint as it was last seen, for what is told after it has gone.
    pub fn known(&self) -> Option<&Arc<KnownEndpoint>> {
        self.known.as_ref()
    }

    /// Remembers the endpoint before any result of it has come.
    pub fn know(&mut self, known: &Arc<KnownEndpoint>) {
        self.known.get_or_insert_with(|| known.clone());
    }

    fn apply(&mut self, step: Step, effect: &mut Effect) {
        self.go_on();
        effect.state_changed |= step.state != self.state;
        self.state = step.state;
        effect.transition = step.transition;
        effect.confirm = step.confirm;
        effect.incident = step.incident;
        effect.tell = step.tell;
    }

    fn count(&mut self, result: &CheckResult, effect: &mut Effect) {
        let hour = hour_of(result.scheduled_at);
        let is_open = self.open_hour.as_ref().is_some_and(|open| open.start == hour);
        if !is_open && self.closed_until.is_some_and(|closed| hour < closed) {
            effect.amends = true;
            return;
        }
        if !is_open {
            effect.closed = self.close_hour();
        }
        self.open_hour.get_or_insert_with(|| OpenHour::holding(result.scheduled_at)).add(result);
    }

    /// Ends the open hour, to be written.
    pub fn close_hour(&mut self) -> Option<(Timestamp, Rollup)> {
        self.go_on();
        let open = self.open_hour.take()?;
        self.closed_until = self.closed_until.max(Some(open.end()));
        self.newly_closed.push((open.start, Share::of(&open.rollup.bucket)));
        Some((open.start, open.rollup))
    }

    /// All that there is of it is being written from now on.
    pub fn begin_writing(&mut self) {
        if let Writing::Before(mut view) = std::mem::replace(&mut self.writing, Writing::AsItIs) {
            // Nobody was told of it.
            view.newly_closed.append(&mut self.newly_closed);
            self.newly_closed = view.newly_closed;
            self.newly_counted.take(&mut view.newly_counted);
        }
    }

    /// Remembers what is being written, before anything changes.
    fn go_on(&mut self) {
        if matches!(self.writing, Writing::AsItIs) {
            self.writing = Writing::Before(Box::new(self.view()));
        }
    }

    /// As it is, with what the board was not told yet, which counts as told.
    fn view(&mut self) -> View {
        View {
            state: self.state.clone(),
            last: self.last.clone(),
            last_verdict: self.last_verdict.clone(),
            open_hour: self.open_hour.clone(),
            newly_closed: std::mem::take(&mut self.newly_closed),
            newly_counted: std::mem::take(&mut self.newly_counted),
            certificate: self.certificate.clone(),
            detail: self.detail.clone(),
            in_doubt: self.in_doubt.clone(),
        }
    }

    /// Tells the board's entry what was being written, and no more: it is committed.
    pub fn tell_written(&mut self, live: &mut Live) {
        match std::mem::take(&mut self.writing) {
            Writing::Nothing => {}
            Writing::AsItIs => self.show(live),
            Writing::Before(view) => view.show(live),
        }
    }

    /// Tells the board's entry everything, committed or not.
    pub fn tell(&mut self, live: &mut Live) {
        self.tell_written(live);
        self.show(live);
    }

    fn show(&mut self, live: &mut Live) {
        live.state = self.state.clone();
        live.last.clone_from(&self.last);
        live.last_verdict.clone_from(&self.last_verdict);
        live.open_hour.clone_from(&self.open_hour);
        for (start, share) in self.newly_closed.drain(..) {
            live.windows.close(start, share);
        }
        live.counts.take(&mut self.newly_counted);
        live.certificate.clone_from(&self.certificate);
        live.detail.clone_from(&self.detail);
        live.in_doubt.clone_from(&self.in_doubt);
    }
}

#[cfg(test)]
mod tests;
