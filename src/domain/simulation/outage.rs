//! An imagined outage: everything was good for long, then some endpoints fail for a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::{Made, Network, Said, Simulation, World};
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
    /// The targets of our own network, if there are any, and until when it is cut off, from `from` on.
    pub network: Option<(Network, Option<Timestamp>)>,
}

/// What would happen, from the first failed check until nothing is open any more, at most a week after the end.
///
/// `endpoints`: those that fail, and all on which they depend.
pub fn imagine(endpoints: &[Arc<KnownEndpoint>], holds: Holds, routing: Routing, outage: Outage) -> Vec<Said> {
    let Outage { from, to, failing, network } = outage;
    // Long enough before for every endpoint to have been seen once.
    let longest = endpoints.iter().map(|known| known.endpoint.schedule.interval(from)).max().unwrap_or_default();
    let before = TimeDelta::from_std(longest + Duration::from_mins(1)).unwrap_or(TimeDelta::days(1));
    let begin = from.checked_sub_signed(before).unwrap_or(from);
    let good = |known: &Arc<KnownEndpoint>| {
        let state = EndpointState { status: Status::Up, ..EndpointState::pending(begin) };
        (known.clone(), state)
    };
    let mut world = World::new(endpoints.iter().map(good), holds, routing, begin, Duration::ZERO);
    world.without_start_grace();
    let cut = network.as_ref().and_then(|(_, until)| *until);
    let is_cut_off = |known: &&Arc<KnownEndpoint>| network.as_ref().is_some_and(|(network, _)| network.concerns(known));
    let cut_off: BTreeSet<EndpointId> = endpoints.iter().filter(is_cut_off).map(|known| known.id).collect();
    world.network = network.map(|(network, _)| network);
    let mut simulation = Simulation::new(world, begin);
    let mut made = |known: &KnownEndpoint, at: Timestamp| {
        let is_cut = cut.is_some_and(|until| at < until) && cut_off.contains(&known.id);
        let fails = failing.contains(&known.id) && at < to;
        if from <= at && (fails || is_cut) { failed(known, at) } else { Made::once(Outcome::Up, ATTEMPT) }
    };
    simulation.run_until(from, &mut made);
    if let (Some(network), Some(until)) = (&mut simulation.world.network, cut) {
        network.fall_silent((until - begin).to_std().unwrap_or_default());
    }
    let over = cut.map_or(to, |cut| cut.max(to));
    simulation.run_until(over, &mut made);
    let last = over.checked_add_signed(LONGEST_END).unwrap_or(over);
    while simulation.now() < last && (simulation.now() <= over + before || simulation.world.has_open_incident()) {
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
    Made { outcome, took, late: Duration::ZERO, attempts, first: ATTEMPT }
}
