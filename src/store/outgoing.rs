//! What is told, and to whom, from the decision until its rows are written and it is handed to the deliverers. Shared
//! by whatever tells: incidents and alert rules.

use std::sync::Arc;

use super::outbox::{self, NewNotification};
use super::{ConnectionTrait, StoreError};
use crate::domain::Timestamp;
use crate::domain::notification::{Notification, Routing};
use crate::domain::suppression::Suppressor;
use crate::handover::{Handed, Told};

/// What is told, and to whom.
#[derive(Debug)]
pub struct Outgoing {
    told: Arc<Told>,
    channels: Vec<String>,
    held_by: Option<&'static str>,
    held_name: Option<String>,
    /// Channels among them that are there no longer, or off.
    gone: Vec<String>,
    now: Timestamp,
}

impl Outgoing {
    /// `channels`: who shall be told, which may be reached no longer.
    pub fn new(told: Told, channels: Vec<String>, routing: &Routing, now: Timestamp) -> Self {
        let gone = channels.iter().filter(|name| !routing.has(name)).cloned().collect();
        let held_by = routing.held_by(&channels, told.facts.event);
        Self { told: Arc::new(told), channels, held_by, held_name: None, gone, now }
    }

    /// Something keeps it back from everybody: it is noted, and may be told later under its id. What would hold
    /// anyway comes first. `name`: which one of its kind.
    #[must_use]
    pub fn kept_back(mut self, by: Option<Suppressor>, name: Option<String>) -> Self {
        if let (None, Some(by)) = (self.held_by, by) {
            (self.held_by, self.held_name) = (Some(by.as_str()), name);
            self.channels.clear();
            self.gone.clear();
        }
        self
    }

    /// Of an incident whose first notification has this id.
    #[must_use]
    pub fn in_thread_of(mut self, first: String) -> Self {
        let told = Told { first_of_incident: Some(first), ..Arc::unwrap_or_clone(self.told) };
        self.told = Arc::new(told);
        self
    }

    /// Who shall be told.
    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    pub fn facts(&self) -> &Notification {
        &self.told.facts
    }

    /// What keeps it back from everybody, by a word.
    pub fn held_by(&self) -> Option<&'static str> {
        self.held_by
    }

    /// What is to be delivered through channels that are there.
    pub fn to_deliver(&self) -> Option<Handed> {
        let channels: Vec<_> = self.channels.iter().filter(|name| !self.gone.contains(name)).cloned().collect();
        let told = self.told.clone();
        (!channels.is_empty()).then_some(Handed { told, channels, created_at: self.now })
    }

    /// Writes the notification with its deliveries, if it is not there already; what is for channels that are gone is
    /// given up. `incident`: the id of the row, which may be another than what is told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write(&self, db: &impl ConnectionTrait, incident: Option<i64>) -> Result<(), StoreError> {
        let Told { facts, endpoint, .. } = &*self.told;
        let (held_by, channels, now) = (self.held_by, &self.channels, self.now);
        let held_name = self.held_name.as_deref();
        let new = NewNotification { facts, endpoint: *endpoint, incident, held_by, held_name, channels, now };
        outbox::insert(db, &new).await?;
        for name in &self.gone {
            outbox::give_up(db, Some(&facts.id), name, outbox::NO_SUCH_CHANNEL, now).await?;
        }
        Ok(())
    }
}
