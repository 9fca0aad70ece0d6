//! What surrounds an endpoint: windows, its own and its parents', and the parents themselves.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::said::{Said, What};
use super::{Watched, World};
use crate::domain::Timestamp;
use crate::domain::audience::Addressed;
use crate::domain::check::CheckResult;
use crate::domain::connectivity::{Change, Moment, ToTell};
use crate::domain::dependency::{Graph, Member, Parents, is_untold, maintenance_of_parents, standing};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::hold::Hold as ShownHold;
use crate::domain::incident::Tell;
use crate::domain::notification::{Event, Severity, Subject, notification_id};
use crate::domain::recheck::Request;
use crate::domain::suppression::Hold;

/// Whether two are the same as far as who depends on whom goes.
pub(super) fn depends_as(one: &KnownEndpoint, other: &KnownEndpoint) -> bool {
    let of = |known: &KnownEndpoint| {
        let endpoint = &known.endpoint;
        (endpoint.group.clone(), endpoint.name.clone(), endpoint.tags.clone(), endpoint.depends_on.clone())
    };
    one.is_checked() == other.is_checked() && of(one) == of(other)
}

impl World {
    fn graph(&self) -> Arc<Graph> {
        Arc::new(Graph::new(self.endpoints.values().map(|watched| Member::from(&*watched.known))))
    }

    pub(super) fn begin_parents(&mut self) {
        self.attempt_failed.clear();
        let endpoints = &self.endpoints;
        let standing_of = |id| endpoints.get(&id).map(standing_of);
        let is_untold = |id| endpoints.get(&id).is_some_and(|watched| is_untold(&watched.state));
        self.parents = Parents::begin(&self.graph(), standing_of, is_untold);
    }

    pub(super) fn follow_parents(&mut self) {
        let graph = self.graph();
        let endpoints = &self.endpoints;
        self.parents.follow(&graph, |id| endpoints.get(&id).map(standing_of));
    }

    /// An attempt of the check under way has failed, or the check is over.
    pub fn note_attempt(&mut self, id: EndpointId, has_failed: bool) {
        if has_failed {
            self.attempt_failed.insert(id);
        } else {
            self.attempt_failed.remove(&id);
        }
    }

    pub(super) fn note_parent(&mut self, id: EndpointId, result: &CheckResult, tell: Option<Tell>, now: Timestamp) {
        let Some(watched) = self.endpoints.get(&id) else { return };
        let failed = &self.attempt_failed;
        self.parents.take(watched.examined(), result, tell, |id| failed.contains(&id), now);
    }

    pub(super) fn hold_by_parents(&mut self, id: EndpointId, now: Timestamp) -> Option<Hold> {
        let failed = &self.attempt_failed;
        self.parents.hold(self.endpoints.get(&id)?.examined(), |id| failed.contains(&id), now)
    }

    /// The window that was open for a parent of an endpoint at any time between `from` and `now`.
    pub(super) fn maintenance_of_parents(
        &mut self,
        id: EndpointId,
        from: Timestamp,
        now: Timestamp,
    ) -> Option<Arc<ShownHold>> {
        if !self.parents.graph().is_child(id) {
            return None;
        }
        let windows = self.holds.windows_between(from, now);
        self.spread(&windows).remove(&id)
    }

    fn spread(&self, windows: &[Arc<ShownHold>]) -> crate::domain::dependency::InheritedHolds {
        let known = |id: EndpointId| self.endpoints.get(&id).map(|watched| &*watched.known);
        maintenance_of_parents(self.parents.graph(), known, windows)
    }

    pub(super) fn in_maintenance(&mut self, now: Timestamp) -> HashSet<EndpointId> {
        let open = self.holds.at(now);
        let inherited = self.spread(&open);
        let (endpoints, holds) = (&self.endpoints, &mut self.holds);
        let all = endpoints.values().filter(|watched| watched.known.is_checked());
        all.filter(|watched| {
            inherited.contains_key(&watched.known.id) || holds.maintenance(&watched.known, now, now).is_some()
        })
        .map(|watched| watched.known.id)
        .collect()
    }

    pub(super) fn follow_windows(&mut self, now: Timestamp) {
        let present = self.in_maintenance(now);
        let endpoints = &self.endpoints;
        let is_checked = |id| endpoints.get(&id).is_some_and(|watched: &Watched| watched.known.is_checked());
        let is_in_question =
            |id| endpoints.get(&id).is_some_and(|of_it| of_it.state.is_in_question(of_it.last_verdict.as_ref()));
        self.maintained.follow(present, is_checked, is_in_question, now);
    }

    /// Tells of our own network.
    pub(in crate::domain::simulation) fn tell_network(&mut self, told: &ToTell, now: Moment) {
        let Some(network) = &mut self.network else { return };
        let span = network.span(told, now);
        let ordinal = match &told.change {
            Change::Blind { .. } => 0,
            Change::Ignored { .. } => 1,
            Change::Over { .. } | Change::Heeded { .. } => 2,
        };
        let event = Event::Blind;
        let channels =
            if self.routing.enabled { self.routing.channels_for(None, Severity::Critical) } else { Vec::new() };
        let Addressed { held_by, .. } = Addressed::new(channels.clone(), event, &self.routing);
        let id = notification_id(Subject::OwnNetwork, span, event, ordinal);
        let what = What::Message { event, span, ordinal, id, to: channels, held_by };
        self.said.push(Said { at: now.at, endpoint: EndpointId(0), what });
    }

    /// The checks that are to be made, which something waits for.
    pub fn take_requests(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut take = |request| {
            requests.push(request);
            true
        };
        self.parents.hand_over(&mut take);
        self.maintained.hand_over(&mut take);
        requests
    }
}

fn standing_of(watched: &Watched) -> crate::domain::dependency::Standing {
    standing(watched.known.is_checked(), &watched.state, watched.last_verdict.as_ref(), false)
}
