//! Whatever is edited, in whatever state an endpoint is: what people are told, when the file was changed before a restart
//! and when it was changed through the API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_monitor::domain::endpoint::EndpointSettings;
use api_monitor::domain::maintenance::WindowSettings;
use api_monitor::domain::outcome::Status;
use api_monitor::service::context::ServiceContext;
use api_monitor::service::endpoints::{self, Purge};
use api_monitor::service::{incidents, maintenance};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::scripted::{Scripted, channels, named};
use super::{START, incidents_of};
use crate::database::{Kind, on_both_databases};
use crate::flows::harness::{Live, Place, somebody};
use crate::flows::target::Switched;

/// The states that endpoints are in when they are edited, which are their names.
const STATES: [&str; 6] = ["up", "failing", "open", "acknowledged", "paused", "window"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Nothing,
    Add,
    Rename,
    MoveGroup,
    Interval,
    Url,
    Policy,
    Remove,
}

const EDITS: [Edit; 8] =
    [Edit::Nothing, Edit::Add, Edit::Rename, Edit::MoveGroup, Edit::Interval, Edit::Url, Edit::Policy, Edit::Remove];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    File,
    Api,
}

/// The messages about each endpoint, by `group/name` as they say it. An endpoint without any is left out.
fn expected(edit: Edit, way: Way) -> BTreeMap<String, String> {
    // What an incident that goes on comes to, and one whose endpoint is gone.
    let goes_on: &[(&str, &str)] =
        &[("failing", "down up"), ("open", "down reminder up"), ("acknowledged", "down acknowledged up")];
    let another = |group: &str, suffix: &str| {
        // For the file what has another name or group is another endpoint, which is neither acknowledged nor paused.
        let mut all = vec![
            ("open".to_owned(), "down no_longer_monitored"),
            ("acknowledged".to_owned(), "down acknowledged no_longer_monitored"),
        ];
        let new = ["failing", "open", "acknowledged", "paused"];
        all.extend(new.map(|state| (format!("{group}{state}{suffix}"), "down up")));
        all
    };
    let the_same = |group: &str, suffix: &str| {
        vec![
            (format!("{group}failing{suffix}"), "down up"),
            ("open".to_owned(), "down"),
            (format!("{group}open{suffix}"), "reminder up"),
            ("acknowledged".to_owned(), "down acknowledged"),
            (format!("{group}acknowledged{suffix}"), "up"),
        ]
    };
    let told = match (edit, way) {
        (Edit::Rename, Way::File) => another("", "-2"),
        (Edit::Rename, Way::Api) => the_same("", "-2"),
        (Edit::MoveGroup, Way::File) => another("elsewhere/", ""),
        (Edit::MoveGroup, Way::Api) => the_same("elsewhere/", ""),
        (Edit::Remove, _) => vec![
            ("open".to_owned(), "down no_longer_monitored"),
            ("acknowledged".to_owned(), "down acknowledged no_longer_monitored"),
        ],
        _ => {
            let mut all: Vec<_> = goes_on.iter().map(|(name, told)| ((*name).to_owned(), *told)).collect();
            all.extend((edit == Edit::Add).then(|| ("added".to_owned(), "down up")));
            all
        }
    };
    told.into_iter().map(|(name, told)| (name, told.to_owned())).collect()
}

struct Watched {
    place: Place,
    targets: BTreeMap<&'static str, Switched>,
    told: Arc<Scripted>,
}

impl Watched {
    fn on(kind: Kind) -> Self {
        let place = Place::on(kind, START);
        let told = Scripted::taking(&place.moved());
        let targets = STATES.into_iter().chain(["added"]).map(|state| (state, Switched::good())).collect();
        Self { place, targets, told }
    }

    fn set(&self, names: &[&str], status: u16) {
        for name in names {
            self.targets[name].set(status);
        }
    }

    fn settings(&self, state: &str) -> Value {
        // The second one is far away.
        let reminder = json!({"every": "150s", "backoff": 20, "max": "1h"});
        json!({
            "name": state, "url": self.targets[state].url("health"), "interval": 10, "retry": {"enabled": false},
            "tags": [if state == "window" { "worked-on" } else { "other" }],
            "alert_policy": {"failure_threshold": 3, "confirm_interval": 10, "cooldown_seconds": 0,
                "reminder": if ["open", "acknowledged"].contains(&state) { reminder } else { json!(false) }},
        })
    }

    /// After the edit; `None`: it is removed.
    fn edited(&self, edit: Edit, state: &str) -> Option<Value> {
        let patch = match edit {
            Edit::Nothing | Edit::Add => json!({}),
            Edit::Rename => json!({"name": format!("{state}-2")}),
            Edit::MoveGroup => json!({"group": "elsewhere"}),
            Edit::Interval => json!({"interval": 20}),
            Edit::Url => json!({"url": self.targets[state].url("health/v2")}),
            Edit::Policy => json!({"alert_policy": {"failure_threshold": 2}}),
            Edit::Remove => return None,
        };
        Some(patch)
    }

    async fn start(&self, endpoints: &[Value]) -> Live<'_> {
        let endpoints = json!(endpoints);
        // Nothing is grouped: each message is looked at.
        let yaml = format!("{}group_messages: false\nendpoints: {endpoints}\n", named(&["told"]));
        self.place.start_through(&yaml, Some(channels([("told", &self.told)]))).await
    }

    /// Until this and nothing else is told, for some minutes at most; and a while longer, for what should not come.
    async fn run_until_told(&self, live: &Live<'_>, all: &BTreeMap<String, String>) {
        let end = self.place.now() + Duration::from_mins(6);
        while self.told() != *all && self.place.now() < end {
            live.run_for(Duration::from_secs(1)).await;
        }
        live.run_for(Duration::from_secs(20)).await;
    }

    fn told(&self) -> BTreeMap<String, String> {
        let mut told: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let all = self.told.taken();
        for taken in &all {
            let endpoint = &taken.notification.endpoint;
            let group = if endpoint.group.is_empty() { String::new() } else { format!("{}/", endpoint.group) };
            told.entry(format!("{group}{}", endpoint.name)).or_default().push(taken.notification.event.as_str());
        }
        told.into_iter().map(|(name, events)| (name, events.join(" "))).collect()
    }
}

fn merged(mut settings: Value, patch: &Value) -> Value {
    for (key, value) in patch.as_object().unwrap() {
        match (&mut settings[key], value) {
            (Value::Object(old), Value::Object(new)) => old.extend(new.clone()),
            (old, new) => *old = new.clone(),
        }
    }
    settings
}

async fn create(ctx: &Arc<ServiceContext>, settings: Value) {
    let settings: EndpointSettings = serde_json::from_value(settings).unwrap();
    endpoints::create(ctx, &somebody(), settings).await.unwrap();
}

/// Brings each endpoint into the state that it is named after.
async fn bring_about(watched: &Watched, live: &Live<'_>) {
    let ctx = &live.monitor.service;
    live.run_while("all up", || STATES.iter().any(|state| live.status(state) != Status::Up)).await;
    watched.set(&["open", "acknowledged"], 500);
    endpoints::pause(ctx, &somebody(), live.id("paused")).await.unwrap();
    let window: WindowSettings = serde_json::from_value(json!({
        "name": "work", "match": ["tag:worked-on"], "start": "2026-11-21T12:00:00Z", "for": "10h",
    }))
    .unwrap();
    maintenance::create(ctx, &somebody(), window).await.unwrap();
    watched.set(&["paused", "window"], 500);
    live.run_while("two outages that are told", || watched.told.taken().len() < 2).await;
    let incident = incidents_of(live, live.id("acknowledged")).await.remove(0);
    incidents::acknowledge(ctx, &somebody(), incident.id, None, None).await.unwrap();
    live.run_while("an acknowledgement that is told", || watched.told.taken().len() < 3).await;
    watched.set(&["failing"], 500);
    live.run_while("a failure", || live.entry("failing").live.state.failures == 0).await;
}

async fn told_of(kind: Kind, edit: Edit, way: Way) -> BTreeMap<String, String> {
    let watched = Watched::on(kind);
    watched.set(&["added"], 500);
    let before: Vec<Value> = STATES.iter().map(|state| watched.settings(state)).collect();
    let added = (edit == Edit::Add).then(|| watched.settings("added"));
    let mut live = match way {
        Way::File => watched.start(&before).await,
        Way::Api => {
            let live = watched.start(&[]).await;
            for settings in &before {
                create(&live.monitor.service, settings.clone()).await;
            }
            live
        }
    };
    bring_about(&watched, &live).await;
    match way {
        Way::File => {
            live.stop().await;
            let kept = STATES
                .iter()
                .zip(before)
                .filter_map(|(state, settings)| watched.edited(edit, state).map(|patch| merged(settings, &patch)));
            let after: Vec<Value> = kept.chain(added).collect();
            live = watched.start(&after).await;
        }
        Way::Api => {
            let ctx = &live.monitor.service;
            for state in STATES {
                let id = live.id(state);
                match watched.edited(edit, state) {
                    None => endpoints::archive(ctx, &somebody(), id, None, Purge::Nothing).await.unwrap(),
                    Some(patch) => drop(endpoints::patch(ctx, &somebody(), id, None, patch).await.unwrap()),
                }
            }
            if let Some(settings) = added {
                create(ctx, settings).await;
            }
        }
    }
    let all = expected(edit, way);
    let is_end = |told: &str| told == "up";
    let until_then = |told: &String| told.split(' ').filter(|told| !is_end(told)).collect::<Vec<_>>().join(" ");
    let before_the_end = all.iter().map(|(name, told)| (name.clone(), until_then(told)));
    watched.run_until_told(&live, &before_the_end.filter(|(_, told)| !told.is_empty()).collect()).await;
    watched.targets.values().for_each(|target| target.set(200));
    watched.run_until_told(&live, &all).await;
    let ids: Vec<String> = watched.told.taken().into_iter().map(|taken| taken.notification.id).collect();
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "nothing twice: {ids:?}");
    live.stop().await;
    watched.told()
}

async fn holds(kind: Kind, way: Way) {
    let mut wrong = Vec::new();
    // No more at once than a server has connections for.
    for edits in EDITS.chunks(if kind == Kind::Postgres { 2 } else { EDITS.len() }) {
        let cases =
            edits.iter().map(|edit| async move { (edit, told_of(kind, *edit, way).await, expected(*edit, way)) });
        for (edit, told, expected) in join_all(cases).await {
            if told != expected {
                wrong.push(format!("{edit:?} by {way:?}: told {told:#?}\nexpected {expected:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn a_changed_file_and_a_restart_tell_what_they_should_in_every_state(kind: Kind) {
    holds(kind, Way::File).await;
}

async fn a_change_through_the_api_tells_what_it_should_in_every_state(kind: Kind) {
    holds(kind, Way::Api).await;
}

on_both_databases!(
    a_changed_file_and_a_restart_tell_what_they_should_in_every_state,
    a_change_through_the_api_tells_what_it_should_in_every_state
);
