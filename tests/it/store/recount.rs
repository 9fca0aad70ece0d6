//! Counting again after an end without warning.

use api_monitor::domain::uptime::{HOUR_US, OpenHour, hour_of};
use api_monitor::domain::{Timestamp, from_micros, micros};
use api_monitor::store::recount::recount;
use api_monitor::store::rollups::{self, Grain};
use api_monitor::store::{Store, history};

use super::{Recorder, add_endpoint, at, good, history_of, plus, rolled_up, with_database};
use crate::database::{Kind, on_both_databases};

fn hour_after(hour: Timestamp) -> Timestamp {
    from_micros(micros(hour) + HOUR_US)
}

async fn after_a_crash_every_hour_is_what_its_rows_say(kind: Kind) {
    with_database(kind, async |store| {
        let start = at("2026-11-21T00:20:00Z");
        let mut random = fastrand::Rng::with_seed(7);
        let mut all = Vec::new();
        for n in 0..12 {
            let id = add_endpoint(store, &format!("e{n}")).await.id;
            let results = history_of(id, start, plus(start, 5 * 3_600), 20, &mut random);
            let crash = random.usize(0..results.len());
            let mut recorder = Recorder::new(store);
            recorder.record(&results[..crash]).await;
            if n % 3 == 1
                && let Some(open) = recorder.open
            {
                // A clean stop stored the open hour; the crash came after a later start.
                rollups::put_hours(store.writer(), &[(id, open.start, open.rollup)]).await.unwrap();
            }
            // Rows whose hours were still in memory.
            history::append(store.writer(), &results[crash..]).await.unwrap();
            all.push((id, results));
        }
        let unused = add_endpoint(store, "unused").await.id;
        let last = all.iter().filter_map(|(_, results)| results.last()).map(|r| r.scheduled_at).max().unwrap();

        // The present hour has results, then it is long over.
        for now in [last, plus(last, 10 * 3_600)] {
            let first = recount(store, now).await.unwrap();
            assert_eq!(recount(store, now).await.unwrap(), first);
            assert!(!first.contains_key(&unused));
            for (id, results) in &all {
                let present = hour_of(now);
                let open = rolled_up(results, present, hour_after(present));
                let expected = (!open.bucket.is_empty()).then_some(OpenHour { start: present, rollup: open });
                assert_eq!(first.get(id), expected.as_ref(), "{id} at {now}");
                let mut hours: Vec<_> = results.iter().map(|r| hour_of(r.scheduled_at)).collect();
                hours.dedup();
                let stored = stored_before(store, *id, present).await;
                assert_eq!(stored.len(), hours.iter().filter(|hour| **hour < present).count());
                for (hour, rollup) in stored {
                    assert_eq!(rollup, rolled_up(results, hour, hour_after(hour)), "{id} {hour}");
                }
            }
        }
    })
    .await;
}

async fn stored_before(
    store: &Store,
    id: api_monitor::domain::endpoint::EndpointId,
    before: Timestamp,
) -> Vec<(Timestamp, api_monitor::domain::uptime::Rollup)> {
    rollups::list(store.readers(), id, Grain::Hour, from_micros(0)..before).await.unwrap()
}

async fn an_hour_whose_rows_retention_took_is_left_as_it_was_counted(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let hour = at("2026-08-01T10:00:00Z");
        let results: Vec<_> = (0..60).map(|n| good(id, plus(hour, n * 60), 1_000)).collect();
        let whole = rolled_up(&results, hour, hour_after(hour));
        history::append(store.writer(), &results).await.unwrap();
        rollups::put_hours(store.writer(), &[(id, hour, whole.clone())]).await.unwrap();
        for kept in [30, 60] {
            while history::delete_before(store.writer(), plus(hour, kept * 60), 100).await.unwrap() > 0 {}
            assert!(recount(store, at("2026-11-21T10:00:00Z")).await.unwrap().is_empty());
            assert_eq!(stored_before(store, id, Timestamp::MAX_UTC).await, [(hour, whole.clone())]);
        }
    })
    .await;
}

on_both_databases!(
    after_a_crash_every_hour_is_what_its_rows_say,
    an_hour_whose_rows_retention_took_is_left_as_it_was_counted
);
