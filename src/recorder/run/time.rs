//! What happens as time goes by: windows, reminders, what was kept back, hours that are over.

use tokio::time::Instant;

use super::super::maintained::{self, Changed};
use super::{FLUSH_INTERVAL, Recorder};
use crate::domain::connectivity::Moment;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::MOST_AT_ONCE;
use crate::domain::outcome::Status;
use crate::domain::{Timestamp, from_micros, micros};
use crate::feed::{Event, StatusNews};
use crate::telemetry::jobs::Run;

/// How long an hour without a successor waits for late results before it is written.
const HOUR_GRACE_US: i64 = 5 * 60 * 1_000_000;

impl Recorder {
    /// Follows the maintenance windows and silences, releases held recoveries, reminds, tells what was kept back, and
    /// closes the incidents of endpoints that are no longer monitored.
    pub fn let_time_pass(&mut self) {
        let now = self.parts.clock.now();
        self.follow_windows(now);
        self.parents.follow(&self.parts.board, &self.tracked);
        self.parts.board.set_start_grace(self.grace.shown(self.parts.clock.monotonic(), now));
        let ids: Vec<EndpointId> = self.with_incident.iter().copied().collect();
        for id in ids {
            self.let_time_work_on(id, now);
        }
        self.parents.tidy(&self.with_incident, now);
        self.parents.show(&self.parts.board, now);
    }

    /// Decides again about an endpoint with an open incident.
    pub(super) fn let_time_work_on(&mut self, id: EndpointId, now: Timestamp) {
        for _ in 0..MOST_AT_ONCE {
            if !self.let_time_pass_for(id, now) {
                break;
            }
        }
    }

    /// The next thing that is due of an incident; whether there was one.
    pub(super) fn let_time_pass_for(&mut self, id: EndpointId, now: Timestamp) -> bool {
        let board = &self.parts.board;
        let monitored = board.get(id).filter(|entry| entry.known.is_checked());
        let Some(tracked) = self.tracked.get_mut(&id) else { return false };
        let before = tracked.state.status;
        let effect = match &monitored {
            Some(entry) => {
                let around = self.parts.quiet.facts(&entry.known, now);
                let moment = Moment { at: now, running: self.parts.clock.monotonic() };
                let mut around = self.parts.own_network.beside(around, id, moment);
                around.maintenance = around.maintenance.or(entry.facts().maintenance);
                around.parent_down = self.parents.hold(board, &entry.known, tracked, now);
                let newest = tracked.last_verdict.as_deref();
                let around = self.maintained.beside(around, id, &tracked.state, newest, now);
                tracked.advance(&entry.known.endpoint.alert_policy, &around, now)
            }
            None => tracked.abandon(now),
        };
        let Some(effect) = effect else { return false };
        self.keep(id, effect, before, None, now);
        true
    }

    /// Shows which windows and silences there are now, and which have ended.
    pub(super) fn follow_windows(&mut self, now: Timestamp) {
        self.parts.board.set_holds(self.parts.quiet.holds(now));
        let Changed { begun, ended } = maintained::follow(&mut self.maintained, &self.parts.board, &self.tracked, now);
        for entry in begun {
            let Some(hold) = &entry.maintenance else { continue };
            let (from, to) = (Some(entry.live.state.status), Some(Status::Maintenance));
            let news = StatusNews { at: now, from, to, since: hold.since, error_message: None };
            self.parts.feed.publish(Event::status(&entry.known, news));
        }
        for entry in ended {
            let state = &entry.live.state;
            let why = state.cause.as_ref().filter(|_| state.status == Status::Down).map(|cause| cause.message.as_str());
            let (from, to) = (Some(Status::Maintenance), Some(state.status));
            let news = StatusNews { at: now, from, to, since: state.since, error_message: why };
            self.parts.feed.publish(Event::status(&entry.known, news));
        }
    }

    pub(super) fn close_hours_and_tell(&mut self) {
        let clock = self.parts.clock.clone();
        self.parts.hours.begin();
        let (at, began) = (clock.now(), clock.monotonic());
        let hours = self.close_hours();
        let took = clock.monotonic().saturating_sub(began);
        self.parts.hours.end(Run { at, took, result: Ok(format!("closed: hours {hours}")) });
    }

    /// Writes the hours that are over and got no successor, and forgets endpoints that are gone; returns how many hours
    /// were closed.
    pub fn close_hours(&mut self) -> u64 {
        let limit = from_micros(micros(self.parts.clock.now()) - HOUR_GRACE_US);
        let closed = self.close_hours_ended_by(limit);
        let board = &self.parts.board;
        let behind = &self.behind;
        let with_incident = &self.with_incident;
        self.tracked.retain(|id, tracked| {
            let unfinished = tracked.open_hour.is_some() || behind.has(*id) || with_incident.contains(id);
            unfinished || board.get(*id).is_some()
        });
        let tracked = &self.tracked;
        self.parts.outages.retain(|id| tracked.contains_key(&id));
        closed
    }

    pub(super) fn close_hours_ended_by(&mut self, limit: Timestamp) -> u64 {
        let mut closed = 0;
        for (id, tracked) in &mut self.tracked {
            if tracked.open_hour.as_ref().is_some_and(|open| open.end() <= limit)
                && let Some(hour) = tracked.close_hour()
            {
                self.buffer.add_hour(*id, hour);
                self.behind.change(*id);
                self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
                closed += 1;
            }
        }
        closed
    }
}
