//! The rows of an incident's change: the incident, its timeline, and the notification with its deliveries. Written in
//! the transaction of the results that caused it, before anything is sent.

use std::fmt;
use std::sync::Arc;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::hold::{HeldBy, keeps_back};
use crate::domain::incident::{EndpointState, IncidentChange, OpenIncident, Tell};
use crate::domain::notification::{
    CheckFacts, EndpointFacts, Event, IncidentFacts, Notification, Routing, Subject, notification_id,
    without_credentials,
};
use crate::domain::outcome::{Failure, Status};
use crate::feed::{self, IncidentNews};
use crate::handover::{Handed, Told};
use crate::store::incidents::{self, IncidentEvent, IncidentEventKind, Resolution};
use crate::store::{ConnectionTrait, Outgoing, StoreError};

use super::outages::Outages;

/// What happened to the incident of an endpoint.
#[derive(Debug)]
pub struct Happened {
    pub known: Arc<KnownEndpoint>,
    /// After the change.
    pub state: EndpointState,
    pub previous_status: Status,
    pub change: IncidentChange,
    pub tell: Option<Tell>,
    /// The result that caused it, if one did.
    pub result: Option<Arc<CheckResult>>,
    /// What keeps messages about it back.
    pub hold: Option<HeldBy>,
    pub now: Timestamp,
}

/// One change of an incident, to be written, with what is told of it.
#[derive(Debug)]
pub struct Telling {
    happened: Happened,
    incident: OpenIncident,
    id: i64,
    told: Option<Outgoing>,
}

impl Telling {
    /// The endpoint, and its state after the change.
    pub fn state(&self) -> (EndpointId, &EndpointState) {
        (self.happened.known.id, &self.happened.state)
    }

    /// Decides what is told of it and to whom: no database is needed. `None` where there is no incident.
    pub fn new(happened: Happened, outages: &mut Outages, routing: &Routing) -> Option<Self> {
        let incident = match &happened.change {
            IncidentChange::Resolved { incident, .. } | IncidentChange::Abandoned { incident, .. } => incident.clone(),
            _ => happened.state.incident.clone()?,
        };
        let outage = outages.of(happened.known.id, incident.started_at);
        let id = outage.id;
        let told = happened.tell.map(|tell| {
            let endpoint = &happened.known.endpoint;
            let hold = happened.hold.filter(|_| keeps_back(tell.event) && routing.enabled);
            let channels = if !routing.enabled || hold.is_some() {
                Vec::new()
            } else if tell.event.is_resolve() {
                outage.told.clone()
            } else {
                routing.channels_for(endpoint.notify.as_deref(), endpoint.severity)
            };
            let facts = happened.facts(&incident, id, tell, routing);
            let first = outage.tell(&facts, &channels);
            let told =
                Told { facts, endpoint: Some(happened.known.id), incident: Some(id), first_of_incident: Some(first) };
            if keeps_back(tell.event) {
                outage.held = hold.map(|_| tell.event);
            }
            match hold {
                Some(by) => Outgoing::held(told, by, happened.now),
                None => Outgoing::new(told, channels, routing, happened.now),
            }
        });
        Some(Self { happened, incident, id, told })
    }

    /// What whoever looks on is told of it.
    pub fn event(&self) -> feed::Event {
        let (incident, happened) = (&self.incident, &self.happened);
        let (change, resolved_at) = match &happened.change {
            IncidentChange::Opened => (IncidentEventKind::Opened, None),
            IncidentChange::Reopened => (IncidentEventKind::Reopened, None),
            IncidentChange::DownAgain => (IncidentEventKind::DownAgain, None),
            IncidentChange::CauseChanged => (IncidentEventKind::CauseChanged, None),
            IncidentChange::RecoveryHeld { .. } => (IncidentEventKind::RecoveryHeld, None),
            IncidentChange::Resolved { resolved_at, .. } => (IncidentEventKind::Resolved, Some(*resolved_at)),
            IncidentChange::Abandoned { at, .. } => (IncidentEventKind::NoLongerMonitored, Some(*at)),
            IncidentChange::Reminded => (IncidentEventKind::Reminded, None),
            IncidentChange::HoldEnded => (IncidentEventKind::HoldEnded, None),
        };
        let news = IncidentNews {
            at: happened.now,
            change: change.as_str(),
            incident_id: self.id,
            severity: happened.known.endpoint.severity,
            started_at: incident.started_at,
            opened_at: incident.opened_at,
            resolved_at,
            failure_kind: incident.cause.kind,
            error_message: &incident.cause.message,
        };
        feed::Event::incident(&happened.known, news)
    }

    /// The id of what is told, whoever is there to be told.
    pub fn notification(&self) -> Option<&str> {
        self.told.as_ref().map(|outgoing| outgoing.facts().id.as_str())
    }

    /// What is to be delivered through channels that are there.
    pub fn to_deliver(&self) -> Option<Handed> {
        self.told.as_ref()?.to_deliver()
    }

    /// Writes the incident, its timeline and what is to be told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        let id = self.write_incident(db).await?;
        match &self.told {
            Some(outgoing) => outgoing.write(db, Some(id)).await,
            None => Ok(()),
        }
    }

    /// Writes the incident and its timeline; gives its id, which is another one than ours only if its row was made
    /// by somebody else.
    async fn write_incident(&self, db: &impl ConnectionTrait) -> Result<i64, StoreError> {
        let (incident, happened) = (&self.incident, &self.happened);
        let endpoint = happened.known.id;
        // Opening finds the incident if it is there: so a reminder of one whose row is missing brings it back.
        let found = incidents::find_id(db, endpoint, incident.started_at).await?;
        let id = match (found, &happened.change) {
            (Some(id), change) if !matches!(change, IncidentChange::Reopened) => id,
            _ => {
                let severity = happened.known.endpoint.severity;
                let (started_at, opened_at) = (incident.started_at, incident.opened_at);
                incidents::open(db, self.id, endpoint, started_at, opened_at, &incident.cause, severity).await?
            }
        };
        let (kind, at, failure) = match &happened.change {
            IncidentChange::Opened => (IncidentEventKind::Opened, incident.span_started_at, Some(&incident.cause)),
            IncidentChange::Reopened => (IncidentEventKind::Reopened, incident.span_started_at, Some(&incident.cause)),
            IncidentChange::DownAgain => {
                incidents::set_cause(db, id, &incident.cause).await?;
                (IncidentEventKind::DownAgain, incident.span_started_at, Some(&incident.cause))
            }
            IncidentChange::CauseChanged => {
                incidents::set_cause(db, id, &incident.cause).await?;
                let at = happened.result.as_ref().map_or(happened.now, |result| result.started_at);
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
            IncidentChange::Reminded => (IncidentEventKind::Reminded, happened.now, None),
            IncidentChange::HoldEnded => (IncidentEventKind::HoldEnded, happened.now, None),
        };
        let event = IncidentEvent { incident_id: id, at, kind, failure: failure.cloned() };
        incidents::add_event(db, &event).await?;
        Ok(id)
    }
}

impl fmt::Display for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, endpoint) = (self.id, self.happened.known.id);
        write!(f, "a change of incident {id} of endpoint {endpoint}")?;
        self.notification().map_or(Ok(()), |notification| write!(f, " and its notification {notification}"))
    }
}

impl Happened {
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
            alert: None,
            remarks: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
