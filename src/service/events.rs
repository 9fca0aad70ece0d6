//! Looking on: who may see which events of the feed.

use super::context::{Actor, ServiceContext};
use super::error::ServiceError;
use crate::domain::role::Role;
pub use crate::feed::{EndpointFilter, Event, EventKind, Read, ResetReason};
use crate::feed::{Filter, Reader};

/// Kinds that name actors and their addresses.
const FOR_ADMINS: [EventKind; 2] = [EventKind::Config, EventKind::Login];

/// Which events somebody asks for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// `None`: all that the role may see.
    pub kinds: Option<Vec<EventKind>>,
    pub endpoint: Option<EndpointFilter>,
    pub group: Option<String>,
}

/// Somebody who looks on.
#[derive(Debug)]
pub struct Subscription {
    reader: Reader,
    wanted: Wanted,
    filter: Filter,
}

/// Looks on from the event `after` on, as far as it is known, else from now.
///
/// # Errors
/// `Forbidden` when a kind is named that the role may not see; not named, it is left out.
pub fn subscribe(
    ctx: &ServiceContext,
    actor: &Actor,
    wanted: Wanted,
    after: Option<&str>,
) -> Result<Subscription, ServiceError> {
    actor.require(Role::Viewer)?;
    if wanted.kinds.iter().flatten().any(|kind| FOR_ADMINS.contains(kind)) {
        actor.require(Role::Admin)?;
    }
    let filter = wanted.filter(actor.role);
    Ok(Subscription { reader: ctx.feed.subscribe(after), wanted, filter })
}

impl Wanted {
    fn filter(&self, role: Role) -> Filter {
        let may_see = |kind: &EventKind| role >= Role::Admin || !FOR_ADMINS.contains(kind);
        let kinds = self.kinds.as_deref().unwrap_or(EventKind::ALL);
        let mut filter = Filter::of(kinds.iter().copied().filter(may_see));
        (filter.endpoint, filter.group) = (self.endpoint.clone(), self.group.clone());
        filter
    }
}

impl Subscription {
    /// From now on only what this role may see.
    pub fn set_role(&mut self, role: Role) {
        self.filter = self.wanted.filter(role);
    }

    /// The next events, of about so many bytes.
    pub fn read(&mut self, bytes: usize) -> Read {
        self.reader.read(&self.filter, bytes)
    }

    /// Returns when there may be something new.
    pub async fn wait(&mut self) {
        self.reader.wait().await;
    }

    /// Whether a reset is the next thing to be read.
    pub fn is_reset(&self) -> bool {
        self.reader.is_reset()
    }

    /// The id to go on from.
    pub fn place(&self) -> String {
        self.reader.place()
    }

    /// The id of an event that was read.
    pub fn id(&self, number: u64) -> String {
        self.reader.id(number)
    }
}
