//! `depends_on` of the endpoints together: what means nothing that there is, and who depends on whom in a circle.

use std::collections::HashMap;

use super::{Item, Layer, Reader};
use crate::config::report::path_below;
use crate::config::tree::Place;
use crate::domain::dependency::{Graph, Member};
use crate::domain::endpoint::{EndpointId, EndpointSettings};
use crate::domain::selector::{Selectable, Selectors};

/// Where an endpoint's parents are written.
pub(super) enum Written {
    /// By itself: of each selector the place and the path.
    Here(Vec<(Place, String)>),
    InGroup,
    InDefaults,
}

/// Of the endpoints of a configuration, which have no id yet: by their number.
fn id_of(number: usize) -> EndpointId {
    EndpointId(i64::MIN.saturating_add_unsigned(number as u64))
}

fn number_of(id: EndpointId) -> usize {
    usize::try_from(id.0.abs_diff(i64::MIN)).unwrap_or(usize::MAX)
}

/// Where the parents of an endpoint are written; `None`: nowhere.
pub(super) fn written(item: &Item<'_>, settings: &EndpointSettings, group: Option<&Layer>) -> Written {
    let has = |layer: &Layer| layer.settings.depends_on.is_some();
    match &settings.depends_on {
        Some(Selectors(all)) => {
            let place = |i: usize| {
                let pointer = format!("/depends_on/{i}");
                let pointer = if item.node.at_pointer(&pointer).1 { &pointer } else { "/depends_on" };
                let node = item.node.at_pointer(pointer).0;
                (node.place.clone(), format!("{}{}", item.at, path_below(pointer)))
            };
            Written::Here((0..all.len()).map(place).collect())
        }
        None if group.is_some_and(has) => Written::InGroup,
        None => Written::InDefaults,
    }
}

/// The parents of an endpoint as they stand in the file.
pub(super) struct Stated {
    /// Of the endpoint as a whole.
    pub(super) place: Place,
    pub(super) written: Written,
}

impl Reader<'_> {
    /// Tells what is wrong with the parents of all endpoints; what a layer hands down is told once.
    pub(super) fn check_parents(&mut self) {
        for (place, path, message) in self.mistaken_parents() {
            self.report.error(&place, path, message);
        }
    }

    fn mistaken_parents(&self) -> Vec<(Place, String, String)> {
        let graph = Graph::new(self.endpoints.iter().enumerate().map(|(i, of)| Member::of(id_of(i), &of.endpoint)));
        let mut found = Vec::new();
        if graph.is_empty() {
            return found;
        }
        let there = Selectable {
            endpoints: self.endpoints.iter().map(|configured| (None, &configured.endpoint)).collect(),
            groups: self.groups.keys().map(String::as_str).collect(),
        };
        // Of each text once: ten thousand endpoints may name one parent.
        let mut mistakes: HashMap<&str, Option<String>> = HashMap::new();
        for (i, configured) in self.endpoints.iter().enumerate() {
            let own = configured.settings.depends_on.as_ref();
            for (k, selector) in own.unwrap_or(&configured.endpoint.depends_on).0.iter().enumerate() {
                let mistake = mistakes.entry(selector).or_insert_with(|| {
                    let mistake = || Selectors(vec![selector.clone()]).mistakes(&there).into_iter().next();
                    let may_mean_many = selector.starts_with("group:") || selector.starts_with("tag:");
                    let meant_by = graph.meant_by(selector);
                    if meant_by == 1 || (meant_by > 1 && may_mean_many) {
                        None
                    } else {
                        mistake().map(|(_, detail)| detail)
                    }
                });
                if let Some(message) = mistake {
                    let (place, path) = self.blamed(i, k);
                    found.push((place, path, message.clone()));
                }
            }
        }
        for cycle in graph.cycles() {
            // Where it is written out, rather than where much is handed down.
            let is_written = |id: &&EndpointId| {
                self.parents.get(&number_of(**id)).is_some_and(|stated| matches!(stated.written, Written::Here(_)))
            };
            let blamed = cycle.endpoints.iter().find(is_written).or(cycle.endpoints.first());
            if let Some(id) = blamed {
                let (place, path) = self.blamed(number_of(*id), 0);
                found.push((place, path, format!("endpoints depend on each other in a circle: {cycle}")));
            }
        }
        found
    }

    /// The place of the nth selector of an endpoint, and the path.
    fn blamed(&self, endpoint: usize, selector: usize) -> (Place, String) {
        let of_layer = |layer: &Layer| {
            let place = layer.node.at_pointer("/depends_on").0.place.clone();
            (place, format!("{}.depends_on", layer.name))
        };
        let Some(stated) = self.parents.get(&endpoint) else { return (Place::of_sent(""), "depends_on".to_owned()) };
        let group = self.endpoints[endpoint].endpoint.group.as_str();
        let found = match &stated.written {
            Written::Here(places) => places.get(selector).or(places.first()).cloned(),
            Written::InGroup => self.groups.get(group).map(|group| of_layer(&group.layer)),
            Written::InDefaults => self.defaults.as_ref().map(of_layer),
        };
        found.unwrap_or_else(|| (stated.place.clone(), "depends_on".to_owned()))
    }
}
