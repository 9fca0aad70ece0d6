//! Where each setting comes from, and what is known without a running monitor.

use chrono::SecondsFormat;
use serde_json::Value;

use super::{KnownHold, Setting, place};
use crate::app::store_options;
use crate::cli::remote::labelled;
use crate::cli::tokio_free_now;
use crate::config::{Config, ConfiguredEndpoint, EndpointPlaces, Listing, SetAt, SettingLayer};
use crate::domain::endpoint::{EndpointId, KnownEndpoint, Origin};
use crate::domain::group::GroupMade;
use crate::domain::pointer;
use crate::quiet::Quiet;
use crate::service::maintenance;
use crate::service::why::beside::{self, Stored};
use crate::store::Beside;

/// What a person set through the API.
pub(super) struct Made {
    pub(super) revision: i64,
    pub(super) settings: Value,
    /// Of a group that was made through the API.
    pub(super) group: Option<Value>,
}

/// Who set what of an endpoint.
pub(super) struct Sources<'p> {
    places: EndpointPlaces<'p>,
    made: Option<Made>,
    /// What the file says, where a running monitor was asked, which may go by something else.
    configured: Option<Value>,
}

impl<'p> Sources<'p> {
    pub(super) fn configured(places: EndpointPlaces<'p>) -> Self {
        Self { places, made: None, configured: None }
    }

    pub(super) fn made(inherited: EndpointPlaces<'p>, made: Made) -> Self {
        Self { places: inherited, made: Some(made), configured: None }
    }

    #[must_use]
    pub(super) fn running(self, configured: Value) -> Self {
        Self { configured: Some(configured), ..self }
    }

    /// Every setting that applies, by its name.
    pub(super) fn settings(&self, applies: &Value) -> Vec<Setting> {
        let mut all = Vec::new();
        self.collect(applies, "", "", &mut all);
        all.sort_by(|one, other| one.key.cmp(&other.key));
        all
    }

    fn collect(&self, value: &Value, key: &str, at: &str, all: &mut Vec<Setting>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    self.collect(value, &below, &format!("{at}/{}", pointer::step(name)), all);
                }
            }
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            value => all.push(Setting { key: key.to_owned(), value: value.clone(), from: self.from(at, value) }),
        }
    }

    fn from(&self, at: &str, value: &Value) -> Vec<String> {
        if let Some(configured) = &self.configured
            && configured.pointer(at) != Some(value)
        {
            let written = self.written(at);
            let otherwise =
                written.first().map_or_else(String::new, |written| format!("; the file says otherwise: {written}"));
            return vec![format!("the running monitor{otherwise}")];
        }
        let mut from = Vec::new();
        if let Some(made) = &self.made {
            if has(&made.settings, at) {
                from.push(format!("API, revision {}", made.revision));
            }
            // A route is nearer than a group.
            let is_routed = self.places.at(at).first().is_some_and(|at| at.layer == SettingLayer::Route);
            if !is_routed && made.group.as_ref().is_some_and(|group| has(group, at)) {
                from.push("API (group)".to_owned());
            }
            if !from.is_empty() && !matches!(at, "/tags" | "/redact") {
                from.truncate(1);
                return from;
            }
        }
        from.extend(self.written(at));
        // One attempt, since there is to be none but the first.
        if from.is_empty() && at == "/retry/max_attempts" && *value == 1 {
            from = self.written("/retry/enabled");
        }
        if from.is_empty() { vec!["default".to_owned()] } else { from }
    }

    fn written(&self, at: &str) -> Vec<String> {
        self.places.at(at).iter().map(told).collect()
    }
}

/// Also where a shorter form of what it is in was set.
fn has(settings: &Value, at: &str) -> bool {
    let mut value = settings;
    for (depth, segment) in at.split('/').skip(1).enumerate() {
        match value {
            Value::Object(fields) => match fields.get(&segment.replace("~1", "/").replace("~0", "~")) {
                Some(next) => value = next,
                None => return false,
            },
            value => return depth > 0 && !value.is_null(),
        }
    }
    !value.is_null()
}

fn told(at: &SetAt) -> String {
    let layer = match at.layer {
        SettingLayer::Endpoint => "",
        SettingLayer::Route => " (route)",
        SettingLayer::Group => " (group)",
        SettingLayer::Defaults => " (defaults)",
    };
    let written = at.written.as_ref().map_or_else(String::new, |written| format!(" {written}"));
    format!("{}{written}{layer}", place(&at.by))
}

/// The configuration and the database, while no monitor answers.
pub(super) struct Offline {
    /// Or why the database cannot be read.
    pub(super) stored: Result<Stored, String>,
    configured: Listing,
    windows: Quiet,
}

impl Offline {
    pub(super) async fn read(config: &Config) -> Self {
        let stored = async {
            let source = Beside::open(&store_options(config)).await?;
            let stored = beside::stored(&source, config, tokio_free_now()).await;
            source.close().await?;
            stored
        };
        Self {
            stored: stored.await.map_err(|error| error.to_string()),
            configured: Listing::of(config),
            windows: maintenance::configured(config),
        }
    }

    pub(super) fn endpoint(&self, name: &str, configured: Option<&ConfiguredEndpoint>) -> Option<&KnownEndpoint> {
        let stored = self.stored.as_ref().ok()?;
        if let Some(configured) = configured {
            let key = (&configured.endpoint.group, &configured.endpoint.name);
            return stored.endpoints.iter().find(|known| (&known.endpoint.group, &known.endpoint.name) == key);
        }
        let exact = stored.endpoints.iter().find(|known| label_of(known) == name);
        let mut named = stored.endpoints.iter().filter(|known| known.endpoint.name == name);
        exact.or_else(|| named.next().filter(|_| named.next().is_none()))
    }

    /// The settings of a group that was made through the API.
    pub(super) fn group_made(&self, group: &str) -> Option<Value> {
        let group = self.stored.as_ref().ok()?.listing.groups.get(group)?;
        matches!(group.made, GroupMade::Stored(_)).then(|| serde_json::to_value(&group.settings).ok()).flatten()
    }

    pub(super) fn listing(&self) -> Listing {
        self.stored.as_ref().map_or_else(|_| self.configured.clone(), |stored| stored.listing.clone())
    }

    /// What is known to hold.
    pub(super) fn holds(
        &self,
        configured: Option<&ConfiguredEndpoint>,
        stored: Option<&KnownEndpoint>,
    ) -> Vec<KnownHold> {
        let now = tokio_free_now();
        let known = stored.cloned().or_else(|| configured.map(|configured| unstored(configured, now)));
        let Some(known) = known else { return Vec::new() };
        let mut holds = Vec::new();
        let mut plainly = |by: &str, reason: &str| {
            holds.push(KnownHold { by: by.to_owned(), name: None, until: None, reason: Some(reason.to_owned()) });
        };
        if !self.listing().routing().enabled {
            plainly("notifications_disabled", "`notifications.enabled` is false");
        }
        if known.paused {
            plainly("paused", "it is paused by hand");
        } else if configured.map_or(!known.endpoint.is_active, |configured| !configured.endpoint.is_active) {
            plainly("paused", "`is_active` is false");
        }
        let quiet = self.stored.as_ref().map_or(&self.windows, |stored| &stored.quiet);
        for hold in quiet.holds(now).iter().filter(|hold| hold.is_of(&known)) {
            holds.push(KnownHold {
                by: hold.by.to_string(),
                name: Some(hold.name.clone()),
                until: hold.until.map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, true)),
                reason: Some(hold.reason.clone()).filter(|reason| !reason.is_empty()),
            });
        }
        holds
    }
}

/// A configured endpoint that no monitor has seen yet.
fn unstored(configured: &ConfiguredEndpoint, now: crate::domain::Timestamp) -> KnownEndpoint {
    KnownEndpoint {
        id: EndpointId(0),
        origin: Origin::Config,
        source: None,
        revision: 0,
        created_at: now,
        updated_at: now,
        scheduled_from: now,
        settings: configured.settings.clone(),
        endpoint: configured.endpoint.clone(),
        paused: false,
    }
}

pub(super) fn label_of(known: &KnownEndpoint) -> String {
    labelled(&known.endpoint.group, &known.endpoint.name)
}
