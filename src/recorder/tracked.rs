//! What the recorder remembers of one endpoint between two results. Pure.

use std::sync::Arc;

use crate::board::{Live, Share};
use crate::domain::Timestamp;
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::check::{CheckResult, CheckSpec};
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::incident::{EndpointState, Transition, step};
use crate::domain::outcome::Outcome;
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
    /// What was examined when the counters began.
    spec: Option<CheckSpec>,
    /// Hours closed since the board was last told.
    newly_closed: Vec<(Timestamp, Share)>,
}

/// What one result did to its endpoint.
#[derive(Debug, Default)]
pub struct Effect {
    /// The slot was recorded before: nothing happened.
    pub repeated: bool,
    pub state_changed: bool,
    pub transition: Option<Transition>,
    pub confirm: bool,
    /// The hour that this result closed.
    pub closed: Option<(Timestamp, Rollup)>,
    /// The result belongs to an hour that is already written.
    pub amends: bool,
}

impl Tracked {
    /// An endpoint of which nothing is known but its age.
    pub fn pending(since: Timestamp) -> Self {
        Self::from_live(&Live::pending(since))
    }

    /// As it stands on the board, whose open hour and newest result were rebuilt from the store.
    pub fn from_live(live: &Live) -> Self {
        let closed_until = match (&live.open_hour, &live.last) {
            (Some(open), _) => Some(open.start),
            (None, Some(last)) => Some(OpenHour::holding(last.scheduled_at).end()),
            (None, None) => None,
        };
        Self {
            state: live.state.clone(),
            last: live.last.clone(),
            last_verdict: live.last_verdict.clone(),
            open_hour: live.open_hour.clone(),
            closed_until,
            spec: None,
            newly_closed: Vec::new(),
        }
    }

    /// Takes one result in. `known` is `None` when the endpoint is no longer monitored: then its result is
    /// counted, and its status stays.
    pub fn take(&mut self, result: &CheckResult, known: Option<&KnownEndpoint>) -> Effect {
        if self.last.as_ref().is_some_and(|last| result.scheduled_at <= last.scheduled_at) {
            return Effect { repeated: true, ..Effect::default() };
        }
        let mut effect = Effect::default();
        if let Some(known) = known {
            self.advance(result, &known.endpoint.check, &known.endpoint.alert_policy, &mut effect);
        }
        self.count(result, &mut effect);
        let result = Arc::new(result.clone());
        if !matches!(result.outcome, Outcome::Missed(_)) {
            self.last_verdict = Some(result.clone());
        }
        self.last = Some(result);
        effect
    }

    fn advance(&mut self, result: &CheckResult, spec: &CheckSpec, policy: &AlertPolicy, effect: &mut Effect) {
        if self.spec.as_ref().is_none_or(|known| known != spec) {
            // The first result after a start compares with nothing: the verb that changed what is checked has
            // reset the stored counters itself.
            if self.spec.replace(spec.clone()).is_some() {
                self.state = self.state.recounted();
                effect.state_changed = true;
            }
        }
        let step = step(&self.state, result, policy);
        effect.state_changed |= step.state != self.state;
        self.state = step.state;
        effect.transition = step.transition;
        effect.confirm = step.confirm;
    }

    fn count(&mut self, result: &CheckResult, effect: &mut Effect) {
        let hour = hour_of(result.scheduled_at);
        if self.closed_until.is_some_and(|closed| hour < closed) {
            effect.amends = true;
            return;
        }
        if self.open_hour.as_ref().is_some_and(|open| open.start != hour) {
            effect.closed = self.close_hour();
        }
        self.open_hour.get_or_insert_with(|| OpenHour::holding(result.scheduled_at)).add(result);
    }

    /// Ends the open hour, to be written.
    pub fn close_hour(&mut self) -> Option<(Timestamp, Rollup)> {
        let open = self.open_hour.take()?;
        self.closed_until = Some(open.end());
        self.newly_closed.push((open.start, Share::of(&open.rollup.bucket)));
        Some((open.start, open.rollup))
    }

    /// Tells the board's entry what is now committed.
    pub fn tell(&mut self, live: &mut Live) {
        live.state = self.state.clone();
        live.last.clone_from(&self.last);
        live.last_verdict.clone_from(&self.last_verdict);
        live.open_hour.clone_from(&self.open_hour);
        for (start, share) in self.newly_closed.drain(..) {
            live.windows.close(start, share);
        }
    }
}
