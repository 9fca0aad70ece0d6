//! A maintenance window that is open, or a silence that is on, with its reason and its end.

use crate::domain::Timestamp;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::selector::Selectors;
use crate::domain::suppression::{self, Suppressor};

/// Something that somebody made and that keeps messages back now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// A window or a silence.
    pub by: Suppressor,
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

    /// As a fact to be decided by.
    pub fn fact(&self) -> suppression::Hold {
        suppression::Hold { name: self.name.clone(), until: Some(self.until) }
    }
}
