//! Maintenance of parents: their children are in it too.

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::Graph;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::hold::Hold;
use crate::domain::suppression::Suppressor;

/// Maintenance that endpoints have from their parents.
pub type InheritedHolds = HashMap<EndpointId, Arc<Hold>>;

/// The maintenance that the windows among these mean for endpoints through their parents. `known`: `None` of what is not
/// there.
pub fn maintenance_of_parents<'a>(
    graph: &Graph,
    known: impl Fn(EndpointId) -> Option<&'a KnownEndpoint>,
    holds: &[Arc<Hold>],
) -> InheritedHolds {
    let windows: Vec<_> = holds.iter().filter(|hold| hold.by == Suppressor::MaintenanceWindow).collect();
    if graph.is_empty() || windows.is_empty() {
        return HashMap::new();
    }
    let own = |id: EndpointId| {
        let known = known(id)?;
        let mut of_it = windows.iter().filter(|hold| hold.is_of(known));
        let first = *of_it.next()?;
        Some(of_it.fold(first, |best, hold| if hold.outlasts(best) { *hold } else { best }).clone())
    };
    let is_absent = |id: EndpointId| known(id).is_none_or(|known| !known.is_checked());
    let all = inherited(graph, own, is_absent, |one: &Arc<Hold>, other| one.outlasts(other));
    let hold_of = |Inherited { hold, through }: Inherited<Arc<Hold>>| {
        Arc::new(Hold { through: Some(through), ..Arc::unwrap_or_clone(hold) })
    };
    all.into_iter().map(|(id, of_parent)| (id, hold_of(of_parent))).collect()
}

/// What an endpoint has from a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited<H> {
    /// What holds for the parent.
    pub hold: H,
    /// The parent: `group/name`, or `group:core` of a group as a whole.
    pub through: String,
}

/// Whatever holds for endpoints through their parents, and their parents' parents.
///
/// `own`: what holds for an endpoint by itself. `is_absent`: it is not checked, and so is nobody's parent.
/// `lasts_longer`: whether the first does than the second; of several parents that one counts, and of the endpoints of a
/// group the one that ends first.
pub fn inherited<H: Clone>(
    graph: &Graph,
    own: impl Fn(EndpointId) -> Option<H>,
    is_absent: impl Fn(EndpointId) -> bool,
    lasts_longer: impl Fn(&H, &H) -> bool,
) -> HashMap<EndpointId, Inherited<H>> {
    struct Tally<H> {
        held: usize,
        absent: usize,
        best: Option<(H, EndpointId)>,
    }
    let mut tallies: Vec<Tally<H>> = graph.meanings.iter().map(|_| Tally { held: 0, absent: 0, best: None }).collect();
    let mut all = HashMap::new();
    // Parents come first, so that what a selector means is complete, but for the endpoint itself, which does not count.
    for id in graph.ids() {
        let Some(node) = graph.nodes.get(id) else { continue };
        if is_absent(*id) {
            node.meant_by.iter().for_each(|at| tallies[*at].absent += 1);
            continue;
        }
        let mut hold = own(*id);
        if hold.is_none() {
            for at in graph.link_indices(*id) {
                let (meaning, tally) = (&graph.meanings[at], &tallies[at]);
                let Some((of_parent, parent)) = &tally.best else { continue };
                if graph.is_cut(*id, *parent) {
                    continue;
                }
                let itself = usize::from(node.meant_by.contains(&at));
                if meaning.is_group && tally.held + tally.absent + itself < meaning.members.len() {
                    continue;
                }
                let through = if meaning.is_group { &meaning.selector } else { &graph.nodes[parent].label };
                let found = Inherited { hold: of_parent.clone(), through: through.clone() };
                hold = Some(of_parent.clone());
                all.insert(*id, found);
                break;
            }
        }
        let Some(hold) = hold else { continue };
        for at in &node.meant_by {
            let (is_group, tally) = (graph.meanings[*at].is_group, &mut tallies[*at]);
            tally.held += 1;
            let is_better = tally
                .best
                .as_ref()
                .is_none_or(|(best, _)| if is_group { lasts_longer(best, &hold) } else { lasts_longer(&hold, best) });
            if is_better {
                tally.best = Some((hold.clone(), *id));
            }
        }
    }
    all
}
