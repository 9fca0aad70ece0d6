//! Every setting as it is now and where it comes from. Each is named here by itself: what is not is not shown, so that
//! no secret is shown by mistake. Endpoints and channels have routes of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::CHANGEABLE;
use crate::config::{Adjustable, Config, ConfiguredKey, DatabaseTarget, Origins, SetBy, Workers};
use crate::domain::endpoint::EndpointSettings;
use crate::domain::notification::without_credentials;
use crate::domain::route::Route;
use crate::service::redaction::{HIDDEN, redacted};

/// A setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Secrets read `***`.
    pub value: Value,
    pub source: Source,
    /// The key that changes it while running.
    pub key: Option<&'static str>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Default,
    /// `config.yaml:12`
    File(String),
    /// The name of the variable.
    Environment(String),
    /// Changed while running; the value that is configured.
    Override(Value),
}

/// By the path in the configuration.
pub(super) fn all(config: &Config, running: &Adjustable) -> BTreeMap<&'static str, Shown> {
    let configured = Adjustable::of(config);
    let shown = |(path, value): (&'static str, Value)| {
        let setting = CHANGEABLE.iter().find(|setting| setting.path == path);
        let now = setting.map(|setting| (setting.get)(running)).filter(|now| *now != value);
        let (value, source) = match (now, config.set.get(path)) {
            (Some(now), _) => (now, Source::Override(value)),
            (None, Some(SetBy::File(at))) => (value, Source::File(at.clone())),
            (None, Some(SetBy::Environment(name))) => (value, Source::Environment(name.clone())),
            (None, None) => (value, Source::Default),
        };
        (path, Shown { value, source, key: setting.map(|setting| setting.key) })
    };
    let changeable = CHANGEABLE.iter().map(|setting| (setting.path, (setting.get)(&configured)));
    fixed(config).into_iter().chain(changeable).map(shown).collect()
}

/// The settings that hold until the next start.
fn fixed(config: &Config) -> Vec<(&'static str, Value)> {
    let Config { database, telling, monitoring, logging, api, prometheus, .. } = config;
    let database_url = match &database.target {
        DatabaseTarget::Sqlite { path } => format!("sqlite://{}", path.display()),
        DatabaseTarget::SqliteMemory => "sqlite::memory:".to_owned(),
        DatabaseTarget::Postgres(server) => server.to_string(),
    };
    let defaults = redacted(&config.defaults, &config.defaults.redact.clone().unwrap_or_default());
    let heartbeat = telling.heartbeat.as_ref();
    let connectivity = config.connectivity.as_ref();
    vec![
        ("database.url", database_url.into()),
        ("database.pool_size", database.pool_size.into()),
        ("database.max_overflow", database.max_overflow.into()),
        ("database.pool_pre_ping", database.pool_pre_ping.into()),
        ("database.echo", database.echo.into()),
        ("backup.folder", json!(config.backup.folder.display().to_string())),
        ("backup.keep", config.backup.keep.into()),
        ("public_url", json!(telling.public_url.as_ref().map(url::Url::as_str))),
        ("timezone", config.timezone.name().into()),
        ("defaults", json!(defaults)),
        ("notifications.enabled", telling.enabled.into()),
        ("notify", json!(telling.default_route)),
        ("routes", config.routes.iter().map(route).collect()),
        ("group_messages.after", json!(telling.group_messages.map(|policy| policy.after))),
        ("group_messages.window", json!(telling.group_messages.map(|policy| seconds(policy.window)))),
        // The address may be all that it takes to silence the dead man's switch.
        ("heartbeat.url", json!(heartbeat.map(|_| HIDDEN))),
        ("heartbeat.every", json!(heartbeat.map(|heartbeat| seconds(heartbeat.every)))),
        ("monitoring.cleanup_interval", seconds(monitoring.cleanup_interval)),
        ("monitoring.max_checks_per_host", monitoring.max_checks_per_host.into()),
        (
            "connectivity.targets",
            json!(connectivity.map(|c| c.targets.iter().map(without_credentials).collect::<Vec<_>>())),
        ),
        ("connectivity.quorum", json!(connectivity.map(|c| c.rules.quorum))),
        ("connectivity.interval", json!(connectivity.map(|c| seconds(c.rules.interval)))),
        ("connectivity.max_suppression", json!(connectivity.map(|c| seconds(c.rules.max_suppression)))),
        ("resolver", json!(config.resolver.map(|server| server.to_string()))),
        ("outbound.allow_private", config.outbound.allow_private.into()),
        ("outbound.deny", config.outbound.deny.iter().map(ToString::to_string).collect()),
        ("logging.format", logging.format.word().into()),
        ("logging.file", json!(logging.file.as_ref().map(|file| file.display().to_string()))),
        ("logging.console", logging.console.into()),
        ("logging.rotation", logging.rotation.word().into()),
        ("logging.keep", logging.keep.into()),
        ("logging.access", logging.access.word().into()),
        ("api.host", api.host.as_str().into()),
        ("api.port", api.port.into()),
        (
            "api.workers",
            match api.workers {
                Workers::Auto => "auto".into(),
                Workers::Fixed(threads) => threads.into(),
            },
        ),
        ("api.auth.enabled", api.auth.is_on().into()),
        ("api.auth.api_key", json!(api.auth.api_key)),
        ("api.auth.keys", api.auth.keys.iter().map(shown_key).collect()),
        ("api.auth.header_name", api.auth.header_name.as_str().into()),
        ("api.auth.realm", api.auth.realm.as_str().into()),
        ("api.auth.session.lifetime", seconds(api.auth.session.lifetime)),
        ("api.auth.session.idle", seconds(api.auth.session.idle)),
        ("api.cors.enabled", api.cors.is_some().into()),
        ("api.cors.allow_origins", api.cors.as_ref().map_or_else(|| json!([]), |cors| allowed(&cors.origins))),
        ("api.cors.allow_credentials", api.cors.as_ref().is_some_and(|cors| cors.credentials).into()),
        ("api.cors.allow_methods", listed(api.cors.as_ref().and_then(|cors| cors.methods.as_deref()))),
        ("api.cors.allow_headers", listed(api.cors.as_ref().and_then(|cors| cors.headers.as_deref()))),
        ("api.tls.cert_file", json!(api.tls.as_ref().map(|tls| tls.cert_file.display().to_string()))),
        ("api.tls.key_file", json!(api.tls.as_ref().map(|tls| tls.key_file.display().to_string()))),
        ("api.rate_limit.requests_per_minute", json!(api.rate_limit.map(|limit| limit.requests_per_minute))),
        ("api.rate_limit.burst", json!(api.rate_limit.map(|limit| limit.burst))),
        ("api.trusted_proxies", api.trusted_proxies.iter().map(ToString::to_string).collect()),
        ("prometheus.enabled", prometheus.enabled.into()),
        ("prometheus.path", prometheus.path.as_str().into()),
        ("prometheus.endpoint_metrics", prometheus.endpoint_metrics.into()),
        ("prometheus.max_endpoints", prometheus.max_endpoints.into()),
        ("prometheus.gatus_names", prometheus.gatus_names.into()),
    ]
}

fn shown_key(key: &ConfiguredKey) -> Value {
    let expires_at = key.expires_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    json!({"name": key.name, "role": key.role.as_str(), "key": HIDDEN, "expires_at": expires_at})
}

/// Without a list there is no bound.
fn listed<T: ToString>(some: Option<&[T]>) -> Value {
    some.map_or_else(|| json!(["*"]), |some| some.iter().map(ToString::to_string).collect())
}

fn allowed(origins: &Origins) -> Value {
    match origins {
        Origins::Any => json!(["*"]),
        Origins::Listed(listed) => json!(listed),
    }
}

pub(super) fn seconds(duration: Duration) -> Value {
    if duration.subsec_nanos() == 0 { duration.as_secs().into() } else { duration.as_secs_f64().into() }
}

fn route(route: &Route) -> Value {
    let EndpointSettings { notify, alert_policy, .. } = &route.settings;
    json!({ "match": route.selectors, "notify": notify, "alert_policy": alert_policy, "source": route.source })
}
