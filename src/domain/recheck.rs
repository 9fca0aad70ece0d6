//! Endpoints whose messages were kept back until now: each is checked first, and told of only if it still fails. Nothing
//! is checked here: what is asked for is handed over to whoever checks.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::EndpointState;
use crate::domain::outcome::Outcome;

/// How long a message waits at most for the check, whatever holds that up.
pub const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(2);

/// A check that something waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Now, whatever the policy says.
    Check(EndpointId),
    /// Now, one attempt alone, which takes at most so long, unless a check is under way.
    Attempt(EndpointId, Duration),
}

/// The endpoints that wait, and the checks to be asked for. At most one of each endpoint, and one attempt at each
/// parent.
#[derive(Debug, Default)]
pub struct Rechecks {
    waiting: HashMap<EndpointId, Recheck>,
    /// What there was no room for yet, in its order.
    to_ask: VecDeque<Request>,
    /// Whose whole checks are among these: a second one is the same.
    to_check: HashSet<EndpointId>,
}

#[derive(Debug, Clone, Copy)]
struct Recheck {
    /// A check that began before tells nothing.
    since: Timestamp,
    /// When it was asked for.
    asked_at: Timestamp,
    until: Timestamp,
}

impl Recheck {
    fn is_told_by(self, verdict: &CheckResult) -> bool {
        !verdict.in_maintenance && verdict.started_at >= self.since
    }

    /// Also after the clock was set back.
    fn is_due_after(&self, now: Timestamp) -> bool {
        now < self.until && self.until <= now + LONGEST_WAIT
    }
}

impl Rechecks {
    /// Has an endpoint checked at once. A check in maintenance, or that began before `since`, tells nothing.
    pub fn begin(&mut self, id: EndpointId, since: Timestamp, now: Timestamp) {
        self.waiting.insert(id, Recheck { since, asked_at: now, until: now + LONGEST_WAIT });
        self.ask(Request::Check(id));
    }

    /// Has a check made.
    pub fn ask(&mut self, request: Request) {
        if let Request::Check(id) = request
            && !self.to_check.insert(id)
        {
            return;
        }
        self.to_ask.push_back(request);
    }

    /// Hands over what is to be asked for, until `take` has no room for one.
    pub fn hand_over(&mut self, mut take: impl FnMut(Request) -> bool) {
        while self.to_ask.front().is_some_and(|request| take(*request)) {
            if let Some(Request::Check(id)) = self.to_ask.pop_front() {
                self.to_check.remove(&id);
            }
        }
    }

    /// A check that was under way before has ended: it took the place of the one that was asked for. Any other was that
    /// one, and is not made again however little it says: in maintenance it would be made over and over.
    pub fn note(&mut self, result: &CheckResult) {
        if let Some(recheck) = self.waiting.get(&result.endpoint_id)
            && !recheck.is_told_by(result)
            && result.started_at < recheck.asked_at
            && !matches!(result.outcome, Outcome::Missed(_))
        {
            self.ask(Request::Check(result.endpoint_id));
        }
    }

    /// Until when messages about an endpoint wait at most; `None`: it has been checked since, and how it is now counts.
    /// While a recovery is to be confirmed, that is waited for too.
    pub fn wait(
        &self,
        id: EndpointId,
        state: &EndpointState,
        newest: Option<&CheckResult>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let recheck = self.waiting.get(&id).filter(|recheck| recheck.is_due_after(now))?;
        let is_told = newest.is_some_and(|newest| recheck.is_told_by(newest)) && state.successes == 0;
        (!is_told).then_some(recheck.until)
    }

    /// Forgets those that wait no longer.
    pub fn tidy(&mut self, now: Timestamp) {
        self.waiting.retain(|_, recheck| recheck.is_due_after(now));
    }

    pub fn forget(&mut self, id: EndpointId) {
        self.waiting.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::{Timings, Trigger};
    use crate::domain::from_micros;

    fn at(second: i64) -> Timestamp {
        from_micros(second * 1_000_000)
    }

    fn good(began: i64, in_maintenance: bool) -> CheckResult {
        CheckResult {
            endpoint_id: EndpointId(1),
            scheduled_at: at(began),
            started_at: at(began),
            outcome: Outcome::Up,
            slots: 1,
            status_code: None,
            timings: Timings::default(),
            attempts: 1,
            trigger: Trigger::Confirming,
            in_maintenance,
        }
    }

    fn asked(rechecks: &mut Rechecks) -> usize {
        let mut asked = 0;
        rechecks.hand_over(|_| {
            asked += 1;
            true
        });
        asked
    }

    #[test]
    fn the_check_that_was_under_way_is_made_again_and_no_other() {
        let (mut rechecks, id, state) = (Rechecks::default(), EndpointId(1), EndpointState::pending(at(0)));
        rechecks.begin(id, Timestamp::MIN_UTC, at(10));
        assert_eq!(asked(&mut rechecks), 1);
        rechecks.note(&good(9, true));
        rechecks.note(&good(9, true));
        assert_eq!(asked(&mut rechecks), 1, "it was under way at the end of the window; once, whoever asks");
        for began in 11..20 {
            rechecks.note(&good(began, true));
        }
        assert_eq!(asked(&mut rechecks), 0, "another window is open: its end has a check made");
        assert_eq!(rechecks.wait(id, &state, Some(&good(12, true)), at(20)), Some(at(130)));
        assert_eq!(rechecks.wait(id, &state, Some(&good(12, false)), at(20)), None);
        let confirming = EndpointState { successes: 1, ..state };
        assert_eq!(rechecks.wait(id, &confirming, Some(&good(12, false)), at(20)), Some(at(130)));
        assert_eq!(rechecks.wait(id, &confirming, None, at(130)), None, "not for ever");
        assert_eq!(rechecks.wait(id, &confirming, None, at(9)), None, "the clock was set back");
    }

    #[test]
    fn what_there_is_no_room_for_is_asked_for_later_in_its_order() {
        let mut rechecks = Rechecks::default();
        for id in 1..=3 {
            rechecks.begin(EndpointId(id), at(5), at(5));
        }
        let mut taken = Vec::new();
        let mut room = 2;
        for _ in 0..2 {
            rechecks.hand_over(|request| {
                let fits = room > 0;
                if fits {
                    room -= 1;
                    taken.push(request);
                }
                fits
            });
            room = 2;
        }
        assert_eq!(taken, [1, 2, 3].map(|id| Request::Check(EndpointId(id))));
    }
}
