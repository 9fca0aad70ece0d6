//! What the board shows of dependencies: who depends on whom, which parents are down, and what their children have from
//! them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Live, Seen};
pub use crate::domain::dependency::InheritedHolds;
use crate::domain::dependency::{Graph, Member, Standing, Standings, maintenance_of_parents, standing};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::hold::Hold;
use crate::domain::incident::OpenIncident;
use crate::domain::selector::Selectors;
use crate::domain::suppression::Suppressor;

/// A parent of an endpoint, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentReport {
    /// By which it is meant.
    pub selector: String,
    pub id: EndpointId,
    pub standing: Standing,
}

#[derive(Debug, Default)]
pub(super) struct Dependence {
    /// How many endpoints are set to depend on something.
    children: usize,
    /// What is worked out, until what it was worked out from has changed.
    worked_out: Option<WorkedOut>,
    /// Those of which an attempt of the check under way has failed.
    attempt_failed: HashSet<EndpointId>,
    /// Those whose messages wait until a parent has been asked, or they have been checked themselves.
    waits: Arc<InheritedHolds>,
}

#[derive(Debug, Default)]
struct WorkedOut {
    standings: Standings,
    maintenance: InheritedHolds,
}

fn is_child(known: &KnownEndpoint) -> bool {
    !known.endpoint.depends_on.0.is_empty()
}

/// All of an endpoint that the graph, and what is worked out with it, goes by.
fn is_same(one: &KnownEndpoint, other: &KnownEndpoint) -> bool {
    let of = |known: &KnownEndpoint| {
        let endpoint = &known.endpoint;
        let reports_itself = endpoint.check.push().is_some();
        (
            endpoint.group.clone(),
            endpoint.name.clone(),
            endpoint.tags.clone(),
            endpoint.depends_on.clone(),
            reports_itself,
        )
    };
    one.is_checked() == other.is_checked() && of(one) == of(other)
}

impl Dependence {
    /// An endpoint is another one than it was, or came, or went.
    pub(super) fn changed(&mut self, before: Option<&KnownEndpoint>, after: Option<&KnownEndpoint>) {
        self.children -= usize::from(before.is_some_and(is_child));
        self.children += usize::from(after.is_some_and(is_child));
        if before.zip(after).is_none_or(|(before, after)| !is_same(before, after)) {
            self.worked_out = None;
        }
        if let (Some(gone), None) = (before, after) {
            self.attempt_failed.remove(&gone.id);
        }
    }

    pub(super) fn is_worked_out(&self) -> bool {
        self.worked_out.is_some()
    }

    pub(super) fn work_out(&mut self, entries: &BTreeMap<EndpointId, Seen>, holds: &[Arc<Hold>]) {
        let graph = match self.children {
            0 => Graph::default(),
            _ => Graph::new(entries.values().map(|seen| Member::from(&*seen.known))),
        };
        let mut standings = Standings::new(Arc::new(graph));
        for id in standings.graph().clone().ids() {
            if let Some(seen) = entries.get(id) {
                standings.set(*id, self.standing(&seen.known, &seen.live));
            }
        }
        let maintenance = spread(standings.graph(), entries, holds);
        self.worked_out = Some(WorkedOut { standings, maintenance });
    }

    /// Follows the windows that are open.
    pub(super) fn set_holds(&mut self, entries: &BTreeMap<EndpointId, Seen>, holds: &[Arc<Hold>]) {
        if let Some(worked_out) = &mut self.worked_out {
            worked_out.maintenance = spread(worked_out.standings.graph(), entries, holds);
        }
    }

    fn standing(&self, known: &KnownEndpoint, live: &Live) -> Standing {
        let attempt_failed = self.attempt_failed.contains(&known.id);
        standing(known.is_checked(), &live.state, live.last_verdict.as_deref(), attempt_failed)
    }

    /// What was seen of an endpoint is another thing than before.
    pub(super) fn seen(&mut self, seen: &Seen) {
        let standing = self.standing(&seen.known, &seen.live);
        if let Some(worked_out) = &mut self.worked_out {
            worked_out.standings.set(seen.known.id, standing);
        }
    }

    pub(super) fn note_attempt(&mut self, id: EndpointId, has_failed: bool) {
        if has_failed {
            self.attempt_failed.insert(id);
        } else {
            self.attempt_failed.remove(&id);
        }
    }

    pub(super) fn attempt_failed(&self, id: EndpointId) -> bool {
        self.attempt_failed.contains(&id)
    }

    pub(super) fn set_waits(&mut self, waits: Arc<InheritedHolds>) {
        self.waits = waits;
    }

    pub(super) fn graph(&self) -> Arc<Graph> {
        self.worked_out.as_ref().map(|worked_out| worked_out.standings.graph().clone()).unwrap_or_default()
    }

    /// The maintenance that an endpoint has from its parents.
    pub(super) fn maintenance(&self, id: EndpointId) -> Option<Arc<Hold>> {
        self.worked_out.as_ref()?.maintenance.get(&id).cloned()
    }

    /// The parent that is down, or that is being asked.
    pub(super) fn parent_down(&self, id: EndpointId, entries: &BTreeMap<EndpointId, Seen>) -> Option<Arc<Hold>> {
        let down = self.worked_out.as_ref()?.standings.parent_down(id);
        let Some(down) = down else { return self.waits.get(&id).cloned() };
        let parent = &entries.get(&down.id)?.live;
        let state = &parent.state;
        let failed = parent.last_verdict.as_ref().filter(|verdict| verdict.outcome.failure().is_some());
        let since = match &state.incident {
            Some(OpenIncident { span_started_at, held: None, .. }) => Some(*span_started_at),
            _ => state.run_started_at.or(failed.map(|failed| failed.started_at)),
        };
        let why = state.cause.as_ref().or(failed.and_then(|failed| failed.outcome.failure()));
        Some(Arc::new(Hold {
            by: Suppressor::ParentDown,
            name: down.name.to_owned(),
            since: since.unwrap_or(state.since),
            until: None,
            reason: why.map(|why| why.message.clone()).unwrap_or_default(),
            through: None,
            made_by: None,
            selectors: Selectors::default(),
        }))
    }

    pub(super) fn parents(&self, id: EndpointId) -> Vec<ParentReport> {
        let Some(WorkedOut { standings, .. }) = &self.worked_out else { return Vec::new() };
        let report = |(selector, id): (&str, EndpointId)| ParentReport {
            selector: selector.to_owned(),
            id,
            standing: standings.get(id),
        };
        standings.graph().parents(id).map(report).collect()
    }
}

/// The maintenance that these windows mean for endpoints through their parents.
pub(super) fn spread(graph: &Graph, entries: &BTreeMap<EndpointId, Seen>, holds: &[Arc<Hold>]) -> InheritedHolds {
    maintenance_of_parents(graph, |id| entries.get(&id).map(|seen| &*seen.known), holds)
}
