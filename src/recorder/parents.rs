//! What endpoints depend on, while results come: [`dependency::Parents`] with what
//! the board and the recorder know, and what the board shows of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::board::{Board, Entry, InheritedHolds};
use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::dependency::{self, Examined, Graph, Standing};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::hold::Hold as ShownHold;
use crate::domain::incident::EndpointState;
use crate::domain::recheck::Request;
use crate::domain::selector::Selectors;
use crate::domain::suppression::{Facts, Hold, Suppressor};
use crate::quiet::Quiet;

use super::tracked::{Effect, Tracked};

/// Parents and the children whose messages they keep back.
#[derive(Debug, Default)]
pub(super) struct Parents {
    rules: dependency::Parents,
    /// The maintenance that windows meant for children when it was looked up last: those that are open, and for a
    /// moment those that were.
    maintenance: [Option<LookedUp>; 2],
    /// What the board shows.
    shown: usize,
}

#[derive(Debug)]
struct LookedUp {
    windows: Vec<Arc<ShownHold>>,
    graph: Arc<Graph>,
    holds: InheritedHolds,
}

fn examined<'a>(known: &KnownEndpoint, tracked: &'a Tracked) -> Examined<'a> {
    let newest = tracked.last_verdict.as_deref();
    Examined { id: known.id, is_checked: known.is_checked(), state: &tracked.state, newest }
}

fn standing_of(id: EndpointId, board: &Board, tracked: &HashMap<EndpointId, Tracked>) -> Option<Standing> {
    let entry = board.get(id)?;
    let (state, newest) = match tracked.get(&id) {
        Some(tracked) => (&tracked.state, tracked.last_verdict.as_deref()),
        None => (&entry.live.state, entry.live.last_verdict.as_deref()),
    };
    Some(dependency::standing(entry.known.is_checked(), state, newest, false))
}

impl Parents {
    /// From what was stored: a message that was kept back is told or held anew.
    pub(super) fn begin(board: &Board, tracked: &HashMap<EndpointId, Tracked>) -> Self {
        let is_untold = |id| tracked.get(&id).is_some_and(|tracked| dependency::is_untold(&tracked.state));
        let rules = dependency::Parents::begin(&board.graph(), |id| standing_of(id, board, tracked), is_untold);
        say_cycles(rules.graph());
        Self { rules, ..Self::default() }
    }

    /// Follows what the board says of who depends on whom.
    pub(super) fn follow(&mut self, board: &Board, tracked: &HashMap<EndpointId, Tracked>) {
        let graph = board.graph();
        if self.rules.follow(&graph, |id| standing_of(id, board, tracked)) {
            say_cycles(&graph);
        }
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
        let graph = self.rules.graph();
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
    /// asked, that.
    pub(super) fn beside(&self, facts: Facts, result: &CheckResult, state: &EndpointState, now: Timestamp) -> Facts {
        self.rules.beside(facts, result, state, now)
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
        let of_it = examined(&entry.known, tracked);
        self.rules.take(of_it, result, effect.tell, |id| board.attempt_failed(id), now);
    }

    /// Takes in how a parent is now.
    pub(super) fn note(&mut self, known: &KnownEndpoint, tracked: &Tracked) {
        self.rules.note(examined(known, tracked));
    }

    /// What the parents of an endpoint keep back, of an incident that is open. A child that was held by a parent that is
    /// down no longer is checked first.
    pub(super) fn hold(
        &mut self,
        board: &Board,
        known: &KnownEndpoint,
        tracked: &Tracked,
        now: Timestamp,
    ) -> Option<Hold> {
        self.rules.hold(examined(known, tracked), |id| board.attempt_failed(id), now)
    }

    /// What keeps the message about a child back, by name: the parent.
    pub(super) fn name_of(&self, child: EndpointId) -> Option<String> {
        self.rules.name_of(child)
    }

    /// The children to be looked at again, if anything has changed that they wait for.
    pub(super) fn take_changed(&mut self) -> Vec<EndpointId> {
        self.rules.take_changed()
    }

    /// Hands over what is to be examined, until `take` has no room for it.
    pub(super) fn hand_over(&mut self, take: impl FnMut(Request) -> bool) {
        self.rules.hand_over(take);
    }

    /// Forgets what is over.
    pub(super) fn tidy(&mut self, with_incident: &HashSet<EndpointId>, now: Timestamp) {
        self.rules.tidy(|id| with_incident.contains(&id), now);
    }

    /// Shows on the board whose messages wait for an answer or for a check. Those of parents that are down it knows.
    pub(super) fn show(&mut self, board: &Board, now: Timestamp) {
        let hold_of = |wait: dependency::Wait<'_>| {
            let hold = ShownHold {
                by: Suppressor::ParentDown,
                name: wait.name.to_owned(),
                since: wait.since,
                until: Some(wait.until).filter(|until| now < *until),
                reason: String::new(),
                through: None,
                made_by: None,
                selectors: Selectors::default(),
            };
            (wait.child, Arc::new(hold))
        };
        let waits: InheritedHolds = self.rules.waits().map(hold_of).collect();
        if !waits.is_empty() || self.shown > 0 {
            self.shown = waits.len();
            board.set_waits(waits);
        }
    }
}

fn say_cycles(graph: &Graph) {
    for cycle in graph.cycles() {
        tracing::error!("endpoints depend on each other, which keeps no message back: {cycle}");
    }
}
