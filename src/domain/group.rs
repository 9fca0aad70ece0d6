//! Groups of endpoints: what their endpoints inherit, and who declared them.

use super::outcome::{Status, words};
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointSettings;

/// A group that is declared, in the configuration or through the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Of the group itself, not inherited.
    pub description: String,
    /// Inherited by its endpoints; without name, url, group and description.
    pub settings: EndpointSettings,
    pub made: GroupMade,
    /// What of its stored settings cannot be read, and so does not apply; a sentence.
    pub unreadable: Option<String>,
}

impl Group {
    /// `None`: the configuration has it.
    pub fn revision(&self) -> Option<i64> {
        match &self.made {
            GroupMade::Configured { .. } => None,
            GroupMade::Stored(stored) => Some(stored.revision),
        }
    }
}

/// Who declared a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupMade {
    Configured {
        /// `file:line`
        source: String,
    },
    Stored(StoredAs),
}

/// What the database knows of a group beside its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredAs {
    /// Counts changes; the `ETag`.
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

words! {
    /// Who declared a group, and so who may change it.
    pub enum GroupOrigin {
        Config = "config",
        Api = "api",
        /// Nobody: endpoints bear its name.
        Implicit = "implicit",
    }
}

impl GroupOrigin {
    /// `None`: of a group that is not declared.
    pub fn of(group: Option<&Group>) -> Self {
        match group.map(|group| &group.made) {
            Some(GroupMade::Configured { .. }) => Self::Config,
            Some(GroupMade::Stored(_)) => Self::Api,
            None => Self::Implicit,
        }
    }
}

/// From the worst to the best. What is paused says nothing, so it counts only where everything is.
const FROM_WORST: [Status; 7] =
    [Status::Down, Status::Degraded, Status::Unknown, Status::Pending, Status::Maintenance, Status::Up, Status::Paused];

/// The status of a group: the worst of its endpoints; `unknown` without any.
pub fn worst(statuses: impl IntoIterator<Item = Status>) -> Status {
    let rank = |status: &Status| FROM_WORST.iter().position(|known| known == status);
    statuses.into_iter().min_by_key(rank).unwrap_or(Status::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_endpoint_decides() {
        use Status::{Degraded, Down, Maintenance, Paused, Pending, Unknown, Up};
        for (of, status) in [
            (&[][..], Unknown),
            (&[Up, Up], Up),
            (&[Up, Paused], Up),
            (&[Paused, Paused], Paused),
            (&[Up, Maintenance], Maintenance),
            (&[Up, Pending, Maintenance], Pending),
            (&[Pending, Unknown], Unknown),
            (&[Unknown, Degraded, Up], Degraded),
            (&[Degraded, Paused, Down, Up], Down),
        ] {
            assert_eq!(worst(of.iter().copied()), status, "{of:?}");
        }
        assert!(Status::ALL.iter().all(|status| FROM_WORST.contains(status)));
    }
}
