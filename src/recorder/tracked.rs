//! What the recorder remembers of one endpoint between two results. Pure.

use std::sync::Arc;

use crate::board::{Live, Share};
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
    /// Its newest check was not counted, because our own network is in doubt.
    pub in_doubt: Option<Arc<Hold>>,
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
            in_doubt: live.in_doubt.clone(),
        }
    }

    /// Takes one result in.
    pub fn take(&mut self, result: &CheckResult, known: &Arc<KnownEndpoint>, around: &Facts, now: Timestamp) -> Effect {
        if self.last.as_ref().is_some_and(|last| result.scheduled_at <= last.scheduled_at) {
            return Effect { repeated: true, ..Effect::default() };
        }
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
        self.newly_counted.add(result, &seen);
        // A connection that is used again shows none.
        let Some(served) = seen.certificate else { return };
        // The one that is known stays, so that whoever looks sees at once that nothing has changed.
        if self.certificate.as_ref().is_none_or(|before| before.leaf.fingerprint != served.leaf.fingerprint) {
            self.certificate = Some(served);
        }
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
        self.state.incident.is_some() || self.state.trail.unwatched.is_some()
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
        let open = self.open_hour.take()?;
        self.closed_until = self.closed_until.max(Some(open.end()));
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
        live.counts.take(&mut self.newly_counted);
        live.certificate.clone_from(&self.certificate);
        live.in_doubt.clone_from(&self.in_doubt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::{CertificateSeen, Timings, Trigger};
    use crate::domain::endpoint::{EndpointId, EndpointSettings, Layers, Origin, resolve};
    use crate::domain::from_micros;
    use crate::domain::uptime::HOUR_US;

    fn at(hour: i64, second: i64) -> Timestamp {
        from_micros(hour * HOUR_US + second * 1_000_000)
    }

    fn served(fingerprint: &str, until: Timestamp) -> ServedChain {
        let leaf = CertificateSeen {
            fingerprint: fingerprint.to_owned(),
            subject: "CN=one".to_owned(),
            issuer: "CN=test".to_owned(),
            not_before: at(0, 0),
            not_after: until,
            sans: Vec::new(),
        };
        ServedChain { leaf, issuers: Vec::new() }
    }

    fn known() -> KnownEndpoint {
        let settings = EndpointSettings {
            name: Some("one".into()),
            url: Some("http://127.0.0.1/".into()),
            ..EndpointSettings::default()
        };
        let defaults = EndpointSettings::default();
        let layers = Layers { defaults: &defaults, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
        let endpoint = resolve(&settings, layers, at(0, 0)).unwrap();
        KnownEndpoint {
            id: EndpointId(1),
            origin: Origin::Api,
            source: None,
            revision: 1,
            created_at: at(0, 0),
            updated_at: at(0, 0),
            scheduled_from: at(0, 0),
            settings,
            endpoint,
            paused: false,
        }
    }

    fn good(scheduled_at: Timestamp) -> CheckResult {
        CheckResult {
            endpoint_id: EndpointId(1),
            scheduled_at,
            started_at: scheduled_at,
            outcome: Outcome::Up,
            slots: 1,
            status_code: Some(200),
            timings: Timings { total_us: 1_000, ..Timings::default() },
            attempts: 1,
            trigger: Trigger::Scheduled,
            in_maintenance: false,
        }
    }

    #[test]
    fn an_hour_is_closed_once_by_the_first_result_after_it() {
        let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
        assert!(tracked.take(&good(at(10, 5)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.is_none());
        assert!(tracked.take(&good(at(10, 3599)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.is_none());
        let (start, rollup) =
            tracked.take(&good(at(11, 0)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.unwrap();
        assert_eq!((start, rollup.bucket.up), (at(10, 0), 2));
        assert!(tracked.take(&good(at(11, 1)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.is_none());
    }

    #[test]
    fn a_slot_recorded_before_is_refused() {
        let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
        tracked.take(&good(at(10, 5)), &Arc::new(known()), &Facts::default(), at(0, 0));
        for repeated in [at(10, 5), at(10, 4), at(9, 0)] {
            assert!(tracked.take(&good(repeated), &Arc::new(known()), &Facts::default(), at(0, 0)).repeated);
        }
        assert_eq!(tracked.open_hour.unwrap().rollup.bucket.up, 1);
    }

    #[test]
    fn a_result_for_a_written_hour_amends_it() {
        let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
        tracked.take(&good(at(10, 5)), &Arc::new(known()), &Facts::default(), at(0, 0));
        assert!(tracked.close_hour().is_some());
        let late = tracked.take(&good(at(10, 50)), &Arc::new(known()), &Facts::default(), at(0, 0));
        assert!(late.amends && late.closed.is_none() && tracked.open_hour.is_none());
        assert!(!tracked.take(&good(at(11, 0)), &Arc::new(known()), &Facts::default(), at(0, 0)).amends);
    }

    #[test]
    fn after_a_start_hours_up_to_the_newest_result_count_as_written() {
        // The clock was set back before the start: the newest result lies in an hour that is still to come.
        let mut live = Live::pending(at(0, 0));
        live.last = Some(Arc::new(good(at(12, 10))));
        let mut present = OpenHour::holding(at(10, 0));
        present.add(&good(at(10, 1)));
        live.open_hour = Some(present);
        let mut tracked = Tracked::from_live(&live);
        assert!(tracked.take(&good(at(12, 11)), &Arc::new(known()), &Facts::default(), at(0, 0)).amends);
        assert_eq!(tracked.open_hour.as_ref().unwrap().rollup.bucket.up, 1);
        assert_eq!(
            tracked.take(&good(at(13, 0)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.unwrap().0,
            at(10, 0)
        );
    }

    #[test]
    fn what_is_counted_since_the_start_is_told_once_and_a_certificate_stays() {
        let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
        let mut live = Live::pending(at(0, 0));
        let shown = Seen { connected: true, certificate: Some(Arc::new(served("one", at(99, 0)))) };
        tracked.note(&good(at(10, 5)), shown.clone());
        // A connection that is used again, and the same certificate once more.
        tracked.note(&good(at(10, 6)), Seen { certificate: None, ..shown.clone() });
        tracked.note(&good(at(10, 6)), Seen { certificate: Some(Arc::new(served("one", at(99, 0)))), ..shown.clone() });
        assert!(Arc::ptr_eq(tracked.certificate.as_ref().unwrap(), shown.certificate.as_ref().unwrap()));
        for _ in 0..2 {
            tracked.tell(&mut live);
            assert_eq!((live.counts.up, live.counts.connected), (3, 3));
            assert_eq!((live.counts.codes(), &live.certificate), ([(200, 3)].as_slice(), &shown.certificate));
        }
        let renewed = Seen { connected: true, certificate: Some(Arc::new(served("two", at(999, 0)))) };
        tracked.note(&good(at(10, 7)), renewed.clone());
        assert_eq!(tracked.certificate, renewed.certificate);
    }

    #[test]
    fn telling_the_board_moves_closed_hours_once() {
        let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
        let mut live = Live::pending(at(0, 0));
        tracked.take(&good(at(10, 5)), &Arc::new(known()), &Facts::default(), at(0, 0));
        tracked.take(&good(at(11, 5)), &Arc::new(known()), &Facts::default(), at(0, 0));
        tracked.tell(&mut live);
        tracked.tell(&mut live);
        let mut expected = Live::pending(at(0, 0)).windows;
        expected.close(at(10, 0), Share { good: 1, counted: 1 });
        assert_eq!(live.windows, expected);
    }
}
