//! From settings to an endpoint: the built-in defaults and every rule of a value.

mod kinds;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::connection;
use super::settings::{
    AlertPolicySettings, CertificateSettings, EndpointSettings, EscalationStepSettings, RetrySettings, overlay,
};
use super::{Endpoint, Kind, Layers, RuleError, SECRET_HEADERS, runbook};
use crate::domain::Timestamp;
use crate::domain::alert_policy::{
    AlertPolicy, EscalationStep, FailureThreshold, FlapPolicy, MOST_CHECKS, MOST_STEPS, ReminderPolicy,
};
use crate::domain::certificate::{Ahead, CertificatePolicy, MOST_WARNINGS};
use crate::domain::check::CheckSpec;
use crate::domain::condition::{Conditions, Dialect};
use crate::domain::dependency::MOST_SELECTORS;
use crate::domain::notification::Severity;
use crate::domain::pointer;
use crate::domain::retry::RetryPolicy;
use crate::domain::route;
use crate::domain::schedule::Schedule;
use crate::domain::selector::Selectors;
use crate::domain::setting::{
    AheadSetting, DurationSetting, ExpectedStatus, FailureThresholdSetting, FlapSetting, ReminderSetting, RequestBody,
};
use crate::domain::suggest::closest;

pub use self::kinds::only_known;

/// Collects every broken rule, so that a person mends them all at once.
#[derive(Default)]
pub(super) struct Rules(Vec<RuleError>);

/// As many broken rules are told: whoever breaks more has not written by hand.
const MAX_MISTAKES: usize = 100;

impl Rules {
    pub(super) fn fail(&mut self, pointer: &str, code: &'static str, detail: impl Into<String>) {
        if self.is_full() {
            return;
        }
        self.0.push(RuleError { pointer: pointer.to_owned(), code, detail: detail.into() });
    }

    fn is_full(&self) -> bool {
        self.0.len() >= MAX_MISTAKES
    }

    pub(super) fn check(&mut self, good: bool, pointer: &str, code: &'static str, detail: &str) {
        if !good {
            self.fail(pointer, code, detail);
        }
    }

    pub(super) fn number<T: PartialOrd + fmt::Display>(&mut self, value: T, low: T, high: T, pointer: &str) -> T {
        if value < low || value > high {
            self.fail(pointer, "out_of_range", format!("{value} is out of range: {low} to {high}"));
        }
        value
    }
}

/// The longest accepted name, group, tag: bytes that fit every place they are shown.
const MAX_NAME: usize = 200;
const MAX_TEXT: usize = 10_000;
/// The longest body that is sent, as text or as JSON.
const MAX_BODY: usize = 65_536;
const DAY: Duration = Duration::from_secs(86_400);

/// Applies the defaults and checks every rule. `now` serves only to refuse cron expressions without a next date.
///
/// # Errors
/// Every broken rule at once, each with the JSON pointer of its place.
pub fn resolve(settings: &EndpointSettings, layers: Layers<'_>, now: Timestamp) -> Result<Endpoint, Vec<RuleError>> {
    resolve_as(settings, layers, now, false)
}

/// The same for what endpoints of all kinds inherit: `settings`, which have all that an endpoint needs beside. It may hold
/// settings for several kinds, each of which must be right.
///
/// # Errors
/// As of [`resolve`].
pub fn resolve_layer(
    settings: &EndpointSettings,
    layers: Layers<'_>,
    now: Timestamp,
) -> Result<Endpoint, Vec<RuleError>> {
    resolve_as(settings, layers, now, true)
}

fn resolve_as(
    settings: &EndpointSettings,
    layers: Layers<'_>,
    now: Timestamp,
    is_layer: bool,
) -> Result<Endpoint, Vec<RuleError>> {
    let mut rules = Rules::default();
    let base = layers.group.map_or_else(|| layers.defaults.clone(), |group| overlay(layers.defaults, group));
    let mut s = overlay(&base, settings);
    if is_layer {
        s.kind = None;
        kinds::check_all(&mut rules, &s);
    }

    let name = settings.name.clone().unwrap_or_default();
    check_label(&mut rules, &name, "/name", true);
    let group = settings.group.clone().unwrap_or_default();
    check_label(&mut rules, &group, "/group", false);
    let tags = s.tags.clone().unwrap_or_default();
    let s = match route::first(layers.routes, &name, &group, &tags) {
        Some((_, route)) => overlay(&overlay(&base, &route.settings), settings),
        None => s,
    };
    // What it inherits in vain breaks no rule.
    let s = if s.kind == Some(Kind::Push) { only_known(s, Kind::Push) } else { s };
    for (i, tag) in settings.tags.iter().flatten().enumerate() {
        check_label(&mut rules, tag, &format!("/tags/{i}"), true);
    }
    rules.check(tags.len() <= 100, "/tags", "out_of_range", "too many tags: at most 100");
    let description = s.description.clone().unwrap_or_default();
    rules.check(description.len() <= MAX_TEXT, "/description", "out_of_range", "too long: at most 10,000 bytes");

    let schedule = resolve_schedule(&mut rules, &s, layers.timezone, now);
    let interval = schedule.as_ref().map_or(DAY, |schedule| schedule.interval(now));
    let check = resolve_check(&mut rules, &s, interval);
    if let Some(check) = check.as_ref().filter(|_| !is_layer) {
        kinds::refuse_unknown(&mut rules, settings, check.kind.kind());
    }
    let retry = resolve_retry(&mut rules, s.retry.as_ref());
    let mut policy = s.alert_policy.clone();
    if s.kind == Some(Kind::Push) {
        // There is nobody to ask again: what is told, or not told, counts, unless the endpoint itself says otherwise.
        let own = settings.alert_policy.as_ref().and_then(|policy| policy.failure_threshold);
        policy.get_or_insert_default().failure_threshold = own.or(Some(FailureThresholdSetting::InARow(1)));
    }
    let alert_policy = resolve_alert_policy(&mut rules, policy.as_ref(), interval, layers.channels);
    let notify = s.notify.as_deref().map(|names| resolve_notify(&mut rules, names, layers.channels, "/notify"));
    let depends_on = resolve_parents(&mut rules, s.depends_on.unwrap_or_default());
    let runbook = s.runbook.as_deref().and_then(|text| {
        runbook::resolve(text, &name, &group).map_err(|(code, detail)| rules.fail("/runbook", code, detail)).ok()
    });

    let certificate = resolve_certificate(&mut rules, s.certificate.as_ref());

    refuse_nul(&mut rules, settings);
    match (check, schedule) {
        (Some(check), Some(schedule)) if rules.0.is_empty() => Ok(Endpoint {
            name,
            group,
            kind: check.kind.kind(),
            tags,
            description,
            is_active: s.is_active.unwrap_or(true),
            schedule,
            retry,
            alert_policy,
            notify,
            depends_on,
            severity: s.severity.unwrap_or(Severity::Critical),
            runbook,
            certificate,
            check,
        }),
        _ => Err(rules.0),
    }
}

fn resolve_certificate(rules: &mut Rules, settings: Option<&CertificateSettings>) -> CertificatePolicy {
    let Some(warn) = settings.and_then(|settings| settings.warn.as_ref()) else { return CertificatePolicy::default() };
    if warn.len() > MOST_WARNINGS {
        rules.fail("/certificate/warn", "out_of_range", format!("too many: at most {MOST_WARNINGS}"));
    }
    let ahead = |(i, setting): (usize, &AheadSetting)| {
        let pointer = format!("/certificate/warn/{i}");
        match *setting {
            AheadSetting::Share(percent) => {
                let is_share = percent > 0.0 && percent < 100.0;
                rules.check(is_share, &pointer, "out_of_range", "must be more than 0 % and less than 100 %");
                Ahead::Share(percent)
            }
            AheadSetting::Time(time) => {
                rules.check(!time.0.is_zero(), &pointer, "out_of_range", "must be more than 0 s");
                Ahead::Time(time.0)
            }
        }
    };
    CertificatePolicy { warn: warn.iter().take(MOST_WARNINGS).enumerate().map(ahead).collect() }
}

/// Not every database holds a NUL character, and no setting needs one.
fn refuse_nul(rules: &mut Rules, settings: &EndpointSettings) {
    fn walk(rules: &mut Rules, value: &serde_json::Value, pointer: &str) {
        if rules.is_full() {
            return;
        }
        let has_nul = match value {
            serde_json::Value::String(text) => text.contains('\0'),
            serde_json::Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| walk(rules, item, &format!("{pointer}/{i}")));
                false
            }
            serde_json::Value::Object(entries) => {
                for (key, value) in entries {
                    walk(rules, value, &format!("{pointer}/{}", pointer::step(key)));
                }
                entries.keys().any(|key| key.contains('\0'))
            }
            _ => false,
        };
        // Some texts have a rule of their own, which says so already.
        if has_nul && rules.0.iter().all(|rule| rule.pointer != pointer) {
            rules.fail(pointer, "invalid", "must not contain a NUL character");
        }
    }
    // Settings are always JSON.
    if let Ok(value) = serde_json::to_value(settings) {
        walk(rules, &value, "");
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

/// `interval`: between checks. `channels`: the names that there are, where they are known.
fn resolve_alert_policy(
    rules: &mut Rules,
    settings: Option<&AlertPolicySettings>,
    interval: Duration,
    channels: Option<&[String]>,
) -> AlertPolicy {
    let default = AlertPolicy::default();
    let of_interval = |changes| FlapPolicy::new(changes, interval);
    let Some(p) = settings else {
        return AlertPolicy { flap: Some(of_interval(FlapPolicy::CHANGES)), ..default };
    };
    let failure_threshold =
        p.failure_threshold.map_or(default.failure_threshold, |setting| resolve_threshold(rules, setting));
    let success_threshold = rules.number(
        p.success_threshold.unwrap_or(default.success_threshold),
        1,
        1000,
        "/alert_policy/success_threshold",
    );
    let confirm_interval = p.confirm_interval.map_or(default.confirm_interval, |d| d.0);
    rules.check(
        confirm_interval >= Duration::from_secs(1),
        "/alert_policy/confirm_interval",
        "out_of_range",
        "must be at least 1 s",
    );
    let cooldown = p.cooldown_seconds.map_or(default.cooldown, |d| d.0);
    rules.check(cooldown <= 30 * DAY, "/alert_policy/cooldown_seconds", "out_of_range", "must be 0 s to 30 days");
    let reminder = match &p.reminder {
        None => default.reminder,
        Some(setting) => resolve_reminder(rules, setting),
    };
    let flap = match p.flap {
        Some(FlapSetting::Off) => None,
        Some(FlapSetting::On(settings)) => {
            let changes = settings.changes.unwrap_or(FlapPolicy::CHANGES);
            Some(of_interval(rules.number(changes, 1, 100, "/alert_policy/flap/changes")))
        }
        None => Some(of_interval(FlapPolicy::CHANGES)),
    };
    let acknowledge_for = p.acknowledge_for.map_or(default.acknowledge_for, |d| d.0);
    rules.check(
        acknowledge_for >= Duration::from_mins(1) && acknowledge_for <= 30 * DAY,
        "/alert_policy/acknowledge_for",
        "out_of_range",
        "must be 1 min to 30 days",
    );
    let no_data_after = p
        .no_data_after
        .map(|slots| rules.number(slots, 0, 1000, "/alert_policy/no_data_after"))
        .or(default.no_data_after);
    AlertPolicy {
        failure_threshold,
        confirm_interval,
        success_threshold,
        send_recovery: p.send_recovery.unwrap_or(default.send_recovery),
        notify_degraded: p.notify_degraded.unwrap_or(default.notify_degraded),
        cooldown,
        reminder,
        flap,
        acknowledge_for,
        escalation: resolve_escalation(rules, p.escalation.as_deref().unwrap_or_default(), channels),
        no_data_after: no_data_after.filter(|slots| *slots > 0),
    }
}

/// Whether they mean anything is seen where there is something to be meant.
fn resolve_parents(rules: &mut Rules, selectors: Selectors) -> Selectors {
    let in_range = selectors.0.len() <= MOST_SELECTORS;
    rules.check(in_range, "/depends_on", "out_of_range", &format!("too many selectors: at most {MOST_SELECTORS}"));
    let mut resolved = Selectors::default();
    for (i, selector) in selectors.0.into_iter().enumerate().take(MOST_SELECTORS) {
        if let Some(detail) = crate::domain::selector::malformed(&selector) {
            rules.fail(&format!("/depends_on/{i}"), "invalid", detail);
        }
        if !resolved.0.contains(&selector) {
            resolved.0.push(selector);
        }
    }
    resolved
}

fn resolve_threshold(rules: &mut Rules, setting: FailureThresholdSetting) -> FailureThreshold {
    let at = "/alert_policy/failure_threshold";
    match setting {
        FailureThresholdSetting::InARow(failures) => {
            FailureThreshold::in_a_row(rules.number(failures, 1, MOST_CHECKS, at))
        }
        FailureThresholdSetting::Among(window) => {
            let of = rules.number(window.of, 1, MOST_CHECKS, &format!("{at}/of"));
            let failures = rules.number(window.failures, 1, MOST_CHECKS, &format!("{at}/failures"));
            rules.check(failures <= of, &format!("{at}/failures"), "conflict", "must not be more than `of`");
            FailureThreshold { failures, of }
        }
    }
}

fn resolve_escalation(
    rules: &mut Rules,
    steps: &[EscalationStepSettings],
    channels: Option<&[String]>,
) -> Vec<EscalationStep> {
    let at = "/alert_policy/escalation";
    rules.check(steps.len() <= MOST_STEPS, at, "out_of_range", &format!("too many steps: at most {MOST_STEPS}"));
    let mut resolved: Vec<EscalationStep> = Vec::new();
    for (i, step) in steps.iter().enumerate().take(MOST_STEPS) {
        let after = step.after.0;
        let place = format!("{at}/{i}/after");
        let in_range = after >= Duration::from_secs(1) && after <= 30 * DAY;
        rules.check(in_range, &place, "out_of_range", "must be 1 s to 30 days");
        let later = resolved.last().is_none_or(|before| before.after < after);
        rules.check(later, &place, "conflict", "must be later than the step before");
        let place = format!("{at}/{i}/notify");
        rules.check(!step.notify.is_empty(), &place, "out_of_range", "must name at least one channel");
        resolved.push(EscalationStep { after, notify: resolve_notify(rules, &step.notify, channels, &place) });
    }
    resolved
}

fn resolve_reminder(rules: &mut Rules, setting: &ReminderSetting) -> Option<ReminderPolicy> {
    let ReminderSetting::On(settings) = setting else { return None };
    let default = ReminderPolicy::default();
    let max = settings.max.map(|d| d.0);
    let every = settings.every.map_or(max.map_or(default.every, |max| default.every.min(max)), |d| d.0);
    rules.check(
        every >= Duration::from_secs(1) && every <= 366 * DAY,
        "/alert_policy/reminder/every",
        "out_of_range",
        "must be 1 s to 366 days; `reminder: false` turns reminders off",
    );
    let backoff = settings.backoff.unwrap_or(default.backoff);
    rules.check((1.0..=100.0).contains(&backoff), "/alert_policy/reminder/backoff", "out_of_range", "must be 1 to 100");
    let max = max.unwrap_or(default.max.max(every));
    rules.check(
        every <= max,
        "/alert_policy/reminder/every",
        "conflict",
        "must not be longer than alert_policy.reminder.max",
    );
    Some(ReminderPolicy { every, backoff, max })
}

/// As many channels a list names at most.
pub const MAX_CHANNELS: usize = 100;

/// Each channel once. What no channel is called is refused where the channels are known.
fn resolve_notify(rules: &mut Rules, names: &[String], channels: Option<&[String]>, at: &str) -> Vec<String> {
    let few = names.len() <= MAX_CHANNELS;
    rules.check(few, at, "out_of_range", &format!("too many channels: at most {MAX_CHANNELS}"));
    let mut told: Vec<String> = Vec::new();
    for (i, name) in names.iter().enumerate().take(MAX_CHANNELS) {
        if let Some(known) = channels.filter(|known| !known.contains(name)) {
            rules.fail(&format!("{at}/{i}"), "invalid", no_such_channel(name, known));
        } else if !told.contains(name) {
            told.push(name.clone());
        }
    }
    told
}

/// What is said of a name that no channel has. Of many channels, and of a long name, only the beginning is shown.
pub fn no_such_channel(name: &str, known: &[String]) -> String {
    const SHOWN: usize = 10;
    let short: String = name.chars().take(MAX_NAME).collect();
    match closest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("there is no channel `{short}`: did you mean {meant} ?"),
        None if known.is_empty() => format!("there is no channel `{short}`: no channel is configured"),
        None => {
            let more = if known.len() > SHOWN { ", …" } else { "" };
            let shown = known.get(..SHOWN).unwrap_or(known).join(", ");
            format!("there is no channel `{short}`: there are {shown}{more}")
        }
    }
}

fn resolve_check(rules: &mut Rules, s: &EndpointSettings, interval: Duration) -> Option<CheckSpec> {
    let target = kinds::resolve(rules, s);
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
        let pointer = format!("/headers/{}", pointer::step(name));
        if !is_token(name) {
            rules.fail(&pointer, "invalid", "is not a header name");
        } else if value.bytes().any(|b| b == b'\r' || b == b'\n' || b == 0) || value.len() > 16_384 {
            rules.fail(&pointer, "invalid", "a header value has no line breaks and at most 16,384 bytes");
        }
        headers.insert(name.to_ascii_lowercase(), value.clone());
    }
    rules.check(headers.len() <= 100, "/headers", "out_of_range", "too many headers: at most 100");
    let body_length = match &s.body {
        None => 0,
        Some(RequestBody::Text(text)) => text.len(),
        Some(RequestBody::Json(value)) => value.to_string().len(),
    };
    rules.check(body_length <= MAX_BODY, "/body", "out_of_range", "too long: at most 64 KiB");

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
    let max_body_bytes = rules.number(s.max_body_bytes.map_or(1_048_576, |b| b.0), 0, 104_857_600, "/max_body_bytes");
    let user_agent =
        s.user_agent.clone().unwrap_or_else(|| concat!("api-monitor/", env!("CARGO_PKG_VERSION")).to_owned());
    rules.check(
        user_agent.len() <= 1000 && user_agent.bytes().all(|b| (0x20..0x7f).contains(&b)),
        "/user_agent",
        "invalid",
        "is printable ASCII, at most 1,000 bytes",
    );
    let redact = SECRET_HEADERS
        .iter()
        .map(|n| (*n).to_owned())
        .chain(s.redact.iter().flatten().map(|n| n.to_ascii_lowercase()))
        .collect();

    let (url, kind) = target?;
    Some(CheckSpec {
        url,
        kind,
        method,
        headers,
        body: s.body.clone(),
        timeout,
        connect_timeout,
        conditions: resolve_conditions(rules, s),
        dial: connection::resolve_dial(rules, s),
        expected_status: s.expected_status.clone().unwrap_or_else(|| ExpectedStatus::exactly(200)),
        redirects: connection::resolve_redirects(rules, s.redirects.as_ref()),
        tls: connection::resolve_tls(rules, s.tls.as_ref()),
        auth: connection::resolve_auth(rules, s.auth.as_ref()),
        proxy: connection::resolve_proxy(rules, s.proxy.as_deref()),
        http_version: connection::resolve_http_version(rules, s.http_version.as_ref()),
        reuse_connection: s.reuse_connection.unwrap_or(false),
        max_body_bytes,
        user_agent,
        redact,
    })
}

fn resolve_conditions(rules: &mut Rules, s: &EndpointSettings) -> Conditions {
    let dialect = if s.gatus_compatible.unwrap_or(false) { Dialect::Gatus } else { Dialect::Strict };
    let mut read = |texts: Option<&[String]>, at: &str| {
        let (conditions, mistakes) = Conditions::read(texts.unwrap_or_default(), dialect);
        for (entry, code, detail) in mistakes {
            rules.fail(&entry.map_or_else(|| at.to_owned(), |i| format!("{at}/{i}")), code, detail);
        }
        conditions
    };
    let required = read(s.conditions.as_deref(), "/conditions");
    Conditions { required, degraded_unless: read(s.degraded_unless.as_deref(), "/degraded_unless"), dialect }
}

#[cfg(test)]
pub(super) mod tests_support {
    use super::*;

    fn resolved(mut settings: serde_json::Value) -> Result<Endpoint, Vec<RuleError>> {
        settings["name"] = "a".into();
        settings["url"] = "https://shop.example/".into();
        let settings: EndpointSettings = serde_json::from_value(settings).unwrap();
        let defaults = EndpointSettings::default();
        let layers = Layers { defaults: &defaults, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
        resolve(&settings, layers, crate::domain::from_micros(0))
    }

    /// What the settings of an endpoint at `https://shop.example/` mean.
    pub(in crate::domain::endpoint) fn spec(settings: serde_json::Value) -> CheckSpec {
        resolved(settings).unwrap().check
    }

    /// The places of their mistakes.
    pub(in crate::domain::endpoint) fn mistakes(settings: serde_json::Value) -> Vec<String> {
        resolved(settings).unwrap_err().into_iter().map(|rule| rule.pointer).collect()
    }
}
