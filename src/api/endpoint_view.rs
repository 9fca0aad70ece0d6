//! How an endpoint is shown: in lists, and by itself with its settings.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::certificates::CertificateItem;
use super::check_view::Check;
use super::hold_view::HoldItem;
use crate::board::{Board, Entry};
use crate::domain::Timestamp;
use crate::domain::alert_policy::{EscalationStep, FailureThreshold};
use crate::domain::certificate::{Ahead, CertificatePolicy};
use crate::domain::check::{Exchange, Expectation, KindSpec};
use crate::domain::condition::Dialect;
use crate::domain::dependency::Standing;
use crate::domain::endpoint::{
    AlertPolicySettings, AuthSettings, CertificateSettings, DnsSettings, Endpoint, EndpointSettings,
    EscalationStepSettings, HostsSetting, Kind, KnownEndpoint, Origin, RedirectSettings, RetrySettings, TlsSettings,
    VersionSetting, only_known, proxy_url,
};
use crate::domain::incident::OpenIncident;
use crate::domain::outcome::{FailureKind, OutcomeWord, Status};
use crate::domain::role::Role;
use crate::domain::schedule::Schedule;
use crate::domain::setting::{
    AheadSetting, DurationSetting, ExpectSetting, ExpectedPattern, ExpectedStatus, FailureThresholdSetting,
    FlapSetting, FlapSettings, ReminderSetting, ReminderSettings, RequestBody, SizeSetting, WindowThreshold,
};
use crate::links::Links;
use crate::service::{push, redaction};

/// An endpoint in a list: what is watched, and how it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointItem {
    id: i64,
    name: String,
    /// Without user and password; empty where the kind has none.
    url: String,
    /// Null where the kind has none.
    method: Option<String>,
    /// Time between checks; null for a cron schedule.
    interval: Option<DurationSetting>,
    /// Cron expression.
    schedule: Option<String>,
    /// Null where the kind has none.
    timeout: Option<DurationSetting>,
    /// Null where the kind has none.
    expected_status: Option<ExpectedStatus>,
    /// As set; secret values read `***`.
    headers: Option<BTreeMap<String, String>>,
    body: Option<RequestBody>,
    /// Whether it is checked: active and not paused.
    is_active: bool,
    /// Paused by hand, whatever the configuration says.
    paused: bool,
    /// Empty: no group.
    group: String,
    tags: Vec<String>,
    description: String,
    kind: Kind,
    origin: Origin,
    /// File and line of a configured endpoint.
    source: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Counts changes; also the `ETag` of the endpoint.
    revision: i64,
    /// The confirmed status.
    status: Status,
    /// Since when the status holds.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// The newest outcome, not yet confirmed perhaps.
    last_outcome: Option<OutcomeWord>,
    /// The newest check with a verdict.
    last_check: Option<Check>,
    uptime: UptimeShares,
    /// The incident that is not resolved, if there is one.
    incident: Option<CurrentIncident>,
    /// What keeps messages about it back now: a maintenance window that is open, or else a silence, or else a parent
    /// that is down.
    held_by: Option<HoldItem>,
}

/// The open incident of an endpoint; by itself it is in `/api/v1/incidents?endpoint={id}&open=true`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrentIncident {
    /// The first failed check of the run that opened it.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// The confirmation.
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    /// The first failed check of the present or last time down: later than `started_at` when it was up in between.
    #[schema(value_type = String, format = DateTime)]
    down_since: Timestamp,
    failure_kind: FailureKind,
    error_message: String,
    /// Reminders told.
    reminders: u32,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_reminder_at: Option<Timestamp>,
    /// Good again since then, but not yet told: it must stay so until `recovery_held_until`.
    #[schema(value_type = Option<String>, format = DateTime)]
    recovered_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    recovery_held_until: Option<Timestamp>,
    /// Who looks after it: the name of a key. Null: nobody, or their time is up.
    acknowledged_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    acknowledged_until: Option<Timestamp>,
    /// Since when it goes up and down; null: it does not.
    #[schema(value_type = Option<String>, format = DateTime)]
    flapping_since: Option<Timestamp>,
}

impl From<&OpenIncident> for CurrentIncident {
    fn from(incident: &OpenIncident) -> Self {
        let acknowledged = incident.acknowledged.as_ref().filter(|acknowledged| !acknowledged.is_over);
        Self {
            started_at: incident.started_at,
            opened_at: incident.opened_at,
            down_since: incident.span_started_at,
            failure_kind: incident.cause.kind,
            error_message: incident.cause.message.clone(),
            reminders: incident.reminders,
            next_reminder_at: incident.remind_at.filter(|_| incident.held.is_none()),
            recovered_at: incident.held.map(|held| held.since),
            recovery_held_until: incident.held.map(|held| held.release_at),
            acknowledged_by: acknowledged.map(|acknowledged| acknowledged.by.clone()),
            acknowledged_until: acknowledged.map(|acknowledged| acknowledged.until),
            flapping_since: incident.flapping.map(|flapping| flapping.since),
        }
    }
}

/// Percentages of successful checks; null where nothing was checked.
#[derive(Debug, Serialize, ToSchema)]
pub struct UptimeShares {
    #[serde(rename = "24h")]
    day: Option<f64>,
    #[serde(rename = "7d")]
    week: Option<f64>,
    #[serde(rename = "30d")]
    month: Option<f64>,
}

/// An endpoint by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointResource {
    #[serde(flatten)]
    item: EndpointItem,
    /// What was set; may be sent back by PUT.
    settings: EndpointSettings,
    /// What applies, with all defaults.
    effective: EndpointSettings,
    /// What it depends on, as each is now, in the order of its selectors: the first 100.
    #[schema(max_items = 100)]
    parents: Vec<ParentItem>,
    /// What it served when it was last checked over TLS; null: nothing yet.
    certificate: Option<CertificateItem>,
    /// Of a push endpoint: where it is reported to; null of another one.
    push: Option<PushItem>,
}

/// Where a push endpoint is reported to. Who has it may report, so editors see it; to others it reads `***`.
#[derive(Debug, Serialize, ToSchema)]
pub struct PushItem {
    #[schema(example = "6f1f8fd0-3f3c-8a54-9b0e-5d0f9c1e2a77")]
    token: String,
    /// Without `public_url` only the path.
    #[schema(example = "https://monitor.example/api/v1/push/6f1f8fd0-3f3c-8a54-9b0e-5d0f9c1e2a77")]
    url: String,
}

impl PushItem {
    fn new(known: &KnownEndpoint, links: &Links, role: Role) -> Option<Self> {
        known.endpoint.check.push()?;
        let is_shown = role >= Role::Editor;
        let token = if is_shown { push::token_of(links, known) } else { redaction::HIDDEN.to_owned() };
        let url = links.push_address(&token);
        Some(Self { token, url })
    }
}

/// The address that is examined, without credentials; empty where there is none.
pub(super) fn shown_url(endpoint: &Endpoint) -> String {
    if endpoint.check.push().is_some() {
        return String::new();
    }
    redaction::redacted_url(endpoint.check.url.as_str())
}

/// A parent of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParentItem {
    #[schema(example = "group:core")]
    selector: String,
    /// Null: the selector means nothing that there is, and holds nothing back.
    endpoint_id: Option<i64>,
    /// `group/name`, or the name alone.
    endpoint: Option<String>,
    status: Option<Status>,
    /// Whether it counts as down: its status is, or its newest check or attempt failed. A group does as a whole.
    counts_as_down: bool,
}

/// As many are shown of what one endpoint depends on.
const MOST_PARENTS: usize = 100;

fn parents(board: &Board, entry: &Entry) -> Vec<ParentItem> {
    let (known, graph) = (&entry.known, board.graph());
    let all = board.parents(known.id);
    let mut items = Vec::new();
    for selector in &known.endpoint.depends_on.0 {
        let before = items.len();
        for parent in all.iter().filter(|parent| parent.selector == *selector).take(MOST_PARENTS - before) {
            items.push(ParentItem {
                selector: selector.clone(),
                endpoint_id: Some(parent.id.0),
                endpoint: graph.label(parent.id).map(str::to_owned),
                status: board.get(parent.id).map(|entry| entry.status()),
                counts_as_down: parent.standing == Standing::Down,
            });
        }
        if items.len() == before && before < MOST_PARENTS {
            let (endpoint_id, endpoint, status) = (None, None, None);
            let selector = selector.clone();
            items.push(ParentItem { selector, endpoint_id, endpoint, status, counts_as_down: false });
        }
    }
    items
}

/// A page of endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointList {
    pub endpoints: Vec<EndpointItem>,
    /// Endpoints that the filters let through, on all pages.
    pub total: u64,
    pub limit: u64,
    pub offset: u64,
}

impl From<&Entry> for EndpointItem {
    fn from(entry: &Entry) -> Self {
        let (known, endpoint, live) = (&*entry.known, &entry.known.endpoint, &*entry.live);
        let shown = redaction::redacted(&known.settings, &endpoint.check.redact);
        let uptimes = entry.uptimes();
        let (interval, schedule) = schedule_of(&endpoint.schedule);
        let is_web = endpoint.kind == Kind::Http;
        Self {
            id: known.id.0,
            name: endpoint.name.clone(),
            url: shown_url(endpoint),
            method: is_web.then(|| endpoint.check.method.clone()),
            interval,
            schedule,
            timeout: endpoint.check.push().is_none().then_some(DurationSetting(endpoint.check.timeout)),
            expected_status: is_web.then(|| endpoint.check.expected_status.clone()),
            headers: shown.headers,
            body: shown.body,
            is_active: known.is_checked(),
            paused: known.paused,
            group: endpoint.group.clone(),
            tags: endpoint.tags.clone(),
            description: endpoint.description.clone(),
            kind: endpoint.kind,
            origin: known.origin,
            source: known.source.clone(),
            created_at: known.created_at,
            updated_at: known.updated_at,
            revision: known.revision,
            status: entry.status(),
            since: entry.since(),
            last_outcome: live.last.as_ref().map(|result| result.outcome.word()),
            last_check: live
                .last_verdict
                .as_ref()
                .map(|result| Check::explained(result, live.detail_of(result.scheduled_at))),
            uptime: UptimeShares { day: uptimes.day, week: uptimes.week, month: uptimes.month },
            incident: live.state.incident.as_ref().map(CurrentIncident::from),
            held_by: entry.hold().map(HoldItem::from),
        }
    }
}

impl EndpointResource {
    pub(super) fn new(board: &Board, links: &Links, role: Role, entry: &Entry, now: Timestamp) -> Self {
        let known = &entry.known;
        Self {
            parents: parents(board, entry),
            item: entry.into(),
            settings: redaction::redacted(&known.settings, &known.endpoint.check.redact),
            effective: effective(&known.endpoint),
            certificate: entry.live.certificate.as_ref().map(|chain| CertificateItem::new(chain, now)),
            push: PushItem::new(known, links, role),
        }
    }
}

fn schedule_of(schedule: &Schedule) -> (Option<DurationSetting>, Option<String>) {
    match schedule {
        Schedule::Interval(every) => (Some(DurationSetting(*every)), None),
        Schedule::Cron(cron) => (None, Some(cron.expression().to_owned())),
    }
}

fn shown_threshold(threshold: FailureThreshold) -> FailureThresholdSetting {
    let FailureThreshold { failures, of } = threshold;
    if threshold.is_in_a_row() {
        FailureThresholdSetting::InARow(failures)
    } else {
        FailureThresholdSetting::Among(WindowThreshold { failures, of })
    }
}

fn shown_step(step: &EscalationStep) -> EscalationStepSettings {
    EscalationStepSettings { after: DurationSetting(step.after), notify: step.notify.clone() }
}

fn shown_certificate(policy: &CertificatePolicy) -> CertificateSettings {
    let ahead = |ahead: &Ahead| match *ahead {
        Ahead::Share(percent) => AheadSetting::Share(percent),
        Ahead::Time(time) => AheadSetting::Time(DurationSetting(time)),
    };
    CertificateSettings { warn: Some(policy.warn.iter().map(ahead).collect()) }
}

/// Every setting as it applies, in the form in which it would be set.
pub fn effective(endpoint: &Endpoint) -> EndpointSettings {
    let (check, retry, policy) = (&endpoint.check, &endpoint.retry, &endpoint.alert_policy);
    let (interval, schedule) = schedule_of(&endpoint.schedule);
    let timezone = match &endpoint.schedule {
        Schedule::Interval(_) => None,
        Schedule::Cron(cron) => Some(cron.timezone().name().to_owned()),
    };
    let all = EndpointSettings {
        name: Some(endpoint.name.clone()),
        url: check.push().is_none().then(|| check.url.to_string()),
        kind: Some(endpoint.kind),
        group: Some(endpoint.group.clone()),
        tags: Some(endpoint.tags.clone()),
        description: Some(endpoint.description.clone()),
        method: Some(check.method.clone()),
        interval,
        schedule,
        timezone,
        timeout: Some(DurationSetting(check.timeout)),
        connect_timeout: check.connect_timeout.map(DurationSetting),
        // Where conditions name the status, they alone say which is expected.
        expected_status: (!check.conditions.name_the_status()).then(|| check.expected_status.clone()),
        conditions: Some(check.conditions.required.iter().map(ToString::to_string).collect()),
        degraded_unless: Some(check.conditions.degraded_unless.iter().map(ToString::to_string).collect()),
        gatus_compatible: Some(check.conditions.dialect == Dialect::Gatus),
        headers: Some(check.headers.clone()),
        body: check.body.clone(),
        is_active: Some(endpoint.is_active),
        retry: Some(RetrySettings {
            enabled: Some(retry.max_attempts > 1),
            max_attempts: Some(retry.max_attempts),
            base_delay: Some(DurationSetting(retry.base_delay)),
            multiplier: Some(retry.multiplier),
            max_delay: Some(DurationSetting(retry.max_delay)),
            jitter: Some(retry.jitter),
        }),
        alert_policy: Some(AlertPolicySettings {
            failure_threshold: Some(shown_threshold(policy.failure_threshold)),
            confirm_interval: Some(DurationSetting(policy.confirm_interval)),
            success_threshold: Some(policy.success_threshold),
            send_recovery: Some(policy.send_recovery),
            notify_degraded: Some(policy.notify_degraded),
            cooldown_seconds: Some(DurationSetting(policy.cooldown)),
            reminder: Some(policy.reminder.map_or(ReminderSetting::Off, |reminder| {
                ReminderSetting::On(ReminderSettings {
                    every: Some(DurationSetting(reminder.every)),
                    backoff: Some(reminder.backoff),
                    max: Some(DurationSetting(reminder.max)),
                })
            })),
            flap: Some(
                policy
                    .flap
                    .map_or(FlapSetting::Off, |flap| FlapSetting::On(FlapSettings { changes: Some(flap.changes) })),
            ),
            acknowledge_for: Some(DurationSetting(policy.acknowledge_for)),
            escalation: Some(policy.escalation.iter().map(shown_step).collect()),
            no_data_after: Some(policy.no_data_after.unwrap_or(0)),
        }),
        ip_family: Some(check.dial.ip_family),
        resolver: check.dial.resolver.map(|server| server.to_string()),
        resolve: Some(check.dial.resolve.iter().map(|(name, ip)| (name.clone(), ip.to_string())).collect()),
        source_ip: check.dial.source_ip.map(|ip| ip.to_string()),
        proxy: check.proxy.as_ref().map(proxy_url),
        auth: check.auth.as_ref().map(AuthSettings::of),
        http_version: Some(VersionSetting(check.http_version.to_string())),
        reuse_connection: Some(check.reuse_connection),
        redirects: Some(RedirectSettings {
            follow: Some(check.redirects.follow),
            max: Some(check.redirects.max),
            allow_downgrade: Some(check.redirects.allow_downgrade),
            hosts: Some(HostsSetting::of(&check.redirects.hosts)),
        }),
        tls: Some(TlsSettings {
            verify: Some(check.tls.verify),
            ca_file: check.tls.ca_file.clone(),
            client_cert_file: check.tls.client_cert_file.clone(),
            client_key_file: check.tls.client_key_file.clone(),
            server_name: check.tls.server_name.clone(),
            min_version: Some(VersionSetting(check.tls.min_version.to_string())),
            crl_file: check.tls.crl_file.clone(),
        }),
        max_body_bytes: Some(SizeSetting(check.max_body_bytes)),
        user_agent: Some(check.user_agent.clone()),
        redact: Some(check.redact.clone()),
        notify: endpoint.notify.clone(),
        depends_on: Some(endpoint.depends_on.clone()),
        severity: Some(endpoint.severity),
        runbook: endpoint.runbook.clone(),
        certificate: Some(shown_certificate(&endpoint.certificate)),
        ..of_kind(&check.kind, &check.url)
    };
    redaction::redacted(&only_known(all, endpoint.kind), &check.redact)
}

/// The settings that are of some kinds only.
fn of_kind(kind: &KindSpec, url: &url::Url) -> EndpointSettings {
    let exchanging = |exchange: &Exchange| EndpointSettings {
        send: exchange.send.clone(),
        expect: exchange.expect.as_ref().map(|expected| match expected {
            Expectation::Text(text) => ExpectSetting::Text(text.clone()),
            Expectation::Pattern(pattern) => {
                ExpectSetting::Pattern(ExpectedPattern { regex: pattern.as_str().to_owned() })
            }
        }),
        ..EndpointSettings::default()
    };
    match kind {
        KindSpec::Http => EndpointSettings::default(),
        KindSpec::Tcp(exchange) | KindSpec::Tls(exchange) | KindSpec::Websocket(exchange) => exchanging(exchange),
        KindSpec::Icmp(echo) => EndpointSettings { count: Some(echo.count), ..EndpointSettings::default() },
        KindSpec::Dns(question) => EndpointSettings {
            dns: Some(DnsSettings {
                name: Some(if question.name.is_empty() { ".".to_owned() } else { question.name.clone() }),
                record_type: Some(question.record_type),
                server: url
                    .host_str()
                    .filter(|host| !host.is_empty())
                    .map(|host| format!("{host}:{}", url.port().unwrap_or(53))),
                transport: Some(question.transport),
            }),
            ..EndpointSettings::default()
        },
        KindSpec::Push(push) => {
            EndpointSettings { grace: Some(DurationSetting(push.grace)), ..EndpointSettings::default() }
        }
        KindSpec::Grpc(question) => {
            EndpointSettings { service: Some(question.service.clone()), ..EndpointSettings::default() }
        }
    }
}
