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
        Made::once(outcome, Duration::from_millis(100))
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

/// Endpoints, whether each fails at a minute after the start, watched until a minute; lines `second name what` of what is
/// told and what keeps it back.
fn many(
    endpoints: Vec<Arc<KnownEndpoint>>,
    holds: Holds,
    fails: impl Fn(i64, i64) -> bool,
    until: i64,
) -> Vec<(i64, String)> {
    let good = |known: Arc<KnownEndpoint>| {
        let state = EndpointState { status: crate::domain::outcome::Status::Up, ..EndpointState::pending(start()) };
        (known, state)
    };
    let channels = routing(&["console"]);
    let mut world = World::new(endpoints.into_iter().map(good), holds, channels, start(), Duration::ZERO);
    world.without_start_grace();
    let mut simulation = Simulation::new(world, start());
    let mut made = |known: &KnownEndpoint, at: Timestamp| {
        let is_down = fails(known.id.0, (at - start()).num_minutes());
        Made::once(if is_down { failure() } else { Outcome::Up }, Duration::from_millis(100))
    };
    simulation.run_until(start() + TimeDelta::minutes(until), &mut made);
    let line = |said: Said| {
        let what = match said.what {
            What::Message { event, held_by: None, .. } => format!("{event}"),
            What::Message { event, held_by: Some(by), .. } => format!("{event} held_by {by}"),
            What::KeptBack { matter, held } => format!("{matter} kept back by {} {}", held.by, held.name),
            _ => return None,
        };
        Some(((said.at - start()).num_seconds(), format!("e{} {what}", said.endpoint)))
    };
    simulation.world.take_said().into_iter().filter_map(line).collect()
}

fn words(lines: &[(i64, String)]) -> Vec<&str> {
    lines.iter().map(|(_, line)| line.as_str()).collect()
}

fn parent_and_child() -> Vec<Arc<KnownEndpoint>> {
    let child = json!({"interval": "60s", "depends_on": ["e1"]});
    vec![known(1, json!({"interval": "60s"}), start()), known(2, child, start())]
}

#[test]
fn a_child_is_held_while_its_parent_is_down_and_nothing_is_told_if_both_come_back() {
    let said = many(parent_and_child(), Holds::default(), |_, minute| (10..30).contains(&minute), 40);
    assert_eq!(
        words(&said),
        ["e2 down held_by parent_down", "e2 opening kept back by parent_down e1", "e1 down", "e1 up",],
    );
}

#[test]
fn the_parents_of_a_child_that_fails_alone_are_asked_first_and_it_is_told_when_they_have_answered() {
    let said = many(parent_and_child(), Holds::default(), |id, minute| id == 2 && (10..30).contains(&minute), 40);
    let told: Vec<_> = said.iter().filter(|(_, line)| !line.contains("kept back")).collect();
    assert_eq!(words(&said).last(), Some(&"e2 up"), "{said:?}");
    assert!(told.iter().any(|(_, line)| line == "e2 down"), "{said:?}");
    let kept = said.iter().find(|(_, line)| line == "e2 opening kept back by parent_down e1").unwrap();
    let down = said.iter().find(|(_, line)| line == "e2 down").unwrap();
    assert!(down.0 - kept.0 <= 1, "the answer takes a tenth of a second: {said:?}");
}

#[test]
fn a_child_that_stays_down_is_checked_and_told_when_its_parent_answers_again() {
    let fails = |id, minute| (10..if id == 1 { 30 } else { 50 }).contains(&minute);
    let said = many(parent_and_child(), Holds::default(), fails, 60);
    let at = |line: &str| said.iter().find(|(_, found)| found == line).unwrap_or_else(|| panic!("{line}: {said:?}")).0;
    assert!((0..=3).contains(&(at("e2 down") - at("e1 up"))), "{said:?}");
    assert!(at("e2 up") >= 50 * 60, "{said:?}");
}

#[test]
fn the_window_of_a_parent_is_one_of_its_children() {
    let work = window(json!({"name": "work", "match": "e1", "start": "2026-11-29T02:05:00Z", "for": "40m"}), start());
    let fails = |id, minute| id == 2 && (10..60).contains(&minute);
    let said = many(parent_and_child(), Holds::new(vec![work], Vec::new()), fails, 70);
    assert_eq!(said[0].1, "e2 opening kept back by maintenance work", "{said:?}");
    let down = said.iter().find(|(_, line)| line == "e2 down").unwrap();
    assert!((45 * 60..45 * 60 + 25).contains(&down.0), "checked at its end: {said:?}");
}
