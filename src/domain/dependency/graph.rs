//! The graph: which endpoints each selector means, and which endpoints depend on each other in a circle.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;

use crate::domain::endpoint::{Endpoint, EndpointId, KnownEndpoint};
use crate::domain::selector::Selectors;

/// An endpoint, as far as others can depend on it and it on them.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Unique. Those of a configuration, which have no id yet, have negative ones of its own.
    pub id: EndpointId,
    pub group: &'a str,
    pub name: &'a str,
    pub tags: &'a [String],
    pub depends_on: &'a Selectors,
    /// Nobody can ask it: what is known of it counts.
    pub reports_itself: bool,
}

impl<'a> Member<'a> {
    pub fn of(id: EndpointId, endpoint: &'a Endpoint) -> Self {
        let Endpoint { group, name, tags, depends_on, check, .. } = endpoint;
        Self { id, group, name, tags, depends_on, reports_itself: check.push().is_some() }
    }

    /// Each selector that means it, if anybody writes it.
    fn meant_by(&self) -> impl Iterator<Item = String> {
        let key = (!self.group.is_empty()).then(|| format!("{}/{}", self.group, self.name));
        let group = (!self.group.is_empty()).then(|| format!("group:{}", self.group));
        let id = (self.id.0 > 0).then(|| format!("id:{}", self.id));
        let tags = self.tags.iter().map(|tag| format!("tag:{tag}"));
        ["*".to_owned(), self.name.to_owned()].into_iter().chain(key).chain(group).chain(id).chain(tags)
    }

    /// Whether one of the selectors means it.
    pub fn is_meant_by(&self, selectors: &Selectors) -> bool {
        !selectors.0.is_empty() && self.meant_by().any(|selector| selectors.0.contains(&selector))
    }

    fn label(&self) -> String {
        if self.group.is_empty() { self.name.to_owned() } else { format!("{}/{}", self.group, self.name) }
    }
}

impl<'a> From<&'a KnownEndpoint> for Member<'a> {
    fn from(known: &'a KnownEndpoint) -> Self {
        Self::of(known.id, &known.endpoint)
    }
}

/// Who depends on whom. Holds only endpoints that depend on others or on which others depend.
#[derive(Debug, Default)]
pub struct Graph {
    pub(super) nodes: HashMap<EndpointId, Node>,
    pub(super) meanings: Vec<Meaning>,
    by_selector: HashMap<String, usize>,
    /// Parents before their children.
    pub(super) order: Vec<EndpointId>,
    rings: usize,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) label: String,
    /// Indices of the meanings of its selectors, in the order in which they are written.
    pub(super) depends_on: Vec<usize>,
    /// Indices of the meanings that it is in.
    pub(super) meant_by: Vec<usize>,
    reports_itself: bool,
    /// Which circle it is in, if it is in one.
    ring: Option<usize>,
}

/// What a selector means.
#[derive(Debug)]
pub(super) struct Meaning {
    pub(super) selector: String,
    pub(super) is_group: bool,
    pub(super) members: Vec<EndpointId>,
}

/// Endpoints that depend on each other in a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// The endpoints, each of which depends on the next one, and the last on the first.
    pub endpoints: Vec<EndpointId>,
    /// `core/api → infra/db → core/api`, with the selectors that are other words for them.
    text: String,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Graph {
    pub fn new<'a>(members: impl Iterator<Item = Member<'a>> + Clone) -> Self {
        let mut graph = Self::default();
        for selector in members.clone().flat_map(|member| &member.depends_on.0) {
            if !graph.by_selector.contains_key(selector) {
                graph.by_selector.insert(selector.clone(), graph.meanings.len());
                let is_group = selector.starts_with("group:");
                graph.meanings.push(Meaning { selector: selector.clone(), is_group, members: Vec::new() });
            }
        }
        if graph.meanings.is_empty() {
            return graph;
        }
        for member in members {
            let mut meant_by = Vec::new();
            for selector in member.meant_by() {
                if let Some(at) = graph.by_selector.get(&selector)
                    && !meant_by.contains(at)
                {
                    meant_by.push(*at);
                    graph.meanings[*at].members.push(member.id);
                }
            }
            let mut depends_on: Vec<usize> = Vec::new();
            for at in member.depends_on.0.iter().filter_map(|selector| graph.by_selector.get(selector)) {
                if !depends_on.contains(at) {
                    depends_on.push(*at);
                }
            }
            if !meant_by.is_empty() || !depends_on.is_empty() {
                let reports_itself = member.reports_itself;
                let node = Node { label: member.label(), depends_on, meant_by, reports_itself, ring: None };
                graph.nodes.insert(member.id, node);
            }
        }
        graph.sort();
        graph
    }

    /// Whether nobody depends on anything.
    pub fn is_empty(&self) -> bool {
        self.meanings.is_empty()
    }

    /// Whether it is set to depend on something.
    pub fn is_child(&self, id: EndpointId) -> bool {
        self.nodes.get(&id).is_some_and(|node| !node.depends_on.is_empty())
    }

    /// Whether a selector of somebody means it.
    pub fn is_parent(&self, id: EndpointId) -> bool {
        self.nodes.get(&id).is_some_and(|node| !node.meant_by.is_empty())
    }

    /// Whether it reports by itself, so that there is nobody to be asked.
    pub fn reports_itself(&self, id: EndpointId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.reports_itself)
    }

    /// Every endpoint in it, parents before their children.
    pub fn ids(&self) -> &[EndpointId] {
        &self.order
    }

    /// `group/name`, or the name alone.
    pub fn label(&self, id: EndpointId) -> Option<&str> {
        self.nodes.get(&id).map(|node| node.label.as_str())
    }

    /// Whether a selector that somebody depends by would mean this endpoint.
    pub fn would_mean(&self, member: &Member<'_>) -> bool {
        !self.is_empty() && member.meant_by().any(|selector| self.by_selector.contains_key(&selector))
    }

    /// How many endpoints a selector means that somebody depends by.
    pub fn meant_by(&self, selector: &str) -> usize {
        self.by_selector.get(selector).map_or(0, |at| self.meanings[*at].members.len())
    }

    /// The endpoints that an endpoint depends on, itself left out, with the selector that means each. One that several
    /// selectors mean comes once for each.
    pub fn parents(&self, id: EndpointId) -> impl Iterator<Item = (&str, EndpointId)> {
        self.links(id).flat_map(move |meaning| {
            let of_it = meaning.members.iter().filter(move |member| **member != id && !self.is_cut(id, **member));
            of_it.map(|member| (meaning.selector.as_str(), *member))
        })
    }

    /// What an endpoint depends on. Within a circle nothing depends on anything: where each would keep the messages of
    /// the others back, nobody would be told. A group with an endpoint of the circle is left out as a whole.
    pub(super) fn links(&self, id: EndpointId) -> impl Iterator<Item = &Meaning> {
        self.link_indices(id).map(|at| &self.meanings[at])
    }

    pub(super) fn link_indices(&self, id: EndpointId) -> impl Iterator<Item = usize> {
        let node = self.nodes.get(&id);
        let all = node.map_or(&[][..], |node| &node.depends_on).iter().copied();
        all.filter(move |at| {
            let meaning = &self.meanings[*at];
            let in_ring = |member: &EndpointId| *member != id && self.is_cut(id, *member);
            node.is_none_or(|node| node.ring.is_none()) || !meaning.is_group || !meaning.members.iter().any(in_ring)
        })
    }

    /// Whether both are in one circle.
    pub(super) fn is_cut(&self, id: EndpointId, other: EndpointId) -> bool {
        let ring = |id| self.nodes.get(&id).and_then(|node| node.ring);
        ring(id).is_some_and(|of_it| ring(other) == Some(of_it))
    }

    /// Finds the order and the circles: the strongly connected components of endpoints and meanings, by the algorithm
    /// of Tarjan, without recursion. A component with two endpoints or more has a circle in it; one with a single
    /// endpoint has none but its dependence on itself, which is left out.
    fn sort(&mut self) {
        let mut ids: Vec<EndpointId> = self.nodes.keys().copied().collect();
        ids.sort_unstable();
        let index: HashMap<EndpointId, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let count = ids.len() + self.meanings.len();
        let successors: Vec<Vec<usize>> = ids
            .iter()
            .map(|id| self.nodes[id].depends_on.iter().map(|at| ids.len() + at).collect())
            .chain(self.meanings.iter().map(|meaning| meaning.members.iter().map(|id| index[id]).collect()))
            .collect();
        let (mut found, mut low, mut on_stack) = (vec![usize::MAX; count], vec![0; count], vec![false; count]);
        let (mut stack, mut calls, mut next) = (Vec::new(), Vec::new(), 0);
        for root in 0..count {
            if found[root] != usize::MAX {
                continue;
            }
            calls.push((root, 0));
            while let Some((at, edge)) = calls.pop() {
                if edge == 0 {
                    (found[at], low[at], on_stack[at]) = (next, next, true);
                    next += 1;
                    stack.push(at);
                }
                if let Some(to) = successors[at].get(edge).copied() {
                    calls.push((at, edge + 1));
                    if found[to] == usize::MAX {
                        calls.push((to, 0));
                    } else if on_stack[to] {
                        low[at] = low[at].min(found[to]);
                    }
                    continue;
                }
                if let Some((caller, _)) = calls.last() {
                    low[*caller] = low[*caller].min(low[at]);
                }
                if low[at] == found[at] {
                    self.take_component(&mut stack, at, &mut on_stack, &ids);
                }
            }
        }
    }

    /// Takes a component off the stack. They come with what others depend on first.
    fn take_component(&mut self, stack: &mut Vec<usize>, root: usize, on_stack: &mut [bool], ids: &[EndpointId]) {
        let mut endpoints = Vec::new();
        while let Some(at) = stack.pop() {
            on_stack[at] = false;
            endpoints.extend(ids.get(at));
            if at == root {
                break;
            }
        }
        endpoints.sort_unstable();
        if endpoints.len() > 1 {
            for id in &endpoints {
                if let Some(node) = self.nodes.get_mut(id) {
                    node.ring = Some(self.rings);
                }
            }
            self.rings += 1;
        }
        self.order.extend(endpoints);
    }

    /// Whether any endpoints depend on each other in a circle.
    pub fn has_cycles(&self) -> bool {
        self.rings > 0
    }

    /// One circle of each set of endpoints that depend on each other, a short one.
    pub fn cycles(&self) -> Vec<Cycle> {
        let mut first_of: Vec<Option<EndpointId>> = vec![None; self.rings];
        for (id, node) in &self.nodes {
            if let Some(first) = node.ring.map(|ring| &mut first_of[ring]) {
                *first = Some(first.map_or(*id, |first| first.min(*id)));
            }
        }
        first_of.into_iter().flatten().filter_map(|id| self.cycle_of(id)).collect()
    }

    /// A shortest circle that this endpoint is in.
    pub fn cycle_of(&self, start: EndpointId) -> Option<Cycle> {
        let ring = self.nodes.get(&start)?.ring?;
        let meant_by: HashSet<usize> = self.nodes[&start].meant_by.iter().copied().collect();
        // From whom each was reached, and by which selector.
        let mut reached: HashMap<EndpointId, (EndpointId, usize)> = HashMap::new();
        let mut used = HashSet::new();
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            let Some(node) = self.nodes.get(&at) else { continue };
            if at != start
                && let Some(last) = node.depends_on.iter().find(|meaning| meant_by.contains(*meaning))
            {
                let mut steps = vec![(start, *last)];
                let mut back = at;
                while back != start {
                    let (from, by) = reached[&back];
                    steps.push((back, by));
                    back = from;
                }
                steps.reverse();
                return Some(self.named(start, &steps));
            }
            for by in node.depends_on.iter().filter(|by| used.insert(**by)) {
                for member in &self.meanings[*by].members {
                    let of_ring = self.nodes.get(member).is_some_and(|node| node.ring == Some(ring));
                    if *member != start && of_ring && !reached.contains_key(member) {
                        reached.insert(*member, (at, *by));
                        queue.push_back(*member);
                    }
                }
            }
        }
        None
    }

    /// `steps`: each endpoint that comes next, the last being the first one, and the selector by which.
    fn named(&self, start: EndpointId, steps: &[(EndpointId, usize)]) -> Cycle {
        let label = |id: EndpointId| self.label(id).unwrap_or_default();
        let mut text = label(start).to_owned();
        for (id, by) in steps {
            let selector = self.meanings[*by].selector.as_str();
            text.push_str(" → ");
            text.push_str(label(*id));
            if selector != label(*id) {
                text.push_str(" (by `");
                text.push_str(selector);
                text.push_str("`)");
            }
        }
        let others = steps.iter().map(|(id, _)| *id).filter(|id| *id != start);
        Cycle { endpoints: std::iter::once(start).chain(others).collect(), text }
    }
}
