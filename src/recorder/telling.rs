//! The rows of an incident's change: the incident, its timeline, and the notification with its deliveries. Written in
//! the transaction of the results that caused it, before anything is sent.

use std::sync::Arc;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::incident::{EndpointState, IncidentChange, OpenIncident, Tell};
use crate::domain::notification::{
    CheckFacts, EndpointFacts, Event, IncidentFacts, Notification, Routing, Subject, notification_id,
    without_credentials,
};
use crate::domain::outcome::{Failure, Status};
use crate::store::incidents::{self, IncidentEvent, IncidentEventKind, Resolution};
use crate::store::outbox::{self, NewNotification};
use crate::store::{ConnectionTrait, StoreError};

/// One change of an incident, to be written.
#[derive(Debug)]
pub struct Telling {
    pub known: Arc<KnownEndpoint>,
    /// After the change.
    pub state: EndpointState,
    pub previous_status: Status,
    pub change: IncidentChange,
    pub tell: Option<Tell>,
    /// The result that caused it, if one did.
    pub result: Option<Arc<CheckResult>>,
    pub now: Timestamp,
}

impl Telling {
    /// Writes the incident, its timeline and what is to be told. Returns whether there is something to deliver.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write(&self, db: &impl ConnectionTrait, routing: &Routing) -> Result<bool, StoreError> {
        let Some((incident, id)) = self.write_incident(db).await? else { return Ok(false) };
        let Some(tell) = self.tell else { return Ok(false) };
        let endpoint = &self.known.endpoint;
        let channels = if !routing.enabled {
            Vec::new()
        } else if tell.event.is_resolve() {
            outbox::told_channels(db, id).await?
        } else {
            routing.channels_for(endpoint.notify.as_deref(), endpoint.severity)
        };
        let facts = self.facts(&incident, id, tell, routing);
        let new = NewNotification {
            facts: &facts,
            endpoint: Some(self.known.id),
            incident: Some(id),
            held_by: routing.held_by(&channels, tell.event),
            channels: &channels,
            now: self.now,
        };
        outbox::insert(db, &new).await?;
        // Whoever was told may be reached no longer: a channel that was removed or switched off since.
        let (there, gone): (Vec<_>, Vec<_>) = channels.iter().partition(|name| routing.has(name));
        for name in gone {
            outbox::give_up(db, name, outbox::NO_SUCH_CHANNEL, self.now).await?;
        }
        Ok(!there.is_empty())
    }

    /// Writes the incident and its timeline; gives the incident as it is told of, with its id.
    async fn write_incident(&self, db: &impl ConnectionTrait) -> Result<Option<(OpenIncident, i64)>, StoreError> {
        let incident = match &self.change {
            IncidentChange::Resolved { incident, .. } | IncidentChange::Abandoned { incident, .. } => incident.clone(),
            _ => match &self.state.incident {
                Some(incident) => incident.clone(),
                None => return Ok(None),
            },
        };
        let endpoint = self.known.id;
        // Opening finds the incident if it is there: so a reminder of one whose row is missing brings it back.
        let found = incidents::find_id(db, endpoint, incident.started_at).await?;
        let id = match (found, &self.change) {
            (Some(id), change) if !matches!(change, IncidentChange::Reopened) => id,
            _ => {
                let severity = self.known.endpoint.severity;
                incidents::open(db, endpoint, incident.started_at, incident.opened_at, &incident.cause, severity)
                    .await?
            }
        };
        let (kind, at, failure) = match &self.change {
            IncidentChange::Opened => (IncidentEventKind::Opened, incident.span_started_at, Some(&incident.cause)),
            IncidentChange::Reopened => (IncidentEventKind::Reopened, incident.span_started_at, Some(&incident.cause)),
            IncidentChange::DownAgain => {
                incidents::set_cause(db, id, &incident.cause).await?;
                (IncidentEventKind::DownAgain, incident.span_started_at, Some(&incident.cause))
            }
            IncidentChange::CauseChanged => {
                incidents::set_cause(db, id, &incident.cause).await?;
                let at = self.result.as_ref().map_or(self.now, |result| result.started_at);
                (IncidentEventKind::CauseChanged, at, Some(&incident.cause))
            }
            IncidentChange::RecoveryHeld { since } => (IncidentEventKind::RecoveryHeld, *since, None),
            IncidentChange::Resolved { resolved_at, .. } => {
                incidents::resolve(db, id, *resolved_at, Resolution::Recovered).await?;
                (IncidentEventKind::Resolved, *resolved_at, None)
            }
            IncidentChange::Abandoned { at, .. } => {
                incidents::resolve(db, id, *at, Resolution::NoLongerMonitored).await?;
                (IncidentEventKind::NoLongerMonitored, *at, None)
            }
            IncidentChange::Reminded => (IncidentEventKind::Reminded, self.now, None),
        };
        let event = IncidentEvent { incident_id: id, at, kind, failure: failure.cloned() };
        incidents::add_event(db, &event).await?;
        Ok(Some((incident, id)))
    }

    fn facts(&self, incident: &OpenIncident, id: i64, tell: Tell, routing: &Routing) -> Notification {
        let endpoint = &self.known.endpoint;
        let resolved_at = match &self.change {
            IncidentChange::Resolved { resolved_at, .. } => Some(*resolved_at),
            IncidentChange::Abandoned { at, .. } => Some(*at),
            _ => None,
        };
        let occurred_at = match tell.event {
            Event::Up => resolved_at.unwrap_or(self.now),
            Event::Reminder | Event::NoLongerMonitored => self.now,
            _ => self.result.as_ref().map_or(self.now, |result| result.started_at),
        };
        let url = without_credentials(&endpoint.check.url);
        let Failure { kind, message } = &incident.cause;
        Notification {
            version: 1,
            id: notification_id(Subject::Endpoint(self.known.id.0), tell.span, tell.event, tell.ordinal),
            event: tell.event,
            occurred_at,
            told_late: false,
            endpoint: EndpointFacts {
                id: self.known.id.0,
                name: endpoint.name.clone(),
                group: endpoint.group.clone(),
                tags: endpoint.tags.clone(),
                url: url.clone(),
                kind: endpoint.kind.to_string(),
            },
            endpoint_name: endpoint.name.clone(),
            url,
            timestamp: occurred_at,
            status: match tell.event {
                Event::NoLongerMonitored => "unknown".to_owned(),
                _ => self.state.status.to_string(),
            },
            previous_status: match tell.event {
                Event::Up | Event::Reminder | Event::NoLongerMonitored => Status::Down.to_string(),
                _ => self.previous_status.to_string(),
            },
            severity: endpoint.severity,
            runbook: endpoint.runbook.clone(),
            failure_kind: Some(kind.to_string()),
            error: Some(message.clone()),
            incident: Some(IncidentFacts {
                id,
                started_at: incident.started_at,
                opened_at: incident.opened_at,
                resolved_at,
                duration_seconds: (resolved_at.unwrap_or(occurred_at) - incident.started_at).num_seconds().max(0),
                url: routing.public_url.as_ref().map(|base| format!("{base}/api/v1/incidents/{id}")),
            }),
            check: self.result.as_ref().map(|result| CheckFacts {
                scheduled_at: result.scheduled_at,
                attempts: result.attempts,
                status_code: result.status_code,
                response_time_ms: result.response_time_us().map(|us| f64::from(us) / 1_000.0),
            }),
            remarks: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
