//! `explain`: every setting of an endpoint as it applies, with the place it comes from; who is told; and what keeps
//! messages back now. A running monitor is asked if there is one; else the configuration and the database are read.

mod shown;
mod sources;

use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use self::sources::{Offline, Sources};
use super::remote::{Remote, Where, label, labelled, unknown};
use super::{Failed, UNREACHABLE, say, tokio_free_now};
use crate::api::endpoint_view::effective;
use crate::config::{Config, ConfiguredEndpoint, LoadOptions, Places, SetBy, load_with_places};
use crate::domain::endpoint::{Endpoint, KnownEndpoint};

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Explained {
    /// `group/name`
    endpoint: String,
    /// `config`, `api`
    origin: String,
    /// Where it stands, or who made it.
    from: String,
    /// In the order of their names.
    settings: Vec<Setting>,
    route: Route,
    /// Who was asked.
    asked: Asked,
    /// What the running monitor says of its messages, as `GET /api/v1/endpoints/{id}/why-not-told`; null: there is none.
    running: Option<Value>,
    /// Without a running monitor: what the configuration and the database know to hold.
    known_holds: Vec<KnownHold>,
}

#[derive(Debug, Serialize)]
struct Setting {
    /// `alert_policy.reminder.every`
    key: String,
    value: Value,
    /// The nearest first; of what adds up, all.
    from: Vec<String>,
}

/// Who is told.
#[derive(Debug, Serialize)]
struct Route {
    channels: Vec<Channel>,
    /// What says so.
    from: String,
}

#[derive(Debug, Serialize)]
struct Channel {
    name: String,
    /// Where it is written, or `API`.
    from: String,
}

#[derive(Debug, Serialize)]
struct Asked {
    /// The address of the monitor that answered.
    monitor: Option<String>,
    /// Why none did.
    why_not: Option<String>,
    /// Whether the database was read in its place.
    database: bool,
}

#[derive(Debug, Serialize)]
struct KnownHold {
    by: String,
    name: Option<String>,
    until: Option<String>,
    reason: Option<String>,
}

/// Explains one endpoint.
pub(super) async fn explain(options: &LoadOptions, name: &str, as_json: bool, at: &Where) -> Result<ExitCode, Failed> {
    let (config, places) = load_with_places(options, tokio_free_now()).map_err(|errors| {
        Failed::cannot_start(format!("the configuration has mistakes, so nothing can be explained by it\n\n{errors}"))
    })?;
    let running = ask(name, options, at).await?;
    let offline = match &running {
        Running::Endpoint { .. } => None,
        Running::Silent { .. } => Some(Offline::read(&config).await),
    };
    let explained = explained(name, &config, &places, running, offline)?;
    if as_json {
        say(&serde_json::to_string_pretty(&explained).map_err(Failed::running)?);
    } else {
        say(&shown::text(&explained));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a running monitor says.
enum Running {
    Endpoint {
        address: String,
        /// As `GET /api/v1/endpoints/{id}`.
        resource: Box<Value>,
        why: Box<Value>,
        /// As `GET /api/v1/groups/{name}`, of a group that the API made.
        group: Option<Box<Value>>,
    },
    Silent {
        why: String,
    },
}

async fn ask(name: &str, options: &LoadOptions, at: &Where) -> Result<Running, Failed> {
    let remote = match Remote::find(at, options) {
        Ok(remote) => remote,
        // Somebody said where it is.
        Err(failed) if at.is_given(options) => return Err(failed),
        Err(failed) => return Ok(Running::Silent { why: failed.message }),
    };
    let asked = async {
        let found = remote.endpoint(name).await?;
        let path = format!("/api/v1/endpoints/{}", found["id"]);
        let resource = remote.get(&path).await?;
        let why = remote.get(&format!("{path}/why-not-told")).await?;
        let group = match resource["group"].as_str() {
            Some(group) if !group.is_empty() => {
                remote.get(&format!("/api/v1/groups/{}", super::remote::encoded(group))).await.ok()
            }
            _ => None,
        };
        let group = group.filter(|group| group["origin"] == "api").map(Box::new);
        Ok(Running::Endpoint {
            address: remote.address().to_owned(),
            resource: Box::new(resource),
            why: Box::new(why),
            group,
        })
    };
    match asked.await {
        Ok(running) => Ok(running),
        // It may be new in the file, and the monitor not started again since; or the key is not known here.
        Err(Failed { message, code }) => {
            let known_where = if code == UNREACHABLE { "" } else { "the monitor says: " };
            Ok(Running::Silent { why: format!("{known_where}{message}") })
        }
    }
}

fn explained(
    name: &str,
    config: &Config,
    places: &Places,
    running: Running,
    offline: Option<Offline>,
) -> Result<Explained, Failed> {
    let configured = find_configured(config, name)?;
    let stored = offline.as_ref().and_then(|offline| offline.endpoint(name, configured));
    let (sources, applies) = match (&running, configured, stored) {
        (Running::Endpoint { resource, group, .. }, ..) if resource["origin"] == "api" => {
            let text = |field: &str| resource[field].as_str().unwrap_or_default();
            let tags = resource["tags"].as_array().into_iter().flatten();
            let tags: Vec<String> = tags.filter_map(Value::as_str).map(str::to_owned).collect();
            let inherited = places.inherited(&config.routes, text("name"), text("group"), &tags);
            let made = sources::Made {
                revision: resource["revision"].as_i64().unwrap_or(0),
                settings: resource["settings"].clone(),
                group: group.as_ref().map(|group| group["settings"].clone()),
            };
            (Sources::made(inherited, made), resource["effective"].clone())
        }
        (_, Some(configured), _) => {
            let own = serde_json::to_value(effective(&configured.endpoint)).map_err(Failed::running)?;
            let sources = Sources::configured(places.of(configured, &config.routes));
            match &running {
                Running::Endpoint { resource, .. } => (sources.running(own), resource["effective"].clone()),
                Running::Silent { .. } => (sources, own),
            }
        }
        (_, None, Some(known)) => {
            let made = sources::Made {
                revision: known.revision,
                settings: serde_json::to_value(&known.settings).map_err(Failed::running)?,
                group: offline.as_ref().and_then(|offline| offline.group_made(&known.endpoint.group)),
            };
            let own = serde_json::to_value(effective(&known.endpoint)).map_err(Failed::running)?;
            let Endpoint { name, group, tags, .. } = &known.endpoint;
            (Sources::made(places.inherited(&config.routes, name, group, tags), made), own)
        }
        (Running::Endpoint { resource, .. }, None, None) => {
            let nothing = places.inherited(&[], "", "", &[]);
            (Sources::configured(nothing).running(json!({})), resource["effective"].clone())
        }
        (Running::Silent { why }, None, None) => {
            let labels = known_labels(config, offline.as_ref());
            return Err(Failed::cannot_start(format!("{}\n  ({why})", unknown(name, &labels))));
        }
    };
    let settings = sources.settings(&applies);
    let (endpoint, origin, from) = match (&running, configured, stored) {
        (Running::Endpoint { resource, .. }, ..) => {
            let from = resource["source"]
                .as_str()
                .map_or_else(|| format!("the API, revision {}", resource["revision"]), str::to_owned);
            (label(resource), resource["origin"].as_str().unwrap_or_default().to_owned(), from)
        }
        (_, Some(configured), _) => {
            let source = crate::config::SourceRef { column: 0, ..configured.source.clone() };
            (label_of(configured), "config".to_owned(), source.to_string())
        }
        (_, None, Some(known)) => {
            (sources::label_of(known), known.origin.to_string(), format!("the API, revision {}", known.revision))
        }
        (_, None, None) => (name.to_owned(), String::new(), String::new()),
    };
    let route = route(config, places, &running, configured, stored, offline.as_ref(), &settings);
    let known_holds = match (&running, &offline) {
        (Running::Silent { .. }, Some(offline)) => offline.holds(configured, stored),
        _ => Vec::new(),
    };
    let asked = match &running {
        Running::Endpoint { address, .. } => Asked { monitor: Some(address.clone()), why_not: None, database: false },
        Running::Silent { why } => Asked {
            monitor: None,
            why_not: Some(why.clone()),
            database: offline.as_ref().is_some_and(|offline| offline.stored.is_ok()),
        },
    };
    let running = match running {
        Running::Endpoint { why, .. } => Some(*why),
        Running::Silent { .. } => None,
    };
    Ok(Explained { endpoint, origin, from, settings, route, asked, running, known_holds })
}

/// `None`: the configuration has none of this name.
fn find_configured<'c>(config: &'c Config, name: &str) -> Result<Option<&'c ConfiguredEndpoint>, Failed> {
    if let Some(found) = config.endpoints.iter().find(|endpoint| label_of(endpoint) == name) {
        return Ok(Some(found));
    }
    let named: Vec<_> = config.endpoints.iter().filter(|endpoint| endpoint.endpoint.name == name).collect();
    match named.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        many => {
            let labels: Vec<_> = many.iter().map(|endpoint| label_of(endpoint)).collect();
            Err(Failed::cannot_start(format!("`{name}` is in several groups: say {}", labels.join(" or "))))
        }
    }
}

fn label_of(configured: &ConfiguredEndpoint) -> String {
    labelled(&configured.endpoint.group, &configured.endpoint.name)
}

fn known_labels(config: &Config, offline: Option<&Offline>) -> Vec<String> {
    let stored = offline.and_then(|offline| offline.stored.as_ref().ok());
    let stored = stored.into_iter().flat_map(|stored| stored.endpoints.iter().map(sources::label_of));
    config.endpoints.iter().map(label_of).chain(stored).collect()
}

fn route(
    config: &Config,
    places: &Places,
    running: &Running,
    configured: Option<&ConfiguredEndpoint>,
    stored: Option<&KnownEndpoint>,
    offline: Option<&Offline>,
    settings: &[Setting],
) -> Route {
    let names: Vec<String> = match (running, configured, stored) {
        (Running::Endpoint { why, .. }, ..) => {
            let names = why["channels"].as_array().into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        }
        (_, Some(ConfiguredEndpoint { endpoint, .. }), _) | (_, None, Some(KnownEndpoint { endpoint, .. })) => {
            let listing = offline.map_or_else(|| crate::config::Listing::of(config), Offline::listing);
            listing.routing().channels_for(endpoint.notify.as_deref(), endpoint.severity)
        }
        (_, None, None) => Vec::new(),
    };
    let own = settings.iter().find(|setting| setting.key == "notify");
    let from = match (own, config.set.get("notify")) {
        (Some(own), _) => format!("notify: {}", own.from.join(", ")),
        (None, Some(by)) => format!("the top-level notify: {}", place(by)),
        (None, None) => "every channel that is on and a default one".to_owned(),
    };
    let channel = |name: String| {
        let from = places.channel(&name).map_or_else(|| "API".to_owned(), |by| place(&by));
        Channel { name, from }
    };
    Route { channels: names.into_iter().map(channel).collect(), from }
}

/// `config.yaml:12`, or the name of a variable.
fn place(by: &SetBy) -> String {
    match by {
        SetBy::File(at) => at.clone(),
        SetBy::Environment(name) => format!("environment variable {name}"),
    }
}
