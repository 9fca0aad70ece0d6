//! What must be known of an outage to tell of it without the database: the id of its incident, who was told, and
//! under which notification first.

use std::collections::HashMap;

use crate::domain::Timestamp;
use crate::domain::audience;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::EndpointState;
use crate::domain::notification::{Event, Notification, Subject, notification_id};
use crate::store::{Store, StoreError, incidents, outbox};

/// The newest outage of each endpoint, and the ids of incidents, which are given here: there is one recorder.
#[derive(Debug, Default)]
pub struct Outages {
    last_id: i64,
    by_endpoint: HashMap<EndpointId, Outage>,
    /// Who was told that an endpoint is not watched.
    unwatched: HashMap<EndpointId, Vec<String>>,
}

/// The newest outage of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub id: i64,
    started_at: Timestamp,
    /// The channels that heard of it, and so hear of its end.
    pub told: Vec<String>,
    /// The first notification of it.
    first: Option<String>,
}

impl Outage {
    /// Notes a notification of it; gives the first one.
    pub fn tell(&mut self, facts: &Notification, channels: &[String]) -> String {
        audience::note(&mut self.told, facts.event, channels);
        self.first.get_or_insert_with(|| facts.id.clone()).clone()
    }
}

impl Outages {
    /// Reads what is known of the incidents in these states: those that are open, and those that may be opened again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load<'a>(
        store: &Store,
        states: impl IntoIterator<Item = (EndpointId, &'a EndpointState)>,
    ) -> Result<Self, StoreError> {
        let db = store.readers();
        let mut unwatched: HashMap<String, EndpointId> = HashMap::new();
        let wanted: Vec<_> = states
            .into_iter()
            .filter_map(|(id, state)| {
                if let Some(since) = state.trail.unwatched {
                    unwatched.insert(notification_id(Subject::Endpoint(id.0), since, Event::NoData, 0), id);
                }
                let open = state.incident.as_ref().map(|incident| incident.started_at);
                Some((id, open.or(state.recovered.map(|recovered| recovered.started_at))?))
            })
            .collect();
        let mut outages = Self { last_id: incidents::newest_id(db).await?, ..Self::default() };
        let ids: Vec<String> = unwatched.keys().cloned().collect();
        for (notification, channels) in outbox::channels_of(db, &ids).await? {
            if let Some(endpoint) = unwatched.get(&notification) {
                outages.unwatched.insert(*endpoint, channels);
            }
        }
        let found = incidents::ids_of(db, &wanted).await?;
        let ids: Vec<i64> = found.iter().map(|(_, _, id)| *id).collect();
        let mut told_of = outbox::told_of(db, &ids).await?;
        for (endpoint, started_at, id) in found {
            let outbox::ToldOf { first, channels, .. } = told_of.remove(&id).unwrap_or_default();
            outages.by_endpoint.insert(endpoint, Outage { id, started_at, told: channels, first });
        }
        Ok(outages)
    }

    /// The outage of an endpoint that started then; a new one if it is not the newest that is known.
    pub fn of(&mut self, endpoint: EndpointId, started_at: Timestamp) -> &mut Outage {
        let last_id = &mut self.last_id;
        let mut new = || {
            *last_id += 1;
            Outage { id: *last_id, started_at, told: Vec::new(), first: None }
        };
        let outage = self.by_endpoint.entry(endpoint).or_insert_with(&mut new);
        if outage.started_at != started_at {
            *outage = new();
        }
        outage
    }

    /// Notes who was told that an endpoint is not watched.
    pub fn tell_unwatched(&mut self, endpoint: EndpointId, channels: Vec<String>) {
        self.unwatched.insert(endpoint, channels);
    }

    /// Whoever was told that it is not watched, if somebody was; they are told of the end.
    pub fn take_unwatched(&mut self, endpoint: EndpointId) -> Vec<String> {
        self.unwatched.remove(&endpoint).unwrap_or_default()
    }

    /// Forgets the endpoints that are gone.
    pub fn retain(&mut self, is_there: impl Fn(EndpointId) -> bool) {
        self.by_endpoint.retain(|id, _| is_there(*id));
        self.unwatched.retain(|id, _| is_there(*id));
    }
}
