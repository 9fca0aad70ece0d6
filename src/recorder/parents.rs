//! What endpoints depend on, while results come: whose message a parent that is down keeps back, and the parents that
//! are being asked. Nothing here waits: what is asked for is a state with a deadline, and is looked at again when an
//! answer has come and each second.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::mpsc;

use crate::board::{Board, Entry, InheritedHolds};
use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::dependency::{Graph, Standing, Standings, standing};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::hold::Hold as ShownHold;
use crate::domain::incident::EndpointState;
use crate::domain::outcome::Outcome;
use crate::domain::selector::Selectors;
use crate::domain::suppression::{Facts, Hold, Suppressor};
use crate::events::ConfirmRequest;
use crate::quiet::Quiet;

use super::rechecked::Rechecks;
use super::tracked::{Effect, Tracked};

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
pub(super) struct Parents {
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
    /// The maintenance that windows meant for children when it was looked up last: those that are open, and for a
    /// moment those that were.
    maintenance: [Option<LookedUp>; 2],
    /// What the board shows.
    shown: usize,
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

#[derive(Debug)]
struct LookedUp {
    windows: Vec<Arc<ShownHold>>,
    graph: Arc<Graph>,
    holds: InheritedHolds,
}

impl Parents {
    /// From what was stored: a message that was kept back is told or held anew.
    pub(super) fn begin(board: &Board, tracked: &HashMap<EndpointId, Tracked>) -> Self {
        let mut parents = Self::default();
        parents.follow(board, tracked);
        let graph = parents.standings.graph().clone();
        let is_untold = |state: &EndpointState| state.incident.as_ref().is_some_and(|open| open.untold.is_some());
        let found = tracked.iter().filter(|(id, tracked)| graph.is_child(**id) && is_untold(&tracked.state));
        parents.children = found.map(|(id, _)| (*id, Waiting::Found)).collect();
        parents
    }

    /// Follows what the board says of who depends on whom.
    pub(super) fn follow(&mut self, board: &Board, tracked: &HashMap<EndpointId, Tracked>) {
        let graph = board.graph();
        if Arc::ptr_eq(&graph, self.standings.graph()) {
            return;
        }
        for cycle in graph.cycles() {
            tracing::error!("endpoints depend on each other, which keeps no message back: {cycle}");
        }
        self.standings = Standings::new(graph.clone());
        for id in graph.ids().iter().filter(|id| graph.is_parent(**id)) {
            let Some(entry) = board.get(*id) else { continue };
            let (state, newest) = match tracked.get(id) {
                Some(tracked) => (&tracked.state, tracked.last_verdict.as_deref()),
                None => (&entry.live.state, entry.live.last_verdict.as_deref()),
            };
            let standing = standing(entry.known.is_checked(), state, newest, false);
            self.standings.set(*id, standing);
        }
        self.newest.retain(|id, _| graph.is_parent(*id));
        self.asked.retain(|id, _| graph.is_parent(*id));
        self.is_changed = true;
    }

    /// The window that was open for a parent of an endpoint at any time between `from` and `now`.
    pub(super) fn maintenance(
        &mut self,
        board: &Board,
        quiet: &Quiet,
        id: EndpointId,
        from: Timestamp,
        now: Timestamp,
    ) -> Option<Hold> {
        let graph = self.standings.graph();
        if !graph.is_child(id) {
            return None;
        }
        let windows = quiet.windows_between(from, now);
        if windows.is_empty() {
            return None;
        }
        let is_same = |found: &LookedUp| Arc::ptr_eq(&found.graph, graph) && found.windows == windows;
        let holds = match self.maintenance.iter().flatten().position(is_same) {
            Some(0) => &self.maintenance[0].as_ref()?.holds,
            Some(_) => &self.maintenance[1].as_ref()?.holds,
            None => {
                let holds = board.maintenance_through_parents(&windows);
                let graph = graph.clone();
                self.maintenance.swap(0, 1);
                &self.maintenance[0].insert(LookedUp { windows, graph, holds }).holds
            }
        };
        holds.get(&id).map(|hold| hold.fact())
    }

    /// What a result is decided by, with the parents of its endpoint: one that is down, or, where one would have to be
    /// asked, that. Only what opens an incident waits for an answer.
    pub(super) fn beside(&self, facts: Facts, result: &CheckResult, state: &EndpointState, now: Timestamp) -> Facts {
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
    pub(super) fn take(
        &mut self,
        board: &Board,
        entry: &Entry,
        tracked: &Tracked,
        result: &CheckResult,
        effect: &Effect,
        now: Timestamp,
    ) {
        self.rechecks.note(result);
        let id = result.endpoint_id;
        if !matches!(result.outcome, Outcome::Missed(_)) && self.standings.graph().is_parent(id) {
            self.newest.insert(id, result.started_at);
            self.is_changed |= self.asked.remove(&id).is_some();
            self.note(&entry.known, tracked);
        }
        let is_untold = tracked.state.incident.as_ref().is_some_and(|open| open.untold.is_some());
        if is_untold && effect.tell.is_some_and(|tell| tell.held_by == Some(Suppressor::ParentDown)) {
            match self.standings.parent_down(id) {
                Some(down) => {
                    let by = down.name.to_owned();
                    self.children.insert(id, Waiting::Held { by });
                }
                None => self.ask(board, id, result.started_at, now),
            }
        }
    }

    /// Takes in how a parent is now.
    pub(super) fn note(&mut self, known: &KnownEndpoint, tracked: &Tracked) {
        let standing = standing(known.is_checked(), &tracked.state, tracked.last_verdict.as_deref(), false);
        self.is_changed |= self.standings.set(known.id, standing);
    }

    /// Asks the parents of a child, each at most once at a time.
    fn ask(&mut self, board: &Board, child: EndpointId, since: Timestamp, now: Timestamp) {
        self.asked.retain(|_, until| now < *until && *until <= now + LONGEST_WAIT);
        let (mut waited_for, mut first) = (Vec::new(), None);
        for (parent, name) in self.to_ask(child, since, now) {
            // One that reports by itself cannot be asked: what is known of it counts.
            if board.get(parent).is_some_and(|entry| entry.known.endpoint.check.push().is_some()) {
                continue;
            }
            if board.attempt_failed(parent) {
                // The check under way has more attempts to make; until it ends this counts.
                self.is_changed |= self.standings.set(parent, Standing::Down);
                continue;
            }
            if !self.asked.contains_key(&parent) {
                if self.asked.len() >= MOST_AT_ONCE {
                    tracing::debug!(parent = parent.0, "too many parents are being asked: what is known of it counts");
                    continue;
                }
                self.asked.insert(parent, now + LONGEST_WAIT);
                self.rechecks.ask(ConfirmRequest::attempt(parent, ATTEMPT));
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
    pub(super) fn hold(&mut self, board: &Board, id: EndpointId, tracked: &Tracked, now: Timestamp) -> Option<Hold> {
        let state = &tracked.state;
        let is_untold = state.incident.as_ref().is_some_and(|open| open.untold.is_some());
        if let Some(Waiting::Asking { parents, .. }) = self.children.get(&id) {
            // An attempt of a check that was under way when it was asked for may have failed since.
            let failed: Vec<EndpointId> = parents.iter().copied().filter(|id| board.attempt_failed(*id)).collect();
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
            self.ask(board, id, now, now);
        }
        match self.children.get(&id)?.clone() {
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
                let wait = self.rechecks.wait(id, state, tracked.last_verdict.as_deref(), now);
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
    pub(super) fn name_of(&self, child: EndpointId) -> Option<String> {
        match self.children.get(&child) {
            Some(Waiting::Held { by } | Waiting::Rechecked { by, .. }) => Some(by.clone()),
            Some(Waiting::Asking { name, .. }) => Some(name.clone()).filter(|name| !name.is_empty()),
            Some(Waiting::Found) | None => self.standings.parent_down(child).map(|down| down.name.to_owned()),
        }
    }

    /// The children to be looked at again, if anything has changed that they wait for.
    pub(super) fn take_changed(&mut self) -> Vec<EndpointId> {
        let due = std::mem::take(&mut self.due);
        if !std::mem::take(&mut self.is_changed) {
            return due;
        }
        self.children.keys().copied().collect()
    }

    /// Hands over what is to be examined, as far as there is room.
    pub(super) fn send(&mut self, confirmations: &mpsc::Sender<ConfirmRequest>) {
        self.rechecks.send(confirmations);
    }

    /// Forgets what is over.
    pub(super) fn tidy(&mut self, with_incident: &HashSet<EndpointId>, now: Timestamp) {
        self.asked.retain(|_, until| now < *until && *until <= now + LONGEST_WAIT);
        self.children.retain(|id, _| with_incident.contains(id));
        self.rechecks.tidy(now);
    }

    /// Shows on the board whose messages wait for an answer or for a check. Those of parents that are down it knows.
    pub(super) fn show(&mut self, board: &Board, now: Timestamp) {
        let waits: InheritedHolds = self
            .children
            .iter()
            .filter_map(|(id, waiting)| {
                let (name, since, until) = match waiting {
                    Waiting::Asking { name, since, until, .. } if !name.is_empty() => (name, *since, *until),
                    Waiting::Rechecked { by, since } => (by, *since, *since + TimeDelta::minutes(2)),
                    _ => return None,
                };
                let hold = ShownHold {
                    by: Suppressor::ParentDown,
                    name: name.clone(),
                    since,
                    until: Some(until).filter(|until| now < *until),
                    reason: String::new(),
                    through: None,
                    made_by: None,
                    selectors: Selectors::default(),
                };
                Some((*id, Arc::new(hold)))
            })
            .collect();
        if !waits.is_empty() || self.shown > 0 {
            self.shown = waits.len();
            board.set_waits(waits);
        }
    }
}
