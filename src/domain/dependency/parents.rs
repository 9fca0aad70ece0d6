//! Children whose messages a parent that is down keeps back, and the parents that are being asked. Nothing here waits:
//! what is asked for is a state with a deadline, and is looked at again when an answer has come and each second.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::graph::Graph;
use super::standing::{Standing, Standings, standing};
use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::{EndpointState, Tell};
use crate::domain::outcome::Outcome;
use crate::domain::recheck::{self, Rechecks, Request};
use crate::domain::suppression::{Facts, Hold, Suppressor};

/// How long a child waits at most for its parents, whatever holds their answers up. Then it is decided by what is known.
const LONGEST_WAIT: TimeDelta = TimeDelta::seconds(10);

/// How long the attempt at a parent takes at most, so that its end is known in time.
const ATTEMPT: Duration = Duration::from_secs(9);

/// A parent that was examined so lately is not asked again.
const FRESH: TimeDelta = TimeDelta::seconds(1);

/// The most parents that are asked for one child. What is known of further ones counts as it is.
const MOST_FOR_ONE: usize = 50;

/// The most parents that are being asked. What is known of further ones counts as it is.
const MOST_AT_ONCE: usize = 1_000;

/// Parents and the children whose messages they keep back.
#[derive(Debug, Default)]
pub struct Parents {
    standings: Standings,
    /// When the newest check of each parent began.
    newest: HashMap<EndpointId, Timestamp>,
    /// Parents that are being asked, and until when an answer is waited for.
    asked: HashMap<EndpointId, Timestamp>,
    /// Children of which something is untold. In the order of their ids, so that whatever is asked for is asked for
    /// in one.
    children: BTreeMap<EndpointId, Waiting>,
    /// Something changed that children wait for.
    is_changed: bool,
    /// Children that have nothing to wait for.
    due: Vec<EndpointId>,
    /// What is asked for: checks of children, attempts at parents.
    rechecks: Rechecks,
}

/// An endpoint, as far as it matters to its parents and its children.
#[derive(Debug, Clone, Copy)]
pub struct Examined<'a> {
    pub id: EndpointId,
    /// Whether it is checked at all.
    pub is_checked: bool,
    pub state: &'a EndpointState,
    /// The newest result with a verdict.
    pub newest: Option<&'a CheckResult>,
}

impl Examined<'_> {
    fn standing(&self) -> Standing {
        standing(self.is_checked, self.state, self.newest, false)
    }

    fn is_untold(&self) -> bool {
        is_untold(self.state)
    }
}

/// Whether an incident is open of which nobody was told.
pub fn is_untold(state: &EndpointState) -> bool {
    state.incident.as_ref().is_some_and(|open| open.untold.is_some())
}

/// A message about a child that waits until a parent has been asked, or the child has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait<'a> {
    pub child: EndpointId,
    /// Of the parent.
    pub name: &'a str,
    pub since: Timestamp,
    pub until: Timestamp,
}

/// What keeps the message about a child back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiting {
    /// This process found it untold when it started.
    Found,
    /// This parent is down.
    Held { by: String },
    /// These parents are asked.
    Asking { parents: Vec<EndpointId>, name: String, since: Timestamp, until: Timestamp },
    /// This parent answers again, and the child is checked first.
    Rechecked { by: String, since: Timestamp },
}

impl Parents {
    /// From what was stored: a message that was kept back is told or held anew.
    ///
    /// `standing_of`: how each endpoint is as a parent. `is_untold`: whether it has an incident of which nobody was told.
    pub fn begin(
        graph: &Arc<Graph>,
        standing_of: impl Fn(EndpointId) -> Option<Standing>,
        is_untold: impl Fn(EndpointId) -> bool,
    ) -> Self {
        let mut parents = Self::default();
        parents.follow(graph, standing_of);
        let found = graph.ids().iter().filter(|id| graph.is_child(**id) && is_untold(**id));
        parents.children = found.map(|id| (*id, Waiting::Found)).collect();
        parents
    }

    pub fn graph(&self) -> &Arc<Graph> {
        self.standings.graph()
    }

    /// Follows who depends on whom now. Whether that is another graph.
    pub fn follow(&mut self, graph: &Arc<Graph>, standing_of: impl Fn(EndpointId) -> Option<Standing>) -> bool {
        if Arc::ptr_eq(graph, self.standings.graph()) {
            return false;
        }
        self.standings = Standings::new(graph.clone());
        for id in graph.ids().iter().filter(|id| graph.is_parent(**id)) {
            if let Some(standing) = standing_of(*id) {
                self.standings.set(*id, standing);
            }
        }
        self.newest.retain(|id, _| graph.is_parent(*id));
        self.asked.retain(|id, _| graph.is_parent(*id));
        self.is_changed = true;
        true
    }

    /// What a result is decided by, with the parents of its endpoint: one that is down, or, where one would have to be
    /// asked, that. Only what opens an incident waits for an answer.
    pub fn beside(&self, facts: Facts, result: &CheckResult, state: &EndpointState, now: Timestamp) -> Facts {
        let id = result.endpoint_id;
        if let Some(down) = self.standings.parent_down(id) {
            return Facts { parent_down: Some(Hold { name: down.name.to_owned(), until: None }), ..facts };
        }
        let may_open = state.incident.is_none() && matches!(result.outcome, Outcome::Down(_));
        if !may_open || !self.standings.graph().is_child(id) {
            return facts;
        }
        let first = self.to_ask(id, result.started_at, now).into_iter().next();
        let hold = first.map(|(_, name)| Hold { name, until: Some(now + LONGEST_WAIT) });
        Facts { parent_down: hold, ..facts }
    }

    /// The parents of which nothing is known that is as new as a check that began then, and their names.
    fn to_ask(&self, child: EndpointId, since: Timestamp, now: Timestamp) -> Vec<(EndpointId, String)> {
        let since = since.min(now - FRESH);
        // Not of the future, after the clock was set back.
        let is_fresh = |id| self.newest.get(&id).is_some_and(|began| *began >= since && *began <= now);
        let all = self.standings.to_ask(child, MOST_FOR_ONE).into_iter();
        all.filter(|parent| !is_fresh(parent.id)).map(|parent| (parent.id, parent.name.to_owned())).collect()
    }

    /// Takes in what a result did: to its endpoint as a parent, and to its message, if it is one of a child.
    ///
    /// `of_it`: after the result. `tell`: what it gave to tell. `attempt_failed`: whether an attempt of the check under
    /// way has.
    pub fn take(
        &mut self,
        of_it: Examined<'_>,
        result: &CheckResult,
        tell: Option<Tell>,
        attempt_failed: impl Fn(EndpointId) -> bool,
        now: Timestamp,
    ) {
        self.rechecks.note(result);
        let id = of_it.id;
        if !matches!(result.outcome, Outcome::Missed(_)) && self.standings.graph().is_parent(id) {
            self.newest.insert(id, result.started_at);
            self.is_changed |= self.asked.remove(&id).is_some();
            self.note(of_it);
        }
        if of_it.is_untold() && tell.is_some_and(|tell| tell.held_by == Some(Suppressor::ParentDown)) {
            match self.standings.parent_down(id) {
                Some(down) => {
                    let by = down.name.to_owned();
                    self.children.insert(id, Waiting::Held { by });
                }
                None => self.ask(id, result.started_at, attempt_failed, now),
            }
        }
    }

    /// Takes in how a parent is now.
    pub fn note(&mut self, of_it: Examined<'_>) {
        self.is_changed |= self.standings.set(of_it.id, of_it.standing());
    }

    /// Asks the parents of a child, each at most once at a time.
    fn ask(
        &mut self,
        child: EndpointId,
        since: Timestamp,
        attempt_failed: impl Fn(EndpointId) -> bool,
        now: Timestamp,
    ) {
        self.asked.retain(|_, until| now < *until && *until <= now + LONGEST_WAIT);
        let (mut waited_for, mut first) = (Vec::new(), None);
        for (parent, name) in self.to_ask(child, since, now) {
            if attempt_failed(parent) {
                // The check under way has more attempts to make; until it ends this counts.
                self.is_changed |= self.standings.set(parent, Standing::Down);
                continue;
            }
            if !self.asked.contains_key(&parent) {
                if self.asked.len() >= MOST_AT_ONCE {
                    continue;
                }
                self.asked.insert(parent, now + LONGEST_WAIT);
                self.rechecks.ask(Request::Attempt(parent, ATTEMPT));
            }
            waited_for.push(parent);
            first.get_or_insert(name);
        }
        let until = waited_for.iter().filter_map(|parent| self.asked.get(parent)).max().copied();
        let waiting = match (self.standings.parent_down(child), first, until) {
            (Some(down), ..) => Waiting::Held { by: down.name.to_owned() },
            (None, Some(name), Some(until)) => Waiting::Asking { name, parents: waited_for, since: now, until },
            // Nobody to wait for: it is decided by what is known, in a moment.
            _ => {
                self.due.push(child);
                Waiting::Asking { name: String::new(), parents: Vec::new(), since: now, until: now }
            }
        };
        self.children.insert(child, waiting);
    }

    /// What the parents of an endpoint keep back, of an incident that is open. A child that was held by a parent that is
    /// down no longer is checked first.
    pub fn hold(
        &mut self,
        of_it: Examined<'_>,
        attempt_failed: impl Fn(EndpointId) -> bool,
        now: Timestamp,
    ) -> Option<Hold> {
        let Examined { id, state, newest, .. } = of_it;
        let is_untold = is_untold(state);
        if let Some(Waiting::Asking { parents, .. }) = self.children.get(&id) {
            // An attempt of a check that was under way when it was asked for may have failed since.
            let failed: Vec<EndpointId> = parents.iter().copied().filter(|id| attempt_failed(*id)).collect();
            for parent in failed {
                self.is_changed |= self.standings.set(parent, Standing::Down);
            }
        }
        if let Some(down) = self.standings.parent_down(id) {
            let by = down.name.to_owned();
            if is_untold {
                self.children.insert(id, Waiting::Held { by: by.clone() });
            } else {
                self.children.remove(&id);
            }
            return Some(Hold { name: by, until: None });
        }
        if !is_untold {
            self.children.remove(&id);
            return None;
        }
        if self.children.get(&id) == Some(&Waiting::Found) {
            self.ask(id, now, &attempt_failed, now);
        }
        match self.children.get(&id)?.clone() {
            // Nobody can ask it: what it said last still holds.
            Waiting::Held { .. } if self.graph().reports_itself(id) => {
                self.children.remove(&id);
                None
            }
            Waiting::Held { by } => {
                self.rechecks.begin(id, now, now);
                self.children.insert(id, Waiting::Rechecked { by: by.clone(), since: now });
                Some(Hold { name: by, until: self.rechecks.wait(id, state, None, now) })
            }
            Waiting::Asking { parents, name, until, .. } => {
                // Nobody waits for longer than from now on, though the clock was set back.
                let is_awaited = |parent: &EndpointId| self.asked.contains_key(parent);
                if now < until && until <= now + LONGEST_WAIT && parents.iter().any(is_awaited) {
                    return Some(Hold { name, until: Some(until) });
                }
                self.children.remove(&id);
                None
            }
            Waiting::Rechecked { by, .. } => {
                let wait = self.rechecks.wait(id, state, newest, now);
                if wait.is_none() {
                    self.rechecks.forget(id);
                    self.children.remove(&id);
                }
                wait.map(|until| Hold { name: by, until: Some(until) })
            }
            Waiting::Found => None,
        }
    }

    /// What keeps the message about a child back, by name: the parent.
    pub fn name_of(&self, child: EndpointId) -> Option<String> {
        match self.children.get(&child) {
            Some(Waiting::Held { by } | Waiting::Rechecked { by, .. }) => Some(by.clone()),
            Some(Waiting::Asking { name, .. }) => Some(name.clone()).filter(|name| !name.is_empty()),
            Some(Waiting::Found) | None => self.standings.parent_down(child).map(|down| down.name.to_owned()),
        }
    }

    /// What keeps the message about a child back, and until when at most.
    pub fn keeps_back(&self, child: EndpointId) -> Option<Hold> {
        let until = self.waits_of(child).map(|(.., until)| until);
        Some(Hold { name: self.name_of(child)?, until })
    }

    /// The children to be looked at again, if anything has changed that they wait for.
    pub fn take_changed(&mut self) -> Vec<EndpointId> {
        let due = std::mem::take(&mut self.due);
        if !std::mem::take(&mut self.is_changed) {
            return due;
        }
        self.children.keys().copied().collect()
    }

    /// Hands over what is to be examined, until `take` has no room for it.
    pub fn hand_over(&mut self, take: impl FnMut(Request) -> bool) {
        self.rechecks.hand_over(take);
    }

    /// Forgets what is over.
    pub fn tidy(&mut self, has_incident: impl Fn(EndpointId) -> bool, now: Timestamp) {
        self.asked.retain(|_, until| now < *until && *until <= now + LONGEST_WAIT);
        self.children.retain(|id, _| has_incident(*id));
        self.rechecks.tidy(now);
    }

    /// The messages that wait for an answer or for a check. Those of parents that are down are not among them.
    pub fn waits(&self) -> impl Iterator<Item = Wait<'_>> {
        self.children.keys().filter_map(|child| {
            let (name, since, until) = self.waits_of(*child)?;
            Some(Wait { child: *child, name, since, until })
        })
    }

    fn waits_of(&self, child: EndpointId) -> Option<(&str, Timestamp, Timestamp)> {
        match self.children.get(&child)? {
            Waiting::Asking { name, since, until, .. } if !name.is_empty() => Some((name, *since, *until)),
            Waiting::Rechecked { by, since } => Some((by, *since, *since + recheck::LONGEST_WAIT)),
            _ => None,
        }
    }
}
