//! The monitor as a whole, whatever happens to it: checks of every sort, restarts, a clock that jumps, windows, silences,
//! acknowledgements, edits, and channels that come and go, in any order, against what [`model`] expects.
//!
//! `PROPTEST_CASES` says how many cases, `PROPTEST_RNG_SEED` which; the seed is printed. `tests/alerting/run` makes many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{SubsecRound, TimeDelta};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::model::{Around, Expected};
use super::tests::{channel, failure, known, window};
use super::*;
use crate::domain::Timestamp;
use crate::domain::alert_policy::{AlertPolicy, EscalationStep, FailureThreshold, FlapPolicy, ReminderPolicy};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::holds::Holds;
use crate::domain::incident::{Acknowledging, EndpointState};
use crate::domain::notification::{Event, Routing};
use crate::domain::outcome::{Failure, FailureKind, Outcome};
use crate::domain::silence::Silence;

const CHANNELS: [&str; 3] = ["console", "mail", "on-call"];
const ENDPOINTS: i64 = 2;
/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(3);
const LONGEST_CHECK: Duration = Duration::from_millis(2_500);

/// How checks of an endpoint end.
#[derive(Debug, Clone)]
enum Health {
    Good,
    /// With a wrong status.
    Bad,
    /// No connection.
    Unreachable,
    /// One bit a check, over and over.
    Flaky(u16),
}

#[derive(Debug, Clone)]
enum Move {
    Health(i64, Health),
    Pass(u64),
    /// The wall clock is set by so many seconds.
    Jump(i64),
    Restart(u64),
    /// Work begins in so many seconds, for so many: of one endpoint, or of all.
    Window(Option<i64>, i64, i64),
    Silence(Option<i64>, i64),
    /// All silences end.
    Unsilence,
    Acknowledge(i64, Option<u64>),
    Resolve(i64),
    Policy(i64, AlertPolicy),
    /// What is checked is another thing.
    Edit(i64),
    Pause(i64, bool),
    /// A channel is on or off.
    Channel(usize, bool),
    Telling(bool),
}

fn policies() -> impl Strategy<Value = AlertPolicy> {
    let threshold = prop_oneof![
        3 => (1_u32..=3).prop_map(FailureThreshold::in_a_row),
        1 => (1_u32..=3, 0_u32..=2).prop_map(|(failures, more)| FailureThreshold { failures, of: failures + more }),
    ];
    let cooldown = prop_oneof![1 => Just(0_u64), 3 => 1_u64..=300];
    let reminder = prop::option::of((20_u64..200, 1.0_f64..3.0, 200_u64..600));
    let flap = prop::option::of((1_u32..7, 100_u64..600));
    let escalation = prop::collection::vec(1_u64..200, 0..3);
    let thresholds = (threshold, 1_u64..=20, 1_u32..=3);
    (thresholds, prop::bool::weighted(0.85), cooldown, reminder, flap, escalation, 60_u64..600).prop_map(
        |((failure_threshold, confirm, successes), tells, cooldown, reminder, flap, pauses, acknowledge_for)| {
            let seconds = Duration::from_secs;
            let mut after = 0;
            let step = |pause| {
                after += pause;
                EscalationStep { after: seconds(after), notify: vec!["on-call".to_owned()] }
            };
            AlertPolicy {
                failure_threshold,
                confirm_interval: seconds(confirm),
                success_threshold: successes,
                send_recovery: tells,
                cooldown: seconds(cooldown),
                reminder: reminder.map(|(every, backoff, max)| ReminderPolicy {
                    every: seconds(every),
                    backoff,
                    max: seconds(max),
                }),
                flap: flap.map(|(changes, window)| FlapPolicy { changes, window: seconds(window) }),
                acknowledge_for: seconds(acknowledge_for),
                escalation: pauses.into_iter().map(step).collect(),
                ..AlertPolicy::default()
            }
        },
    )
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let id = || 1..=ENDPOINTS;
    let of = || prop::option::of(1..=ENDPOINTS);
    let health = prop_oneof![
        3 => Just(Health::Good),
        4 => Just(Health::Bad),
        1 => Just(Health::Unreachable),
        3 => any::<u16>().prop_map(Health::Flaky),
    ];
    let one = prop_oneof![
        12 => (id(), health).prop_map(|(id, health)| Move::Health(id, health)),
        16 => (1_u64..300).prop_map(Move::Pass),
        1 => (-4_000_i64..4_000).prop_map(Move::Jump),
        2 => (0_u64..120).prop_map(Move::Restart),
        2 => (of(), 0_i64..30, 5_i64..300).prop_map(|(of, begins, length)| Move::Window(of, begins, length)),
        2 => (of(), 5_i64..300).prop_map(|(of, length)| Move::Silence(of, length)),
        1 => Just(Move::Unsilence),
        3 => (id(), prop::option::of(60_u64..600)).prop_map(|(id, wanted)| Move::Acknowledge(id, wanted)),
        1 => id().prop_map(Move::Resolve),
        1 => (id(), policies()).prop_map(|(id, policy)| Move::Policy(id, policy)),
        1 => id().prop_map(Move::Edit),
        1 => (id(), prop::bool::weighted(0.4)).prop_map(|(id, paused)| Move::Pause(id, paused)),
        1 => (0..CHANNELS.len(), prop::bool::weighted(0.7)).prop_map(|(n, on)| Move::Channel(n, on)),
        1 => prop::bool::weighted(0.8).prop_map(Move::Telling),
    ];
    prop::collection::vec(one, 1..40)
}

/// A check that was begun, as the model will see it end.
#[derive(Debug)]
struct Begun {
    id: i64,
    began_at: Timestamp,
    began: Duration,
    ends: Duration,
    outcome: Outcome,
}

struct Run {
    simulation: Simulation,
    expected: BTreeMap<i64, Expected>,
    health: BTreeMap<i64, (Health, u32)>,
    begun: Vec<Begun>,
    /// Of which endpoint, from, to.
    windows: Vec<(Option<i64>, Timestamp, Timestamp)>,
    silences: Vec<(i64, Option<i64>, Timestamp)>,
    window_seen: BTreeMap<i64, Duration>,
    /// Since when this process is there, and whether it has reached anything.
    process: Duration,
    has_reached: bool,
    channels: BTreeMap<&'static str, bool>,
    telling: bool,
    interval: Duration,
    /// Checks made: an incident is known by the microsecond of its first failure, which a clock that was set back must
    /// not bring again, as no real one does.
    made: u64,
}

fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// As the tables give it back.
fn stored(state: &EndpointState) -> EndpointState {
    EndpointState {
        incident: state.incident.as_ref().map(through_json),
        recovered: state.recovered.as_ref().map(through_json),
        trail: through_json(&state.trail),
        ..state.clone()
    }
}

impl Run {
    fn new(interval: u64, policies: &[AlertPolicy]) -> Self {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let with_policy = |(id, policy): (i64, &AlertPolicy)| {
            let mut known = (*known(id, json!({"interval": interval, "timeout": TIMEOUT.as_secs()}), now)).clone();
            known.endpoint.alert_policy = policy.clone();
            (Arc::new(known), EndpointState::pending(now))
        };
        let endpoints: Vec<_> = (1..).zip(policies).map(with_policy).collect();
        let expected = (1..).zip(policies).map(|(id, policy)| (id, Expected::new(policy.clone()))).collect();
        let routing = Routing { enabled: true, channels: CHANNELS.map(channel).to_vec(), ..Routing::default() };
        let world = World::new(endpoints, Holds::default(), routing, now, Duration::ZERO);
        Self {
            simulation: Simulation::new(world, now),
            expected,
            health: (1..=ENDPOINTS).map(|id| (id, (Health::Good, 0))).collect(),
            begun: Vec::new(),
            windows: Vec::new(),
            silences: Vec::new(),
            window_seen: BTreeMap::new(),
            process: Duration::ZERO,
            has_reached: false,
            channels: CHANNELS.iter().map(|name| (*name, true)).collect(),
            telling: true,
            interval: Duration::from_secs(interval),
            made: 0,
        }
    }

    fn now(&self) -> Duration {
        self.simulation.monotonic()
    }

    fn known(&self, id: i64) -> KnownEndpoint {
        (**self.simulation.world.known(EndpointId(id)).unwrap()).clone()
    }

    fn is_in_window(&self, id: i64, from: Timestamp, at: Timestamp) -> bool {
        self.windows.iter().any(|(of, start, end)| of.is_none_or(|of| of == id) && *start <= at && from < *end)
    }

    fn around(&self, id: i64, at: Timestamp) -> Around {
        let on = |name: &&str| self.telling && self.channels[*name];
        let channels: BTreeSet<String> = CHANNELS.iter().filter(|name| on(name)).map(|n| (*n).to_owned()).collect();
        let after = self.window_seen.get(&id).is_some_and(|seen| self.now() < *seen + Duration::from_secs(130));
        Around {
            window: self.is_in_window(id, at, at),
            after_window: after,
            silence: self.silences.iter().any(|(_, of, until)| of.is_none_or(|of| of == id) && at < *until),
            paused: self.known(id).paused,
            young: self.now() < self.process + Duration::from_secs(35),
            nobody: channels.is_empty(),
            channels,
        }
    }

    fn make(&mut self, one: &Move) {
        let at = self.simulation.now();
        let matching = |of: &Option<i64>| of.map_or_else(|| "*".to_owned(), |id| format!("id:{id}"));
        match one {
            Move::Health(id, health) => drop(self.health.insert(*id, (health.clone(), 0))),
            Move::Pass(seconds) => self.pass(Duration::from_secs(*seconds)),
            Move::Jump(seconds) => {
                self.simulation.set_clock(TimeDelta::seconds(*seconds));
                let now = self.now();
                self.expected.values_mut().for_each(|expected| expected.forget_times(now));
            }
            Move::Restart(away) => self.restart(Duration::from_secs(*away)),
            Move::Window(of, begins, length) => {
                let start = at.trunc_subsecs(0) + TimeDelta::seconds(*begins);
                let name = format!("w{}", self.windows.len());
                let settings = json!({"name": name, "match": matching(of), "start": start, "for": length});
                self.simulation.world.holds.put_window(window(settings, at));
                self.windows.push((*of, start, start + TimeDelta::seconds(*length)));
            }
            Move::Silence(of, length) => {
                let until = at + TimeDelta::seconds(*length);
                let id = i64::try_from(self.silences.len()).unwrap() + 1;
                let settings = serde_json::from_value(json!({"match": matching(of), "until": until})).unwrap();
                let (created_by, unreadable) = ("ci".to_owned(), None);
                let silence =
                    Silence { id, settings, unreadable, created_at: at, created_by, updated_at: at, revision: 1 };
                self.simulation.world.holds.put_silence(silence);
                self.silences.push((id, *of, until));
            }
            Move::Unsilence => {
                for (id, _, until) in &mut self.silences {
                    self.simulation.world.holds.remove_silence(*id);
                    *until = Timestamp::MIN_UTC;
                }
            }
            Move::Acknowledge(id, wanted) => {
                let wanted = wanted.map(Duration::from_secs);
                let by = Acknowledging { by: "ci".to_owned(), note: None, wanted };
                if self.simulation.world.acknowledge(EndpointId(*id), by, at) {
                    self.see();
                    let length = wanted.unwrap_or(self.expected[id].policy.acknowledge_for);
                    let until = self.now() + length;
                    self.expected.get_mut(id).unwrap().acknowledged(until);
                }
            }
            Move::Resolve(id) => drop(self.simulation.world.resolve(EndpointId(*id), at).map(|()| {
                self.expected.get_mut(id).unwrap().resolved_by_hand();
            })),
            Move::Policy(id, policy) => {
                let mut known = self.known(*id);
                known.endpoint.alert_policy = policy.clone();
                self.simulation.change(Arc::new(known));
                let now = self.now();
                self.expected.get_mut(id).unwrap().take_policy(policy.clone(), now);
            }
            Move::Edit(id) => {
                let mut known = self.known(*id);
                known.endpoint.check.user_agent.push('+');
                self.simulation.change(Arc::new(known));
                self.expected.get_mut(id).unwrap().recount();
            }
            Move::Pause(id, paused) => {
                let known = KnownEndpoint { paused: *paused, ..self.known(*id) };
                self.simulation.change(Arc::new(known));
            }
            Move::Channel(n, on) => {
                self.channels.insert(CHANNELS[*n], *on);
                self.simulation.world.routing.channels[*n].enabled = *on;
            }
            Move::Telling(telling) => {
                self.telling = *telling;
                self.simulation.world.routing.enabled = *telling;
            }
        }
        self.see();
    }

    fn restart(&mut self, away: Duration) {
        for id in 1..=ENDPOINTS {
            let again = stored(self.simulation.world.state(EndpointId(id)).unwrap());
            assert_eq!(Some(&again), self.simulation.world.state(EndpointId(id)), "as it was stored");
            self.simulation.world.set_state(EndpointId(id), again);
        }
        self.begun.clear();
        self.simulation.restart(away);
        (self.process, self.has_reached) = (self.now(), false);
        let now = self.now();
        self.expected.values_mut().for_each(|expected| expected.count_anew(now));
        // What has become due meanwhile comes with the first second.
        self.pass(Duration::from_secs(2));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            let step = LOOK.min(end.saturating_sub(self.now()));
            let (from, wall) = (self.now(), self.simulation.now());
            let (health, begun, made_before) = (&mut self.health, &mut self.begun, &mut self.made);
            let mut made = |known: &KnownEndpoint, at: Timestamp| {
                let (health, count) = health.get_mut(&known.id.0).unwrap();
                *count += 1;
                let outcome = match health {
                    Health::Bad => failure(),
                    Health::Unreachable => Outcome::Down(Failure::new(FailureKind::ConnectRefused, "It is not there")),
                    Health::Flaky(bits) if *bits >> (*count % 16) & 1 == 1 => failure(),
                    Health::Good | Health::Flaky(_) => Outcome::Up,
                };
                let took = LONGEST_CHECK / 50 * (1 + *count * 7 % 50);
                *made_before += 1;
                let late = Duration::from_micros(*made_before);
                let since = from + (at - wall).to_std().unwrap() + late;
                let (id, began_at, outcome_there) = (known.id.0, at + late, outcome.clone());
                begun.push(Begun { id, began_at, began: since, ends: since + took, outcome: outcome_there });
                Made { outcome, took, late, attempts: 1 }
            };
            self.simulation.run_until(wall + step, &mut made);
            self.see();
        }
    }

    /// Compares everything that happened since it was last asked with what is expected.
    fn see(&mut self) {
        let (now, wall) = (self.now(), self.simulation.now());
        let then = |at: Timestamp| {
            let ago = (wall - at).to_std().unwrap_or_default();
            now.saturating_sub(ago)
        };
        let (ended, begun) = std::mem::take(&mut self.begun).into_iter().partition(|check: &Begun| check.ends <= now);
        self.begun = begun;
        let mut ended: Vec<Begun> = ended;
        ended.sort_by_key(|check| check.ends);
        let mut ended = ended.into_iter().peekable();
        let mut said = self.simulation.world.take_said().into_iter().peekable();
        loop {
            let at = said.peek().map(|said| then(said.at));
            if let Some(check) = ended.next_if(|check| at.is_none_or(|at| check.ends <= at)) {
                self.check_ended(&check, wall - TimeDelta::from_std(now.saturating_sub(check.ends)).unwrap());
                continue;
            }
            let Some(one) = said.next() else { break };
            let (id, when) = (one.endpoint.0, then(one.at));
            let around = self.around(id, one.at);
            let expected = self.expected.get_mut(&id).unwrap();
            expected.let_time_pass(when);
            if let What::Closed { .. } = &one.what {
                expected.said(&one.what, when, &around);
                let is_its_end = |next: &Said| {
                    next.endpoint == one.endpoint
                        && matches!(&next.what, What::Message { event, .. } if event.is_resolve())
                };
                let end = said.next_if(is_its_end);
                let mut by: Option<(Event, BTreeSet<String>)> = None;
                if let Some(Said { what, .. }) = &end {
                    expected.said(what, when, &around);
                    if let What::Message { event, to, .. } = what {
                        by = Some((*event, to.iter().cloned().collect()));
                    }
                }
                let left = by.as_ref().is_some_and(|(event, _)| *event == Event::NoLongerMonitored);
                expected.closed(by, left, &around);
            } else {
                expected.said(&one.what, when, &around);
            }
        }
        for id in 1..=ENDPOINTS {
            if self.is_in_window(id, wall, wall) {
                self.window_seen.insert(id, now);
            }
            let around = self.around(id, wall);
            let state = self.simulation.world.state(EndpointId(id)).unwrap();
            let expected = self.expected.get_mut(&id).unwrap();
            expected.let_time_pass(now);
            expected.settle(state.status, now);
            expected.look(now, LONGEST_CHECK, self.interval, TIMEOUT, &around);
            bounded(state, &expected.policy);
        }
    }

    fn check_ended(&mut self, check: &Begun, at: Timestamp) {
        let good = check.outcome.is_good();
        self.has_reached |= good;
        let is_young = check.ends.saturating_sub(self.process) <= Duration::from_secs(30) && !self.has_reached;
        let unreachable = check.outcome.failure().is_some_and(|f| f.kind == FailureKind::ConnectRefused);
        let in_window = self.is_in_window(check.id, check.began_at, at);
        let expected = self.expected.get_mut(&check.id).unwrap();
        expected.let_time_pass(check.ends);
        expected.checked(good, in_window, is_young && unreachable, check.began, check.ends);
    }
}

fn bounded(state: &EndpointState, policy: &AlertPolicy) {
    let most = policy.failure_threshold.of.max(5) as usize;
    assert!(state.trail.window.len() <= most && state.failures as usize <= most, "{state:?}");
    assert!(state.trail.changes.len() <= 8, "{state:?}");
}

#[test]
fn the_whole_is_right() {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => fastrand::u64(..),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    println!("{} cases, PROPTEST_RNG_SEED={seed}", config.cases);
    let cases = (10_u64..90, prop::collection::vec(policies(), 2), moves());
    let result = TestRunner::new(config).run(&cases, |(interval, policies, moves)| {
        let mut run = Run::new(interval, &policies);
        for one in &moves {
            run.make(one);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("PROPTEST_RNG_SEED={seed}: {error}");
    }
}
