//! What one endpoint's results do to it.

use super::*;
use crate::domain::check::{CertificateSeen, Timings};
use crate::domain::from_micros;
use crate::domain::uptime::HOUR_US;
use crate::recorder::testing;

fn at(hour: i64, second: i64) -> Timestamp {
    from_micros(hour * HOUR_US + second * 1_000_000)
}

fn served(fingerprint: &str, until: Timestamp) -> ServedChain {
    let leaf = CertificateSeen {
        fingerprint: fingerprint.to_owned(),
        subject: "CN=one".to_owned(),
        issuer: "CN=test".to_owned(),
        not_before: at(0, 0),
        not_after: until,
        sans: Vec::new(),
    };
    ServedChain { leaf, issuers: Vec::new() }
}

fn known() -> KnownEndpoint {
    testing::known("one", "http://127.0.0.1/", at(0, 0))
}

fn good(scheduled_at: Timestamp) -> CheckResult {
    CheckResult { timings: Timings { total_us: 1_000, ..Timings::default() }, ..testing::good(scheduled_at) }
}

#[test]
fn an_hour_is_closed_once_by_the_first_result_after_it() {
    let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
    assert!(tracked.take(&good(at(10, 5)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.is_none());
    assert!(tracked.take(&good(at(10, 3599)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.is_none());
    let (start, rollup) =
        tracked.take(&good(at(11, 0)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.unwrap();
    assert_eq!((start, rollup.bucket.up), (at(10, 0), 2));
    assert!(tracked.take(&good(at(11, 1)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.is_none());
}

#[test]
fn a_slot_recorded_before_is_refused() {
    let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
    tracked.take(&good(at(10, 5)), &Arc::new(known()), &Facts::default(), at(0, 0));
    for repeated in [at(10, 5), at(10, 4), at(9, 0)] {
        assert!(tracked.take(&good(repeated), &Arc::new(known()), &Facts::default(), at(0, 0)).repeated);
    }
    assert_eq!(tracked.open_hour.unwrap().rollup.bucket.up, 1);
}

#[test]
fn a_result_for_a_written_hour_amends_it() {
    let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
    tracked.take(&good(at(10, 5)), &Arc::new(known()), &Facts::default(), at(0, 0));
    assert!(tracked.close_hour().is_some());
    let late = tracked.take(&good(at(10, 50)), &Arc::new(known()), &Facts::default(), at(0, 0));
    assert!(late.amends && late.closed.is_none() && tracked.open_hour.is_none());
    assert!(!tracked.take(&good(at(11, 0)), &Arc::new(known()), &Facts::default(), at(0, 0)).amends);
}

#[test]
fn after_a_start_hours_up_to_the_newest_result_count_as_written() {
    // The clock was set back before the start: the newest result lies in an hour that is still to come.
    let mut live = Live::pending(at(0, 0));
    live.last = Some(Arc::new(good(at(12, 10))));
    let mut present = OpenHour::holding(at(10, 0));
    present.add(&good(at(10, 1)));
    live.open_hour = Some(present);
    let mut tracked = Tracked::from_live(&live);
    assert!(tracked.take(&good(at(12, 11)), &Arc::new(known()), &Facts::default(), at(0, 0)).amends);
    assert_eq!(tracked.open_hour.as_ref().unwrap().rollup.bucket.up, 1);
    assert_eq!(
        tracked.take(&good(at(13, 0)), &Arc::new(known()), &Facts::default(), at(0, 0)).closed.unwrap().0,
        at(10, 0)
    );
}

#[test]
fn what_is_counted_since_the_start_is_told_once_and_a_certificate_stays() {
    let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
    let mut live = Live::pending(at(0, 0));
    let seen = |fingerprint: &str| {
        let certificate = Some(Arc::new(served(fingerprint, at(99, 0))));
        Seen { connected: true, certificate, ..Seen::default() }
    };
    let shown = seen("one");
    tracked.note(&good(at(10, 5)), shown.clone());
    // A connection that is used again, and the same certificate once more.
    tracked.note(&good(at(10, 6)), Seen { certificate: None, ..shown.clone() });
    tracked.note(&good(at(10, 6)), seen("one"));
    assert!(Arc::ptr_eq(tracked.certificate.as_ref().unwrap(), shown.certificate.as_ref().unwrap()));
    for _ in 0..2 {
        tracked.tell(&mut live);
        assert_eq!((live.counts.up, live.counts.connected), (3, 3));
        assert_eq!((live.counts.codes(), &live.certificate), ([(200, 3)].as_slice(), &shown.certificate));
    }
    let renewed = seen("two");
    tracked.note(&good(at(10, 7)), renewed.clone());
    assert_eq!(tracked.certificate, renewed.certificate);

    // A check that was under way when the endpoint was edited says nothing of what it is now.
    let edited = Arc::new(KnownEndpoint { updated_at: at(11, 0), ..known() });
    tracked.take(&good(at(10, 59)), &edited, &Facts::default(), at(11, 1));
    tracked.note(&good(at(10, 59)), Seen { certificate: Some(Arc::new(served("late", at(99, 0)))), ..shown });
    assert_eq!(tracked.certificate, renewed.certificate);
}

#[test]
fn telling_the_board_moves_closed_hours_once() {
    let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
    let mut live = Live::pending(at(0, 0));
    tracked.take(&good(at(10, 5)), &Arc::new(known()), &Facts::default(), at(0, 0));
    tracked.take(&good(at(11, 5)), &Arc::new(known()), &Facts::default(), at(0, 0));
    tracked.tell(&mut live);
    tracked.tell(&mut live);
    let mut expected = Live::pending(at(0, 0)).windows;
    expected.close(at(10, 0), Share { good: 1, counted: 1 });
    assert_eq!(live.windows, expected);
}

#[test]
fn the_board_is_told_what_was_being_written_and_later_the_rest_each_once() {
    let mut tracked = Tracked::from_live(&Live::pending(at(0, 0)));
    let mut live = Live::pending(at(0, 0));
    let seen = Seen { connected: true, ..Seen::default() };
    let take = |tracked: &mut Tracked, result: CheckResult| {
        tracked.take(&result, &Arc::new(known()), &Facts::default(), at(0, 0));
        tracked.note(&result, seen.clone());
    };
    let told = |live: &Live| {
        let open = live.open_hour.as_ref().map(|open| (open.start, open.rollup.bucket.up));
        (live.last.as_ref().map(|last| last.scheduled_at), open, live.counts.up)
    };
    take(&mut tracked, good(at(10, 5)));
    tracked.begin_writing();
    take(&mut tracked, good(at(10, 6)));
    take(&mut tracked, good(at(11, 0)));
    tracked.tell_written(&mut live);
    assert_eq!(told(&live), (Some(at(10, 5)), Some((at(10, 0), 1)), 1));
    // Without another writing nothing is to be told.
    tracked.tell_written(&mut live);
    assert_eq!(told(&live), (Some(at(10, 5)), Some((at(10, 0), 1)), 1));
    // One that nobody was told of is in the next.
    tracked.begin_writing();
    take(&mut tracked, good(at(11, 1)));
    tracked.begin_writing();
    take(&mut tracked, good(at(12, 0)));
    tracked.tell_written(&mut live);
    assert_eq!(told(&live), (Some(at(11, 1)), Some((at(11, 0), 2)), 4));
    let mut windows = Live::pending(at(0, 0)).windows;
    windows.close(at(10, 0), Share { good: 2, counted: 2 });
    assert_eq!(live.windows, windows);
    // From memory, in the middle of a writing.
    tracked.begin_writing();
    take(&mut tracked, good(at(12, 1)));
    tracked.tell(&mut live);
    assert_eq!(told(&live), (Some(at(12, 1)), Some((at(12, 0), 2)), 6));
    tracked.tell_written(&mut live);
    windows.close(at(11, 0), Share { good: 2, counted: 2 });
    assert_eq!((told(&live), live.windows), ((Some(at(12, 1)), Some((at(12, 0), 2)), 6), windows));
}
