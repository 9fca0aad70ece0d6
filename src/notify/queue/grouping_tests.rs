use super::grouping::Grouped;
use super::tests::{delivered, now, row};
use super::*;
use crate::domain::endpoint::EndpointId;
use crate::domain::grouping::digest::digest_id;
use crate::domain::notification::{Event, Notification};
use crate::notify::testing::with_event;

fn told(endpoint: i64, event: Event) -> Arc<Told> {
    let mut facts = with_event(event);
    facts.id = format!("{event}-{endpoint}");
    facts.endpoint.id = endpoint;
    facts.endpoint.name = format!("e{endpoint}");
    if let Some(incident) = &mut facts.incident {
        incident.id = endpoint;
    }
    let facts = Notification { endpoint_name: facts.endpoint.name.clone(), ..facts };
    Arc::new(Told { facts, endpoint: Some(EndpointId(endpoint)), incident: Some(endpoint), first_of_incident: None })
}

/// Rows of such messages, written so many seconds after the first.
fn rows(messages: &[(i64, Event, i64)]) -> Rows {
    let row = |(endpoint, event, second): &(i64, Event, i64)| Delivery {
        created_at: after(*second),
        endpoint: Some(EndpointId(*endpoint)),
        ..row(&format!("{event}-{endpoint}"))
    };
    Rows {
        deliveries: messages.iter().map(row).collect(),
        told: messages.iter().map(|(endpoint, event, _)| told(*endpoint, *event)).collect(),
        complete: true,
        lately: None,
    }
}

fn after(seconds: i64) -> Timestamp {
    now() + chrono::TimeDelta::seconds(seconds)
}

fn storm(count: i64) -> Vec<(i64, Event, i64)> {
    (1..=count).map(|endpoint| (endpoint, Event::Down, 0)).collect()
}

fn read(queue: &mut Queue, rows: Rows) {
    let reading = queue.begin_reading();
    queue.take_rows(reading, rows, &GroupingPolicy::default(), now());
}

/// What is attempted then.
fn attempts(queue: &mut Queue, at: Timestamp) -> Vec<Attempt> {
    queue.admit(Some(&GroupingPolicy::default()), &HashSet::new(), at);
    queue.next(&HashSet::new(), usize::MAX, at).0
}

fn ids(attempts: &[Attempt]) -> Vec<&str> {
    attempts.iter().map(|attempt| attempt.item.id()).collect()
}

fn only(due: Vec<Grouped>) -> Grouped {
    assert_eq!(due.len(), 1, "{due:?}");
    due.into_iter().next().unwrap()
}

fn facts(grouped: &Grouped) -> &Notification {
    &grouped.digest.told.facts
}

fn deliver(queue: &mut Queue, ids: &[&str]) {
    for id in ids {
        queue.note(id, delivered());
    }
}

#[test]
fn the_fourth_message_waits_and_is_told_with_those_after_it() {
    let mut queue = Queue::default();
    read(&mut queue, rows(&storm(6)));
    assert_eq!(ids(&attempts(&mut queue, now())), ["down-1", "down-2", "down-3"]);
    let held = queue.to_record();
    assert_eq!(held.len(), 3);
    assert!(held.iter().all(|(_, standing)| standing.held_until == Some(after(30))), "{held:?}");
    deliver(&mut queue, &["down-1", "down-2", "down-3"]);
    assert!(queue.due_digests("hook", after(29)).is_empty());
    let digest = only(queue.due_digests("hook", after(30)));
    assert!(queue.due_digests("hook", after(31)).is_empty(), "once");
    assert_eq!(facts(&digest).items.iter().map(|item| item.endpoint.id).collect::<Vec<_>>(), [4, 5, 6]);
    assert!(attempts(&mut queue, after(31)).is_empty(), "its rows are not written");

    queue.grouped(&digest);
    let after_it = [(4, Event::Up, 31), (9, Event::Down, 31)];
    let mut all = rows(&storm(3));
    all.deliveries.clear();
    let later = rows(&after_it);
    (all.deliveries, all.told) = (later.deliveries, later.told);
    // Read before the digest had rows.
    queue.rows = Vec::new();
    for told in &all.told {
        queue.told.insert(told.facts.id.clone(), told.clone());
    }
    queue.rows = all.deliveries.iter().filter_map(|row| queue.item_of(row)).collect();
    let due = attempts(&mut queue, after(31));
    assert_eq!(ids(&due), [facts(&digest).id.as_str(), "down-9"], "what comes later waits for the digest");
}

#[test]
fn few_messages_are_told_as_ever_and_one_that_would_be_alone_is_no_digest() {
    let mut queue = Queue::default();
    read(&mut queue, rows(&storm(4)));
    assert_eq!(attempts(&mut queue, now()).len(), 3);
    deliver(&mut queue, &["down-1", "down-2", "down-3"]);
    assert!(queue.due_digests("hook", after(30)).is_empty());
    assert_eq!(ids(&attempts(&mut queue, after(30))), ["down-4"]);
}

#[test]
fn after_a_restart_the_same_messages_make_the_same_digest() {
    let mut first = Queue::default();
    read(&mut first, rows(&storm(6)));
    attempts(&mut first, now());
    deliver(&mut first, &["down-1", "down-2", "down-3"]);
    let digest = only(first.due_digests("hook", after(30)));

    let held = |row: Delivery| Delivery { held_until: Some(after(30)), ..row };
    let mut written = rows(&storm(6));
    written.deliveries = written.deliveries.into_iter().skip(3).map(held).collect();
    // What is written after the end of the window is told after the digest.
    let later = rows(&[(5, Event::Up, 31)]);
    written.deliveries.extend(later.deliveries);
    written.told.extend(later.told);
    let mut second = Queue::default();
    read(&mut second, written);
    assert!(attempts(&mut second, after(40)).is_empty());
    let again = only(second.due_digests("hook", after(40)));
    assert_eq!(facts(&again), facts(&digest));
    assert_eq!(facts(&digest).id, digest_id(&["down-6", "down-4", "down-5"].map(str::to_owned)));
}

#[test]
fn what_would_have_been_held_by_the_process_that_ended_was_not_attempted() {
    // It ended before it could note what it held: all that is due may have arrived, as far as the rows go.
    let doubt = |row: Delivery| Delivery { may_have_arrived: true, ..row };
    let mut written = rows(&storm(6));
    let lately = |row: &Delivery| Lately {
        notification_id: row.notification_id.clone(),
        created_at: row.created_at,
        held_until: None,
    };
    written.lately = Some(written.deliveries.iter().map(lately).collect());
    // The first arrived, which is known; of the second and third it is not.
    written.deliveries = written.deliveries.into_iter().skip(1).map(doubt).collect();
    let mut queue = Queue::default();
    read(&mut queue, written);
    assert!(queue.is_resumed());
    let due = attempts(&mut queue, after(5));
    assert_eq!(ids(&due), ["down-2", "down-3"]);
    assert!(due.iter().all(|attempt| attempt.item.may_have_arrived));
    deliver(&mut queue, &["down-2", "down-3"]);
    assert_eq!(facts(&only(queue.due_digests("hook", after(30)))).items.len(), 3);
}

#[test]
fn a_digest_that_comes_late_tells_no_outage_that_is_over() {
    let mut queue = Queue::default();
    read(&mut queue, rows(&storm(6)));
    attempts(&mut queue, now());
    deliver(&mut queue, &["down-1", "down-2", "down-3"]);
    let digest = only(queue.due_digests("hook", after(30)));
    queue.grouped(&digest);
    let later = rows(&[(4, Event::Up, 100), (5, Event::Reminder, 100), (5, Event::Up, 101)]);
    for told in &later.told {
        queue.told.insert(told.facts.id.clone(), told.clone());
    }
    queue.rows = later.deliveries.iter().filter_map(|row| queue.item_of(row)).collect();
    let due = attempts(&mut queue, after(110));
    let [attempt] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((attempt.item.id(), attempt.notification.told_late), (facts(&digest).id.as_str(), true));
    let events: Vec<_> = attempt.notification.items.iter().map(|item| (item.endpoint.id, item.events.len())).collect();
    assert_eq!(events, [(6, 1), (4, 2), (5, 3)], "what needs somebody is first");
    let merged: Vec<_> = attempt.merged.iter().map(Item::id).collect();
    assert_eq!(merged, ["up-4", "reminder-5", "up-5"]);
    // Once it may have arrived as it was it stays so, and the ends are told after it.
    let doubtful = Standing { state: DeliveryState::Pending, may_have_arrived: true, ..delivered() };
    queue.note(&facts(&digest).id.clone(), doubtful);
    let due = attempts(&mut queue, after(120));
    assert_eq!((ids(&due), due[0].merged.len()), (vec![facts(&digest).id.as_str()], 0));
    assert_eq!(due[0].notification, *facts(&digest));
}

#[test]
fn down_and_up_within_a_window_are_one_item_and_what_is_not_of_endpoints_passes() {
    let mut messages = storm(5);
    messages.extend([(4, Event::Up, 10), (6, Event::ChannelFailing, 10)]);
    let mut all = rows(&messages);
    if let Some(told) = all.told.last_mut() {
        *told = Arc::new(Told { endpoint: None, incident: None, ..(**told).clone() });
    }
    let mut queue = Queue::default();
    read(&mut queue, all);
    assert_eq!(ids(&attempts(&mut queue, after(11))), ["down-1", "down-2", "down-3", "channel_failing-6"]);
    let digest = only(queue.due_digests("hook", after(30)));
    let items: Vec<_> = facts(&digest).items.iter().map(|item| (item.endpoint.id, item.was_down())).collect();
    assert_eq!(items, [(5, false), (4, true)]);
    assert_eq!(digest.standings.len(), 3);
}

#[test]
fn with_the_database_away_a_digest_goes_out_from_memory_and_says_so() {
    let mut queue = Queue::default();
    let waiting = |endpoint| Waiting { told: told(endpoint, Event::Down), created_at: now(), stored: false };
    queue.take_handed((1..=6).map(waiting).collect());
    queue.cannot_read();
    assert_eq!(attempts(&mut queue, now()).len(), 3);
    deliver(&mut queue, &["down-1", "down-2", "down-3"]);
    let mut digest = only(queue.due_digests("hook", after(30)));
    queue.group_from_memory(&mut digest);
    assert_eq!(facts(&digest).remarks, [crate::handover::FROM_MEMORY]);
    let handed = Waiting { told: digest.digest.told.clone(), created_at: after(30), stored: false };
    queue.take_handed((1..=6).map(waiting).chain([handed]).collect());
    assert_eq!(ids(&attempts(&mut queue, after(30))), [facts(&digest).id.as_str()]);
    queue.note(&facts(&digest).id.clone(), delivered());
    assert!(attempts(&mut queue, after(31)).is_empty() && queue.to_record().is_empty());
    assert_eq!(queue.unrecorded(), 7, "to be recorded once there are rows");
}

#[test]
fn a_channel_that_groups_no_longer_lets_go_of_what_is_held() {
    let mut queue = Queue::default();
    read(&mut queue, rows(&storm(5)));
    assert_eq!(attempts(&mut queue, now()).len(), 3);
    queue.admit(None, &HashSet::new(), after(1));
    assert_eq!(queue.next(&HashSet::new(), usize::MAX, after(1)).0.len(), 5);
}

#[test]
fn of_very_many_endpoints_there_are_several_digests_each_endpoint_in_one() {
    let mut queue = Queue::default();
    read(&mut queue, rows(&storm(2_300)));
    assert_eq!(attempts(&mut queue, now()).len(), 3);
    let due = queue.due_digests("hook", after(30));
    assert_eq!(due.iter().map(|grouped| facts(grouped).items.len()).collect::<Vec<_>>(), [1_000, 1_000, 297]);
}
