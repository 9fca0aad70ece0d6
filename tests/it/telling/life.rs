//! The monitor, or what it watches, goes away while an outage is open.

use std::sync::Arc;
use std::time::Duration;

use api_monitor::domain::notification::Event;
use api_monitor::domain::outcome::Status;
use api_monitor::service::endpoints::{self, Purge};
use api_monitor::store::incidents::Resolution;
use api_monitor::store::outbox::{self, DeliveryState};

use super::scripted::{Scripted, channels, named};
use super::{START, incidents_of, notifications};
use crate::database::{Kind, on_both_databases};
use crate::flows::harness::{Live, Place, somebody};
use crate::flows::target::Switched;

/// Two channels, of which the endpoint tells one.
struct Two {
    told: Arc<Scripted>,
    other: Arc<Scripted>,
}

impl Two {
    fn at(place: &Place) -> Self {
        Self { told: Scripted::taking(&place.moved()), other: Scripted::taking(&place.moved()) }
    }

    async fn start<'p>(&self, place: &'p Place, yaml: &str) -> Live<'p> {
        let yaml = format!("{}{yaml}", named(&["told", "other"]));
        place.start_through(&yaml, Some(channels([("told", &self.told), ("other", &self.other)]))).await
    }

    fn is_told(&self, events: &[Event]) -> bool {
        self.told.events() == events
    }
}

fn endpoint(target: &Switched, more: &str) -> String {
    let url = target.url("e");
    format!("endpoints: [{{name: e, url: '{url}', interval: 60, notify: [told], retry: {{enabled: false}}{more}}}]")
}

async fn a_restart_tells_nothing_twice_and_forgets_no_recovery(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let two = Two::at(&place);
    let yaml = endpoint(&target, "");
    let first = two.start(&place, &yaml).await;
    first.run_while("the outage", || two.told.events().is_empty()).await;
    first.stop().await;

    let second = two.start(&place, &yaml).await;
    let id = second.id("e");
    assert_eq!(second.status("e"), Status::Down);
    let rows = second.history(id).await.len();
    second.run_until("e", rows + 4).await;
    assert!(two.is_told(&[Event::Down]), "{:?}", two.told.events());
    target.set(200);
    second.run_while("the recovery", || two.told.events().len() < 2).await;
    assert!(two.is_told(&[Event::Down, Event::Up]));
    let incidents = incidents_of(&second, id).await;
    assert_eq!(incidents.len(), 1);
    let told = two.told.taken();
    assert_eq!(told[1].notification.incident.as_ref().unwrap().started_at, incidents[0].started_at);
    assert_eq!(told[0].notification.incident.as_ref().unwrap().id, incidents[0].id);
    assert!(two.other.attempts().is_empty());
    second.stop().await;
}

/// What takes an endpoint from monitoring.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    Pause,
    Delete,
    /// By the file, at a restart, which also tells another channel of endpoints from now on.
    File,
    Inactive,
}

/// Until what was told is known to be: a message whose answer a stop cut off is told again.
async fn until_settled(live: &Live<'_>) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let pending = async || outbox::waiting_channels(live.monitor.store.readers()).await.unwrap();
    while !pending().await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "never settled: {:?}", pending().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn leaves(kind: Kind, how: Leaving) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let two = Two::at(&place);
    let mut live = match how {
        Leaving::Delete => {
            let live = two.start(&place, "").await;
            let settings = serde_json::from_value(serde_json::json!({
                "name": "e", "url": target.url("e"), "interval": 60, "notify": ["told"], "retry": {"enabled": false}
            }));
            endpoints::create(&live.monitor.service, &somebody(), settings.unwrap()).await.unwrap();
            live
        }
        _ => two.start(&place, &endpoint(&target, "")).await,
    };
    let id = live.id("e");
    live.run_while("the outage", || two.told.events().is_empty()).await;
    match how {
        Leaving::Pause => drop(endpoints::pause(&live.monitor.service, &somebody(), id).await.unwrap()),
        Leaving::Delete => {
            endpoints::archive(&live.monitor.service, &somebody(), id, None, Purge::Nothing).await.unwrap();
        }
        Leaving::File | Leaving::Inactive => {
            until_settled(&live).await;
            live.stop().await;
            let yaml = match how {
                Leaving::Inactive => endpoint(&target, ", is_active: false").replace("[told]", "[other]"),
                _ => "notify: [other]\n".to_owned(),
            };
            live = two.start(&place, &yaml).await;
        }
    }
    live.run_while("the end", || two.told.events().len() < 2).await;
    assert!(two.is_told(&[Event::Down, Event::NoLongerMonitored]), "{how:?}: {:?}", two.told.events());
    assert!(two.other.attempts().is_empty(), "{how:?}: who was not told of the outage is not told of its end");
    let incidents = incidents_of(&live, id).await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].resolution, Some(Resolution::NoLongerMonitored));
    let told = &two.told.taken()[1].notification;
    assert_eq!((told.endpoint_name.as_str(), told.status.as_str()), ("e", "unknown"));
    live.stop().await;
}

async fn a_pause_ends_the_incident_for_whoever_was_told(kind: Kind) {
    leaves(kind, Leaving::Pause).await;
}

async fn a_deletion_ends_the_incident_for_whoever_was_told(kind: Kind) {
    leaves(kind, Leaving::Delete).await;
}

async fn what_the_file_drops_ends_the_incident_for_whoever_was_told(kind: Kind) {
    leaves(kind, Leaving::File).await;
    leaves(kind, Leaving::Inactive).await;
}

async fn the_end_for_a_channel_that_is_gone_is_dead_at_once_and_says_why(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let two = Two::at(&place);
    let live = two.start(&place, &endpoint(&target, "")).await;
    live.run_while("the outage", || two.told.events().is_empty()).await;
    live.stop().await;

    let yaml = format!("{}{}", named(&["other"]), endpoint(&target, "").replace("[told]", "[other]"));
    let live = place.start_through(&yaml, Some(channels([("other", &two.other)]))).await;
    target.set(200);
    live.run_while("the recovery", || live.status("e") != Status::Up).await;
    let up = notifications(&live).await.pop().unwrap();
    assert_eq!((up.facts.event, up.deliveries.len()), (Event::Up, 1));
    let delivery = &up.deliveries[0];
    assert_eq!((delivery.channel.as_str(), delivery.state), ("told", DeliveryState::Dead));
    assert!(delivery.last_error.as_deref().unwrap().contains("no longer configured"), "{delivery:?}");
    live.stop().await;
}

async fn a_channel_that_was_only_reminded_is_told_of_the_end(kind: Kind) {
    let target = Switched::good();
    target.set(500);
    let place = Place::on(kind, START);
    let two = Two::at(&place);
    let reminded = ", alert_policy: {reminder: {every: 2m}}";
    let live = two.start(&place, &endpoint(&target, reminded)).await;
    live.run_while("the outage", || two.told.events().is_empty()).await;
    until_settled(&live).await;
    live.stop().await;

    let live = two.start(&place, &endpoint(&target, reminded).replace("[told]", "[other]")).await;
    live.run_while("the reminder", || two.other.events().is_empty()).await;
    target.set(200);
    live.run_while("the end", || two.told.events().len() < 2 || !two.other.events().contains(&Event::Up)).await;
    assert!(two.is_told(&[Event::Down, Event::Up]));
    assert!(two.other.events().starts_with(&[Event::Reminder]), "{:?}", two.other.events());
    live.stop().await;
}

on_both_databases!(
    a_restart_tells_nothing_twice_and_forgets_no_recovery,
    a_pause_ends_the_incident_for_whoever_was_told,
    a_deletion_ends_the_incident_for_whoever_was_told,
    what_the_file_drops_ends_the_incident_for_whoever_was_told,
    the_end_for_a_channel_that_is_gone_is_dead_at_once_and_says_why,
    a_channel_that_was_only_reminded_is_told_of_the_end
);
