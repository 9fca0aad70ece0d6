//! What is told, and to whom, from the decision until its rows are written and it is handed to the deliverers. Shared
//! by whatever tells: incidents and alert rules.

use std::sync::Arc;

use super::certificates;
use super::outbox::{self, NewNotification};
use super::{ConnectionTrait, StoreError};
use crate::domain::Timestamp;
use crate::domain::audience::Addressed;
use crate::domain::notification::{Notification, Routing};
use crate::domain::suppression::Suppressor;
use crate::handover::{Handed, Told};

/// What is told, and to whom.
#[derive(Debug)]
pub struct Outgoing {
    told: Arc<Told>,
    to: Addressed,
    now: Timestamp,
    /// A certificate, and up to which instant this tells of it.
    of_certificate: Option<(String, Timestamp)>,
}

impl Outgoing {
    /// `channels`: who shall be told, which may be reached no longer.
    pub fn new(told: Told, channels: Vec<String>, routing: &Routing, now: Timestamp) -> Self {
        let to = Addressed::new(channels, told.facts.event, routing);
        Self { told: Arc::new(told), to, now, of_certificate: None }
    }

    /// Something keeps it back from everybody. `name`: which one of its kind.
    #[must_use]
    pub fn kept_back(self, by: Option<Suppressor>, name: Option<String>) -> Self {
        Self { to: self.to.kept_back(by, name), ..self }
    }

    /// Of an incident whose first notification has this id.
    #[must_use]
    pub fn in_thread_of(mut self, first: String) -> Self {
        let told = Told { first_of_incident: Some(first), ..Arc::unwrap_or_clone(self.told) };
        self.told = Arc::new(told);
        self
    }

    /// Tells of a certificate up to this instant, which is noted with it.
    #[must_use]
    pub fn of_certificate(self, fingerprint: String, until: Timestamp) -> Self {
        Self { of_certificate: Some((fingerprint, until)), ..self }
    }

    /// Who shall be told.
    pub fn channels(&self) -> &[String] {
        &self.to.channels
    }

    pub fn facts(&self) -> &Notification {
        &self.told.facts
    }

    /// What keeps it back from everybody, by a word.
    pub fn held_by(&self) -> Option<&'static str> {
        self.to.held_by
    }

    /// What is to be delivered through channels that are there.
    pub fn to_deliver(&self) -> Option<Handed> {
        let channels = self.to.reached();
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
        let Addressed { held_by, held_name, channels, gone } = &self.to;
        let (held_by, held_name, now) = (*held_by, held_name.as_deref(), self.now);
        let new = NewNotification { facts, endpoint: *endpoint, incident, held_by, held_name, channels, now };
        outbox::insert(db, &new).await?;
        for name in gone {
            outbox::give_up(db, Some(&facts.id), name, outbox::NO_SUCH_CHANNEL, now).await?;
        }
        if let Some((fingerprint, until)) = &self.of_certificate {
            certificates::note_told(db, fingerprint, *until).await?;
        }
        Ok(())
    }
}
