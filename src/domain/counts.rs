//! Checks of one endpoint counted since the start of the process, for those who watch the numbers grow. What is
//! reported of the past is counted from what is stored instead ([`super::uptime`]).

use crate::domain::check::{CheckResult, Seen};
use crate::domain::outcome::Outcome;

/// Codes that are told apart. An answer with a further one counts under 0.
const CODES: usize = 20;

/// Checks with a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    pub up: u32,
    pub degraded: u32,
    pub down: u32,
    /// Those whose last attempt had a connection.
    pub connected: u32,
    /// By the status of the last answer, in the order in which they came.
    codes: Vec<(u16, u32)>,
}

impl Counts {
    /// Counts a check. Slots without a verdict are none.
    pub fn add(&mut self, result: &CheckResult, seen: &Seen) {
        let verdict = match result.outcome {
            Outcome::Up => &mut self.up,
            Outcome::Degraded => &mut self.degraded,
            Outcome::Down(_) => &mut self.down,
            Outcome::Missed(_) => return,
        };
        *verdict = verdict.saturating_add(1);
        self.connected = self.connected.saturating_add(u32::from(seen.connected));
        if let Some(code) = result.status_code {
            self.add_code(code, 1);
        }
    }

    fn add_code(&mut self, code: u16, n: u32) {
        if let Some((_, known)) = self.codes.iter_mut().find(|(known, _)| *known == code) {
            *known = known.saturating_add(n);
        } else if self.codes.len() < CODES {
            self.codes.push((code, n));
        } else {
            // One more than the bound.
            match self.codes.iter_mut().find(|(known, _)| *known == 0) {
                Some((_, others)) => *others = others.saturating_add(n),
                None => self.codes.push((0, n)),
            }
        }
    }

    /// Takes over what `newer` has counted, and leaves it empty.
    pub fn take(&mut self, newer: &mut Self) {
        for (sum, n) in [
            (&mut self.up, &mut newer.up),
            (&mut self.degraded, &mut newer.degraded),
            (&mut self.down, &mut newer.down),
            (&mut self.connected, &mut newer.connected),
        ] {
            *sum = sum.saturating_add(std::mem::take(n));
        }
        // Its room is kept for the next.
        let codes = newer.codes.drain(..);
        codes.for_each(|(code, n)| self.add_code(code, n));
    }

    /// How often each status was answered; those beyond the bound under 0.
    pub fn codes(&self) -> &[(u16, u32)] {
        &self.codes
    }

    /// Up or degraded.
    pub fn good(&self) -> u32 {
        self.up.saturating_add(self.degraded)
    }

    pub fn is_empty(&self) -> bool {
        self.up == 0 && self.degraded == 0 && self.down == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::{Timings, Trigger};
    use crate::domain::endpoint::EndpointId;
    use crate::domain::from_micros;
    use crate::domain::outcome::{Failure, FailureKind, MissedReason};

    fn result(outcome: Outcome, status_code: Option<u16>) -> CheckResult {
        CheckResult {
            endpoint_id: EndpointId(1),
            scheduled_at: from_micros(1),
            started_at: from_micros(1),
            outcome,
            slots: 1,
            status_code,
            timings: Timings::default(),
            attempts: 1,
            trigger: Trigger::Scheduled,
            in_maintenance: false,
        }
    }

    #[test]
    fn verdicts_connections_and_codes_are_counted_and_handed_over_once() {
        let seen = Seen { connected: true, certificate: None };
        let mut fresh = Counts::default();
        fresh.add(&result(Outcome::Up, Some(200)), &seen);
        fresh.add(&result(Outcome::Down(Failure::new(FailureKind::HttpStatus, "x")), Some(500)), &seen);
        fresh.add(&result(Outcome::Down(Failure::new(FailureKind::ConnectRefused, "x")), None), &Seen::default());
        fresh.add(&result(Outcome::Missed(MissedReason::Overload), None), &Seen::default());
        let mut sum = Counts::default();
        sum.take(&mut fresh);
        sum.take(&mut fresh);
        assert!(fresh.is_empty() && !sum.is_empty());
        assert_eq!((sum.good(), sum.up, sum.down, sum.connected), (1, 1, 2, 2));
        assert_eq!(sum.codes(), [(200, 1), (500, 1)]);
    }

    #[test]
    fn a_target_that_makes_up_codes_fills_nothing() {
        let mut counts = Counts::default();
        for code in 100..400 {
            counts.add(&result(Outcome::Up, Some(code)), &Seen::default());
        }
        let mut sum = Counts::default();
        sum.take(&mut counts);
        assert_eq!(sum.codes().len(), CODES + 1);
        assert_eq!(sum.codes().iter().map(|(_, n)| n).sum::<u32>(), 300);
        assert_eq!(sum.codes().last(), Some(&(0, 280)));
    }
}
