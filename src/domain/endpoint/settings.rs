//! The settings of an endpoint as a person wrote them, and how those of the defaults, of the group and of the
//! endpoint lie upon each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Kind;
use super::connection::{AuthSettings, HostsSetting, VersionSetting};
use crate::domain::check::{DnsRecordType, DnsTransport};
use crate::domain::dial::IpFamily;
use crate::domain::notification::Severity;
use crate::domain::selector::{self, Selectors};
use crate::domain::setting::{
    AheadSetting, DurationSetting, ExpectSetting, ExpectedStatus, FailureThresholdSetting, FlapSetting,
    ReminderSetting, RequestBody, SizeSetting,
};

/// The settings of an endpoint as they were set: what is `None` has its default, from the group, from
/// `defaults`, or built in. One form for the configuration file, the API and the stored spec.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointSettings {
    /// Unique within its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// What is examined; the scheme chooses the kind of check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The kind of check, when the scheme should not choose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub group: Option<String>,
    /// Added to the tags of the group and of the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10_000)]
    pub description: Option<String>,
    /// HTTP method, any token. Default GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Time between checks, at least 1 s. Default 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationSetting>,
    /// Cron expression of 5 or 6 fields, instead of `interval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// IANA time zone of `schedule`. Default: the top-level `timezone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Bound of a whole attempt. Default: the smaller of 5 s and the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationSetting>,
    /// Bound of connecting, within `timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<DurationSetting>,
    /// Which addresses of a name are dialled: `any`, `v4`, `v6`. Default any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_family: Option<IpFamily>,
    /// The server that is asked for names: an IP address, with or without a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<String>,
    /// Addresses of names that are not looked up. Added to those of the group and of the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolve: Option<BTreeMap<String, String>>,
    /// Our own address, from which is dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// `http://host:port` or `socks5://host:port`, with `user:password@` before the host if need be; `none`. User and
    /// password are write-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub proxy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthSettings>,
    /// `auto`, `1.1` or `2`. Default auto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_version: Option<VersionSetting>,
    /// Whether a connection may serve several checks, for half a minute. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_connection: Option<bool>,
    /// Default 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_status: Option<ExpectedStatus>,
    /// What must hold of the answer: `[BODY].status == ok`. Where they name `[STATUS]`, `expected_status` is not added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub conditions: Option<Vec<String>>,
    /// The same language: where one of these does not hold the endpoint is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub degraded_unless: Option<Vec<String>>,
    /// Conditions compare as those of Gatus do: what is not there is a text, and 0 as a number. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gatus_compatible: Option<bool>,
    /// Request headers. Values of secret headers are write-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<RequestBody>,
    /// Whether it is checked. Default true.
    #[serde(alias = "enabled", skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_policy: Option<AlertPolicySettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirects: Option<RedirectSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
    /// Reading the body stops here. Default 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<SizeSetting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Further header names whose values are secret (Authorization, Cookie and X-API-Key always are). Added to those of
    /// the group and of the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact: Option<Vec<String>>,
    /// What is sent once a connection of the kinds `tcp`, `tls` and `websocket` stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 65_536)]
    pub send: Option<String>,
    /// What the kinds `tcp`, `tls` and `websocket` must receive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<ExpectSetting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsSettings>,
    /// The service of which the kind `grpc` asks for the health. Default: none, the server as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub service: Option<String>,
    /// How many echoes the kind `icmp` asks for, 1 to 20. Default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 20)]
    pub count: Option<u16>,
    /// The secret part of the address that the kind `push` is reported to: 10 to 128 letters, digits, `-`, `_`, `.`, `~`.
    /// Default: one that is made. Write-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 3, max_length = 128)]
    pub token: Option<String>,
    /// How much later than expected a heartbeat of the kind `push` may come. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<DurationSetting>,
    /// Names of the channels that are told. Default: the default route; an empty list: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub notify: Option<Vec<String>>,
    /// What this endpoint depends on: while one of these is down, nobody is told of this one. An empty list: nothing,
    /// whatever the group and the defaults say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = selector::schema_of_parents)]
    pub depends_on: Option<Selectors>,
    /// How bad it is when this endpoint is down. Default critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// A link shown with every alert; `{name}` and `{group}` stand for those of the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// When the expiry of its certificate is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSettings>,
}

/// When the expiry of a certificate is told.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateSettings {
    /// How long ahead, each told once: shares of its lifetime, or times. Default `[20%, 7%]`; an empty list: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 10)]
    pub warn: Option<Vec<AheadSetting>>,
}

/// Exponential backoff within one check.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Attempts in all, 1 to 10. Default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10)]
    pub max_attempts: Option<u32>,
    /// Default 1 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_delay: Option<DurationSetting>,
    /// At least 1. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub multiplier: Option<f64>,
    /// Default 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<DurationSetting>,
    /// Times a random 0.5–1.5. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<bool>,
}

/// When a failure or a recovery is confirmed, and how often it is told.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertPolicySettings {
    /// Failed checks that confirm an outage, in a row or among the newest. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<FailureThresholdSetting>,
    /// Time between checks while a change is unconfirmed. Default 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_interval: Option<DurationSetting>,
    /// Good checks in a row that confirm a recovery. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub success_threshold: Option<u32>,
    /// Whether recoveries are told. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_recovery: Option<bool>,
    /// Whether it is told that an endpoint is degraded. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_degraded: Option<bool>,
    /// A recovery within this time after a told one is held back until the endpoint has stayed good for it.
    /// Default 300 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown_seconds: Option<DurationSetting>,
    /// How often an open outage is told again. Default `{every: 1h, backoff: 2, max: 24h}`; `false`: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reminder: Option<ReminderSetting>,
    /// More changes of status than this within 10 minutes or 20 intervals, whichever is longer, are told once, as
    /// flapping. Default `{changes: 6}`; `false`: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flap: Option<FlapSetting>,
    /// For how long an acknowledgement keeps reminders and escalation back. Default 4 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledge_for: Option<DurationSetting>,
    /// Who else is told of an outage that nobody acknowledges, in the order of their times. Default: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 10)]
    pub escalation: Option<Vec<EscalationStepSettings>>,
    /// Slots without a verdict, for want of our own means, after which that is told. Default 5; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1000)]
    pub no_data_after: Option<u32>,
}

/// Who is told when nobody has acknowledged an outage for some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationStepSettings {
    /// Since the outage was told; later than the step before.
    pub after: DurationSetting,
    /// Names of channels.
    #[schema(min_items = 1, max_items = 100)]
    pub notify: Vec<String>,
}

/// What is done with redirects.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedirectSettings {
    /// Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
    /// 1 to 50. Default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 50)]
    pub max: Option<u32>,
    /// Whether they may lead from https to http. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_downgrade: Option<bool>,
    /// To which hosts they may lead: `any`, `same`, or a list of names, of which `*.example.com` means every name below
    /// example.com. Default any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<HostsSetting>,
}

/// What the kind `dns` asks. What the URL `dns://server/name?type=MX` says need not be said again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DnsSettings {
    /// The name that is looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255, example = "shop.example")]
    pub name: Option<String>,
    /// Default A.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub record_type: Option<DnsRecordType>,
    /// Host and port of the name server. Default: the one that the monitor itself asks, and port 53.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "192.0.2.53:53")]
    pub server: Option<String>,
    /// Default udp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<DnsTransport>,
}

/// How the certificate of the other side is judged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
    /// A PEM file of further trusted authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// A PEM file of our own certificate. Only the configuration may set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_file: Option<String>,
    /// A PEM file of its key. Default: it is in `client_cert_file`. Only the configuration may set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_file: Option<String>,
    /// The name that is asked for and that the certificate must be for. Default: the host of the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// `1.2` or `1.3`. Default 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<VersionSetting>,
    /// A file of revoked certificates, PEM or DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_file: Option<String>,
}

/// `over` laid upon `base`: maps merge, tags and `redact` add, everything else replaces.
#[must_use]
pub fn overlay(base: &EndpointSettings, over: &EndpointSettings) -> EndpointSettings {
    macro_rules! pick {
        ($($field:ident),+) => { EndpointSettings {
            tags: add(base.tags.as_deref(), over.tags.as_deref()),
            // What is secret below stays so: its values are inherited too.
            redact: add(base.redact.as_deref(), over.redact.as_deref()),
            headers: merge_names(base.headers.as_ref(), over.headers.as_ref()),
            retry: merge(base.retry.as_ref(), over.retry.as_ref(), |b, o| RetrySettings {
                enabled: o.enabled.or(b.enabled),
                max_attempts: o.max_attempts.or(b.max_attempts),
                base_delay: o.base_delay.or(b.base_delay),
                multiplier: o.multiplier.or(b.multiplier),
                max_delay: o.max_delay.or(b.max_delay),
                jitter: o.jitter.or(b.jitter),
            }),
            alert_policy: merge(base.alert_policy.as_ref(), over.alert_policy.as_ref(), |b, o| AlertPolicySettings {
                failure_threshold: o.failure_threshold.or(b.failure_threshold),
                confirm_interval: o.confirm_interval.or(b.confirm_interval),
                success_threshold: o.success_threshold.or(b.success_threshold),
                send_recovery: o.send_recovery.or(b.send_recovery),
                notify_degraded: o.notify_degraded.or(b.notify_degraded),
                cooldown_seconds: o.cooldown_seconds.or(b.cooldown_seconds),
                reminder: merge(b.reminder.as_ref(), o.reminder.as_ref(), ReminderSetting::laid_upon),
                flap: merge(b.flap.as_ref(), o.flap.as_ref(), FlapSetting::laid_upon),
                acknowledge_for: o.acknowledge_for.or(b.acknowledge_for),
                escalation: o.escalation.clone().or_else(|| b.escalation.clone()),
                no_data_after: o.no_data_after.or(b.no_data_after),
            }),
            redirects: merge(base.redirects.as_ref(), over.redirects.as_ref(), |b, o| RedirectSettings {
                follow: o.follow.or(b.follow),
                max: o.max.or(b.max),
                allow_downgrade: o.allow_downgrade.or(b.allow_downgrade),
                hosts: o.hosts.clone().or_else(|| b.hosts.clone()),
            }),
            tls: merge(base.tls.as_ref(), over.tls.as_ref(), |b, o| TlsSettings {
                verify: o.verify.or(b.verify),
                ca_file: o.ca_file.clone().or_else(|| b.ca_file.clone()),
                // A certificate and its key belong together.
                client_cert_file: o.client_cert_file.clone().or_else(|| b.client_cert_file.clone()),
                client_key_file: if o.client_cert_file.is_some() {
                    o.client_key_file.clone()
                } else {
                    o.client_key_file.clone().or_else(|| b.client_key_file.clone())
                },
                server_name: o.server_name.clone().or_else(|| b.server_name.clone()),
                min_version: o.min_version.clone().or_else(|| b.min_version.clone()),
                crl_file: o.crl_file.clone().or_else(|| b.crl_file.clone()),
            }),
            dns: merge(base.dns.as_ref(), over.dns.as_ref(), |b, o| DnsSettings {
                name: o.name.clone().or_else(|| b.name.clone()),
                record_type: o.record_type.or(b.record_type),
                server: o.server.clone().or_else(|| b.server.clone()),
                transport: o.transport.or(b.transport),
            }),
            certificate: merge(base.certificate.as_ref(), over.certificate.as_ref(), |b, o| CertificateSettings {
                warn: o.warn.clone().or_else(|| b.warn.clone()),
            }),
            resolve: merge_names(base.resolve.as_ref(), over.resolve.as_ref()),
            $($field: over.$field.clone().or_else(|| base.$field.clone()),)+
        } };
    }
    let mut merged = pick!(
        name,
        url,
        kind,
        group,
        description,
        method,
        interval,
        schedule,
        timezone,
        timeout,
        connect_timeout,
        ip_family,
        resolver,
        source_ip,
        proxy,
        auth,
        http_version,
        reuse_connection,
        expected_status,
        conditions,
        degraded_unless,
        gatus_compatible,
        body,
        is_active,
        max_body_bytes,
        user_agent,
        send,
        expect,
        service,
        count,
        token,
        grace,
        notify,
        depends_on,
        severity,
        runbook
    );
    // An interval and a cron schedule exclude each other: the nearer one wins.
    if over.interval.is_some() && over.schedule.is_none() {
        merged.schedule = None;
    } else if over.schedule.is_some() && over.interval.is_none() {
        merged.interval = None;
    }
    merged
}

fn merge<T: Clone>(base: Option<&T>, over: Option<&T>, both: impl Fn(&T, &T) -> T) -> Option<T> {
    match (base, over) {
        (Some(b), Some(o)) => Some(both(b, o)),
        (one, other) => other.or(one).cloned(),
    }
}

/// The words of both, each once.
fn add(base: Option<&[String]>, over: Option<&[String]>) -> Option<Vec<String>> {
    if base.is_none() && over.is_none() {
        return None;
    }
    let mut words: Vec<String> = Vec::new();
    for word in base.into_iter().chain(over).flatten() {
        if !words.contains(word) {
            words.push(word.clone());
        }
    }
    Some(words)
}

/// Names of headers and hosts are compared without case; the nearer spelling and value win.
fn merge_names(
    base: Option<&BTreeMap<String, String>>,
    over: Option<&BTreeMap<String, String>>,
) -> Option<BTreeMap<String, String>> {
    merge(base, over, |b, o| {
        let mut merged: BTreeMap<String, String> = b
            .iter()
            .filter(|(name, _)| !o.keys().any(|n| n.eq_ignore_ascii_case(name)))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        merged.extend(o.iter().map(|(n, v)| (n.clone(), v.clone())));
        merged
    })
}
