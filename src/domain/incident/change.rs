//! What a result, or the passing of time, does to an endpoint.

use super::state::{EndpointState, OpenIncident};
use crate::domain::Timestamp;
use crate::domain::notification::Event;
use crate::domain::outcome::Status;
use crate::domain::suppression::Suppressor;

/// A change of the confirmed status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub from: Status,
    pub to: Status,
    /// The first check of the confirming run.
    pub since: Timestamp,
    /// The confirming check.
    pub at: Timestamp,
}

/// What happened to the incident of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncidentChange {
    /// A new one; the state holds it.
    Opened,
    /// Down again within the cooldown of a told recovery: the resolved one is open again.
    Reopened,
    /// Down again while its recovery was held.
    DownAgain,
    /// The failure is another one than before.
    CauseChanged,
    /// Good again, and the recovery is held.
    RecoveryHeld {
        since: Timestamp,
    },
    Resolved {
        incident: OpenIncident,
        resolved_at: Timestamp,
    },
    /// It is no longer monitored.
    Abandoned {
        incident: OpenIncident,
        at: Timestamp,
    },
    Reminded,
    /// What was kept back is told.
    Told,
    /// It was flapping, and stays down.
    StaysDown,
    /// A maintenance window has opened over it.
    MaintenanceBegan,
    /// The window is over, and it is still down.
    MaintenanceEnded,
    /// Others are told.
    Escalated {
        /// The first is 1.
        step: u32,
        notify: Vec<String>,
    },
    Acknowledged,
    /// The time of the acknowledgement is up.
    AcknowledgementEnded,
    /// No incident: nobody watches it, since then.
    Unwatched {
        since: Timestamp,
    },
    /// No incident: it is watched again, or not any longer on purpose.
    WatchedAgain {
        since: Timestamp,
    },
    /// No incident: it is degraded, since then.
    Impaired {
        since: Timestamp,
    },
    /// No incident: it is no longer degraded, or not watched any longer.
    Unimpaired {
        since: Timestamp,
    },
}

impl IncidentChange {
    /// Whether it is the change of an incident.
    pub fn is_of_incident(&self) -> bool {
        !matches!(
            self,
            Self::Unwatched { .. } | Self::WatchedAgain { .. } | Self::Impaired { .. } | Self::Unimpaired { .. }
        )
    }
}

/// One thing to tell, by the deterministic parts of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tell {
    pub event: Event,
    /// The instant that began what is told: of the first failed check for down events, of the first good one
    /// for recoveries.
    pub span: Timestamp,
    /// Counts reminders, acknowledgements and steps of the escalation.
    pub ordinal: u32,
    /// What keeps it back: it is noted, not told. It may be told later, under the same id.
    pub held_by: Option<Suppressor>,
}

impl Tell {
    pub(super) fn of(event: Event, span: Timestamp) -> Self {
        Self { event, span, ordinal: 0, held_by: None }
    }
}

/// What one result, or the passing of time, did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub state: EndpointState,
    pub transition: Option<Transition>,
    /// A failure or a recovery is unconfirmed: the next check should come early.
    pub confirm: bool,
    pub incident: Option<IncidentChange>,
    pub tell: Option<Tell>,
}

impl Step {
    pub(super) fn unchanged(state: &EndpointState) -> Self {
        Self::to(state.clone())
    }

    pub(super) fn to(state: EndpointState) -> Self {
        Self { state, transition: None, confirm: false, incident: None, tell: None }
    }
}
