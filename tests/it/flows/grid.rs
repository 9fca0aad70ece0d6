//! Many endpoints with different intervals, and one that hangs: nobody holds up anybody, and nothing drifts.

use std::fmt::Write as _;
use std::time::Duration;

use api_monitor::domain::check::Trigger;
use api_monitor::domain::outcome::Outcome;
use api_monitor::domain::{from_micros, micros};

use super::harness::Place;
use super::target::{Answer, Target};

const ENDPOINTS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_slot_is_served_on_its_grid_while_a_target_hangs() {
    let target = Target::answering(|_, _| Answer::Status(200));
    let hanging = Target::answering(|_, _| Answer::Hang);
    let place = Place::real();
    let mut yaml = "endpoints:\n".to_owned();
    for n in 0..ENDPOINTS {
        writeln!(yaml, "  - {{name: e{n}, url: '{}', interval: {}}}", target.url(&format!("e{n}")), n % 3 + 1).unwrap();
    }
    writeln!(yaml, "  - {{name: hanging, url: '{}', interval: 2}}", hanging.url("hanging")).unwrap();
    let live = place.start(&yaml).await;
    let id = live.id("e0");
    let deadline = place.now() + Duration::from_secs(60);
    while live.history(id).await.len() < 10 {
        assert!(place.now() < deadline, "too few checks");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let (mut checked, mut missed) = (0_u32, 0_u32);
    for n in 0..ENDPOINTS {
        let name = format!("e{n}");
        let entry = live.entry(&name);
        let rows = live.history(entry.known.id).await;
        let slots = entry.known.endpoint.schedule.slots(entry.known.id);
        assert!(rows.len() >= 3, "{name}: {rows:#?}");
        // The first check of a new endpoint stands for the slot in which it was made.
        let mut expected = slots.next_after(rows[0].scheduled_at).unwrap();
        for row in &rows[1..] {
            let stands_for =
                slots.count_between(from_micros(micros(expected) - 1), from_micros(micros(row.scheduled_at) + 1));
            assert_eq!(
                slots.at_or_before(row.scheduled_at),
                Some(row.scheduled_at),
                "{name} is off its grid: {row:#?}"
            );
            assert_eq!(row.slots, stands_for, "{name} left a slot out before {row:#?}");
            match row.outcome {
                Outcome::Up => {
                    checked += 1;
                    assert_eq!((row.trigger, row.attempts), (Trigger::Scheduled, 1));
                    assert!(row.started_at >= row.scheduled_at, "{name} came early: {row:#?}");
                }
                Outcome::Missed(_) => missed += row.slots,
                _ => panic!("{name}: {row:#?}"),
            }
            expected = slots.next_after(row.scheduled_at).unwrap();
        }
        let made = rows.iter().filter(|row| row.attempts > 0).count();
        assert!(target.hits(&name).len() - made <= 1, "{name}: what was asked is recorded");
    }
    // A busy machine may be late for a slot, and then says so; it is an exception.
    assert!(missed * 20 <= checked, "{missed} slots missed, {checked} checked");
    let hung = live.history(live.id("hanging")).await;
    assert!(hung.iter().all(|row| !row.outcome.is_good()), "{hung:#?}");
    live.stop().await;
}
