//! Endpoints with their states, what keeps messages back, and who is told: as the recorder has them in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::audience::{self, Addressed, ToldBefore};
use crate::domain::check::{CheckResult, CheckSpec};
use crate::domain::connectivity::Moment;
use crate::domain::dependency::{Examined, Parents};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::holds::Holds;
use crate::domain::incident::{
    Acknowledging, EndpointState, IncidentChange, MOST_AT_ONCE, MissedRun, Step, Tell, Unresolvable, abandon,
    acknowledge, advance, resolve_by_hand, take,
};
use crate::domain::maintenance::Maintained;
use crate::domain::notification::{Event, Routing, Subject, notification_id};
use crate::domain::outcome::{MissedReason, Outcome};
use crate::domain::start_grace::StartGrace;
use crate::domain::suppression::{Facts, Held, Matter, decide};

use super::network::Network;
use super::said::{Said, What};

mod around;

/// The newest outage of an endpoint.
#[derive(Debug, Clone, Default)]
struct Outage {
    started_at: Option<Timestamp>,
    /// The channels that heard of it.
    told: Vec<String>,
}

#[derive(Debug)]
struct Watched {
    known: Arc<KnownEndpoint>,
    state: EndpointState,
    missed: MissedRun,
    /// The newest slot taken in.
    last: Option<Timestamp>,
    last_verdict: Option<CheckResult>,
    /// What was checked when the newest result came.
    checked: Option<CheckSpec>,
    outage: Outage,
    unwatched: Vec<String>,
    degraded: Vec<String>,
    /// What keeps what back, as it was said last.
    kept_back: BTreeMap<Matter, Held>,
}

/// Everything that decides what is told.
#[derive(Debug)]
pub struct World {
    endpoints: BTreeMap<EndpointId, Watched>,
    pub holds: Holds,
    pub routing: Routing,
    grace: StartGrace,
    maintained: Maintained,
    parents: Parents,
    /// Those of which an attempt of the check under way has failed.
    attempt_failed: BTreeSet<EndpointId>,
    /// `None`: there are no targets, and every failure counts.
    pub network: Option<Network>,
    /// As of the newest that happened.
    moment: Moment,
    /// In their order, until somebody takes them.
    said: Vec<Said>,
}

impl World {
    /// As after a start, when nothing of what may be kept in mind between two starts is there.
    ///
    /// `monotonic`: the time that has really gone by, from any beginning.
    pub fn new(
        endpoints: impl IntoIterator<Item = (Arc<KnownEndpoint>, EndpointState)>,
        holds: Holds,
        routing: Routing,
        now: Timestamp,
        monotonic: Duration,
    ) -> Self {
        let watched = |(known, state): (Arc<KnownEndpoint>, EndpointState)| {
            let id = known.id;
            let watched = Watched {
                known,
                state,
                missed: MissedRun::default(),
                last: None,
                last_verdict: None,
                checked: None,
                outage: Outage::default(),
                unwatched: Vec::new(),
                degraded: Vec::new(),
                kept_back: BTreeMap::new(),
            };
            (id, watched)
        };
        let endpoints: BTreeMap<_, _> = endpoints.into_iter().map(watched).collect();
        let grace = StartGrace::begin(std::iter::empty(), monotonic);
        let mut world = Self {
            endpoints,
            holds,
            routing,
            grace,
            maintained: Maintained::default(),
            parents: Parents::default(),
            attempt_failed: BTreeSet::new(),
            network: None,
            moment: Moment { at: now, running: monotonic },
            said: Vec::new(),
        };
        world.begin(now, monotonic);
        world
    }

    /// This process begins anew: what is not stored is forgotten.
    pub fn begin(&mut self, now: Timestamp, monotonic: Duration) {
        self.grace = StartGrace::begin(self.endpoints.values().map(|watched| &*watched.known), monotonic);
        self.moment = Moment { at: now, running: monotonic };
        if let Some(network) = &mut self.network {
            network.begin();
        }
        self.begin_parents();
        self.maintained = Maintained::begin(self.in_maintenance(now));
        for watched in self.endpoints.values_mut() {
            watched.missed = MissedRun::default();
            watched.checked = None;
        }
    }

    /// The start is long over.
    pub fn without_start_grace(&mut self) {
        self.grace = StartGrace::over();
    }

    pub fn state(&self, id: EndpointId) -> Option<&EndpointState> {
        self.endpoints.get(&id).map(|watched| &watched.state)
    }

    /// Takes this state instead: as it was stored.
    pub fn set_state(&mut self, id: EndpointId, state: EndpointState) {
        if let Some(watched) = self.endpoints.get_mut(&id) {
            watched.state = state;
        }
    }

    pub fn known(&self, id: EndpointId) -> Option<&Arc<KnownEndpoint>> {
        self.endpoints.get(&id).map(|watched| &watched.known)
    }

    /// Every endpoint, with the newest slot that was taken in.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Arc<KnownEndpoint>, Option<Timestamp>)> {
        self.endpoints.values().map(|watched| (&watched.known, watched.last))
    }

    /// Whether time may have something to do.
    pub fn is_busy(&self) -> bool {
        !self.holds.is_empty()
            || self.endpoints.values().any(|watched| watched.is_open() || !watched.kept_back.is_empty())
    }

    /// Endpoints whose next check should come early.
    pub fn unconfirmed(&self) -> Vec<EndpointId> {
        let unconfirmed = self.endpoints.iter().filter(|(_, watched)| watched.state.is_unconfirmed());
        unconfirmed.map(|(id, _)| *id).collect()
    }

    /// Whether an incident is open.
    pub fn has_open_incident(&self) -> bool {
        self.endpoints.values().any(|watched| watched.state.incident.is_some())
    }

    /// What happened since it was last asked.
    pub fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    #[cfg(test)]
    pub(super) fn said_so_far(&self) -> usize {
        self.said.len()
    }

    /// An endpoint was edited, or is paused or archived from now on.
    pub fn change(&mut self, known: Arc<KnownEndpoint>) {
        if let Some(watched) = self.endpoints.get_mut(&known.id) {
            if watched.known.endpoint.check != known.endpoint.check {
                // As the verb does that changes it.
                watched.state = watched.state.recounted();
            }
            let is_same = around::depends_as(&watched.known, &known);
            watched.known = known;
            if !is_same {
                self.follow_parents();
            }
        }
    }

    /// Takes one result in. Whether it asks for a confirming check; `None`: its slot was taken in before.
    pub fn take(&mut self, mut result: CheckResult, now: Timestamp, monotonic: Duration) -> Option<bool> {
        let id = result.endpoint_id;
        let known = self.endpoints.get(&id)?.known.clone();
        self.moment = Moment { at: now, running: monotonic };
        self.holds.mark(&mut result, &known, now);
        // From its first attempt until now, as for windows of its own.
        result.in_maintenance |= !matches!(result.outcome, Outcome::Missed(_))
            && self.maintenance_of_parents(id, result.started_at, now).is_some();
        let of_parents = self.maintenance_of_parents(id, now, now).map(|hold| hold.fact());
        let watched = self.endpoints.get_mut(&id)?;
        let around = self.grace.around(&result, &known, monotonic, now);
        let around = self.holds.beside(around, &known, now);
        let around = Facts { own_network: self.network.as_ref().and_then(|own| own.hold(id, self.moment)), ..around };
        let around = Facts { maintenance: around.maintenance.clone().or(of_parents), ..around };
        let around = self.parents.beside(around, &result, &watched.state, now);
        if watched.last.is_some_and(|last| result.scheduled_at <= last) {
            return None;
        }
        watched.last = Some(result.scheduled_at);
        self.maintained.note(&result);
        let edited = watched.checked.as_ref().is_some_and(|before| *before != known.endpoint.check);
        watched.checked = Some(known.endpoint.check.clone());
        let policy = &known.endpoint.alert_policy;
        let step = take(&watched.state, &mut watched.missed, edited, &result, policy, &around, now);
        if !matches!(result.outcome, Outcome::Missed(_)) {
            watched.last_verdict = Some(result.clone());
        }
        let (confirm, tell) = (step.confirm, step.tell);
        if matches!(result.outcome, Outcome::Missed(MissedReason::OwnNetwork)) {
            self.said.push(Said { at: now, endpoint: id, what: What::NotCounted });
        }
        self.apply(id, step, now);
        self.note_parent(id, &result, tell, now);
        self.compare(id, around, now);
        self.go_on(now);
        Some(confirm)
    }

    /// Lets time work.
    pub fn let_time_pass(&mut self, now: Timestamp, monotonic: Duration) {
        self.moment = Moment { at: now, running: monotonic };
        self.follow_windows(now);
        let open = |(id, watched): (&EndpointId, &Watched)| {
            (watched.is_open() || !watched.kept_back.is_empty()).then_some(*id)
        };
        for id in self.endpoints.iter().filter_map(open).collect::<Vec<_>>() {
            self.let_time_work_on(id, now);
        }
        let endpoints = &self.endpoints;
        let has_incident = |id| endpoints.get(&id).is_some_and(|watched: &Watched| watched.is_open());
        self.parents.tidy(has_incident, now);
        self.go_on(now);
    }

    /// Decides again about the children of parents that have answered.
    fn go_on(&mut self, now: Timestamp) {
        for id in self.parents.take_changed() {
            self.let_time_work_on(id, now);
        }
    }

    fn let_time_work_on(&mut self, id: EndpointId, now: Timestamp) {
        for _ in 0..MOST_AT_ONCE {
            if !self.let_time_pass_for(id, now) {
                break;
            }
        }
    }

    /// The next thing that is due of an endpoint; whether there was one.
    fn let_time_pass_for(&mut self, id: EndpointId, now: Timestamp) -> bool {
        let Some(known) = self.endpoints.get(&id).map(|watched| watched.known.clone()) else { return false };
        let (around, step) = if known.is_checked() {
            let mut around = self.holds.beside(Facts::default(), &known, now);
            if around.maintenance.is_none() {
                around.maintenance = self.maintenance_of_parents(id, now, now).map(|hold| hold.fact());
            }
            around.own_network = self.network.as_ref().and_then(|own| own.hold(id, self.moment));
            around.parent_down = self.hold_by_parents(id, now);
            let Some(watched) = self.endpoints.get(&id) else { return false };
            let around = self.maintained.beside(around, id, &watched.state, watched.last_verdict.as_ref(), now);
            let step = advance(&watched.state, &known.endpoint.alert_policy, &around, now);
            (around, step)
        } else {
            (Facts::default(), self.endpoints.get(&id).and_then(|watched| abandon(&watched.state, now)))
        };
        let is_due = step.is_some();
        if let Some(step) = step {
            self.apply(id, step, now);
        }
        self.compare(id, around, now);
        is_due
    }

    /// Somebody looks after the outage of an endpoint. Whether one is open.
    pub fn acknowledge(&mut self, id: EndpointId, acknowledging: Acknowledging, now: Timestamp) -> bool {
        let Some(watched) = self.endpoints.get(&id) else { return false };
        let policy = &watched.known.endpoint.alert_policy;
        let Some(step) = acknowledge(&watched.state, acknowledging, policy, now) else { return false };
        self.apply(id, step, now);
        true
    }

    /// Somebody ends the outage of an endpoint.
    ///
    /// # Errors
    /// Why not.
    pub fn resolve(&mut self, id: EndpointId, now: Timestamp) -> Result<(), Unresolvable> {
        let watched = self.endpoints.get(&id).ok_or(Unresolvable::NothingOpen)?;
        let step = resolve_by_hand(&watched.state, &watched.known.endpoint.alert_policy, now)?;
        self.apply(id, step, now);
        Ok(())
    }

    /// Takes over what a step changed, and says it.
    fn apply(&mut self, id: EndpointId, step: Step, now: Timestamp) {
        let Some(watched) = self.endpoints.get_mut(&id) else { return };
        let Step { state, transition, incident, tell, .. } = step;
        watched.state = state;
        self.parents.note(watched.examined());
        let mut say = |what| self.said.push(Said { at: now, endpoint: id, what });
        if let Some(transition) = transition {
            say(What::Status { from: transition.from, to: transition.to, since: transition.since });
        }
        let Some(change) = incident else { return };
        let started_at = match &change {
            IncidentChange::Resolved { incident, .. } | IncidentChange::Abandoned { incident, .. } => {
                Some(incident.started_at)
            }
            change if change.is_of_incident() => watched.state.incident.as_ref().map(|incident| incident.started_at),
            _ => None,
        };
        if let Some(started_at) = started_at {
            if watched.outage.started_at != Some(started_at) {
                watched.outage = Outage { started_at: Some(started_at), told: Vec::new() };
            }
            match &change {
                IncidentChange::Opened => say(What::Opened { started_at }),
                IncidentChange::Reopened => say(What::Reopened { started_at }),
                IncidentChange::Resolved { resolved_at: at, .. } | IncidentChange::Abandoned { at, .. } => {
                    say(What::Closed { started_at, at: *at });
                }
                _ => {}
            }
        }
        if let Some(tell) = tell {
            let what = message(watched, &change, tell, started_at, &self.routing);
            say(what);
        }
    }

    /// Says what keeps what back, where that is something else than before.
    fn compare(&mut self, id: EndpointId, mut around: Facts, now: Timestamp) {
        // Of a parent that is asked nothing is said until something waits for it.
        around.parent_down = self.parents.keeps_back(id);
        let Some(watched) = self.endpoints.get_mut(&id) else { return };
        let facts = watched.state.facts(&around);
        let mut kept_back = BTreeMap::new();
        for matter in watched.waiting(now) {
            if let Some(held) = decide(matter, &facts, now) {
                kept_back.insert(matter, held);
            }
        }
        let mut say = |what| self.said.push(Said { at: now, endpoint: id, what });
        for matter in watched.kept_back.keys() {
            if !kept_back.contains_key(matter) {
                say(What::LetGo { matter: *matter });
            }
        }
        for (matter, held) in &kept_back {
            let before = watched.kept_back.get(matter).map(|before| (before.by, &before.name));
            if before != Some((held.by, &held.name)) {
                say(What::KeptBack { matter: *matter, held: held.clone() });
            }
        }
        watched.kept_back = kept_back;
    }
}

/// Who is told.
fn message(
    watched: &mut Watched,
    change: &IncidentChange,
    tell: Tell,
    started_at: Option<Timestamp>,
    routing: &Routing,
) -> What {
    let known = &watched.known;
    let unwatched = match change {
        IncidentChange::Unwatched { .. } => Vec::new(),
        _ => std::mem::take(&mut watched.unwatched),
    };
    let of_incident = started_at.map_or_else(Vec::new, |_| watched.outage.told.clone());
    let degraded =
        if audience::ends_degraded(change, tell) { std::mem::take(&mut watched.degraded) } else { Vec::new() };
    let before = ToldBefore { of_incident, unwatched, degraded };
    let channels = audience::channels(change, tell, &known.endpoint, before, routing);
    let to = Addressed::new(channels, tell.event, routing).kept_back(tell.held_by, None);
    if started_at.is_some() {
        audience::note(&mut watched.outage.told, tell.event, &to.channels);
    } else if matches!(change, IncidentChange::Unwatched { .. }) {
        watched.unwatched.clone_from(&to.channels);
    } else if tell.event == Event::Degraded && to.held_by.is_none() {
        watched.degraded.clone_from(&to.channels);
    }
    let id = notification_id(Subject::Endpoint(known.id.0), tell.span, tell.event, tell.ordinal);
    let Tell { event, span, ordinal, .. } = tell;
    What::Message { event, span, ordinal, id, to: to.reached(), held_by: to.held_by }
}

impl Watched {
    fn is_open(&self) -> bool {
        self.state.is_open()
    }

    fn examined(&self) -> Examined<'_> {
        Examined {
            id: self.known.id,
            is_checked: self.known.is_checked(),
            state: &self.state,
            newest: self.last_verdict.as_ref(),
        }
    }

    /// What there would be to tell at this moment.
    fn waiting(&self, now: Timestamp) -> BTreeSet<Matter> {
        let mut waiting = BTreeSet::new();
        let incident = self.state.incident.as_ref();
        let fails = self.last_verdict.as_ref().is_some_and(|verdict| verdict.outcome.failure().is_some());
        match incident {
            None if fails => drop(waiting.insert(Matter::Opening)),
            None => {}
            Some(incident) if incident.held.is_some() => drop(waiting.insert(Matter::Recovery)),
            Some(incident) => {
                if incident.untold.is_some() || incident.flapping.is_some() {
                    waiting.insert(Matter::Opening);
                }
                if incident.remind_at.is_some_and(|at| at <= now) {
                    waiting.insert(Matter::Reminder);
                }
                if incident.escalate_at.is_some_and(|at| at <= now) {
                    waiting.insert(Matter::Escalation);
                }
            }
        }
        waiting
    }
}
