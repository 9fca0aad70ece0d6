//! Notifications and their deliveries.

use api_monitor::domain::Timestamp;
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::notification::{EndpointFacts, Event, Notification, Severity, Subject, notification_id};
use api_monitor::store::Store;
use api_monitor::store::incidents::{self, Resolution};
use api_monitor::store::outbox::{
    self, Delivery, DeliveryState, NewNotification, NotificationQuery, Standing, WaitsForDigest,
};

use super::incidents::open;
use super::{at, plus, with_database};
use crate::attempts::{AttemptResult, merge, record_attempt};
use crate::database::{Kind, on_both_databases};

const ONE: EndpointId = EndpointId(1);

pub(super) fn start() -> Timestamp {
    at("2026-11-21T10:00:00.123456Z")
}

fn facts(event: Event, second: i64) -> Notification {
    let at = plus(start(), second);
    Notification {
        version: 1,
        id: notification_id(Subject::Endpoint(1), at, event, 0),
        event,
        occurred_at: at,
        told_late: false,
        endpoint: EndpointFacts {
            id: 1,
            name: "it's \"so\"\n".to_owned(),
            group: "core".to_owned(),
            tags: vec!["prod".to_owned()],
            url: "http://127.0.0.1/".to_owned(),
            kind: "http".to_owned(),
        },
        endpoint_name: "it's \"so\"\n".to_owned(),
        url: "http://127.0.0.1/".to_owned(),
        timestamp: at,
        status: "down".to_owned(),
        previous_status: "up".to_owned(),
        severity: Severity::Critical,
        runbook: None,
        failure_kind: Some("connect_refused".to_owned()),
        error: Some("Connection refused".to_owned()),
        incident: None,
        check: None,
        alert: None,
        remarks: Vec::new(),
        items: Vec::new(),
    }
}

/// Adds a notification of an event at that second; gives its id.
pub(super) async fn add(store: &Store, event: Event, second: i64, incident: Option<i64>, channels: &[&str]) -> String {
    add_of(store, ONE, event, second, incident, channels).await
}

async fn add_of(
    store: &Store,
    endpoint: EndpointId,
    event: Event,
    second: i64,
    incident: Option<i64>,
    channels: &[&str],
) -> String {
    let facts = facts(event, second);
    let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
    let held_by = channels.is_empty().then_some("nobody_to_tell");
    let now = plus(start(), second);
    let new = NewNotification {
        facts: &facts,
        endpoint: Some(endpoint),
        incident,
        held_by,
        held_name: None,
        channels: &channels,
        now,
    };
    outbox::insert(store.writer(), &new).await.unwrap();
    facts.id
}

pub(super) async fn pending(store: &Store, channel: &str) -> Vec<Delivery> {
    outbox::pending(store.readers(), channel, 100).await.unwrap()
}

async fn attempt(store: &Store, delivery: &Delivery, result: AttemptResult, second: i64) {
    record_attempt(store.writer(), delivery, &result, plus(start(), second)).await;
}

fn taken() -> AttemptResult {
    AttemptResult::Delivered { answer: "200 OK".to_owned() }
}

async fn a_notification_added_twice_is_one_as_it_was_first(kind: Kind) {
    with_database(kind, async |store| {
        let id = add(store, Event::Down, 0, Some(7), &["a", "b"]).await;
        let delivery = pending(store, "a").await.remove(0);
        attempt(store, &delivery, taken(), 1).await;
        let stored = outbox::find(store.readers(), &id).await.unwrap().unwrap();
        assert_eq!((&stored.facts, stored.endpoint, stored.incident), (&facts(Event::Down, 0), Some(ONE), Some(7)));
        assert_eq!((stored.held_by.as_deref(), stored.created_at), (None, start()));
        assert_eq!(stored.deliveries.iter().map(|d| d.channel.as_str()).collect::<Vec<_>>(), ["a", "b"]);

        assert_eq!(add(store, Event::Down, 0, Some(8), &["b", "a"]).await, id);
        assert_eq!(outbox::find(store.readers(), &id).await.unwrap().unwrap(), stored);
        assert!(pending(store, "a").await.is_empty(), "what was delivered is not delivered again");
        assert_eq!(outbox::find(store.readers(), "ntf_none").await.unwrap(), None);
    })
    .await;
}

async fn those_told_of_an_incident_are_whoever_heard_of_its_outages(kind: Kind) {
    with_database(kind, async |store| {
        add(store, Event::Down, 0, Some(7), &["b", "a"]).await;
        add(store, Event::Reminder, 1, Some(7), &["c"]).await;
        add(store, Event::Up, 2, Some(7), &["b"]).await;
        add(store, Event::DownAgain, 3, Some(7), &["d", "a"]).await;
        add(store, Event::Down, 4, Some(8), &["e"]).await;
        let told = outbox::told_of(store.readers(), &[7, 9]).await.unwrap();
        assert_eq!(told[&7].channels, ["b", "a", "c", "d"]);
        assert_eq!(told[&7].first, Some(facts(Event::Down, 0).id));
        assert!(!told.contains_key(&9));
        let first = outbox::first_of_incident(store.readers(), 7).await.unwrap();
        assert_eq!(first, Some(facts(Event::Down, 0).id));
    })
    .await;
}

async fn what_waits_for_digests_is_known_with_its_channel_its_end_and_the_others(kind: Kind) {
    with_database(kind, async |store| {
        let until = plus(start(), 30);
        let hold = async |id: &str, channel: &str, held_until: Timestamp| {
            let held = Standing {
                state: DeliveryState::Pending,
                attempts: 0,
                may_have_arrived: false,
                next_attempt_at: Some(held_until),
                last_attempt_at: None,
                last_error: None,
                answer: None,
                finished_at: None,
                held_until: Some(held_until),
                digest: None,
            };
            assert!(outbox::record(store.writer(), id, channel, &held).await.unwrap());
        };
        let waiting = async |ids: &[EndpointId]| outbox::waiting_for_digests(store.readers(), ids).await.unwrap();
        let untold = async || outbox::told_of(store.readers(), &[7]).await.unwrap()[&7].waiting.clone();
        let down = add(store, Event::Down, 0, Some(7), &["a", "b"]).await;
        assert_eq!((waiting(&[ONE]).await, untold().await), (Vec::new(), Vec::<String>::new()));
        hold(&down, "a", until).await;
        let expected = |others| WaitsForDigest {
            endpoint: ONE,
            incident: Some(7),
            event: Event::Down,
            channel: "a".to_owned(),
            until,
            others,
        };
        assert_eq!((waiting(&[ONE]).await, untold().await), (vec![expected(0)], vec!["a".to_owned()]));
        // Of two messages about another endpoint, of which the digest names each once, and one of another window.
        for (event, second, held_until) in [(Event::Down, 1, until), (Event::Up, 2, until), (Event::Down, 3, start())] {
            let id = add_of(store, EndpointId(2), event, second, Some(8), &["a"]).await;
            hold(&id, "a", held_until).await;
        }
        assert_eq!(waiting(&[ONE]).await, [expected(1)]);
        let all = waiting(&[EndpointId(9), EndpointId(2), ONE]).await;
        assert_eq!(
            all.iter().map(|waits| (waits.endpoint.0, waits.others)).collect::<Vec<_>>(),
            [(1, 1), (2, 1), (2, 1), (2, 0)]
        );
        // Something of it is told by itself, before or after.
        add(store, Event::Reminder, 4, Some(7), &["a"]).await;
        assert_eq!((waiting(&[ONE]).await.len(), untold().await), (1, Vec::new()));
        // Once its digest is made it waits no longer.
        let delivery = pending(store, "a").await.remove(0);
        attempt(store, &delivery, taken(), 31).await;
        assert_eq!(waiting(&[ONE]).await, []);
    })
    .await;
}

async fn pending_deliveries_of_a_channel_are_in_the_order_they_were_written(kind: Kind) {
    with_database(kind, async |store| {
        // The clock goes backwards in between.
        for (event, second) in [(Event::Down, 50), (Event::Up, 10), (Event::DownAgain, 30)] {
            add(store, event, second, Some(1), &["a", "b"]).await;
        }
        let waiting = pending(store, "a").await;
        let ids: Vec<_> = waiting.iter().map(|d| d.notification_id.clone()).collect();
        assert_eq!(ids, [facts(Event::Down, 50).id, facts(Event::Up, 10).id, facts(Event::DownAgain, 30).id]);
        assert_eq!(outbox::pending(store.readers(), "a", 2).await.unwrap(), waiting[..2]);
        let mut channels = outbox::waiting_channels(store.readers()).await.unwrap();
        channels.sort();
        assert_eq!(channels, ["a", "b"]);
        for delivery in waiting {
            assert_eq!((delivery.state, delivery.attempts, delivery.endpoint), (DeliveryState::Pending, 0, Some(ONE)));
            attempt(store, &delivery, taken(), 60).await;
        }
        assert_eq!(outbox::waiting_channels(store.readers()).await.unwrap(), ["b"]);
    })
    .await;
}

async fn each_result_of_an_attempt_is_kept(kind: Kind) {
    with_database(kind, async |store| {
        let id = add(store, Event::Down, 0, None, &["a", "b"]).await;
        let of = async |n: usize| outbox::find(store.readers(), &id).await.unwrap().unwrap().deliveries.remove(n);
        let (a, b) = (of(0).await, of(1).await);
        let retry = |may_have_arrived| AttemptResult::Retry {
            error: "502".to_owned(),
            next_attempt_at: plus(start(), 6),
            may_have_arrived,
        };
        attempt(store, &a, retry(true), 1).await;
        let tried = of(0).await;
        assert_eq!((tried.state, tried.attempts, tried.may_have_arrived), (DeliveryState::Pending, 1, true));
        assert_eq!((tried.next_attempt_at, tried.last_attempt_at), (Some(plus(start(), 6)), Some(plus(start(), 1))));
        assert_eq!((tried.last_error.as_deref(), tried.finished_at), (Some("502"), None));
        // What may have arrived once may have for good.
        attempt(store, &a, retry(false), 2).await;
        assert!(of(0).await.may_have_arrived);
        attempt(store, &a, taken(), 3).await;
        let done = of(0).await;
        assert_eq!((done.state, done.attempts, done.answer.as_deref()), (DeliveryState::Delivered, 3, Some("200 OK")));
        assert_eq!((done.last_error, done.next_attempt_at, done.finished_at), (None, None, Some(plus(start(), 3))));

        assert_eq!(of(1).await, b, "the other channel's is as it was");
        let dead = AttemptResult::Dead { error: "410 Gone".to_owned(), may_have_arrived: false };
        attempt(store, &b, dead, 4).await;
        let dead = of(1).await;
        assert_eq!((dead.state, dead.attempts, dead.may_have_arrived), (DeliveryState::Dead, 1, false));
        assert_eq!((dead.last_error.as_deref(), dead.next_attempt_at), (Some("410 Gone"), None));
        assert_eq!(dead.finished_at, Some(plus(start(), 4)));

        let counts = outbox::counts(store.readers()).await.unwrap();
        assert_eq!(counts.len(), 2);
        assert_eq!((counts[&DeliveryState::Delivered], counts[&DeliveryState::Dead]), (1, 1));

        // By hand: the dead one alone, and its day begins again.
        assert_eq!(
            outbox::retry(store.writer(), &id, &[a.channel.clone(), b.channel.clone()], plus(start(), 500))
                .await
                .unwrap(),
            1
        );
        assert_eq!(
            outbox::retry(store.writer(), &id, &[a.channel.clone(), b.channel.clone()], plus(start(), 501))
                .await
                .unwrap(),
            0
        );
        let again = of(1).await;
        assert_eq!((again.state, again.finished_at), (DeliveryState::Pending, None));
        assert_eq!((again.next_attempt_at, again.created_at), (Some(plus(start(), 500)), plus(start(), 500)));
        assert_eq!(of(0).await.state, DeliveryState::Delivered);
    })
    .await;
}

async fn deliveries_are_merged_or_given_up_with_their_channel(kind: Kind) {
    with_database(kind, async |store| {
        for second in 0..3 {
            add(store, Event::Down, second, None, &["a", "b"]).await;
        }
        let a = pending(store, "a").await;
        for delivery in &a[..2] {
            merge(store.writer(), delivery, plus(start(), 9)).await;
        }
        assert_eq!(pending(store, "a").await, a[2..]);
        assert_eq!(outbox::give_up(store.writer(), None, "a", "it was removed", plus(start(), 10)).await.unwrap(), 1);
        assert_eq!(pending(store, "b").await.len(), 3);
        let query = |state| NotificationQuery { state: Some(state), limit: 10, ..NotificationQuery::default() };
        let dead = outbox::list(store.readers(), &query(DeliveryState::Dead)).await.unwrap();
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0].deliveries[0].last_error.as_deref(), Some("it was removed"));
        assert_eq!(dead[0].deliveries[0].finished_at, Some(plus(start(), 10)));
        assert_eq!(outbox::count(store.readers(), &query(DeliveryState::Merged)).await.unwrap(), 2);
    })
    .await;
}

async fn lists_are_newest_first_paged_and_by_what_they_tell(kind: Kind) {
    with_database(kind, async |store| {
        for second in 0..6 {
            let event = if second % 2 == 0 { Event::Down } else { Event::Up };
            add(store, event, second, Some(second / 2), &["a"]).await;
        }
        let every = NotificationQuery { limit: 100, ..NotificationQuery::default() };
        let seconds = async |query: NotificationQuery| {
            let found = outbox::list(store.readers(), &query).await.unwrap();
            found.iter().map(|n| (n.created_at - start()).num_seconds()).collect::<Vec<_>>()
        };
        assert_eq!(seconds(every).await, [5, 4, 3, 2, 1, 0]);
        assert_eq!(seconds(NotificationQuery { limit: 2, offset: 1, ..every }).await, [4, 3]);
        assert_eq!(seconds(NotificationQuery { event: Some(Event::Up), ..every }).await, [5, 3, 1]);
        assert_eq!(seconds(NotificationQuery { incident: Some(1), ..every }).await, [3, 2]);
        assert_eq!(seconds(NotificationQuery { endpoint: Some(EndpointId(2)), ..every }).await, [0_i64; 0]);
        let two = NotificationQuery { limit: 2, event: Some(Event::Up), ..every };
        assert_eq!(outbox::count(store.readers(), &two).await.unwrap(), 3);
    })
    .await;
}

async fn old_notifications_go_once_nothing_waits_for_them(kind: Kind) {
    with_database(kind, async |store| {
        let over = open(store, ONE, start()).await;
        incidents::resolve(store.writer(), over, plus(start(), 5), Resolution::Recovered).await.unwrap();
        let still_open = open(store, ONE, plus(start(), 100)).await;
        let mut gone = Vec::new();
        for second in 0..3 {
            gone.push(add(store, Event::Down, second, Some(over), &["a"]).await);
        }
        gone.push(add(store, Event::Down, 3, None, &[]).await);
        let of_open = add(store, Event::DownAgain, 4, Some(still_open), &["a"]).await;
        let young = add(store, Event::Down, 60, None, &["a"]).await;
        for delivery in pending(store, "a").await {
            attempt(store, &delivery, taken(), 61).await;
        }
        let waiting = add(store, Event::Up, 5, Some(over), &["a"]).await;
        for removed in [3, 1, 0] {
            assert_eq!(outbox::delete_before(store.writer(), plus(start(), 60), 3).await.unwrap(), removed);
        }
        for id in gone {
            assert_eq!(outbox::find(store.readers(), &id).await.unwrap(), None);
        }
        for id in [of_open, young, waiting] {
            assert!(outbox::find(store.readers(), &id).await.unwrap().is_some(), "{id}");
        }
        assert_eq!(outbox::told_of(store.readers(), &[still_open]).await.unwrap()[&still_open].channels, ["a"]);
        let left: u64 = outbox::counts(store.readers()).await.unwrap().values().sum();
        assert_eq!(left, 3, "deliveries go with their notification");
    })
    .await;
}

on_both_databases!(
    a_notification_added_twice_is_one_as_it_was_first,
    those_told_of_an_incident_are_whoever_heard_of_its_outages,
    what_waits_for_digests_is_known_with_its_channel_its_end_and_the_others,
    pending_deliveries_of_a_channel_are_in_the_order_they_were_written,
    each_result_of_an_attempt_is_kept,
    deliveries_are_merged_or_given_up_with_their_channel,
    lists_are_newest_first_paged_and_by_what_they_tell,
    old_notifications_go_once_nothing_waits_for_them
);
