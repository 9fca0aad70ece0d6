//! The monitor's own settings: what they are and where each comes from, and the change of those that can change while
//! it runs.
//!
//! A change is kept as an override, in the database: it holds over restarts until the configuration (the file, or a
//! variable over it) gives the key another value than it had at the time of the change.

mod shown;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use self::shown::seconds;
pub use self::shown::{Shown, Source};
use super::context::{Actor, ServiceContext, detached_change};
use super::error::{FieldError, ServiceError};
use crate::board::Board;
use crate::config::{Adjustable, Config, Listing, LogLevel, MaxConcurrent, MaxConnections};
use crate::domain::Timestamp;
use crate::domain::endpoint::{KnownEndpoint, resolve};
use crate::domain::pointer;
use crate::domain::role::Role;
use crate::domain::suggest::closest;
use crate::store::{Store, StoreError, audit, settings};

/// A setting that can change while the monitor runs. A further one is a line of [`CHANGEABLE`], a field of
/// [`Adjustable`], and a part of the monitor that reads it from there.
struct Changeable {
    /// As clients name it.
    key: &'static str,
    /// In the configuration.
    path: &'static str,
    get: fn(&Adjustable) -> Value,
    /// Refuses with the broken rule and what would be right.
    set: fn(&mut Adjustable, &Value) -> Result<(), Refused>,
}

type Refused = (&'static str, String);

/// As many days as the configuration accepts.
const MOST_DAYS: u64 = 36_500;

const CHANGEABLE: [Changeable; 6] = [
    Changeable {
        key: "logging_level",
        path: "logging.level",
        get: |now| now.logging_level.word().into(),
        set: |to, value| level(value).map(|level| to.logging_level = level),
    },
    Changeable {
        key: "check_history_days",
        path: "monitoring.check_history_days",
        get: |now| now.check_history_days.into(),
        set: |to, value| whole(value, MOST_DAYS).map(|days| to.check_history_days = days),
    },
    Changeable {
        key: "hourly_rollup_days",
        path: "monitoring.hourly_rollup_days",
        get: |now| now.hourly_rollup_days.into(),
        set: |to, value| whole(value, MOST_DAYS).map(|days| to.hourly_rollup_days = days),
    },
    Changeable {
        key: "max_concurrent_checks",
        path: "monitoring.max_concurrent_checks",
        get: |now| match now.max_concurrent_checks {
            MaxConcurrent::Auto => "auto".into(),
            MaxConcurrent::Fixed(attempts) => attempts.into(),
        },
        set: |to, value| {
            to.max_concurrent_checks = if value.as_str() == Some("auto") {
                MaxConcurrent::Auto
            } else {
                let or_auto = |(rule, detail)| (rule, format!("{detail}, or \"auto\""));
                MaxConcurrent::Fixed(whole(value, 100_000).map_err(or_auto)?)
            };
            Ok(())
        },
    },
    Changeable {
        key: "max_connections",
        path: "api.max_connections",
        get: |now| match now.max_connections {
            MaxConnections::Auto => "auto".into(),
            MaxConnections::Fixed(connections) => connections.into(),
        },
        set: |to, value| {
            to.max_connections = if value.as_str() == Some("auto") {
                MaxConnections::Auto
            } else {
                let (fewest, most) = (MaxConnections::FEWEST.into(), MaxConnections::MOST.into());
                let or_auto = |(rule, detail)| (rule, format!("{detail}, or \"auto\""));
                MaxConnections::Fixed(whole_from(value, fewest, most).map_err(or_auto)?)
            };
            Ok(())
        },
    },
    Changeable {
        key: "cooldown_seconds",
        path: "defaults.alert_policy.cooldown_seconds",
        get: |now| seconds(now.cooldown),
        set: |to, value| cooldown(value).map(|cooldown| to.cooldown = cooldown),
    },
];

/// Seconds, as many as an alert policy accepts.
fn cooldown(value: &Value) -> Result<Duration, Refused> {
    const LONGEST: Duration = Duration::from_hours(30 * 24);
    let detail = || format!("must be a number of seconds from 0 to {}", LONGEST.as_secs());
    let number = value.as_f64().ok_or_else(|| ("invalid", detail()))?;
    let cooldown = Duration::try_from_secs_f64(number).ok().filter(|cooldown| *cooldown <= LONGEST);
    cooldown.ok_or_else(|| ("out_of_range", detail()))
}

fn level(value: &Value) -> Result<LogLevel, Refused> {
    let word = value.as_str().unwrap_or_default();
    LogLevel::of_word(word).ok_or_else(|| {
        let known = LogLevel::WORDS.join(", ");
        let detail = match closest(word, LogLevel::WORDS) {
            Some(meant) => format!("must be one of {known}; did you mean {meant}?"),
            None => format!("must be one of {known}"),
        };
        ("invalid", detail)
    })
}

fn whole(value: &Value, most: u64) -> Result<u32, Refused> {
    whole_from(value, 1, most)
}

fn whole_from(value: &Value, least: u64, most: u64) -> Result<u32, Refused> {
    let detail = || format!("must be a whole number from {least} to {most}");
    let number = value.as_u64().ok_or_else(|| ("invalid", detail()))?;
    u32::try_from(number).ok().filter(|_| (least..=most).contains(&number)).ok_or_else(|| ("out_of_range", detail()))
}

/// The values of the changeable settings by key.
pub type Values = BTreeMap<&'static str, Value>;

fn values(of: &Adjustable) -> Values {
    CHANGEABLE.iter().map(|setting| (setting.key, (setting.get)(of))).collect()
}

/// The changeable settings as they are now, and every setting with where it comes from.
///
/// # Errors
/// `Forbidden`: the settings say much of how this monitor can be reached.
pub fn show(ctx: &ServiceContext, actor: &Actor) -> Result<(Values, BTreeMap<&'static str, Shown>), ServiceError> {
    actor.require(Role::Admin)?;
    let running = ctx.running.get();
    Ok((values(&running), shown::all(&ctx.config, &running)))
}

/// Changes settings, all or none; `null` returns one to what is configured. Answers with what they are then.
///
/// # Errors
/// `Invalid` names every key that is unknown or has a wrong value.
pub async fn change(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    wanted: Map<String, Value>,
) -> Result<Values, ServiceError> {
    actor.require(Role::Admin)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move { change_locked(&work, &actor, &wanted).await }).await
}

async fn change_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    wanted: &Map<String, Value>,
) -> Result<Values, ServiceError> {
    let _changes = ctx.changes.lock().await;
    let configured = Adjustable::of(&ctx.config);
    let before = ctx.running.get();
    let mut after = before;
    let mut errors = Vec::new();
    for (key, value) in wanted {
        let pointer = format!("/{}", pointer::step(key));
        let Some(setting) = CHANGEABLE.iter().find(|setting| setting.key == key) else {
            errors.push(FieldError::at(pointer, "unknown", unknown(key)));
            continue;
        };
        let own;
        let value = if value.is_null() {
            own = (setting.get)(&configured);
            &own
        } else {
            value
        };
        if let Err((rule, detail)) = (setting.set)(&mut after, value) {
            errors.push(FieldError::at(pointer, rule, detail));
        }
    }
    if !errors.is_empty() {
        return Err(ServiceError::Invalid(errors));
    }

    let now = ctx.clock.now();
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let (mut audit_before, mut audit_after) = (Map::new(), Map::new());
    for setting in CHANGEABLE.iter().filter(|setting| wanted.contains_key(setting.key)) {
        let (was, is, own) = ((setting.get)(&before), (setting.get)(&after), (setting.get)(&configured));
        let row = override_key(setting.key);
        if is == own {
            settings::remove(&transaction, &row).await.map_err(ServiceError::Store)?;
        } else {
            let value = json!({ "value": is, "configured": own });
            settings::put(&transaction, &row, value, now).await.map_err(ServiceError::Store)?;
        }
        audit_before.insert(setting.key.to_owned(), was);
        audit_after.insert(setting.key.to_owned(), is);
    }
    let mut row = actor.audit_row(now, "config.update", "config");
    row.before = Some(Value::Object(audit_before));
    row.after = Some(Value::Object(audit_after));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    transaction.commit().await.map_err(|error| ServiceError::Store(error.into()))?;

    ctx.running.set(after);
    ctx.announce(actor, "config.update", "config");
    if after.logging_level != before.logging_level {
        ctx.log_level.set(after.logging_level.as_str());
    }
    if after.cooldown != before.cooldown {
        let mut listing = (*ctx.directory.get()).clone();
        listing.set_cooldown(after.cooldown);
        inherit(&ctx.board, &listing, now);
        ctx.directory.set(listing);
    }
    if after.max_concurrent_checks != before.max_concurrent_checks {
        ctx.scheduler.nudge();
    }
    for (key, value) in values(&after) {
        if wanted.contains_key(key) {
            tracing::info!(setting = key, %value, by = actor.name, "a setting was changed");
        }
    }
    Ok(values(&after))
}

/// Has every endpoint inherit what there is now. One that does not fit it stays as it is.
pub fn inherit(board: &Board, listing: &Listing, now: Timestamp) {
    for entry in board.entries() {
        let known = &entry.known;
        let group = known.settings.group.as_deref().unwrap_or_default();
        let layers = listing.layers_of(known.origin, group).of_any_channel();
        match resolve(&known.settings, layers, now) {
            Ok(endpoint) if endpoint != known.endpoint => board.put(KnownEndpoint { endpoint, ..(**known).clone() }),
            _ => {}
        }
    }
}

/// What to do about a key that cannot be changed.
fn unknown(key: &str) -> String {
    let keys = CHANGEABLE.map(|setting| setting.key);
    let by_path = CHANGEABLE.iter().find(|setting| setting.path == key).map(|setting| setting.key);
    match by_path.or_else(|| closest(key, keys)) {
        Some(meant) => format!("is not a setting that can be changed while running; did you mean {meant}?"),
        None => format!("is not a setting that can be changed while running: those are {}", keys.join(", ")),
    }
}

fn override_key(key: &str) -> String {
    format!("override.{key}")
}

/// The values that apply from the start: as configured, but for overrides made while the configuration was the same.
/// Overrides of a configuration that has changed since are removed.
pub async fn restore(store: &Store, config: &Config) -> Result<Adjustable, StoreError> {
    let configured = Adjustable::of(config);
    let mut running = configured;
    for setting in &CHANGEABLE {
        let row = override_key(setting.key);
        let Some(stored) = settings::get(store.readers(), &row).await? else { continue };
        let own = (setting.get)(&configured);
        let value = &stored["value"];
        if stored["configured"] == own && (setting.set)(&mut running, value).is_ok() {
            tracing::info!(setting = setting.key, %value, configured = %own, "a setting that was changed still holds");
        } else {
            settings::remove(store.writer(), &row).await?;
            tracing::info!(
                setting = setting.key,
                %value,
                configured = %own,
                "a setting that was changed is as configured again: the configuration has another value since"
            );
        }
    }
    Ok(running)
}
