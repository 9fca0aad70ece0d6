//! What happens in the imagined monitor, as it is said.

use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::notification::Event;
use crate::domain::outcome::Status;
use crate::domain::suppression::{Held, Matter};

/// Something that happened, to be read by a person or compared by a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub at: Timestamp,
    /// 0: it is about our own network.
    pub endpoint: EndpointId,
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The confirmed status is another one.
    Status {
        from: Status,
        to: Status,
        since: Timestamp,
    },
    /// A message, by the parts of its id. `held_by`: it is noted and told to nobody.
    Message {
        event: Event,
        span: Timestamp,
        ordinal: u32,
        id: String,
        to: Vec<String>,
        held_by: Option<&'static str>,
    },
    /// A check that failed is not counted: our own network is in doubt.
    NotCounted,
    /// From now on such messages are kept back, or by something else than until now.
    KeptBack {
        matter: Matter,
        held: Held,
    },
    /// Nothing keeps them back any longer, or there is nothing more to tell.
    LetGo {
        matter: Matter,
    },
    /// An incident opened, was opened again, or is over; identified by when it started.
    Opened {
        started_at: Timestamp,
    },
    Reopened {
        started_at: Timestamp,
    },
    Closed {
        started_at: Timestamp,
        at: Timestamp,
    },
}
