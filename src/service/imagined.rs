//! What the monitor would watch, tell and keep quiet, for commands that imagine it: as configured, with what was made
//! through the API where there is a database, which is only read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::{Config, Listing};
use crate::domain::Timestamp;
use crate::domain::dependency::{Graph, Member};
use crate::domain::endpoint::{EndpointId, KnownEndpoint, Origin};
use crate::domain::holds::Holds;
use crate::domain::maintenance::KnownWindow;
use crate::domain::selector::{Selectable, Selectors};
use crate::domain::silence::Silence;
use crate::domain::suggest::closest;
use crate::store::{Beside, StoreError, endpoints, silences};

use super::{channels, groups, maintenance, rebuild};

/// Everything that decides what is told.
#[derive(Debug)]
pub struct Imagined {
    /// Those that are checked or paused, the configured ones first.
    pub endpoints: Vec<Arc<KnownEndpoint>>,
    /// Groups and channels.
    pub listing: Listing,
    windows: Vec<KnownWindow>,
    silences: Vec<Silence>,
}

/// `group/name`, or the name of one without a group.
pub fn label(known: &KnownEndpoint) -> String {
    let endpoint = &known.endpoint;
    if endpoint.group.is_empty() { endpoint.name.clone() } else { format!("{}/{}", endpoint.group, endpoint.name) }
}

impl Imagined {
    /// As it would be with this configuration. `beside`: the database, if there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn load(config: &Config, beside: Option<&Beside>, now: Timestamp) -> Result<Self, StoreError> {
        let mut listing = Listing::of(config);
        let mut stored = Vec::new();
        let (mut windows, mut quiet) = (maintenance::configured_windows(config), Vec::new());
        if let Some(beside) = beside {
            let db = beside.readers();
            listing = groups::listing(db, config).await?;
            channels::read(db, &mut listing).await?;
            stored = endpoints::list_current(db).await?;
            windows = maintenance::windows(db, config, now).await?;
            quiet = silences::list(db).await?;
        }
        let key = |group: Option<&String>, name: Option<&String>| {
            (group.cloned().unwrap_or_default(), name.cloned().unwrap_or_default())
        };
        let mut last_id = stored.iter().map(|stored| stored.id.0).max().unwrap_or(0);
        let mut by_name: HashMap<_, _> = stored
            .into_iter()
            .map(|stored| (key(stored.settings.group.as_ref(), stored.settings.name.as_ref()), stored))
            .collect();
        let mut all = Vec::new();
        for configured in &config.endpoints {
            let endpoint = configured.endpoint.clone();
            let there = by_name.remove(&(endpoint.group.clone(), endpoint.name.clone()));
            let id = there.as_ref().map_or_else(
                || {
                    last_id += 1;
                    EndpointId(last_id)
                },
                |there| there.id,
            );
            all.push(Arc::new(KnownEndpoint {
                id,
                origin: Origin::Config,
                source: Some(format!("{}:{}", configured.source.file, configured.source.line)),
                revision: 1,
                created_at: now,
                updated_at: now,
                scheduled_from: Timestamp::MIN_UTC,
                settings: configured.settings.clone(),
                endpoint,
                paused: there.is_some_and(|there| there.paused),
            }));
        }
        // What the file no longer names would be archived by the next start.
        let mut made: Vec<_> = by_name.into_values().filter(|stored| stored.origin == Origin::Api).collect();
        made.sort_by_key(|stored| stored.id);
        let made = made.into_iter().filter_map(|stored| rebuild::known_at_any_rate(stored, &listing, now));
        all.extend(made.map(|known| Arc::new(KnownEndpoint { scheduled_from: Timestamp::MIN_UTC, ..known })));
        Ok(Self { endpoints: all, listing, windows, silences: quiet })
    }

    /// The windows and silences.
    pub fn holds(&self) -> Holds {
        Holds::new(self.windows.clone(), self.silences.clone())
    }

    /// The endpoint that is called so: `group/name`, or a name that only one has.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn find(&self, name: &str) -> Result<&Arc<KnownEndpoint>, String> {
        if let Some(found) = self.endpoints.iter().find(|known| label(known) == name) {
            return Ok(found);
        }
        let named: Vec<_> = self.endpoints.iter().filter(|known| known.endpoint.name == name).collect();
        match named.as_slice() {
            [one] => Ok(one),
            [] => {
                let labels: Vec<String> = self.endpoints.iter().map(|known| label(known)).collect();
                let alone = self.endpoints.iter().map(|known| known.endpoint.name.as_str());
                let near = closest(name, labels.iter().map(String::as_str).chain(alone));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                Err(format!("there is no endpoint `{name}`{hint}"))
            }
            many => {
                let labels: Vec<String> = many.iter().map(|known| label(known)).collect();
                Err(format!("`{name}` is in several groups: say {}", labels.join(" or ")))
            }
        }
    }

    /// These, and every endpoint that they depend on, and theirs.
    pub fn with_parents(&self, endpoints: &[Arc<KnownEndpoint>]) -> Vec<Arc<KnownEndpoint>> {
        let graph = Graph::new(self.endpoints.iter().map(|known| Member::from(&**known)));
        let mut all = endpoints.to_vec();
        let mut seen: HashSet<EndpointId> = all.iter().map(|known| known.id).collect();
        let mut next = 0;
        while let Some(known) = all.get(next).cloned() {
            next += 1;
            let parents = graph.parents(known.id).map(|(_, parent)| parent);
            let new: HashSet<EndpointId> = parents.filter(|parent| seen.insert(*parent)).collect();
            all.extend(self.endpoints.iter().filter(|known| new.contains(&known.id)).cloned());
        }
        all
    }

    /// Those that any of the selectors means; without a selector all.
    ///
    /// # Errors
    /// A sentence for each selector that means nothing.
    pub fn select(&self, selectors: &Selectors) -> Result<Vec<Arc<KnownEndpoint>>, String> {
        if selectors.0.is_empty() {
            return Ok(self.endpoints.clone());
        }
        let there = Selectable {
            endpoints: self.endpoints.iter().map(|known| (Some(known.id), &known.endpoint)).collect(),
            groups: self.listing.groups.keys().map(String::as_str).collect(),
        };
        let mistakes: Vec<String> = selectors.mistakes(&there).into_iter().map(|(_, detail)| detail).collect();
        if !mistakes.is_empty() {
            return Err(mistakes.join("\n"));
        }
        Ok(self.endpoints.iter().filter(|known| selectors.select(known)).cloned().collect())
    }
}
