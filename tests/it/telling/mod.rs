//! Telling people, from the failed check to the message, in an assembled monitor.

mod grouping;
mod held;
pub(crate) mod hook;
mod hostile;
mod kill;
mod life;
mod maintenance;
mod matrix;
mod measure;
mod parents;
mod scripted;
mod trouble;
mod whole;

use api_monitor::domain::endpoint::EndpointId;
use api_monitor::store::incidents::{self, IncidentQuery, StoredIncident};
use api_monitor::store::outbox::{self, NotificationQuery, StoredNotification};

use crate::flows::harness::Live;

/// Where the moved clock begins.
const START: &str = "2026-11-21T12:00:40Z";

/// Every incident of an endpoint, oldest first.
async fn incidents_of(live: &Live<'_>, endpoint: EndpointId) -> Vec<StoredIncident> {
    let query = IncidentQuery { endpoint: Some(endpoint), limit: 1_000, ..IncidentQuery::default() };
    let mut all = incidents::list(live.monitor.store.readers(), &query).await.unwrap();
    all.reverse();
    all
}

/// Every notification, oldest first.
async fn notifications(live: &Live<'_>) -> Vec<StoredNotification> {
    let query = NotificationQuery { limit: 1_000, ..NotificationQuery::default() };
    let mut all = outbox::list(live.monitor.store.readers(), &query).await.unwrap();
    all.reverse();
    all.sort_by_key(|notification| notification.created_at);
    all
}
