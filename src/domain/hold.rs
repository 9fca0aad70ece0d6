//! What keeps messages about an endpoint back for a time, with its reason and its end.

use crate::domain::Timestamp;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::notification::Event;
use crate::domain::outcome::words;
use crate::domain::selector::Selectors;

words! {
    /// What keeps a message back; the first that holds is the reason.
    pub enum HeldBy {
        /// A maintenance window is open.
        Maintenance = "maintenance",
        /// Somebody wants not to be told.
        Silence = "silence",
    }
}

/// Something that keeps messages back now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub by: HeldBy,
    /// Of the window, or the number of the silence.
    pub name: String,
    pub since: Timestamp,
    pub until: Timestamp,
    /// For people; may be empty.
    pub reason: String,
    /// Who made a silence.
    pub made_by: Option<String>,
    pub selectors: Selectors,
}

impl Hold {
    /// Whether it is about this endpoint.
    pub fn is_of(&self, known: &KnownEndpoint) -> bool {
        self.selectors.select(known)
    }
}

/// Whether a message of this kind is kept back: what tells of an outage is, its end never.
pub fn keeps_back(event: Event) -> bool {
    matches!(event, Event::Down | Event::DownAgain | Event::Reminder)
}
