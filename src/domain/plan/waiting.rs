//! The part of the plan that waits for heartbeats.

use std::time::Duration;

use super::vigil::{LastWord, Unheard, Vigil};
use super::{Due, Plan, STALL};
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::MissedReason;

/// What is made of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Later than every stamp before it.
    pub scheduled_at: Timestamp,
    /// Since its job began, if that was told.
    pub took: Option<Duration>,
}

impl Plan {
    /// A heartbeat has come; `running` is the monotonic clock. `None`: nobody waits for one of this endpoint.
    pub fn hear(&mut self, id: EndpointId, now: Timestamp, running: Duration) -> Option<Heard> {
        let planned = self.entries.get_mut(&id)?;
        let took = planned.vigil.as_mut()?.hear(now, running);
        let scheduled_at = planned.stamp(now);
        // What is queued comes up before the new deadline, and is queued again then: heartbeats, however many, do not
        // fill the queue.
        if planned.next.is_none() {
            self.queue_deadline(id);
        }
        Some(Heard { scheduled_at, took })
    }

    /// A job has begun, whose end will be a heartbeat. Whether anybody waits for one.
    pub fn begin_job(&mut self, id: EndpointId, running: Duration) -> bool {
        let vigil = self.entries.get_mut(&id).and_then(|planned| planned.vigil.as_mut());
        vigil.map(|vigil| vigil.begin_job(running)).is_some()
    }

    pub(super) fn waits(&self, id: EndpointId) -> bool {
        self.entries.get(&id).is_some_and(|planned| planned.vigil.is_some())
    }

    /// Goes on waiting where the process before left off, until when [`was_deaf`](Self::was_deaf) says. Whether it is an
    /// endpoint of which one waits.
    pub(super) fn resume_vigil(&mut self, id: EndpointId, last: Option<LastWord>, now: Timestamp) -> bool {
        let Some(planned) = self.entries.get_mut(&id).filter(|planned| planned.vigil.is_some()) else { return false };
        let Some(spec) = planned.known.endpoint.check.push() else { return false };
        planned.vigil = Some(Vigil::resume(last, spec, planned.known.scheduled_from, now));
        true
    }

    /// Nobody listened since `deaf_since`, or nobody knows since when.
    pub(super) fn was_deaf(
        &mut self,
        id: EndpointId,
        deaf_since: Option<Timestamp>,
        reason: MissedReason,
        now: Timestamp,
    ) -> Option<Due> {
        let planned = self.entries.get_mut(&id)?;
        let known = planned.known.clone();
        let unheard = planned.vigil.as_mut()?.was_deaf(&known, id, deaf_since.unwrap_or(Timestamp::MIN_UTC), now);
        let gap = unheard.map(|Unheard { slots, last }| {
            let scheduled_at = planned.stamp(last);
            Due::Missed { id, scheduled_at, slots, reason }
        });
        self.queue_deadline(id);
        gap
    }

    /// After this process, or the machine, stood still: heartbeats may have come which nobody took.
    pub(super) fn listen_again(&mut self, now: Timestamp) -> Vec<Due> {
        let stall = chrono::TimeDelta::from_std(STALL).unwrap_or_default();
        let Some(last) = self.last_now.filter(|last| now - *last > stall) else { return Vec::new() };
        let mut waiting: Vec<EndpointId> =
            self.entries.iter().filter(|(_, planned)| planned.vigil.is_some()).map(|(id, _)| *id).collect();
        waiting.sort_unstable();
        waiting.into_iter().filter_map(|id| self.was_deaf(id, Some(last), MissedReason::Suspended, now)).collect()
    }

    /// A deadline that was queued has come; later heartbeats may have moved it.
    pub(super) fn end_vigil(&mut self, id: EndpointId, now: Timestamp, due: &mut Vec<Due>) {
        let Some(planned) = self.entries.get_mut(&id) else { return };
        let known = planned.known.clone();
        let Some(spec) = known.endpoint.check.push() else { return };
        // More than one only of an interval that is shorter than a stall.
        while let Some(vigil) = planned.vigil.as_mut()
            && let Some((due_at, expected)) = vigil.deadline(&known, spec).filter(|(at, _)| *at <= now)
        {
            let failure = vigil.miss(&known, spec, expected, now);
            let scheduled_at = planned.stamp(due_at);
            due.push(Due::Overdue { id, scheduled_at, due_at, failure });
        }
        self.queue_deadline(id);
    }

    pub(super) fn queue_deadline(&mut self, id: EndpointId) {
        let Some(planned) = self.entries.get_mut(&id) else { return };
        let Some(spec) = planned.known.endpoint.check.push() else { return };
        match planned.vigil.as_ref().and_then(|vigil| vigil.deadline(&planned.known, spec)) {
            Some((at, _)) => self.queue_slot(id, at, at),
            None => planned.next = None,
        }
    }
}
