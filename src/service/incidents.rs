//! Reading incidents, with what was told of them.

use std::collections::HashMap;

use super::context::ServiceContext;
use super::error::ServiceError;
use crate::domain::endpoint::EndpointId;
pub use crate::store::incidents::{IncidentEvent, IncidentEventKind, IncidentQuery, Resolution, StoredIncident};
use crate::store::outbox::{self, NotificationQuery, StoredNotification};
use crate::store::{ConnectionTrait, StoreError, endpoints, incidents};

/// Notifications shown with one incident, the newest.
const MOST_NOTIFICATIONS: u64 = 1_000;

/// An incident and the name of its endpoint.
#[derive(Debug)]
pub struct NamedIncident {
    pub incident: StoredIncident,
    /// `None` when the endpoint was purged.
    pub endpoint_name: Option<String>,
}

/// An incident with all that happened in it.
#[derive(Debug)]
pub struct IncidentDetail {
    pub named: NamedIncident,
    /// Oldest first.
    pub events: Vec<IncidentEvent>,
    /// Oldest first; of very many the newest.
    pub notifications: Vec<StoredNotification>,
}

/// A page of incidents, newest first, and how many there are on all pages.
///
/// # Errors
/// `Store`.
pub async fn list(ctx: &ServiceContext, query: &IncidentQuery) -> Result<(Vec<NamedIncident>, u64), ServiceError> {
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    let found = incidents::list(&db, query).await.map_err(ServiceError::Store)?;
    let total = incidents::count(&db, query).await.map_err(ServiceError::Store)?;
    let mut endpoint_names = Names::default();
    let mut named = Vec::with_capacity(found.len());
    for incident in found {
        let endpoint_name = endpoint_names.of(ctx, &db, incident.endpoint_id).await.map_err(ServiceError::Store)?;
        named.push(NamedIncident { incident, endpoint_name });
    }
    Ok((named, total))
}

/// An incident by its id.
///
/// # Errors
/// `NotFound`, `Store`.
pub async fn get(ctx: &ServiceContext, id: i64) -> Result<IncidentDetail, ServiceError> {
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    let incident = incidents::find(&db, id).await.map_err(ServiceError::Store)?;
    let incident = incident.ok_or_else(|| ServiceError::NotFound(format!("incident {id}")))?;
    let events = incidents::events(&db, &[id]).await.map_err(ServiceError::Store)?;
    let query = NotificationQuery { incident: Some(id), limit: MOST_NOTIFICATIONS, ..NotificationQuery::default() };
    let mut notifications = outbox::list(&db, &query).await.map_err(ServiceError::Store)?;
    notifications.reverse();
    let endpoint_name = Names::default().of(ctx, &db, incident.endpoint_id).await.map_err(ServiceError::Store)?;
    Ok(IncidentDetail { named: NamedIncident { incident, endpoint_name }, events, notifications })
}

/// The names of endpoints, those of archived ones too, each looked up once.
#[derive(Default)]
struct Names(HashMap<EndpointId, Option<String>>);

impl Names {
    async fn of(
        &mut self,
        ctx: &ServiceContext,
        db: &impl ConnectionTrait,
        id: EndpointId,
    ) -> Result<Option<String>, StoreError> {
        if let Some(known) = self.0.get(&id) {
            return Ok(known.clone());
        }
        let name = match ctx.board.get(id) {
            Some(entry) => Some(entry.known.endpoint.name.clone()),
            None => {
                let stored = endpoints::find(db, id).await?.filter(|stored| stored.purge_at.is_none());
                stored.and_then(|stored| stored.settings.name)
            }
        };
        self.0.insert(id, name.clone());
        Ok(name)
    }
}
