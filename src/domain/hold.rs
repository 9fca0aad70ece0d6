//! What keeps messages about an endpoint back for all to see: a maintenance window that is open, a silence that is on, a
//! parent that is down; with its reason and its end.

use crate::domain::Timestamp;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::selector::Selectors;
use crate::domain::suppression::{self, Suppressor};

/// Something that keeps messages back now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// A window, a silence, or a parent.
    pub by: Suppressor,
    /// Of the window, or the number of the silence, or `group/name` of the parent.
    pub name: String,
    pub since: Timestamp,
    /// `None`: not by time, but when the parent answers again.
    pub until: Option<Timestamp>,
    /// For people; may be empty.
    pub reason: String,
    /// The parent through which a window holds: it is about the parent.
    pub through: Option<String>,
    /// Who made a silence.
    pub made_by: Option<String>,
    pub selectors: Selectors,
}

impl Hold {
    /// Whether it is about this endpoint.
    pub fn is_of(&self, known: &KnownEndpoint) -> bool {
        self.selectors.select(known)
    }

    /// Whether it ends later than another.
    pub fn outlasts(&self, other: &Self) -> bool {
        self.until.unwrap_or(Timestamp::MAX_UTC) > other.until.unwrap_or(Timestamp::MAX_UTC)
    }

    /// As a fact to be decided by.
    pub fn fact(&self) -> suppression::Hold {
        suppression::Hold { name: self.name.clone(), until: self.until }
    }
}
