//! Telling people, from the failed check to the message, in an assembled monitor.

mod held;
pub(crate) mod hook;
mod hostile;
mod kill;
mod life;
mod maintenance;
mod measure;
mod scripted;
mod trouble;
mod whole;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use api_monitor::domain::endpoint::EndpointId;
use api_monitor::store::incidents::{self, IncidentQuery, StoredIncident};
use api_monitor::store::outbox::{self, NotificationQuery, StoredNotification};

use crate::flows::harness::Live;
use crate::flows::target::{Answer, Target};

/// Where the moved clock begins.
const START: &str = "2026-11-21T12:00:40Z";

/// A target whose answer a test changes as it goes.
struct Switched {
    target: Target,
    status: Arc<AtomicU16>,
}

impl Switched {
    fn good() -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let asked = status.clone();
        Self { target: Target::answering(move |_, _| Answer::Status(asked.load(Ordering::Relaxed))), status }
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn url(&self) -> String {
        self.target.url("e")
    }
}

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
