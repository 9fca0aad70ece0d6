//! How a group is written and shown.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::endpoint_view::effective;
use crate::domain::Timestamp;
use crate::domain::endpoint::{EndpointSettings, Kind};
use crate::domain::group::{GroupMade, GroupOrigin, worst};
use crate::domain::outcome::Status;
use crate::domain::setting::DurationSetting;
use crate::service::groups::GroupReport;
use crate::service::redaction;

/// What of a group is set: every setting of an endpoint that can be inherited, its own name and its own description.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupSettings(pub EndpointSettings);

/// What each endpoint has for itself.
const OWN: [&str; 2] = ["url", "group"];

impl PartialSchema for GroupSettings {
    fn schema() -> RefOr<Schema> {
        let mut schema = EndpointSettings::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.properties.retain(|name, _| !OWN.contains(&name.as_str()));
            object.description = Some(
                "What of a group is set: every setting of an endpoint that can be inherited, its own name and its own \
                 description."
                    .to_owned(),
            );
        }
        schema
    }
}

impl ToSchema for GroupSettings {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("GroupSettings")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        EndpointSettings::schemas(schemas);
    }
}

/// A group: what its endpoints inherit, and how they are together.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupItem {
    pub name: String,
    /// Of the group itself, not inherited.
    description: String,
    /// How its endpoints are examined; null when they differ, and without any: then see `kinds`.
    kind: Option<Kind>,
    /// Each kind that occurs.
    kinds: Vec<Kind>,
    /// The worst confirmed status of its endpoints: down, degraded, unknown, pending, maintenance, up. Paused ones count
    /// only where all are. Without any: unknown.
    pub status: Status,
    /// The names of its endpoints, in the order of their creation.
    endpoints: Vec<String>,
    /// Their ids, in the same order.
    endpoint_ids: Vec<i64>,
    /// Time between checks that an endpoint inherits; null for a cron schedule.
    interval: Option<DurationSetting>,
    /// Cron expression.
    schedule: Option<String>,
    /// Bound of a whole attempt that an endpoint inherits.
    timeout: Option<DurationSetting>,
    /// Bound of connecting; null: the timeout alone.
    connect_timeout: Option<DurationSetting>,
    counts: GroupCounts,
    pub origin: GroupOrigin,
    /// File and line of a configured group.
    source: Option<String>,
    /// What of its stored settings cannot be read (damage, or the work of a newer version) and so does not apply; what it
    /// is replaced by does. Null: all can be.
    error: Option<String>,
    /// Counts changes; also the `ETag`. Null for a group that was not made here, as what follows.
    pub revision: Option<i64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
    /// What was set; may be sent back by PUT.
    #[schema(value_type = GroupSettings)]
    settings: GroupSettings,
    /// What applies to an endpoint that says nothing for itself. Null where every endpoint must say something, because
    /// what it inherits contradicts itself.
    #[schema(value_type = Option<GroupSettings>)]
    effective: Option<GroupSettings>,
}

/// Endpoints of a group, by their confirmed status.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct GroupCounts {
    total: u64,
    up: u64,
    degraded: u64,
    down: u64,
    pending: u64,
    paused: u64,
    maintenance: u64,
    unknown: u64,
    /// Those with an incident that is not resolved.
    open_incidents: u64,
}

/// A page of groups.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupList {
    pub groups: Vec<GroupItem>,
    /// Groups that the filters let through, on all pages.
    pub total: u64,
    pub limit: u64,
    pub offset: u64,
}

fn counts(report: &GroupReport) -> GroupCounts {
    let mut counts = GroupCounts::default();
    for entry in &report.endpoints {
        counts.total += 1;
        counts.open_incidents += u64::from(entry.live.state.incident.is_some());
        let of_status = match entry.status() {
            Status::Up => &mut counts.up,
            Status::Degraded => &mut counts.degraded,
            Status::Down => &mut counts.down,
            Status::Pending => &mut counts.pending,
            Status::Paused => &mut counts.paused,
            Status::Maintenance => &mut counts.maintenance,
            Status::Unknown => &mut counts.unknown,
        };
        *of_status += 1;
    }
    counts
}

impl From<&GroupReport> for GroupItem {
    fn from(report: &GroupReport) -> Self {
        let mut kinds: Vec<Kind> = report.endpoints.iter().map(|entry| entry.known.endpoint.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let effective = report.effective.as_ref().map(|endpoint| EndpointSettings {
            name: None,
            url: None,
            group: None,
            kind: report.inherited.kind,
            send: report.inherited.send.clone(),
            expect: report.inherited.expect.clone(),
            dns: report.inherited.dns.clone(),
            service: report.inherited.service.clone(),
            count: report.inherited.count,
            description: None,
            runbook: report.inherited.runbook.clone(),
            ..effective(endpoint)
        });
        let plain = effective.as_ref().unwrap_or(&report.inherited);
        let made = report.group.as_ref().map(|group| &group.made);
        let (source, stored) = match made {
            Some(GroupMade::Configured { source }) => (Some(source.clone()), None),
            Some(GroupMade::Stored(stored)) => (None, Some(*stored)),
            None => (None, None),
        };
        Self {
            name: report.name.clone(),
            description: report.group.as_ref().map(|group| group.description.clone()).unwrap_or_default(),
            kind: if let [kind] = kinds[..] { Some(kind) } else { None },
            kinds,
            status: worst(report.endpoints.iter().map(crate::board::Entry::status)),
            endpoints: report.endpoints.iter().map(|entry| entry.known.endpoint.name.clone()).collect(),
            endpoint_ids: report.endpoints.iter().map(|entry| entry.known.id.0).collect(),
            interval: plain.interval,
            schedule: plain.schedule.clone(),
            timeout: plain.timeout,
            connect_timeout: plain.connect_timeout,
            counts: counts(report),
            origin: report.origin(),
            source,
            error: report.group.as_ref().and_then(|group| group.unreadable.clone()),
            revision: stored.map(|stored| stored.revision),
            created_at: stored.map(|stored| stored.created_at),
            updated_at: stored.map(|stored| stored.updated_at),
            settings: GroupSettings(redaction::redacted(&report.settings(), &report.redact)),
            effective: effective.map(GroupSettings),
        }
    }
}
