//! Endpoints with their states, what keeps messages back, and who is told: as the recorder has them in memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::audience::{self, Addressed, ToldBefore};
use crate::domain::check::{CheckResult, CheckSpec};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::holds::Holds;
use crate::domain::incident::{
    Acknowledging, EndpointState, IncidentChange, MOST_AT_ONCE, MissedRun, Step, Tell, Unresolvable, abandon,
    acknowledge, advance, resolve_by_hand, take,
};
use crate::domain::maintenance::Maintained;
use crate::domain::notification::{Event, Routing, Subject, notification_id};
use crate::domain::outcome::{Outcome, Status};
use crate::domain::recheck::Request;
use crate::domain::start_grace::StartGrace;
use crate::domain::suppression::{Facts, Held, Matter, decide};

/// Something that happened, to be read by a person or compared by a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub at: Timestamp,
    pub endpoint: EndpointId,
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The confirmed status is another one.
    Status {
        from: Status,
        to: Status,
        since: Timestamp,
    },
    /// A message, by the parts of its id. `held_by`: it is noted and told to nobody.
    Message {
        event: Event,
        span: Timestamp,
        ordinal: u32,
        id: String,
        to: Vec<String>,
        held_by: Option<&'static str>,
    },
    /// From now on such messages are kept back, or by something else than until now.
    KeptBack {
        matter: Matter,
        held: Held,
    },
    /// Nothing keeps them back any longer, or there is nothing more to tell.
    LetGo {
        matter: Matter,
    },
    /// An incident opened, was opened again, or is over; identified by when it started.
    Opened {
        started_at: Timestamp,
    },
    Reopened {
        started_at: Timestamp,
    },
    Closed {
        started_at: Timestamp,
        at: Timestamp,
    },
}

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
                kept_back: BTreeMap::new(),
            };
            (id, watched)
        };
        let endpoints: BTreeMap<_, _> = endpoints.into_iter().map(watched).collect();
        let grace = StartGrace::begin(std::iter::empty(), monotonic);
        let (maintained, said) = (Maintained::default(), Vec::new());
        let mut world = Self { endpoints, holds, routing, grace, maintained, said };
        world.begin(now, monotonic);
        world
    }

    /// This process begins anew: what is not stored is forgotten.
    pub fn begin(&mut self, now: Timestamp, monotonic: Duration) {
        self.grace = StartGrace::begin(self.endpoints.values().map(|watched| &*watched.known), monotonic);
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
            || self.endpoints.values().any(|watched| {
                watched.state.incident.is_some()
                    || watched.state.trail.unwatched.is_some()
                    || !watched.kept_back.is_empty()
            })
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

    /// An endpoint was edited, or is paused or archived from now on.
    pub fn change(&mut self, known: Arc<KnownEndpoint>) {
        if let Some(watched) = self.endpoints.get_mut(&known.id) {
            if watched.known.endpoint.check != known.endpoint.check {
                // As the verb does that changes it.
                watched.state = watched.state.recounted();
            }
            watched.known = known;
        }
    }

    /// Takes one result in. Whether it asks for a confirming check; `None`: its slot was taken in before.
    pub fn take(&mut self, mut result: CheckResult, now: Timestamp, monotonic: Duration) -> Option<bool> {
        let id = result.endpoint_id;
        let watched = self.endpoints.get_mut(&id)?;
        let known = watched.known.clone();
        self.holds.mark(&mut result, &known, now);
        let around = self.grace.around(&result, &known, monotonic, now);
        let around = self.holds.beside(around, &known, now);
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
            watched.last_verdict = Some(result);
        }
        let confirm = step.confirm;
        self.apply(id, step, now);
        self.compare(id, &around, now);
        Some(confirm)
    }

    /// The checks that are to be made, which something waits for.
    pub fn take_requests(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        self.maintained.hand_over(|request| {
            requests.push(request);
            true
        });
        requests
    }

    /// Lets time work.
    pub fn let_time_pass(&mut self, now: Timestamp) {
        self.follow_windows(now);
        let open = |(id, watched): (&EndpointId, &Watched)| {
            let is_open = watched.state.incident.is_some() || watched.state.trail.unwatched.is_some();
            (is_open || !watched.kept_back.is_empty()).then_some(*id)
        };
        for id in self.endpoints.iter().filter_map(open).collect::<Vec<_>>() {
            for _ in 0..MOST_AT_ONCE {
                if !self.let_time_pass_for(id, now) {
                    break;
                }
            }
        }
    }

    /// The next thing that is due of an endpoint; whether there was one.
    fn let_time_pass_for(&mut self, id: EndpointId, now: Timestamp) -> bool {
        let Some(watched) = self.endpoints.get(&id) else { return false };
        let known = watched.known.clone();
        let (around, step) = if known.is_checked() {
            let around = self.holds.beside(Facts::default(), &known, now);
            let around = self.maintained.beside(around, id, &watched.state, watched.last_verdict.as_ref(), now);
            let step = advance(&watched.state, &known.endpoint.alert_policy, &around, now);
            (around, step)
        } else {
            (Facts::default(), abandon(&watched.state, now))
        };
        let is_due = step.is_some();
        if let Some(step) = step {
            self.apply(id, step, now);
        }
        self.compare(id, &around, now);
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

    fn in_maintenance(&mut self, now: Timestamp) -> HashSet<EndpointId> {
        let (endpoints, holds) = (&self.endpoints, &mut self.holds);
        let all = endpoints.values().filter(|watched| watched.known.is_checked());
        all.filter(|watched| holds.maintenance(&watched.known, now, now).is_some())
            .map(|watched| watched.known.id)
            .collect()
    }

    fn follow_windows(&mut self, now: Timestamp) {
        let present = self.in_maintenance(now);
        let endpoints = &self.endpoints;
        let is_checked = |id| endpoints.get(&id).is_some_and(|watched: &Watched| watched.known.is_checked());
        let has_failed = |id| {
            let newest = endpoints.get(&id).and_then(|watched| watched.last_verdict.as_ref());
            newest.is_some_and(|verdict| !verdict.outcome.is_good())
        };
        self.maintained.follow(present, is_checked, has_failed, now);
    }

    /// Takes over what a step changed, and says it.
    fn apply(&mut self, id: EndpointId, step: Step, now: Timestamp) {
        let Some(watched) = self.endpoints.get_mut(&id) else { return };
        let Step { state, transition, incident, tell, .. } = step;
        watched.state = state;
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
    fn compare(&mut self, id: EndpointId, around: &Facts, now: Timestamp) {
        let Some(watched) = self.endpoints.get_mut(&id) else { return };
        let facts = watched.state.facts(around);
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
    let before = ToldBefore { of_incident, unwatched };
    let channels = audience::channels(change, tell, &known.endpoint, before, routing);
    let to = Addressed::new(channels, tell.event, routing).kept_back(tell.held_by, None);
    if started_at.is_some() {
        audience::note(&mut watched.outage.told, tell.event, &to.channels);
    } else if matches!(change, IncidentChange::Unwatched { .. }) {
        watched.unwatched.clone_from(&to.channels);
    }
    let id = notification_id(Subject::Endpoint(known.id.0), tell.span, tell.event, tell.ordinal);
    let Tell { event, span, ordinal, .. } = tell;
    What::Message { event, span, ordinal, id, to: to.reached(), held_by: to.held_by }
}

impl Watched {
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
