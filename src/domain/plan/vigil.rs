//! When a push endpoint is overdue: what the plan keeps of one.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::from_micros;
use crate::domain::micros;
use crate::domain::outcome::Failure;
use crate::domain::push::{PushSpec, Silence, overdue};
use crate::domain::schedule::Schedule;

/// What was last known of a push endpoint before this process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastWord {
    /// A heartbeat came then.
    Heard(Timestamp),
    /// It was found overdue then.
    Overdue(Timestamp),
}

/// The waiting for heartbeats of one endpoint.
#[derive(Debug)]
pub(super) struct Vigil {
    /// The next heartbeat is expected after this: the newest heartbeat, the time of one that did not come, or since when
    /// it is watched.
    from: Timestamp,
    silence: Silence,
    /// By the monotonic clock: when a job began that has not ended yet.
    began: Option<Duration>,
}

/// Heartbeats that were expected while nobody listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unheard {
    pub(super) slots: u32,
    pub(super) last: Timestamp,
}

impl Vigil {
    /// Of one that is watched from now on.
    pub(super) fn begin(now: Timestamp) -> Self {
        Self { from: now, silence: Silence { since: now, after_heartbeat: false }, began: None }
    }

    /// Of one of which something was known. `since`: when it was made, changed or resumed.
    pub(super) fn resume(last: Option<LastWord>, spec: PushSpec, since: Timestamp, now: Timestamp) -> Self {
        let mut vigil = Self::begin(now);
        let (from, after_heartbeat) = match last {
            Some(LastWord::Heard(at)) => (at, true),
            Some(LastWord::Overdue(at)) => (from_micros(micros(at).saturating_sub(whole_micros(spec.grace))), false),
            None => (since, false),
        };
        // Not of the future, after the clock was set back while nobody was there.
        if since <= now && from <= now {
            vigil.from = from.max(since);
            vigil.silence = Silence { since: from, after_heartbeat };
        }
        vigil
    }

    /// When the next heartbeat is expected; `None`: the schedule has no further date.
    fn expected(&self, schedule: &Schedule) -> Option<Timestamp> {
        match schedule {
            Schedule::Interval(every) => Some(from_micros(micros(self.from).saturating_add(whole_micros(*every)))),
            Schedule::Cron(cron) => cron.next_after(self.from),
        }
    }

    /// When it is overdue, and since when it was expected then.
    pub(super) fn deadline(&self, known: &KnownEndpoint, spec: PushSpec) -> Option<(Timestamp, Timestamp)> {
        let expected = self.expected(&known.endpoint.schedule)?;
        Some((from_micros(micros(expected).saturating_add(whole_micros(spec.grace))), expected))
    }

    /// A heartbeat has come. How long the job took, if its beginning was told.
    pub(super) fn hear(&mut self, now: Timestamp, running: Duration) -> Option<Duration> {
        self.from = now;
        self.silence = Silence { since: now, after_heartbeat: true };
        self.began.take().map(|began| running.saturating_sub(began))
    }

    pub(super) fn begin_job(&mut self, running: Duration) {
        self.began = Some(running);
    }

    /// The heartbeat of `expected` did not come. The next one is that of the next period.
    pub(super) fn miss(
        &mut self,
        known: &KnownEndpoint,
        spec: PushSpec,
        expected: Timestamp,
        now: Timestamp,
    ) -> Failure {
        self.from = expected;
        overdue(self.silence, &known.endpoint.schedule, spec, expected, now)
    }

    /// Nobody listened since `deaf_since`: a heartbeat that was expected until now may have come. Then a whole period is
    /// waited from now on. What is expected only later, by more than nobody listened, stays expected: it cannot have come
    /// before its time by so much.
    pub(super) fn was_deaf(
        &mut self,
        known: &KnownEndpoint,
        id: EndpointId,
        deaf_since: Timestamp,
        now: Timestamp,
    ) -> Option<Unheard> {
        let schedule = &known.endpoint.schedule;
        let deaf_since = deaf_since.max(self.from).min(now);
        let expected = self.expected(schedule)?;
        if expected > now + (now - deaf_since) {
            return None;
        }
        let unheard = match schedule {
            _ if expected > now => None,
            Schedule::Interval(every) => {
                let every = whole_micros(*every).max(1);
                let slots = (micros(now) - micros(self.from)) / every;
                let last = from_micros(micros(self.from).saturating_add(slots.saturating_mul(every)));
                Some(Unheard { slots: u32::try_from(slots).unwrap_or(u32::MAX), last })
            }
            Schedule::Cron(cron) => {
                let slots = schedule.slots(id).count_between(self.from, from_micros(micros(now) + 1));
                cron.at_or_before(now).filter(|_| slots > 0).map(|last| Unheard { slots, last })
            }
        };
        self.from = now;
        self.silence = Silence { since: now, after_heartbeat: false };
        unheard
    }

    /// The schedule is another one: a whole period of it is waited.
    pub(super) fn reschedule(&mut self, now: Timestamp) {
        self.from = now;
    }

    /// The wall clock was set back: what was heard in what is now the future was heard now.
    pub(super) fn set_back(&mut self, now: Timestamp) {
        if self.from > now {
            self.from = now;
        }
        if self.silence.since > now {
            self.silence = Silence { since: now, after_heartbeat: false };
        }
    }
}

fn whole_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
