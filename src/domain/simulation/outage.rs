//! An imagined outage: everything was good for long, then some endpoints fail for a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::{Made, Said, Simulation, World};
use crate::domain::Timestamp;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::holds::Holds;
use crate::domain::incident::EndpointState;
use crate::domain::notification::Routing;
use crate::domain::outcome::{Failure, FailureKind, Outcome, Status};
use crate::domain::retry::delay;

/// How long one attempt takes.
const ATTEMPT: Duration = Duration::from_millis(100);

/// How long it is watched after the end at most, for what is held back until then.
const LONGEST_END: TimeDelta = TimeDelta::days(7);

/// From when to when which endpoints are down.
#[derive(Debug, Clone)]
pub struct Outage {
    pub from: Timestamp,
    pub to: Timestamp,
    pub failing: BTreeSet<EndpointId>,
}

/// What would happen, from the first failed check until nothing is open any more, at most a week after the end.
pub fn imagine(endpoints: &[Arc<KnownEndpoint>], holds: Holds, routing: Routing, outage: &Outage) -> Vec<Said> {
    // Long enough before for every endpoint to have been seen once.
    let longest = endpoints.iter().map(|known| known.endpoint.schedule.interval(outage.from)).max().unwrap_or_default();
    let before = TimeDelta::from_std(longest + Duration::from_mins(1)).unwrap_or(TimeDelta::days(1));
    let begin = outage.from.checked_sub_signed(before).unwrap_or(outage.from);
    let good = |known: &Arc<KnownEndpoint>| {
        let state = EndpointState { status: Status::Up, ..EndpointState::pending(begin) };
        (known.clone(), state)
    };
    let mut world = World::new(endpoints.iter().map(good), holds, routing, begin, Duration::ZERO);
    world.without_start_grace();
    let mut simulation = Simulation::new(world, begin);
    let mut made = |known: &KnownEndpoint, at: Timestamp| {
        let fails = outage.failing.contains(&known.id) && outage.from <= at && at < outage.to;
        if fails {
            failed(known, at)
        } else {
            Made { outcome: Outcome::Up, took: ATTEMPT, late: Duration::ZERO, attempts: 1 }
        }
    };
    simulation.run_until(outage.to, &mut made);
    let last = outage.to.checked_add_signed(LONGEST_END).unwrap_or(outage.to);
    while simulation.now() < last && (simulation.now() <= outage.to + before || simulation.world.has_open_incident()) {
        let next = simulation.now() + TimeDelta::minutes(1);
        simulation.run_until(next, &mut made);
    }
    simulation.world.take_said()
}

/// A check that fails with each attempt that there is time for before the next slot; pauses are of their middle length.
fn failed(known: &KnownEndpoint, at: Timestamp) -> Made {
    let endpoint = &known.endpoint;
    let left = endpoint.schedule.slots(known.id).next_after(at).and_then(|slot| (slot - at).to_std().ok());
    let (mut took, mut attempts) = (ATTEMPT, 1);
    while attempts < endpoint.retry.max_attempts {
        let begins = took + delay(&endpoint.retry, attempts, 0.5);
        if left.is_some_and(|left| begins + endpoint.check.timeout > left) {
            break;
        }
        (took, attempts) = (begins + ATTEMPT, attempts + 1);
    }
    let outcome = Outcome::Down(Failure::new(FailureKind::HttpStatus, "It is imagined to be down"));
    Made { outcome, took, late: Duration::ZERO, attempts }
}
