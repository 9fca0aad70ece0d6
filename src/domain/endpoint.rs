//! What is watched: the settings as a person wrote them ([`EndpointSettings`]), what they mean with all
//! defaults applied ([`Endpoint`]), and the rules between the two ([`resolve`]).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Timestamp;
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::check::{CheckSpec, RedirectPolicy, TlsPolicy};
use crate::domain::outcome::{UnknownWord, words};
use crate::domain::retry::RetryPolicy;
use crate::domain::schedule::Schedule;
use crate::domain::setting::{DurationSetting, ExpectedStatus, RequestBody, SizeSetting};
use std::str::FromStr;

/// The id of an endpoint. Never used again after a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(pub i64);

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

words! {
    /// Who made an endpoint, and so who may change it.
    pub enum Origin {
        Config = "config",
        Api = "api",
    }
}

words! {
    /// How an endpoint is examined. The scheme of the URL chooses it.
    pub enum Kind {
        Http = "http",
    }
}

/// The settings of an endpoint as they were set: what is `None` has its default, from the group, from
/// `defaults`, or built in. One form for the configuration file, the API and the stored spec.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointSettings {
    /// Unique within its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is examined; the scheme chooses the kind of check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The kind of check, when the scheme should not choose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Added to the tags of the group and of the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// Default 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_status: Option<ExpectedStatus>,
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
    /// Further header names whose values are secret (Authorization, Cookie and X-API-Key always are).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact: Option<Vec<String>>,
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
    pub max_attempts: Option<u32>,
    /// Default 1 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_delay: Option<DurationSetting>,
    /// At least 1. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<f64>,
    /// Default 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<DurationSetting>,
    /// Times a random 0.5–1.5. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<bool>,
}

/// When a failure or a recovery is confirmed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertPolicySettings {
    /// Failed checks in a row that confirm an outage. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
    /// Time between checks while a change is unconfirmed. Default 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_interval: Option<DurationSetting>,
    /// Good checks in a row that confirm a recovery. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<u32>,
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
    pub max: Option<u32>,
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
}

/// An endpoint with all defaults applied and every rule checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    pub name: String,
    /// Empty: no group.
    pub group: String,
    pub kind: Kind,
    pub tags: Vec<String>,
    pub description: String,
    pub is_active: bool,
    pub schedule: Schedule,
    pub retry: RetryPolicy,
    pub alert_policy: AlertPolicy,
    pub check: CheckSpec,
}

/// An endpoint as the monitor knows it: the settings, what they mean, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownEndpoint {
    pub id: EndpointId,
    pub origin: Origin,
    /// `file:line` of a configured endpoint.
    pub source: Option<String>,
    /// Counts changes; the ETag.
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// From when the present schedule applies (created, changed or resumed): slots before it were never due.
    pub scheduled_from: Timestamp,
    pub settings: EndpointSettings,
    pub endpoint: Endpoint,
    /// Paused by hand, whatever `is_active` says; survives a reload of the file.
    pub paused: bool,
}

impl KnownEndpoint {
    /// Whether the schedule makes checks for it.
    pub fn is_checked(&self) -> bool {
        self.endpoint.is_active && !self.paused
    }
}

/// A rule that settings break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// JSON pointer to the place within the settings: `/retry/max_attempts`.
    pub pointer: String,
    /// Stable word: `required`, `invalid`, `out_of_range`, `conflict`.
    pub code: &'static str,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// What applies where an endpoint says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// `defaults:` of the configuration.
    pub defaults: &'a EndpointSettings,
    /// The settings of the endpoint's group, if it has any.
    pub group: Option<&'a EndpointSettings>,
    /// Of cron schedules without a `timezone` of their own.
    pub timezone: chrono_tz::Tz,
}

/// Header names whose values are always secret.
pub const SECRET_HEADERS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"];

/// `over` laid upon `base`: maps merge, tags add, everything else replaces.
#[must_use]
pub fn overlay(base: &EndpointSettings, over: &EndpointSettings) -> EndpointSettings {
    macro_rules! pick {
        ($($field:ident),+) => { EndpointSettings {
            tags: merge_tags(base.tags.as_deref(), over.tags.as_deref()),
            headers: merge_headers(base.headers.as_ref(), over.headers.as_ref()),
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
            }),
            redirects: merge(base.redirects.as_ref(), over.redirects.as_ref(), |b, o| RedirectSettings {
                follow: o.follow.or(b.follow),
                max: o.max.or(b.max),
            }),
            tls: merge(base.tls.as_ref(), over.tls.as_ref(), |b, o| TlsSettings {
                verify: o.verify.or(b.verify),
                ca_file: o.ca_file.clone().or_else(|| b.ca_file.clone()),
            }),
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
        expected_status,
        body,
        is_active,
        max_body_bytes,
        user_agent,
        redact
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

fn merge_tags(base: Option<&[String]>, over: Option<&[String]>) -> Option<Vec<String>> {
    if base.is_none() && over.is_none() {
        return None;
    }
    let mut tags: Vec<String> = Vec::new();
    for tag in base.into_iter().chain(over).flatten() {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    Some(tags)
}

/// Header names are compared without case; the nearer spelling and value win.
fn merge_headers(
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

/// Collects every broken rule, so that a person mends them all at once.
#[derive(Default)]
struct Rules(Vec<RuleError>);

impl Rules {
    fn fail(&mut self, pointer: &str, code: &'static str, detail: impl Into<String>) {
        self.0.push(RuleError { pointer: pointer.to_owned(), code, detail: detail.into() });
    }

    fn check(&mut self, good: bool, pointer: &str, code: &'static str, detail: &str) {
        if !good {
            self.fail(pointer, code, detail);
        }
    }

    fn number<T: PartialOrd + fmt::Display>(&mut self, value: T, low: T, high: T, pointer: &str) -> T {
        if value < low || value > high {
            self.fail(pointer, "out_of_range", format!("{value} is out of range: {low} to {high}"));
        }
        value
    }
}

/// The longest accepted name, group, tag: bytes that fit every place they are shown.
const MAX_NAME: usize = 200;
const MAX_TEXT: usize = 10_000;
const DAY: Duration = Duration::from_secs(86_400);

/// Applies the defaults and checks every rule. `now` serves only to refuse cron expressions without a next date.
///
/// # Errors
/// Every broken rule at once, each with the JSON pointer of its place.
pub fn resolve(settings: &EndpointSettings, layers: Layers<'_>, now: Timestamp) -> Result<Endpoint, Vec<RuleError>> {
    let mut rules = Rules::default();
    let base = layers.group.map_or_else(|| layers.defaults.clone(), |group| overlay(layers.defaults, group));
    let s = overlay(&base, settings);

    let name = settings.name.clone().unwrap_or_default();
    check_label(&mut rules, &name, "/name", true);
    let group = settings.group.clone().unwrap_or_default();
    check_label(&mut rules, &group, "/group", false);
    let tags = s.tags.clone().unwrap_or_default();
    for (i, tag) in settings.tags.iter().flatten().enumerate() {
        check_label(&mut rules, tag, &format!("/tags/{i}"), true);
    }
    rules.check(tags.len() <= 100, "/tags", "out_of_range", "too many tags: at most 100");
    let description = s.description.clone().unwrap_or_default();
    rules.check(description.len() <= MAX_TEXT, "/description", "out_of_range", "too long: at most 10,000 bytes");

    let schedule = resolve_schedule(&mut rules, &s, layers.timezone, now);
    let interval = schedule.as_ref().map_or(DAY, |schedule| schedule.interval(now));
    let check = resolve_check(&mut rules, &s, interval);
    let retry = resolve_retry(&mut rules, s.retry.as_ref());
    let alert_policy = resolve_alert_policy(&mut rules, s.alert_policy.as_ref());

    match (check, schedule) {
        (Some(check), Some(schedule)) if rules.0.is_empty() => Ok(Endpoint {
            name,
            group,
            kind: Kind::Http,
            tags,
            description,
            is_active: s.is_active.unwrap_or(true),
            schedule,
            retry,
            alert_policy,
            check,
        }),
        _ => Err(rules.0),
    }
}

fn check_label(rules: &mut Rules, label: &str, pointer: &str, required: bool) {
    if required && label.is_empty() {
        rules.fail(pointer, "required", "must be there and not empty");
    } else if label.trim() != label {
        rules.fail(pointer, "invalid", "must not begin or end with a space");
    } else if label.len() > MAX_NAME {
        rules.fail(pointer, "out_of_range", format!("too long: at most {MAX_NAME} bytes"));
    } else if label.chars().any(char::is_control) {
        rules.fail(pointer, "invalid", "must not contain control characters");
    } else if label.contains('/') && pointer != "/name" {
        rules.fail(pointer, "invalid", "must not contain a slash: it separates group and name");
    }
}

fn resolve_schedule(
    rules: &mut Rules,
    s: &EndpointSettings,
    default_zone: chrono_tz::Tz,
    now: Timestamp,
) -> Option<Schedule> {
    let zone = match s.timezone.as_deref().map(crate::domain::schedule::parse_timezone) {
        None => default_zone,
        Some(Ok(zone)) => zone,
        Some(Err(detail)) => {
            rules.fail("/timezone", "invalid", detail);
            return None;
        }
    };
    if let Some(expression) = &s.schedule {
        if s.interval.is_some() {
            rules.fail("/schedule", "conflict", "`schedule` and `interval` exclude each other: keep one");
            return None;
        }
        return match crate::domain::schedule::CronSchedule::parse(expression, zone, now) {
            Ok(cron) => Some(Schedule::Cron(cron)),
            Err(detail) => {
                rules.fail("/schedule", "invalid", detail);
                None
            }
        };
    }
    let every = s.interval.map_or(Duration::from_secs(60), |d| d.0);
    if every < Duration::from_secs(1) || every > 366 * DAY {
        rules.fail("/interval", "out_of_range", "must be 1 s to 366 days");
        return None;
    }
    Some(Schedule::Interval(Duration::from_micros(u64::try_from(every.as_micros()).unwrap_or(u64::MAX))))
}

fn resolve_retry(rules: &mut Rules, settings: Option<&RetrySettings>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(r) = settings else { return default };
    let multiplier = r.multiplier.unwrap_or(default.multiplier);
    rules.check(
        multiplier.is_finite() && (1.0..=100.0).contains(&multiplier),
        "/retry/multiplier",
        "out_of_range",
        "must be 1 to 100",
    );
    let max_attempts = rules.number(r.max_attempts.unwrap_or(default.max_attempts), 1, 10, "/retry/max_attempts");
    let base_delay = r.base_delay.map_or(default.base_delay, |d| d.0);
    let max_delay = r.max_delay.map_or(default.max_delay.max(base_delay), |d| d.0);
    rules.check(base_delay <= max_delay, "/retry/base_delay", "conflict", "must not be longer than retry.max_delay");
    RetryPolicy {
        max_attempts: if r.enabled.unwrap_or(true) { max_attempts } else { 1 },
        base_delay,
        multiplier,
        max_delay,
        jitter: r.jitter.unwrap_or(default.jitter),
    }
}

fn resolve_alert_policy(rules: &mut Rules, settings: Option<&AlertPolicySettings>) -> AlertPolicy {
    let default = AlertPolicy::default();
    let Some(p) = settings else { return default };
    let threshold = |rules: &mut Rules, value: Option<u32>, default: u32, pointer: &str| {
        rules.number(value.unwrap_or(default), 1, 1000, pointer)
    };
    AlertPolicy {
        failure_threshold: threshold(
            rules,
            p.failure_threshold,
            default.failure_threshold,
            "/alert_policy/failure_threshold",
        ),
        success_threshold: threshold(
            rules,
            p.success_threshold,
            default.success_threshold,
            "/alert_policy/success_threshold",
        ),
        confirm_interval: {
            let value = p.confirm_interval.map_or(default.confirm_interval, |d| d.0);
            rules.check(
                value >= Duration::from_secs(1),
                "/alert_policy/confirm_interval",
                "out_of_range",
                "must be at least 1 s",
            );
            value
        },
        ..default
    }
}

fn resolve_check(rules: &mut Rules, s: &EndpointSettings, interval: Duration) -> Option<CheckSpec> {
    let url = resolve_url(rules, s.url.as_deref());
    let method = s.method.clone().unwrap_or_else(|| "GET".to_owned());
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    rules.check(
        is_token(&method) && method.len() <= 40,
        "/method",
        "invalid",
        "is not an HTTP method: GET, POST, HEAD, …",
    );

    let mut headers = BTreeMap::new();
    for (name, value) in s.headers.iter().flatten() {
        let pointer = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        if !is_token(name) {
            rules.fail(&pointer, "invalid", "is not a header name");
        } else if value.bytes().any(|b| b == b'\r' || b == b'\n' || b == 0) || value.len() > 16_384 {
            rules.fail(&pointer, "invalid", "a header value has no line breaks and at most 16,384 bytes");
        }
        headers.insert(name.to_ascii_lowercase(), value.clone());
    }
    rules.check(headers.len() <= 100, "/headers", "out_of_range", "too many headers: at most 100");
    if let Some(RequestBody::Text(text)) = &s.body {
        rules.check(text.len() <= 1_048_576, "/body", "out_of_range", "too long: at most 1 MiB");
    }

    let timeout = match s.timeout {
        Some(timeout) => {
            rules.check(timeout.0 >= Duration::from_millis(1), "/timeout", "out_of_range", "must be at least 1 ms");
            rules.check(
                timeout.0 <= interval,
                "/timeout",
                "out_of_range",
                &format!("must not be longer than the interval ({})", DurationSetting(interval)),
            );
            timeout.0
        }
        None => Duration::from_secs(5).min(interval),
    };
    let connect_timeout = s.connect_timeout.map(|d| d.0);
    rules.check(
        connect_timeout.is_none_or(|d| d >= Duration::from_millis(1) && d <= timeout),
        "/connect_timeout",
        "out_of_range",
        "must be at least 1 ms and not longer than the timeout",
    );
    let redirects = s.redirects.clone().unwrap_or_default();
    let max_redirects = rules.number(redirects.max.unwrap_or(10), 1, 50, "/redirects/max");
    let max_body_bytes = rules.number(s.max_body_bytes.map_or(1_048_576, |b| b.0), 0, 104_857_600, "/max_body_bytes");
    let user_agent =
        s.user_agent.clone().unwrap_or_else(|| concat!("api-monitor/", env!("CARGO_PKG_VERSION")).to_owned());
    rules.check(
        user_agent.len() <= 1000 && user_agent.bytes().all(|b| (0x20..0x7f).contains(&b)),
        "/user_agent",
        "invalid",
        "is printable ASCII, at most 1,000 bytes",
    );
    let tls = s.tls.clone().unwrap_or_default();
    let redact = SECRET_HEADERS
        .iter()
        .map(|n| (*n).to_owned())
        .chain(s.redact.iter().flatten().map(|n| n.to_ascii_lowercase()))
        .collect();

    Some(CheckSpec {
        url: url?,
        method,
        headers,
        body: s.body.clone(),
        timeout,
        connect_timeout,
        expected_status: s.expected_status.clone().unwrap_or_else(|| ExpectedStatus::exactly(200)),
        redirects: RedirectPolicy { follow: redirects.follow.unwrap_or(true), max: max_redirects },
        tls: TlsPolicy { verify: tls.verify.unwrap_or(true), ca_file: tls.ca_file },
        max_body_bytes,
        user_agent,
        redact,
    })
}

fn resolve_url(rules: &mut Rules, text: Option<&str>) -> Option<url::Url> {
    let Some(text) = text.filter(|t| !t.is_empty()) else {
        rules.fail("/url", "required", "must be there and not empty");
        return None;
    };
    if text.len() > 4000 {
        rules.fail("/url", "out_of_range", "too long: at most 4,000 bytes");
        return None;
    }
    match url::Url::parse(text) {
        Err(e) => {
            let hint = if text.contains("://") { String::new() } else { format!(": did you mean https://{text} ?") };
            rules.fail("/url", "invalid", format!("is not a URL ({e}){hint}"));
            None
        }
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            rules.fail(
                "/url",
                "invalid",
                format!("the scheme `{}` is not examined here: use http or https", url.scheme()),
            );
            None
        }
        Ok(url) if url.host_str().is_none_or(str::is_empty) => {
            rules.fail("/url", "invalid", "has no host");
            None
        }
        Ok(url) if url.port() == Some(0) => {
            rules.fail("/url", "invalid", "port 0 cannot be connected to");
            None
        }
        Ok(url) => Some(url),
    }
}
