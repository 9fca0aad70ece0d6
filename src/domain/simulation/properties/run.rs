//! The imagined monitor, and whoever expects something of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{SubsecRound, TimeDelta};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::moves::{Health, Move, Setting, Shape};
use super::{CHANNELS, ENDPOINTS, LONGEST_CHECK, LOOK, TIMEOUT};
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::check::CheckResult;
use crate::domain::connectivity::{LONGEST_WAIT, Reaches, Rules};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::holds::Holds;
use crate::domain::incident::{Acknowledging, EndpointState};
use crate::domain::notification::{Event, Routing};
use crate::domain::outcome::{Failure, FailureKind, Outcome};
use crate::domain::silence::Silence;
use crate::domain::simulation::model::network::Targets;
use crate::domain::simulation::model::{Around, Expected};
use crate::domain::simulation::tests::{channel, failure, known, window};
use crate::domain::simulation::{Made, Network, Said, Simulation, What, World};
use crate::domain::{Timestamp, from_micros, micros};

/// Something that went to somebody.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// By the time that really went by.
    pub(crate) at: Duration,
    pub(crate) endpoint: i64,
    pub(crate) event: Event,
    pub(crate) id: String,
    /// When it started.
    pub(crate) incident: Option<Timestamp>,
    pub(crate) to: Vec<String>,
}

/// A check that was begun.
#[derive(Debug)]
struct Begun {
    id: i64,
    began_at: Timestamp,
    began: Duration,
    /// Its first attempt fails, whatever comes of it.
    fails_first: bool,
}

pub(super) struct Run {
    simulation: Simulation,
    expected: BTreeMap<i64, Expected>,
    health: BTreeMap<i64, (Health, u32)>,
    begun: Vec<Begun>,
    told: Vec<Message>,
    /// The newest incident of each endpoint.
    incidents: BTreeMap<i64, Timestamp>,
    /// Of which endpoint, from, to.
    windows: Vec<(Option<i64>, Timestamp, Timestamp)>,
    silences: Vec<(i64, Option<i64>, Timestamp)>,
    window_seen: BTreeMap<i64, Duration>,
    /// When a parent of each counted as down last, or may have.
    parent_seen: BTreeMap<i64, Duration>,
    /// Endpoints of which the newest check was not counted.
    not_counted: BTreeSet<i64>,
    shape: Shape,
    local: Option<i64>,
    targets: Option<Targets>,
    /// Everything that is not on this machine is cut off until then.
    cut_until: Duration,
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
    pub(super) fn new(setting: &Setting) -> Self {
        let Setting { interval, policies, shape, local, network } = setting;
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let with_policy = |(id, policy): (i64, &AlertPolicy)| {
            let mut settings = json!({"interval": interval, "timeout": TIMEOUT.as_secs()});
            let parents = match (shape, id) {
                (Shape::Pair | Shape::Chain, 2) => json!(["e1"]),
                (Shape::Chain, 3) => json!(["e2"]),
                (Shape::Both, 3) => json!(["e1", "e2"]),
                (Shape::Group, 3) => json!(["group:core"]),
                _ => json!([]),
            };
            settings["depends_on"] = parents;
            if matches!((shape, id), (Shape::Group, 1 | 2)) {
                settings["group"] = json!("core");
            }
            if *local == Some(id) {
                settings["url"] = json!("http://127.0.0.1:9/");
            }
            let mut known = (*known(id, settings, now)).clone();
            known.endpoint.alert_policy = policy.clone();
            (Arc::new(known), EndpointState::pending(now))
        };
        let endpoints: Vec<_> = (1..).zip(policies).map(with_policy).collect();
        let expected = (1..).zip(policies).map(|(id, policy)| (id, Expected::new(policy.clone()))).collect();
        let routing = Routing { enabled: true, channels: CHANNELS.map(channel).to_vec(), ..Routing::default() };
        let mut world = World::new(endpoints, Holds::default(), routing, now, Duration::ZERO);
        let seconds = |(interval, max): (u64, u64)| (Duration::from_secs(interval), Duration::from_secs(max));
        world.network = network.map(seconds).map(|(interval, max_suppression)| {
            Network::new(Rules { quorum: 1, interval, max_suppression }, Reaches::UNRESOLVED, 2)
        });
        Self {
            simulation: Simulation::new(world, now),
            expected,
            health: (1..=ENDPOINTS).map(|id| (id, (Health::Good, 0))).collect(),
            begun: Vec::new(),
            told: Vec::new(),
            incidents: BTreeMap::new(),
            windows: Vec::new(),
            silences: Vec::new(),
            window_seen: BTreeMap::new(),
            parent_seen: BTreeMap::new(),
            not_counted: BTreeSet::new(),
            shape: *shape,
            local: *local,
            targets: network.map(seconds).map(|(interval, max)| Targets::new(interval, max)),
            cut_until: Duration::ZERO,
            process: Duration::ZERO,
            has_reached: false,
            channels: CHANNELS.iter().map(|name| (*name, true)).collect(),
            telling: true,
            interval: Duration::from_secs(*interval),
            made: 0,
        }
    }

    fn now(&self) -> Duration {
        self.simulation.monotonic()
    }

    fn known(&self, id: i64) -> KnownEndpoint {
        (**self.simulation.world.known(EndpointId(id)).unwrap()).clone()
    }

    /// Parents, and whether they are down only together.
    fn parents(&self, id: i64) -> (Vec<i64>, bool) {
        match (self.shape, id) {
            (Shape::Pair | Shape::Chain, 2) => (vec![1], false),
            (Shape::Chain, 3) => (vec![2], false),
            (Shape::Both, 3) => (vec![1, 2], false),
            (Shape::Group, 3) => (vec![1, 2], true),
            _ => (Vec::new(), false),
        }
    }

    /// Whether something holds for the parents of an endpoint: those that are checked.
    fn holds_for_parents(&self, id: i64, holds: impl Fn(i64) -> bool) -> bool {
        let (parents, together) = self.parents(id);
        let mut checked = parents.into_iter().filter(|parent| !self.known(*parent).paused).peekable();
        checked.peek().is_some() && if together { checked.all(holds) } else { checked.any(holds) }
    }

    fn is_in_window(&self, id: i64, from: Timestamp, at: Timestamp) -> bool {
        let of_it = |of: &Option<i64>| of.is_none_or(|of| of == id);
        self.windows.iter().any(|(of, start, end)| of_it(of) && *start <= at && from < *end)
            || self.holds_for_parents(id, |parent| self.is_in_window(parent, from, at))
    }

    fn around(&self, id: i64, at: Timestamp) -> Around {
        let on = |name: &&str| self.telling && self.channels[*name];
        let channels: BTreeSet<String> = CHANNELS.iter().filter(|name| on(name)).map(|n| (*n).to_owned()).collect();
        // Longer while a recovery is to be confirmed.
        let wait = Duration::from_secs(if self.expected[&id].is_recovering() { 130 } else { 25 });
        let is_after = |seen: &BTreeMap<i64, Duration>| seen.get(&id).is_some_and(|seen| self.now() < *seen + wait);
        let may_be_blind = self.targets.as_ref().is_some_and(|targets| targets.may_be_blind(self.now()));
        Around {
            window: self.is_in_window(id, at, at),
            after_window: is_after(&self.window_seen),
            silence: self.silences.iter().any(|(_, of, until)| of.is_none_or(|of| of == id) && at < *until),
            is_child: !self.parents(id).0.is_empty(),
            parent_down: self.holds_for_parents(id, |parent| self.expected[&parent].counts_as_down() == Some(true)),
            after_parent: is_after(&self.parent_seen),
            own_network: may_be_blind && self.not_counted.contains(&id),
            paused: self.known(id).paused,
            young: self.now() < self.process + Duration::from_secs(35),
            nobody: channels.is_empty(),
            channels,
        }
    }

    pub(super) fn make(&mut self, one: &Move) {
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
            Move::Cut(length, all) => {
                let until = self.now() + Duration::from_secs(*length);
                let now = self.now();
                if let (Some(targets), Some(network)) = (&mut self.targets, &mut self.simulation.world.network) {
                    targets.fall_silent(until, now);
                    network.fall_silent(until);
                }
                if *all {
                    self.cut_until = until;
                }
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
        self.not_counted.clear();
        if let Some(targets) = &mut self.targets {
            targets.restarted();
        }
        let now = self.now();
        self.expected.values_mut().for_each(|expected| expected.restarted(now));
        // What has become due meanwhile comes with the first second.
        self.pass(Duration::from_secs(2));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            let step = LOOK.min(end.saturating_sub(self.now()));
            let (from, wall) = (self.now(), self.simulation.now());
            let (cut_until, local) = (self.cut_until, self.local);
            let (health, begun, made_before) = (&mut self.health, &mut self.begun, &mut self.made);
            let mut made = |known: &KnownEndpoint, at: Timestamp| {
                let (health, count) = health.get_mut(&known.id.0).unwrap();
                *count += 1;
                let since = from + (at - wall).to_std().unwrap();
                let is_cut = since < cut_until && local != Some(known.id.0);
                let unreachable = || Outcome::Down(Failure::new(FailureKind::ConnectRefused, "It is not there"));
                let outcome = match health {
                    _ if is_cut => unreachable(),
                    Health::Bad => failure(),
                    Health::Unreachable => unreachable(),
                    Health::Flaky(bits) if *bits >> (*count % 16) & 1 == 1 => failure(),
                    Health::Good | Health::Flaky(_) => Outcome::Up,
                };
                let took = LONGEST_CHECK / 50 * (1 + *count * 7 % 50);
                *made_before += 1;
                let late = Duration::from_micros(*made_before);
                // Now and then only a further attempt says how it is.
                let (attempts, first) = if *count % 5 == 0 { (2, took / 2) } else { (1, took) };
                let (began_at, id) = (from_micros(micros(at + late)), known.id.0);
                begun.push(Begun { id, began_at, began: since + late, fails_first: attempts > 1 });
                Made { outcome, took, late, attempts, first }
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
        let mut taken = std::mem::take(&mut self.simulation.taken).into_iter().peekable();
        let said = self.simulation.world.take_said();
        for one in &said {
            self.note_told(one, then(one.at));
        }
        let mut said = said.into_iter().peekable();
        let mut so_far = 0;
        loop {
            if let Some((_, at, now, result)) = taken.next_if(|(said_before, ..)| *said_before <= so_far) {
                self.check_taken(&result, at, now);
                continue;
            }
            let Some(one) = said.next() else { break };
            so_far += 1;
            if let (EndpointId(0), What::Message { ordinal, .. }) = (one.endpoint, &one.what) {
                self.targets.as_mut().unwrap().told(*ordinal);
                continue;
            }
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
                so_far += usize::from(end.is_some());
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
        if let Some(targets) = &self.targets {
            targets.look(now);
        }
        for parent in self.begun.iter().filter(|begun| begun.fails_first).map(|begun| begun.id).collect::<Vec<_>>() {
            self.seen_to_fail(parent, now);
        }
        for id in 1..=ENDPOINTS {
            if self.is_in_window(id, wall, wall) {
                self.window_seen.insert(id, now);
            }
            // What is not known may be so.
            if self.holds_for_parents(id, |parent| self.expected[&parent].counts_as_down() != Some(false)) {
                self.parent_seen.insert(id, now);
            }
            let around = self.around(id, wall);
            let state = self.simulation.world.state(EndpointId(id)).unwrap();
            let expected = self.expected.get_mut(&id).unwrap();
            expected.let_time_pass(now);
            expected.settle(state.status, now);
            let (longest, max_suppression) = match &self.targets {
                Some(targets) => (LONGEST_CHECK + LONGEST_WAIT, targets.max_suppression()),
                None => (LONGEST_CHECK, Duration::ZERO),
            };
            expected.look(now, longest, self.interval, TIMEOUT, &around, max_suppression);
            bounded(state, &expected.policy);
        }
    }

    /// Everything that went to somebody, and how long it took.
    pub(super) fn told(self) -> (Vec<Message>, Duration) {
        let now = self.now();
        (self.told, now)
    }

    fn note_told(&mut self, one: &Said, at: Duration) {
        let endpoint = one.endpoint.0;
        match &one.what {
            What::Opened { started_at } | What::Reopened { started_at } => {
                self.incidents.insert(endpoint, *started_at);
            }
            What::Message { event, id, to, held_by: None, .. } if endpoint > 0 && !to.is_empty() => {
                let (id, to, incident) = (id.clone(), to.clone(), self.incidents.get(&endpoint).copied());
                self.told.push(Message { at, endpoint, event: *event, id, incident, to });
            }
            _ => {}
        }
    }

    /// While an attempt or a check has failed an endpoint counts as down for those that depend on it, and they are checked after it.
    fn seen_to_fail(&mut self, parent: i64, now: Duration) {
        for id in 1..=ENDPOINTS {
            if self.parents(id).0.contains(&parent) {
                self.parent_seen.insert(id, now);
            }
        }
    }

    /// A check was taken in, as it was worth.
    fn check_taken(&mut self, result: &CheckResult, at: Timestamp, now: Duration) {
        let id = result.endpoint_id.0;
        let of_it = |begun: &Begun| begun.id == id && begun.began_at == result.started_at;
        let Some(place) = self.begun.iter().position(of_it) else { panic!("nobody began {result:?}") };
        let Begun { began, fails_first, .. } = self.begun.swap_remove(place);
        // Also where the next one is good before anybody looks.
        if fails_first || matches!(result.outcome, Outcome::Down(_)) {
            self.seen_to_fail(id, now);
        }
        self.begun.retain(|begun| begun.id != id || begun.began > began);
        let local = self.local == Some(id);
        let good = result.outcome.is_good();
        if let Some(targets) = &mut self.targets {
            match &result.outcome {
                Outcome::Missed(_) => targets.not_counted(id, local, now),
                Outcome::Down(_) => targets.counted(id, local, began, now),
                Outcome::Up | Outcome::Degraded => targets.good(id, local, began),
            }
        }
        if matches!(result.outcome, Outcome::Missed(_)) {
            self.not_counted.insert(id);
            self.expected.get_mut(&id).unwrap().not_counted(began);
            return;
        }
        self.not_counted.remove(&id);
        self.has_reached |= good && !local;
        let is_young = now.saturating_sub(self.process) <= Duration::from_secs(30) && !self.has_reached;
        let unreachable = result.outcome.failure().is_some_and(|f| f.kind == FailureKind::ConnectRefused);
        let in_window = self.is_in_window(id, result.started_at, at);
        if self.holds_for_parents(id, |parent| self.expected[&parent].counts_as_down() != Some(false)) {
            self.parent_seen.insert(id, now);
        }
        let expected = self.expected.get_mut(&id).unwrap();
        expected.let_time_pass(now);
        expected.checked(good, in_window, is_young && unreachable, began, now);
    }
}

fn bounded(state: &EndpointState, policy: &AlertPolicy) {
    let most = policy.failure_threshold.of.max(5) as usize;
    assert!(state.trail.window.len() <= most && state.failures as usize <= most, "{state:?}");
    assert!(state.trail.changes.len() <= 8, "{state:?}");
}
