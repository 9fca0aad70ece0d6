//! Imagined outages, from the first failed check to the last word.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::domain::Timestamp;
use crate::domain::endpoint::{EndpointId, EndpointSettings, KnownEndpoint, Layers, Origin, resolve};
use crate::domain::holds::Holds;
use crate::domain::incident::EndpointState;
use crate::domain::maintenance::{KnownWindow, WindowMade, WindowSettings};
use crate::domain::notification::{ChannelRoute, Routing};
use crate::domain::outcome::{Failure, FailureKind, Outcome};

/// `settings` beside a name and a URL, as in a configuration.
pub(super) fn known(id: i64, settings: serde_json::Value, now: Timestamp) -> Arc<KnownEndpoint> {
    let mut settings: EndpointSettings = serde_json::from_value(settings).unwrap();
    settings.name = Some(format!("e{id}"));
    settings.url.get_or_insert_with(|| "https://example.com/".to_owned());
    let defaults = EndpointSettings::default();
    let layers = Layers { defaults: &defaults, group: None, timezone: chrono_tz::UTC, channels: None, routes: &[] };
    let endpoint = resolve(&settings, layers, now).unwrap();
    Arc::new(KnownEndpoint {
        id: EndpointId(id),
        origin: Origin::Config,
        source: None,
        revision: 1,
        created_at: now,
        updated_at: now,
        scheduled_from: now,
        settings,
        endpoint,
        paused: false,
    })
}

pub(super) fn channel(name: &str) -> ChannelRoute {
    ChannelRoute { name: name.to_owned(), enabled: true, default: true, severity: None }
}

pub(super) fn routing(names: &[&str]) -> Routing {
    Routing { enabled: true, channels: names.iter().map(|name| channel(name)).collect(), ..Routing::default() }
}

pub(super) fn window(settings: serde_json::Value, now: Timestamp) -> KnownWindow {
    let settings: WindowSettings = serde_json::from_value(settings).unwrap();
    let window = settings.read(chrono_tz::UTC, now).unwrap();
    let made = WindowMade::Configured { source: "here:1".to_owned() };
    KnownWindow { settings, window: Some(window), unreadable: None, made }
}

pub(super) fn failure() -> Outcome {
    Outcome::Down(Failure::new(FailureKind::HttpStatus, "GET returned 502, expected 200"))
}

fn start() -> Timestamp {
    "2026-11-29T02:00:00Z".parse().unwrap()
}

/// One endpoint, down from minute `from` to minute `to` after the start, watched until minute `until`; each line
/// `second what`.
fn outage(settings: serde_json::Value, holds: Holds, from: i64, to: i64, until: i64) -> Vec<String> {
    let known = known(1, settings, start());
    let state = EndpointState { status: crate::domain::outcome::Status::Up, ..EndpointState::pending(start()) };
    let mut world = World::new([(known, state)], holds, routing(&["console", "mail"]), start(), Duration::ZERO);
    world.without_start_grace();
    let mut simulation = Simulation::new(world, start());
    let minute = |n| start() + TimeDelta::minutes(n);
    let (began, over) = (minute(from), minute(to));
    let mut made = |_: &KnownEndpoint, at| {
        let outcome = if began <= at && at < over { failure() } else { Outcome::Up };
        Made { outcome, took: Duration::from_millis(100), late: Duration::ZERO, attempts: 1 }
    };
    simulation.run_until(minute(until), &mut made);
    let line = |said: Said| {
        let second = (said.at - began).num_seconds();
        let what = match said.what {
            What::Message { event, to, held_by, .. } => match held_by {
                Some(by) => format!("{event} held_by {by}"),
                None => format!("{event} -> {}", to.join(",")),
            },
            What::KeptBack { matter, held } => format!("{matter} kept back by {}", held.by),
            What::LetGo { matter } => format!("{matter} let go"),
            _ => return None,
        };
        Some(format!("{second} {what}"))
    };
    simulation.world.take_said().into_iter().filter_map(line).collect()
}

use std::time::Duration;

#[test]
fn an_outage_is_told_ten_seconds_after_the_first_failure_then_reminded_and_ended() {
    let said = outage(json!({"interval": "60s"}), Holds::default(), 10, 130, 200);
    let (first, rest) = said.split_first().unwrap();
    let second: i64 = first.split(' ').next().unwrap().parse().unwrap();
    assert!((10..=71).contains(&second) && first.ends_with("down -> console,mail"), "{first}");
    let at = |n: i64| second + n;
    assert_eq!(rest[0].split_once(' ').unwrap().1, "reminder -> console,mail", "{said:?}");
    let reminded: i64 = rest[0].split(' ').next().unwrap().parse().unwrap();
    assert!((at(3600)..=at(3601)).contains(&reminded), "{said:?}");
    assert!(rest[1].ends_with("up -> console,mail") && rest.len() == 2, "{said:?}");
}

#[test]
fn a_window_keeps_the_outage_back_and_it_is_checked_at_once_at_its_end() {
    let window = window(json!({"name": "work", "match": "*", "start": "2026-11-29T02:05:00Z", "for": "1h"}), start());
    let said = outage(json!({"interval": "10m"}), Holds::new(vec![window], Vec::new()), 10, 130, 100);
    assert!(said[0].ends_with("opening kept back by maintenance"), "{said:?}");
    let told: Vec<_> = said.iter().filter(|line| line.contains("->")).collect();
    // The window ends at minute 55 of the outage; two checks confirm, ten seconds apart.
    let second: i64 = told[0].split(' ').next().unwrap().parse().unwrap();
    assert!((55 * 60..=55 * 60 + 15).contains(&second) && told.len() == 1, "{said:?}");
}
