//! Hours and days.

use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::uptime::{DAY_US, HOUR_US, Rollup, day_of, hour_of};
use api_monitor::domain::{Timestamp, from_micros, micros};
use api_monitor::store::rollups::{self, Grain};
use api_monitor::store::{Store, endpoints, history};

use super::{
    Recorder, add_endpoint, at, close_all_days, counted, days, failed, good, history_of, plus, rolled_up, with_database,
};
use crate::database::{Kind, on_both_databases};

async fn stored(store: &Store, id: EndpointId, grain: Grain) -> Vec<(Timestamp, Rollup)> {
    rollups::list(store.readers(), id, grain, from_micros(0)..Timestamp::MAX_UTC).await.unwrap()
}

async fn hours_are_replaced_and_come_back_whole(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let start = at("2026-11-21T10:00:00Z");
        let mut random = fastrand::Rng::with_seed(4);
        let results = history_of(id, start, plus(start, 3_600), 5, &mut random);
        let whole = rolled_up(&results, start, plus(start, 3_600));
        let many: Vec<_> = (0..123).map(|n| (id, plus(start, n * 3_600), whole.clone())).collect();
        rollups::put_hours(store.writer(), &many).await.unwrap();
        assert_eq!(
            stored(store, id, Grain::Hour).await,
            many.iter().map(|(_, s, r)| (*s, r.clone())).collect::<Vec<_>>()
        );
        let bare = Rollup { sketch: None, ..whole.clone() };
        rollups::put_hours(store.writer(), &[(id, start, bare.clone())]).await.unwrap();
        let read = rollups::hours(store.readers(), id, start, plus(start, 7_200)).await.unwrap();
        assert_eq!(read, [(start, bare), (plus(start, 3_600), whole)]);
        let other = add_endpoint(store, "b").await.id;
        let latest = rollups::latest_hour_of_each(store.readers()).await.unwrap();
        assert_eq!(latest, [(id, Some(plus(start, 122 * 3_600))), (other, None)]);
        assert_eq!(
            rollups::newest_start(store.readers(), id, Grain::Hour, plus(start, 3_601)).await.unwrap(),
            Some(plus(start, 3_600))
        );
    })
    .await;
}

async fn days_are_the_sums_of_their_hours_and_are_closed_once(kind: Kind) {
    with_database(kind, async |store| {
        let start = at("2026-11-01T00:00:00Z");
        let mut random = fastrand::Rng::with_seed(5);
        let mut all = Vec::new();
        for name in ["a", "b", "c"] {
            let id = add_endpoint(store, name).await.id;
            let results = history_of(id, start, plus(start, days(4) + 7_000), 300, &mut random);
            let mut recorder = Recorder::new(store);
            recorder.record(&results).await;
            all.push((id, results));
        }
        let before = plus(start, days(3));
        assert_eq!(close_all_days(store, before).await, 9);
        assert_eq!(rollups::close_days(store.writer(), before, 100).await.unwrap(), 0);
        assert_eq!(close_all_days(store, plus(start, days(4))).await, 3);
        for (id, results) in &all {
            let days_stored = stored(store, *id, Grain::Day).await;
            assert_eq!(days_stored.len(), 4);
            for (day, rollup) in days_stored {
                assert_eq!(rollup, rolled_up(results, day, from_micros(micros(day) + DAY_US)), "{id} {day}");
            }
        }
    })
    .await;
}

async fn a_late_result_amends_its_hour_and_its_day(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let start = at("2026-11-01T00:00:00Z");
        // The second day has a check in its last hour only, and the third day none.
        let mut results: Vec<_> = (0..48).map(|n| good(id, plus(start, n * 1_800), 1_000)).collect();
        results.push(good(id, plus(start, days(2) - 60), 2_000));
        results.push(good(id, plus(start, days(3) + 60), 2_000));
        results.push(good(id, plus(start, days(4) + 60), 2_000));
        let mut recorder = Recorder::new(store);
        recorder.record(&results).await;
        assert_eq!(close_all_days(store, plus(start, days(4))).await, 3);

        // Into a full hour, into an empty hour of a closed day, and into a day that had no row.
        let late = [
            failed(id, plus(start, 1)),
            good(id, plus(start, days(1) + 5), 50),
            good(id, plus(start, days(2) + 9), 9_000),
        ];
        recorder.record(&late).await;
        results.extend(late);
        for (grain, length, rows) in [(Grain::Hour, HOUR_US, 28), (Grain::Day, DAY_US, 4)] {
            let found = stored(store, id, grain).await;
            assert_eq!(found.len(), rows, "{grain:?}");
            for (from, rollup) in found {
                assert_eq!(rollup, rolled_up(&results, from, from_micros(micros(from) + length)), "{grain:?} {from}");
            }
        }
        assert_eq!(rollups::close_days(store.writer(), plus(start, days(4)), 10).await.unwrap(), 0);
    })
    .await;
}

async fn an_hour_that_is_stored_after_its_day_was_closed_is_in_the_day(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let day = at("2026-11-01T00:00:00Z");
        let results: Vec<_> = (0..24).map(|n| good(id, plus(day, n * 3_600), 1_000)).collect();
        let hour =
            |n: i64| (id, plus(day, n * 3_600), rolled_up(&results, plus(day, n * 3_600), plus(day, (n + 1) * 3_600)));
        rollups::put_hours(store.writer(), &(0..23).map(hour).collect::<Vec<_>>()).await.unwrap();
        assert_eq!(close_all_days(store, plus(day, days(1))).await, 1);
        rollups::put_hours(store.writer(), &[hour(23)]).await.unwrap();
        assert_eq!(stored(store, id, Grain::Day).await, [(day, rolled_up(&results, day, plus(day, days(1))))]);
    })
    .await;
}

async fn sums_of_all_endpoints_are_those_of_their_checks(kind: Kind) {
    with_database(kind, async |store| {
        let start = at("2026-11-01T03:00:00Z");
        let mut random = fastrand::Rng::with_seed(6);
        let mut all = Vec::new();
        for (name, age) in [("a", 0), ("b", days(2)), ("c", days(3) + 40_000)] {
            let id = add_endpoint(store, name).await.id;
            let results = history_of(id, plus(start, age), plus(start, days(4)), 240, &mut random);
            let mut recorder = Recorder::new(store);
            recorder.record(&results).await;
            let open = recorder.open.map(|open| open.start).unwrap();
            all.push((id, open, results));
        }
        for closed in [0, 2, 4] {
            close_all_days(store, day_of(plus(start, days(closed)))).await;
            for _ in 0..40 {
                let from = hour_of(plus(start, random.i64(-7_200..days(4))));
                let to = hour_of(plus(from, random.i64(0..days(5))));
                let sums = rollups::sums(store.readers(), from, to).await.unwrap();
                for (id, open, results) in &all {
                    let expected = counted(results, from, to.min(*open));
                    assert_eq!(sums.get(id).cloned().unwrap_or_default(), expected, "{id} {from}..{to} {closed}");
                }
            }
        }
    })
    .await;
}

async fn retention_leaves_days_and_what_is_not_old_enough(kind: Kind) {
    with_database(kind, async |store| {
        let start = at("2026-11-01T00:00:00Z");
        let id = add_endpoint(store, "a").await.id;
        let results: Vec<_> = (0..96).map(|n| good(id, plus(start, n * 3_600), 1_000)).collect();
        let mut recorder = Recorder::new(store);
        recorder.record(&results).await;
        // Nothing may go before its day is closed.
        let cutoff = plus(start, days(2) + 3 * 3_600);
        assert_eq!(rollups::delete_hours_before(store.writer(), cutoff, 100).await.unwrap(), 0);
        assert_eq!(close_all_days(store, plus(start, days(2))).await, 2);
        let whole_days = stored(store, id, Grain::Day).await;

        assert_eq!(rollups::drop_hour_sketches(store.writer(), plus(start, days(1)), 20).await.unwrap(), 20);
        assert_eq!(rollups::drop_hour_sketches(store.writer(), plus(start, days(1)), 20).await.unwrap(), 4);
        assert_eq!(rollups::drop_hour_sketches(store.writer(), plus(start, days(1)), 20).await.unwrap(), 0);
        for (hour, rollup) in stored(store, id, Grain::Hour).await {
            assert_eq!(rollup.sketch.is_some(), hour >= plus(start, days(1)), "{hour}");
        }
        let mut batches = Vec::new();
        loop {
            match rollups::delete_hours_before(store.writer(), cutoff, 20).await.unwrap() {
                0 => break,
                n => batches.push(n),
            }
        }
        assert_eq!(batches, [20, 20, 8]);
        while history::delete_before(store.writer(), plus(start, days(3)), 50).await.unwrap() > 0 {}
        assert_eq!(stored(store, id, Grain::Day).await, whole_days);
        assert_eq!(stored(store, id, Grain::Hour).await[0].0, plus(start, days(2)));
        assert_eq!(close_all_days(store, plus(start, days(3))).await, 1);
        endpoints::archive(store.writer(), id, start).await.unwrap();
        assert_eq!(rollups::delete_hours_before(store.writer(), plus(start, days(3)), 100).await.unwrap(), 24);
    })
    .await;
}

on_both_databases!(
    hours_are_replaced_and_come_back_whole,
    days_are_the_sums_of_their_hours_and_are_closed_once,
    a_late_result_amends_its_hour_and_its_day,
    an_hour_that_is_stored_after_its_day_was_closed_is_in_the_day,
    sums_of_all_endpoints_are_those_of_their_checks,
    retention_leaves_days_and_what_is_not_old_enough
);
