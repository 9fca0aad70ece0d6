//! What the start says: to a person on the terminal, as one line to a log collector.

use std::net::SocketAddr;

use super::{counted, say};
use crate::app::Monitor;
use crate::config::{AuthConfig, Config};
use crate::domain::api_key::ApiKey;
use crate::domain::role::Role;
use crate::telemetry::logging::{LogFormat, TOLD_OTHERWISE};

pub(super) fn show(config: &Config, monitor: &Monitor, address: SocketAddr, format: LogFormat) {
    let url = url_of(address, if config.api.tls.is_some() { "https" } else { "http" });
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let store = &monitor.store;
    let database = store.place();
    let opened = if store.was_created() { "created" } else { "opened" };
    let synced = monitor.synced;
    let endpoints = monitor.service.board.len();
    let keyed = config.api.auth.is_on();
    let keys = monitor.service.keyring.list();
    tracing::info!(
        target: TOLD_OTHERWISE,
        version = env!("CARGO_PKG_VERSION"),
        config = %config.path.display(),
        endpoints,
        groups = config.groups.len(),
        database,
        opened,
        auth = keyed,
        api_keys = keys.len(),
        url,
        "api-monitor started"
    );
    if format == LogFormat::Json {
        return;
    }
    say(&format!("api-monitor {}", env!("CARGO_PKG_VERSION")));
    let from_api = endpoints.saturating_sub(config.endpoints.len());
    let more = if from_api > 0 { format!(", {from_api} more made through the API") } else { String::new() };
    say(&format!(
        "  config    {} · {} in {}{more}",
        config.path.display(),
        counted(config.endpoints.len(), "endpoint"),
        counted(groups(config), "group"),
    ));
    if !synced.is_empty() && !store.was_created() {
        say(&format!(
            "            {} added, {} changed, {} adopted, {} back again, {} archived",
            synced.added, synced.changed, synced.adopted, synced.returned, synced.archived
        ));
    }
    say(&format!("  database  {database} ({opened})"));
    say(&format!("  channels  {}", channels(config)));
    say(&format!("  auth      {}", authentication(&config.api.auth, &keys)));
    say(&format!("  API       {url}/api/v1/endpoints"));
    say(&format!("  docs      {url}/docs"));
    if endpoints == 0 {
        say("  nothing is watched yet: add endpoints to the configuration, or POST one to /api/v1/endpoints");
    }
    say("");
}

/// Whether a key is needed, and which there are.
fn authentication(auth: &AuthConfig, keys: &[ApiKey]) -> String {
    let by_role: Vec<String> = Role::ALL
        .iter()
        .rev()
        .map(|role| (keys.iter().filter(|key| key.role == *role).count(), role))
        .filter(|(count, _)| *count > 0)
        .map(|(count, role)| format!("{count} {role}"))
        .collect();
    let keys = format!("{} ({})", counted(keys.len(), "key"), by_role.join(", "));
    match (auth.is_on(), by_role.is_empty()) {
        (true, _) => format!("on: {keys}, sent as {} or as a bearer token", auth.header_name),
        (false, true) => "off: only this machine may change anything; set API_KEY to turn it on".to_owned(),
        (false, false) => {
            format!("off: only this machine and {keys} may do more than read; set API_KEY to turn it on")
        }
    }
}

/// The channels that are on, and those that are off.
fn channels(config: &Config) -> String {
    let names = |on: bool| {
        let names: Vec<_> =
            config.channels.iter().filter(|channel| channel.enabled == on).map(|c| c.name.as_str()).collect();
        names.join(", ")
    };
    let (on, off) = (names(true), names(false));
    match (config.telling.enabled, on.as_str(), off.as_str()) {
        (false, ..) => "nobody is told of anything: notifications.enabled is false".to_owned(),
        (true, "", "") => "none: nobody is told; add one under `channels:`".to_owned(),
        (true, "", off) => format!("none is on (off: {off})"),
        (true, on, "") => on.to_owned(),
        (true, on, off) => format!("{on} (off: {off})"),
    }
}

fn groups(config: &Config) -> usize {
    let mut groups: Vec<_> =
        config.endpoints.iter().map(|e| e.endpoint.group.as_str()).filter(|g| !g.is_empty()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.len()
}

/// The address as a person on this machine opens it.
fn url_of(address: SocketAddr, scheme: &str) -> String {
    if address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}
