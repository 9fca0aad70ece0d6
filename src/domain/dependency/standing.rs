//! Which parents are down now.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::graph::Graph;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::EndpointState;
use crate::domain::outcome::{Outcome, Status};

/// How a parent is, as far as its children go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its status is down, or its newest check or attempt failed.
    Down,
    /// It answers, or nothing is known of it yet.
    NotDown,
    /// It is not checked: it is nobody's parent, and in a group it does not count.
    Absent,
}

/// How an endpoint is as a parent. `newest`: the newest result with a verdict; `attempt_failed`: an attempt of the check
/// under way has.
pub fn standing(
    is_checked: bool,
    state: &EndpointState,
    newest: Option<&CheckResult>,
    attempt_failed: bool,
) -> Standing {
    let has_failed = newest.is_some_and(|newest| matches!(newest.outcome, Outcome::Down(_)));
    match is_checked {
        false => Standing::Absent,
        true if state.status == Status::Down || has_failed || attempt_failed => Standing::Down,
        true => Standing::NotDown,
    }
}

/// How each parent of a graph is. One that was never set is not down.
#[derive(Debug, Default)]
pub struct Standings {
    graph: Arc<Graph>,
    of: HashMap<EndpointId, Standing>,
    /// Of each meaning of the graph.
    tallies: Vec<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    down: BTreeSet<EndpointId>,
    absent: usize,
}

/// A parent that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownParent<'a> {
    /// `group/name`, or `group:core` of a group as a whole.
    pub name: &'a str,
    /// The endpoint; of a group one of them.
    pub id: EndpointId,
}

/// A parent that would have to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToAsk<'a> {
    pub id: EndpointId,
    /// As [`DownParent::name`].
    pub name: &'a str,
}

impl Standings {
    pub fn new(graph: Arc<Graph>) -> Self {
        let tallies = graph.meanings.iter().map(|_| Tally::default()).collect();
        Self { graph, of: HashMap::new(), tallies }
    }

    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    pub fn get(&self, id: EndpointId) -> Standing {
        self.of.get(&id).copied().unwrap_or(Standing::NotDown)
    }

    /// Says how a parent is; whether that is news. Of an endpoint on which nobody depends nothing is kept.
    pub fn set(&mut self, id: EndpointId, standing: Standing) -> bool {
        let Some(node) = self.graph.nodes.get(&id).filter(|node| !node.meant_by.is_empty()) else { return false };
        let before = self.of.insert(id, standing).unwrap_or(Standing::NotDown);
        if before == standing {
            return false;
        }
        for at in &node.meant_by {
            let tally = &mut self.tallies[*at];
            match before {
                Standing::Down => drop(tally.down.remove(&id)),
                Standing::Absent => tally.absent -= 1,
                Standing::NotDown => {}
            }
            match standing {
                Standing::Down => drop(tally.down.insert(id)),
                Standing::Absent => tally.absent += 1,
                Standing::NotDown => {}
            }
        }
        true
    }

    /// The first parent of an endpoint that is down, in the order of its selectors.
    pub fn parent_down(&self, child: EndpointId) -> Option<DownParent<'_>> {
        self.graph.link_indices(child).find_map(|at| {
            let (meaning, tally) = (&self.graph.meanings[at], &self.tallies[at]);
            let is_other = |id: &&EndpointId| **id != child && !self.graph.is_cut(child, **id);
            let first = *tally.down.iter().find(is_other)?;
            if !meaning.is_group {
                let name = self.graph.label(first).unwrap_or(&meaning.selector);
                return Some(DownParent { name, id: first });
            }
            // The endpoint itself does not count, whatever it is.
            let is_member = self.graph.nodes.get(&child).is_some_and(|node| node.meant_by.contains(&at));
            let itself = usize::from(is_member && self.get(child) == Standing::NotDown);
            let are_all_down = tally.down.len() + tally.absent + itself == meaning.members.len();
            are_all_down.then_some(DownParent { name: &meaning.selector, id: first })
        })
    }

    /// The parents that would have to be asked to know whether one is down, each once. A group is asked as a whole or
    /// not at all: where `most` does not suffice for it, it is left out, and so are further parents. Of those that report by
    /// themselves nothing newer can be had than what is known.
    pub fn to_ask(&self, child: EndpointId, most: usize) -> Vec<ToAsk<'_>> {
        let mut all: Vec<ToAsk<'_>> = Vec::new();
        let mut seen = BTreeSet::new();
        for meaning in self.graph.links(child) {
            let is_meant = |id: &&EndpointId| {
                **id != child
                    && !self.graph.is_cut(child, **id)
                    && !self.graph.reports_itself(**id)
                    && self.get(**id) == Standing::NotDown
            };
            let room = most - all.len();
            let meant: Vec<EndpointId> = meaning
                .members
                .iter()
                .filter(is_meant)
                .take(room + 1)
                .filter(|id| seen.insert(**id))
                .copied()
                .collect();
            let named = |id: EndpointId| {
                let label = self.graph.label(id).filter(|_| !meaning.is_group);
                ToAsk { id, name: label.unwrap_or(&meaning.selector) }
            };
            if meant.len() <= room || !meaning.is_group {
                all.extend(meant.into_iter().take(room).map(named));
            }
        }
        all
    }
}
