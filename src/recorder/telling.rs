//! The rows of an incident's change: the incident, its timeline, and the notification with its deliveries. Written in
//! the transaction of the results that caused it, before anything is sent.

use std::fmt;
use std::sync::Arc;

use serde_json::json;

use crate::domain::Timestamp;
use crate::domain::audience::{self, ToldBefore};
use crate::domain::check::CheckResult;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::incident::{Acknowledged, EndpointState, IncidentChange, OpenIncident, Tell};
use crate::domain::notification::{
    AcknowledgementFacts, CheckFacts, EndpointFacts, Event, IncidentFacts, Notification, Routing, Subject,
    notification_id, without_credentials,
};
use crate::domain::outcome::Status;
use crate::events::Decider;
use crate::feed::{self, IncidentNews};
use crate::handover::{Handed, Told};
use crate::store::audit::{self, AuditEntry};
use crate::store::incidents::{self, Acknowledgement, IncidentEvent, IncidentEventKind, Resolution};
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
    /// Which parent keeps it back, if one does.
    pub held_name: Option<String>,
    /// The result that caused it, if one did.
    pub result: Option<Arc<CheckResult>>,
    /// Who did it, if somebody did, and what they wrote.
    pub by: Option<(Decider, Option<String>)>,
    /// Which of `degraded_unless` did not hold in its newest check, if one did not.
    pub why_degraded: Option<String>,
    /// What is to be said of our own network, if it was in doubt.
    pub in_doubt: Option<String>,
    pub now: Timestamp,
}

/// One change of an incident, or of an endpoint being watched, to be written, with what is told of it.
#[derive(Debug)]
pub struct Telling {
    happened: Happened,
    /// With its id; `None`: it is about no incident.
    incident: Option<(OpenIncident, i64)>,
    told: Option<Outgoing>,
}

impl Telling {
    /// The endpoint, and its state after the change.
    pub fn state(&self) -> (EndpointId, &EndpointState) {
        (self.happened.known.id, &self.happened.state)
    }

    /// Decides what is told of it and to whom: no database is needed. `None` where there is no incident, though it is
    /// about one.
    pub fn new(happened: Happened, outages: &mut Outages, routing: &Routing) -> Option<Self> {
        let endpoint = happened.known.id;
        let incident = match &happened.change {
            IncidentChange::Resolved { incident, .. } | IncidentChange::Abandoned { incident, .. } => {
                Some(incident.clone())
            }
            change if change.is_of_incident() => Some(happened.state.incident.clone()?),
            _ => None,
        };
        let incident = incident.map(|incident| {
            let id = outages.of(endpoint, incident.started_at).id;
            (incident, id)
        });
        let told = happened.tell.map(|tell| {
            let channels = happened.channels(incident.as_ref(), tell, outages, routing);
            let facts = happened.facts(incident.as_ref(), tell, routing);
            let id = incident.as_ref().map(|(_, id)| *id);
            let told = Told { facts, endpoint: Some(endpoint), incident: id, first_of_incident: None };
            let outgoing = Outgoing::new(told, channels, routing, happened.now)
                .kept_back(tell.held_by, happened.held_name.clone());
            match &incident {
                Some((incident, _)) => {
                    let outage = outages.of(endpoint, incident.started_at);
                    let first = outage.tell(outgoing.facts(), outgoing.channels());
                    outgoing.in_thread_of(first)
                }
                None => {
                    if matches!(happened.change, IncidentChange::Unwatched { .. }) {
                        outages.tell_unwatched(endpoint, outgoing.channels().to_vec());
                    }
                    if tell.event == Event::Degraded && tell.held_by.is_none() {
                        outages.tell_degraded(endpoint, outgoing.channels().to_vec());
                    }
                    outgoing
                }
            }
        });
        Some(Self { happened, incident, told })
    }

    /// What whoever looks on is told of it; `None` where it is about no incident.
    pub fn event(&self) -> Option<feed::Event> {
        let ((incident, id), happened) = (self.incident.as_ref()?, &self.happened);
        let resolved_at = match &happened.change {
            IncidentChange::Resolved { resolved_at, .. } => Some(*resolved_at),
            IncidentChange::Abandoned { at, .. } => Some(*at),
            _ => None,
        };
        let news = IncidentNews {
            at: happened.now,
            change: happened.kind()?.as_str(),
            incident_id: *id,
            severity: happened.known.endpoint.severity,
            started_at: incident.started_at,
            opened_at: incident.opened_at,
            resolved_at,
            failure_kind: incident.cause.kind,
            error_message: &incident.cause.message,
        };
        Some(feed::Event::incident(&happened.known, news))
    }

    /// The id of what is told, whoever is there to be told.
    pub fn notification(&self) -> Option<&str> {
        self.told.as_ref().map(|outgoing| outgoing.facts().id.as_str())
    }

    /// What is to be delivered through channels that are there.
    pub fn to_deliver(&self) -> Option<Handed> {
        self.told.as_ref()?.to_deliver()
    }

    /// Writes the incident, its timeline, what is to be told, and who did it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        let id = match &self.incident {
            Some((incident, id)) => Some(self.write_incident(db, incident, *id).await?),
            None => None,
        };
        if let Some(outgoing) = &self.told {
            outgoing.write(db, id).await?;
        }
        match self.happened.audit_row(id) {
            Some(row) => audit::append(db, row).await,
            None => Ok(()),
        }
    }

    /// Writes the incident and its timeline; gives its id, which is another one than ours only if its row was made
    /// by somebody else.
    async fn write_incident(
        &self,
        db: &impl ConnectionTrait,
        incident: &OpenIncident,
        id: i64,
    ) -> Result<i64, StoreError> {
        let happened = &self.happened;
        let endpoint = happened.known.id;
        // Opening finds the incident if it is there: so a reminder of one whose row is missing brings it back.
        let found = incidents::find_id(db, endpoint, incident.started_at).await?;
        let id = match (found, &happened.change) {
            (Some(id), change) if !matches!(change, IncidentChange::Reopened) => id,
            _ => {
                let severity = happened.known.endpoint.severity;
                let (started_at, opened_at) = (incident.started_at, incident.opened_at);
                incidents::open(db, id, endpoint, started_at, opened_at, &incident.cause, severity).await?
            }
        };
        let mut failure = None;
        let at = match &happened.change {
            IncidentChange::Opened | IncidentChange::Reopened => {
                failure = Some(&incident.cause);
                incident.span_started_at
            }
            IncidentChange::DownAgain => {
                incidents::set_cause(db, id, &incident.cause).await?;
                failure = Some(&incident.cause);
                incident.span_started_at
            }
            IncidentChange::CauseChanged => {
                incidents::set_cause(db, id, &incident.cause).await?;
                failure = Some(&incident.cause);
                happened.result.as_ref().map_or(happened.now, |result| result.started_at)
            }
            IncidentChange::RecoveryHeld { since } => *since,
            IncidentChange::Resolved { resolved_at, .. } => {
                let by_hand = happened.by.is_some();
                let resolution = if by_hand { Resolution::ByHand } else { Resolution::Recovered };
                incidents::resolve(db, id, *resolved_at, resolution).await?;
                *resolved_at
            }
            IncidentChange::Abandoned { at, .. } => {
                incidents::resolve(db, id, *at, Resolution::NoLongerMonitored).await?;
                *at
            }
            IncidentChange::Acknowledged => {
                if let Some(acknowledged) = &incident.acknowledged {
                    incidents::acknowledge(db, id, &shown(acknowledged)).await?;
                }
                happened.now
            }
            _ => happened.now,
        };
        let (actor, note) = happened.by.clone().map_or((None, None), |(by, note)| (Some(by.name), note));
        if let Some(kind) = happened.kind() {
            let event = IncidentEvent { incident_id: id, at, kind, failure: failure.cloned(), actor, note };
            incidents::add_event(db, &event).await?;
        }
        if let Some(name) = &happened.held_name {
            let (at, kind, note) = (happened.now, IncidentEventKind::KeptBack, Some(format!("parent_down: {name}")));
            let event = IncidentEvent { incident_id: id, at, kind, failure: None, actor: None, note };
            incidents::add_event(db, &event).await?;
        }
        if let Some(tell) = happened.tell.filter(|tell| tell.event == Event::Flapping) {
            let (at, kind) = (tell.span, IncidentEventKind::Flapping);
            let event = IncidentEvent { incident_id: id, at, kind, failure: None, actor: None, note: None };
            incidents::add_event(db, &event).await?;
        }
        Ok(id)
    }
}

fn shown(acknowledged: &Acknowledged) -> Acknowledgement {
    let Acknowledged { by, at, until, note, .. } = acknowledged.clone();
    Acknowledgement { by, at, until, note }
}

impl fmt::Display for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.happened.known.id;
        match &self.incident {
            Some((_, id)) => write!(f, "a change of incident {id} of endpoint {endpoint}")?,
            None => write!(f, "whether endpoint {endpoint} is watched, or degraded")?,
        }
        self.notification().map_or(Ok(()), |notification| write!(f, " and its notification {notification}"))
    }
}

impl Happened {
    /// How the timeline calls it.
    fn kind(&self) -> Option<IncidentEventKind> {
        Some(match &self.change {
            IncidentChange::Opened => IncidentEventKind::Opened,
            IncidentChange::Reopened => IncidentEventKind::Reopened,
            IncidentChange::DownAgain => IncidentEventKind::DownAgain,
            IncidentChange::CauseChanged => IncidentEventKind::CauseChanged,
            IncidentChange::RecoveryHeld { .. } => IncidentEventKind::RecoveryHeld,
            IncidentChange::Resolved { .. } => IncidentEventKind::Resolved,
            IncidentChange::Abandoned { .. } => IncidentEventKind::NoLongerMonitored,
            IncidentChange::Reminded => IncidentEventKind::Reminded,
            IncidentChange::Told => IncidentEventKind::Told,
            IncidentChange::StaysDown => IncidentEventKind::StaysDown,
            IncidentChange::Escalated { .. } => IncidentEventKind::Escalated,
            IncidentChange::MaintenanceBegan => IncidentEventKind::MaintenanceBegan,
            IncidentChange::MaintenanceEnded => IncidentEventKind::MaintenanceEnded,
            IncidentChange::Acknowledged => IncidentEventKind::Acknowledged,
            IncidentChange::AcknowledgementEnded => IncidentEventKind::AcknowledgementEnded,
            IncidentChange::Unwatched { .. }
            | IncidentChange::WatchedAgain { .. }
            | IncidentChange::Impaired { .. }
            | IncidentChange::Unimpaired { .. } => return None,
        })
    }

    /// Who is told.
    fn channels(
        &self,
        incident: Option<&(OpenIncident, i64)>,
        tell: Tell,
        outages: &mut Outages,
        routing: &Routing,
    ) -> Vec<String> {
        let id = self.known.id;
        // Taken in any case: what is told now ends that.
        let unwatched = match &self.change {
            IncidentChange::Unwatched { .. } => Vec::new(),
            _ => outages.take_unwatched(id),
        };
        let of_incident =
            incident.map_or_else(Vec::new, |(incident, _)| outages.of(id, incident.started_at).told.clone());
        let ends = audience::ends_degraded(&self.change, tell);
        let degraded = if ends { outages.take_degraded(id) } else { Vec::new() };
        let before = ToldBefore { of_incident, unwatched, degraded };
        audience::channels(&self.change, tell, &self.known.endpoint, before, routing)
    }

    /// Who did it, for the audit log.
    fn audit_row(&self, incident: Option<i64>) -> Option<AuditEntry> {
        let (by, note) = self.by.as_ref()?;
        let action = match &self.change {
            IncidentChange::Acknowledged => "incident.acknowledge",
            _ => "incident.resolve",
        };
        let acknowledged = self.state.incident.as_ref().and_then(|incident| incident.acknowledged.as_ref());
        let after = match acknowledged {
            Some(acknowledged) => json!({"note": note, "until": acknowledged.until}),
            None => json!({"note": note}),
        };
        Some(AuditEntry {
            at: self.now,
            actor: by.name.clone(),
            address: by.address.clone(),
            action: action.to_owned(),
            subject: format!("incident/{}", incident?),
            result: "ok".to_owned(),
            before: None,
            after: Some(after),
        })
    }

    /// What else a person should know.
    fn remarks(&self, tell: Tell) -> Vec<String> {
        let remark = match (&self.change, tell.event) {
            (_, Event::Flapping) => self.known.endpoint.alert_policy.flap.map(|flap| {
                let minutes = flap.window.as_secs().div_ceil(60);
                format!("More than {} changes of status within {minutes} min", flap.changes)
            }),
            (_, Event::Down | Event::DownAgain) if self.in_doubt.is_some() => self.in_doubt.clone(),
            (IncidentChange::StaysDown, _) => Some("It was flapping, and stays down now".to_owned()),
            (IncidentChange::Told, _) => Some("This was kept back until now".to_owned()),
            (IncidentChange::Escalated { step, .. }, _) => {
                Some(format!("Nobody has acknowledged it: step {step} of its escalation"))
            }
            _ => None,
        };
        remark.into_iter().collect()
    }

    fn facts(&self, incident: Option<&(OpenIncident, i64)>, tell: Tell, routing: &Routing) -> Notification {
        let endpoint = &self.known.endpoint;
        let resolved_at = match &self.change {
            IncidentChange::Resolved { resolved_at, .. } => Some(*resolved_at),
            IncidentChange::Abandoned { at, .. } => Some(*at),
            _ => None,
        };
        let occurred_at = match tell.event {
            Event::Up => resolved_at.unwrap_or(tell.span),
            Event::Down | Event::DownAgain | Event::Flapping | Event::Degraded => {
                self.result.as_ref().map_or(self.now, |result| result.started_at)
            }
            _ => self.now,
        };
        // Where nothing is connected to there is none to show.
        let url =
            if endpoint.check.push().is_some() { String::new() } else { without_credentials(&endpoint.check.url) };
        let (kind, message) = incident.map(|(incident, _)| incident.cause.clone()).map(|f| (f.kind, f.message)).unzip();
        let message = message.or_else(|| self.why_degraded.clone().filter(|_| tell.event == Event::Degraded));
        let was_degraded = matches!(self.change, IncidentChange::Unimpaired { .. });
        let is_watched = !matches!(self.change, IncidentChange::Unwatched { .. });
        let was_watched = !matches!(self.change, IncidentChange::WatchedAgain { .. });
        let unknown = Status::Unknown.to_string();
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
                Event::NoLongerMonitored => unknown.clone(),
                _ if !is_watched => unknown.clone(),
                _ => self.state.status.to_string(),
            },
            previous_status: match tell.event {
                _ if !was_watched => unknown,
                _ if was_degraded => Status::Degraded.to_string(),
                Event::Degraded => Status::Up.to_string(),
                Event::Up | Event::Reminder | Event::NoLongerMonitored => Status::Down.to_string(),
                _ => self.previous_status.to_string(),
            },
            severity: endpoint.severity,
            runbook: endpoint.runbook.clone(),
            failure_kind: kind.map(|kind| kind.to_string()),
            error: message,
            incident: incident.map(|(incident, id)| IncidentFacts {
                id: *id,
                started_at: incident.started_at,
                opened_at: incident.opened_at,
                resolved_at,
                duration_seconds: (resolved_at.unwrap_or(occurred_at) - incident.started_at).num_seconds().max(0),
                url: routing.public_url.as_ref().map(|base| format!("{base}/api/v1/incidents/{id}")),
                acknowledge_url: None,
                acknowledgement: incident.acknowledged.clone().map(|acknowledged| {
                    let Acknowledged { by, at, until, note, .. } = acknowledged;
                    AcknowledgementFacts { by, at, until, note }
                }),
            }),
            check: self.result.as_ref().map(|result| CheckFacts {
                scheduled_at: result.scheduled_at,
                attempts: result.attempts,
                status_code: result.status_code,
                response_time_ms: result.response_time_us().map(|us| f64::from(us) / 1_000.0),
            }),
            alert: None,
            remarks: self.remarks(tell),
            items: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
