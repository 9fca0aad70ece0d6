use super::*;
use crate::domain::endpoint::EndpointId;
use crate::domain::notification::{Event, Notification};
use crate::notify::testing::with_event;

impl Queue {
    fn take(&mut self, reading: Reading, rows: Rows) -> Vec<String> {
        self.take_rows(reading, rows, &GroupingPolicy::default(), now())
    }
}

pub(super) fn now() -> Timestamp {
    "2026-11-21T07:00:00Z".parse().unwrap()
}

fn told(id: &str, event: Event) -> Arc<Told> {
    let facts = Notification { id: id.to_owned(), ..with_event(event) };
    Arc::new(Told { facts, endpoint: Some(EndpointId(1)), incident: Some(7), first_of_incident: None })
}

fn handed(id: &str, event: Event, stored: bool) -> Waiting {
    Waiting { told: told(id, event), created_at: now(), stored }
}

pub(super) fn row(id: &str) -> Delivery {
    Delivery {
        id: 1,
        notification_id: id.to_owned(),
        channel: "hook".to_owned(),
        endpoint: Some(EndpointId(1)),
        state: DeliveryState::Pending,
        attempts: 0,
        may_have_arrived: false,
        next_attempt_at: None,
        last_attempt_at: None,
        last_error: None,
        answer: None,
        created_at: now(),
        finished_at: None,
        held_until: None,
        digest: None,
    }
}

fn rows(ids: &[(&str, Event)]) -> Rows {
    Rows {
        deliveries: ids.iter().map(|(id, _)| row(id)).collect(),
        told: ids.iter().map(|(id, event)| told(id, *event)).collect(),
        complete: true,
        lately: None,
    }
}

pub(super) fn delivered() -> Standing {
    Standing {
        state: DeliveryState::Delivered,
        attempts: 1,
        may_have_arrived: false,
        next_attempt_at: None,
        last_attempt_at: Some(now()),
        last_error: None,
        answer: None,
        finished_at: Some(now()),
        held_until: None,
        digest: None,
    }
}

fn next(queue: &Queue) -> Vec<String> {
    let (attempts, _) = queue.next(&HashSet::new(), 9, now());
    attempts.iter().map(|attempt| attempt.item.id().to_owned()).collect()
}

#[test]
fn what_is_written_is_told_by_its_rows_and_by_memory_once_they_cannot_be_read() {
    let mut queue = Queue::default();
    queue.take_handed(vec![handed("a", Event::Down, true), handed("b", Event::Reminder, false)]);
    assert!(!queue.is_known());
    let reading = queue.begin_reading();
    queue.take(reading, rows(&[]));
    assert_eq!(next(&queue), ["b"], "the rows do not have `a` any longer, `b` has none yet");
    queue.cannot_read();
    assert_eq!(next(&queue), ["a"], "and `b` after it");
    assert!(queue.items().iter().all(|item| item.from_memory));
}

#[test]
fn what_was_done_is_not_done_again_and_is_recorded_when_there_are_rows() {
    let mut queue = Queue::default();
    queue.cannot_read();
    queue.take_handed(vec![handed("a", Event::Down, false)]);
    queue.note("a", delivered());
    assert!(next(&queue).is_empty() && queue.to_record().is_empty() && queue.unrecorded() == 1);
    // The rows are written, and a read that began before sees them as they were.
    queue.take_handed(vec![handed("a", Event::Down, true)]);
    let (reading, to_record) = (queue.begin_reading(), queue.to_record());
    assert_eq!(to_record, [("a".to_owned(), delivered())]);
    queue.recorded(to_record);
    assert!(queue.take(reading, rows(&[("a", Event::Down)])).is_empty());
    assert!(next(&queue).is_empty(), "recorded after that read had begun");
    let reading = queue.begin_reading();
    assert_eq!(queue.take(reading, rows(&[])), ["a"], "nothing is left of it");
    assert_eq!((queue.covered(), next(&queue).len()), (0, 0));
}

#[test]
fn a_slow_read_does_not_take_back_what_was_done_meanwhile() {
    let failed = Standing { state: DeliveryState::Pending, finished_at: None, ..delivered() };
    let mut queue = Queue::default();
    queue.take_handed(vec![handed("a", Event::Down, true)]);
    queue.cannot_read();
    queue.note("a", failed.clone());
    queue.recorded(vec![("a".to_owned(), failed)]);
    let reading = queue.begin_reading();
    queue.note("a", delivered());
    queue.take(reading, rows(&[("a", Event::Down)]));
    assert!(next(&queue).is_empty(), "it was delivered while the rows were read");
    assert_eq!(queue.to_record(), [("a".to_owned(), delivered())]);
}

#[test]
fn of_more_rows_than_are_read_nothing_is_told_twice_or_out_of_order() {
    let mut queue = Queue::default();
    queue.take_handed(vec![
        handed("done", Event::Reminder, true),
        handed("beyond", Event::Down, true),
        handed("new", Event::Reminder, false),
    ]);
    queue.cannot_read();
    queue.note("done", delivered());
    queue.recorded(vec![("done".to_owned(), delivered())]);
    let reading = queue.begin_reading();
    let settled = queue.take(reading, Rows { complete: false, ..rows(&[]) });
    assert_eq!(settled, ["done"], "what is finished need not be kept, what was not seen must be");
    queue.take_handed(vec![handed("beyond", Event::Down, true), handed("new", Event::Reminder, false)]);
    assert_eq!(next(&queue), ["beyond"], "before what came after it");
}

#[test]
fn alerts_of_a_rule_go_in_order_and_one_that_was_never_told_is_one_message_with_its_end() {
    let of_rule = |id: &str, event| {
        let Waiting { told, created_at, stored } = handed(id, event, false);
        let told = Arc::new(Told { endpoint: None, incident: None, ..(*told).clone() });
        Waiting { told, created_at, stored }
    };
    let mut queue = Queue::default();
    queue.cannot_read();
    queue.take_handed(vec![of_rule("fires", Event::AlertFiring), of_rule("over", Event::AlertResolved)]);
    let (attempts, _) = queue.next(&HashSet::new(), 9, now());
    assert_eq!((attempts.len(), attempts[0].item.id(), attempts[0].notification.told_late), (1, "over", true));
    assert_eq!(attempts[0].merged[0].id(), "fires");
    // Once it may have arrived both are told, one after the other.
    let doubtful = Standing { state: DeliveryState::Pending, may_have_arrived: true, ..delivered() };
    queue.note("fires", doubtful);
    assert_eq!(next(&queue), ["fires"]);
}

#[test]
fn a_down_that_was_never_told_is_one_message_with_its_recovery_also_from_memory() {
    let mut queue = Queue::default();
    let reading = queue.begin_reading();
    queue.take(reading, rows(&[("down", Event::Down)]));
    queue.cannot_read();
    queue.take_handed(vec![handed("up", Event::Up, false)]);
    let (attempts, _) = queue.next(&HashSet::new(), 9, now());
    assert_eq!((attempts.len(), attempts[0].item.id(), attempts[0].notification.told_late), (1, "up", true));
    assert_eq!(attempts[0].merged[0].id(), "down");
}
