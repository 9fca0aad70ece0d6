//! What the machine is expected to say, row by row: a policy, what happens when, and what is told.
//!
//! Instants are seconds. What happens, one thing each, in its order:
//!
//! | word | is |
//! |---|---|
//! | `60u` `60d` `60n` | a good check that began at 60; one that failed with a wrong status; one that failed to resolve a name |
//! | `60l` `60L` | a degraded check; one by hand |
//! | `60M` `60U` | a failed and a good check by hand |
//! | `60w` `60g` | a failed and a good check in maintenance |
//! | `60o` `60r` `60s` `60z` | a slot missed for overload, for an overrun, because of a stop, because the machine slept |
//! | `60a` `60A` | somebody acknowledges, for as long as the policy says; for 100 s |
//! | `60x` | somebody resolves by hand |
//! | `60e` | what is checked is edited |
//! | `60R` | a restart |
//! | `60p` | the endpoint is paused |
//! | `60W` `60E` | a maintenance window opens; it is over |
//! | `60G` `60N` | the grace of the start begins; it is over |
//! | `60S` `60T` | a silence begins; it is over |
//! | `60.` | nothing; time goes by until then |
//!
//! Time is let work once a second. What is told is written as `instant event span ordinal`: when it was told, what, the
//! instant that began what is told, and the ordinal where there is one. The last word of a row is how it ends: the
//! status, and the start of the incident that is open.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::domain::alert_policy::{EscalationStep, FailureThreshold, FlapPolicy, ReminderPolicy};
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::MissedReason;
use crate::domain::suppression::Hold;
use crate::domain::{from_micros, micros};

const SECOND: i64 = 1_000_000;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The defaults, without reminders.
fn plain() -> AlertPolicy {
    AlertPolicy { reminder: None, ..AlertPolicy::default() }
}

fn in_a_row(failures: u32) -> AlertPolicy {
    AlertPolicy { failure_threshold: FailureThreshold::in_a_row(failures), ..plain() }
}

fn of(failures: u32, of: u32) -> AlertPolicy {
    AlertPolicy { failure_threshold: FailureThreshold { failures, of }, ..plain() }
}

fn recovers_after(successes: u32) -> AlertPolicy {
    AlertPolicy { success_threshold: successes, ..plain() }
}

fn cooldown(length: u64) -> AlertPolicy {
    AlertPolicy { cooldown: seconds(length), ..in_a_row(1) }
}

/// Every check counts; more than 3 changes in 1000 s are flapping.
fn flapping(cooldown: u64) -> AlertPolicy {
    let flap = Some(FlapPolicy { changes: 3, window: seconds(1000) });
    AlertPolicy { flap, cooldown: seconds(cooldown), ..in_a_row(1) }
}

fn reminding(every: u64, backoff: f64, max: u64) -> AlertPolicy {
    let reminder = Some(ReminderPolicy { every: seconds(every), backoff, max: seconds(max) });
    AlertPolicy { reminder, acknowledge_for: seconds(400), ..in_a_row(1) }
}

fn escalating(steps: &[u64]) -> AlertPolicy {
    let step = |after: &u64| EscalationStep { after: seconds(*after), notify: vec!["on-call".to_owned()] };
    AlertPolicy { escalation: steps.iter().map(step).collect(), acknowledge_for: seconds(400), ..in_a_row(1) }
}

fn no_data(intervals: u32) -> AlertPolicy {
    AlertPolicy { no_data_after: Some(intervals), ..plain() }
}

fn degrading() -> AlertPolicy {
    AlertPolicy { notify_degraded: true, ..plain() }
}

fn quiet_recovery() -> AlertPolicy {
    AlertPolicy { send_recovery: false, ..in_a_row(1) }
}

/// The policy, what happens, what is told and how it ends.
type Row = (fn() -> AlertPolicy, &'static str, &'static str);

fn check(rows: &[Row]) {
    let mut wrong = String::new();
    for (policy, happens, expected) in rows {
        let said = run(&policy(), happens);
        if said != *expected {
            write!(wrong, "\n{happens}\n  expected {expected}\n  said     {said}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn thresholds_in_a_row() {
    check(&[
        (plain, "60u 120d 130d", "130 down 120; down 120"),
        (plain, "60u 120d 130u 180d", "up -"),
        (|| in_a_row(1), "60u 120d", "120 down 120; down 120"),
        (|| in_a_row(3), "60u 120d 130d 140u 180d 190d 200d", "200 down 180; down 180"),
        (plain, "60d 70d", "70 down 60; down 60"),
        (plain, "60u 120d 130d 140u", "130 down 120; 140 up 140; up -"),
        // The recovery began with the first of its good checks.
        (|| recovers_after(2), "60u 120d 130d 140u 150u", "130 down 120; 150 up 140; up -"),
        (|| recovers_after(2), "60u 120d 130d 140u 150d 160u 170u", "130 down 120; 170 up 160; up -"),
        // Missed slots and maintenance count neither way.
        (plain, "60u 120d 125o 126w 127s 130d", "130 down 120; down 120"),
        (plain, "60u 120d 125g 130d", "130 down 120; down 120"),
        // A failure by hand brings no outage nearer; a good one by hand counts.
        (plain, "60u 120d 125M 130d", "130 down 120; down 120"),
        (plain, "60u 120d 125U 130d", "up -"),
        (plain, "60u 120d 130d 140U", "130 down 120; 140 up 140; up -"),
    ]);
}

#[test]
fn n_of_m() {
    check(&[
        // 3 of 5: begun with the first failure in the window.
        (|| of(3, 5), "60u 120d 130u 180d 190u 240d", "240 down 120; down 120"),
        // The first failure has left the window of five.
        (|| of(3, 5), "60u 120d 130u 180d 190u 240u 300d", "up -"),
        (|| of(3, 5), "60u 120d 130u 180d 190u 240u 300d 310d", "310 down 180; down 180"),
        (|| of(2, 2), "60u 120d 130d", "130 down 120; down 120"),
        (|| of(2, 3), "60u 120d 130u 180d", "180 down 120; down 120"),
        (|| of(2, 3), "60u 120d 130u 140u 180d", "up -"),
        // The first good check of all empties nothing.
        (|| of(2, 3), "60d 120u 180d", "180 down 60; down 60"),
        // What counts neither way takes no place in the window.
        (|| of(2, 3), "60u 120d 121o 122w 123M 124s 130u 180d", "180 down 120; down 120"),
        // A good check by hand takes one.
        (|| of(2, 3), "60u 120d 130U 140U 180d", "up -"),
        // The window is empty after an outage.
        (|| of(2, 3), "60u 120d 130d 140u 200d 600.", "130 down 120; 140 up 140; up -"),
        (|| of(2, 3), "60u 120d 130d 140u 500d 510u 520d", "130 down 120; 140 up 140; 520 down 500; down 500"),
        // It outlives a restart, and not an edit.
        (|| of(2, 3), "60u 120d 130u 135R 180d", "180 down 120; down 120"),
        (|| of(2, 3), "60u 120d 130u 135e 180d", "up -"),
    ]);
}

#[test]
fn cooldowns_damp_recoveries_and_never_outages() {
    check(&[
        (|| cooldown(300), "60u 120d 180u 240d", "120 down 120; 180 up 180; 240 down_again 240; down 120"),
        (
            || cooldown(300),
            "60u 120d 180u 240d 300u 599. 600.",
            "120 down 120; 180 up 180; 240 down_again 240; 600 up 300; up -",
        ),
        // A failure cancels the held recovery, and neither it nor the outage after it is told.
        (
            || cooldown(300),
            "60u 120d 180u 240d 300u 400d 500u 799. 800.",
            "120 down 120; 180 up 180; 240 down_again 240; 800 up 500; up -",
        ),
        (|| cooldown(300), "60u 120d 180u 480d", "120 down 120; 180 up 180; 480 down 480; down 480"),
        // Open again and good again while it was kept back: what was told last is still the recovery, and its cooldown goes on.
        (
            || cooldown(300),
            "60u 120d 180u 190S 240d 250u 255x 260T 300d",
            "120 down 120; 180 up 180; 240 down_again 240 kept back; 300 down_again 300; down 120",
        ),
        (|| cooldown(0), "60u 120d 180u 240d 300u", "120 down 120; 180 up 180; 240 down 240; 300 up 300; up -"),
        (quiet_recovery, "60u 120d 180u 240d 300u", "120 down 120; 240 down 240; up -"),
        // Held, and a single failure that is not confirmed: good again it waits anew.
        (
            || AlertPolicy { cooldown: seconds(300), ..plain() },
            "60u 120d 130d 180u 240d 250d 300u 400d 410u 650. 710.",
            "130 down 120; 180 up 180; 250 down_again 240; 710 up 410; up -",
        ),
        // A restart holds no longer and no shorter.
        (
            || cooldown(300),
            "60u 120d 180u 240d 300u 400R 599. 600.",
            "120 down 120; 180 up 180; 240 down_again 240; 600 up 300; up -",
        ),
    ]);
}

#[test]
fn flapping_is_told_once_and_ends_by_being_steady() {
    // The outage, the recovery, the outage again, and the fourth change.
    const BEGUN: &str = "60u 120d 180u 240d 300u";
    let rows: Vec<(u64, String, &str)> = vec![
        (300, format!("{BEGUN} 400."), "120 down 120; 180 up 180; 240 down_again 240; 300 flapping 300; up 120"),
        // Steady for the window of 1000 s.
        (
            300,
            format!("{BEGUN} 1299. 1300."),
            "120 down 120; 180 up 180; 240 down_again 240; 300 flapping 300; 1300 up 300; up -",
        ),
        // Further changes are not told, and each recovery waits anew.
        (
            300,
            format!("{BEGUN} 360d 420u 480d 540u 1539. 1540."),
            "120 down 120; 180 up 180; 240 down_again 240; 300 flapping 300; 1540 up 540; up -",
        ),
        // Down for the cooldown: that is told, with the flapping over.
        (
            300,
            format!("{BEGUN} 360d 659. 660."),
            "120 down 120; 180 up 180; 240 down_again 240; 300 flapping 300; 660 down_again 360; down 120",
        ),
        // Its recovery is held for the cooldown.
        (
            300,
            format!("{BEGUN} 360d 700u 999. 1000."),
            "120 down 120; 180 up 180; 240 down_again 240; 300 flapping 300; 660 down_again 360; 1000 up 700; up -",
        ),
        // The fourth change is an outage: it is told as one, and the next recovery begins the flapping.
        (
            0,
            "60d 120u 180d 240u 300d 360u 400.".to_owned(),
            "60 down 60; 120 up 120; 180 down 180; 240 up 240; 300 down 300; 360 flapping 360; up 300",
        ),
        // Changes that lie apart are no flapping.
        (
            300,
            "60u 120d 600u 1200d 1800u 2400d 3000u".to_owned(),
            "120 down 120; 600 up 600; 1200 down 1200; 1800 up 1800; 2400 down 2400; 3000 up 3000; up -",
        ),
        // A restart forgets nothing of it.
        (
            300,
            "60u 120d 180u 240d 250R 300u 310R 360d 370R 420u 430R 1419. 1420.".to_owned(),
            "120 down 120; 180 up 180; 240 down_again 240; 300 flapping 300; 1420 up 420; up -",
        ),
        // An edit keeps the incident; it is still flapping.
        (
            300,
            format!("{BEGUN} 310e 360d 420u 1419. 1420."),
            "120 down 120; 180 up 180; 240 down_again 240; 300 flapping 300; 1420 up 420; up -",
        ),
    ];
    let mut wrong = String::new();
    for (length, happens, expected) in rows {
        let said = run(&flapping(length), &happens);
        if said != expected {
            write!(wrong, "\n{happens}\n  expected {expected}\n  said     {said}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    check(&[(
        || AlertPolicy { flap: None, ..flapping(300) },
        "60u 120d 180u 240d 300u 360d 420u 480d 540u 839. 840.",
        "120 down 120; 180 up 180; 240 down_again 240; 840 up 540; up -",
    )]);
}

#[test]
fn reminders_come_until_somebody_acknowledges() {
    check(&[
        (
            || reminding(100, 2.0, 300),
            "60d 159. 160. 360. 660. 960.",
            "60 down 60; 160 reminder 60 1; 360 reminder 60 2; 660 reminder 60 3; 960 reminder 60 4; down 60",
        ),
        (plain, "60d 70d 100000.", "70 down 60; down 60"),
        // For the 400 s of the policy; then what is due comes at once.
        (
            || reminding(100, 1.0, 300),
            "60d 100a 499. 500. 600.",
            "60 down 60; 100 acknowledged 60 1; 500 reminder 60 1; 600 reminder 60 2; down 60",
        ),
        // For as long as it was said.
        (
            || reminding(100, 1.0, 300),
            "60d 100A 199. 200.",
            "60 down 60; 100 acknowledged 60 1; 200 reminder 60 1; down 60",
        ),
        // Again: each is told, by an id of its own.
        (
            || reminding(1000, 1.0, 1000),
            "60d 100A 150A 300.",
            "60 down 60; 100 acknowledged 60 1; 150 acknowledged 60 2; down 60",
        ),
        // An acknowledged outage that ends is told to be over, and the next one is another.
        (
            || AlertPolicy { cooldown: seconds(0), ..reminding(100, 1.0, 300) },
            "60d 100a 150u 200d 300.",
            "60 down 60; 100 acknowledged 60 1; 150 up 150; 200 down 200; 300 reminder 200 1; down 200",
        ),
        // It outlives a restart and an edit.
        (
            || reminding(100, 1.0, 300),
            "60d 100a 150R 200e 499. 500.",
            "60 down 60; 100 acknowledged 60 1; 500 reminder 60 1; down 60",
        ),
        // Nothing is open: nobody can acknowledge it.
        (|| reminding(100, 1.0, 300), "60u 100a", "100 nothing; up -"),
        // None while a recovery is held.
        (
            || AlertPolicy { cooldown: seconds(300), ..reminding(100, 1.0, 100) },
            "60d 100u 150d 200u 400. 500.",
            "60 down 60; 100 up 100; 150 down_again 150; 500 up 200; up -",
        ),
    ]);
}

#[test]
fn escalation_goes_step_by_step_until_somebody_acknowledges() {
    check(&[
        (
            || escalating(&[100, 300]),
            "60d 159. 160. 359. 360. 9000.",
            "60 down 60; 160 escalated 60 1; 360 escalated 60 2; down 60",
        ),
        (|| escalating(&[100]), "60d 100u 400.", "60 down 60; 100 up 100; up -"),
        (
            || escalating(&[100, 500]),
            "60d 100a 499. 500. 899. 900.",
            "60 down 60; 100 acknowledged 60 1; 500 escalated 60 1; 900 escalated 60 2; down 60",
        ),
        // None while a recovery is held; each step once in an incident.
        (
            || AlertPolicy { cooldown: seconds(300), ..escalating(&[100]) },
            "60d 100u 120d 180u 230. 240d 600.",
            "60 down 60; 100 up 100; 120 down_again 120; 241 escalated 240 1; down 60",
        ),
        (|| escalating(&[100]), "60d 159. 160R 165. 170R 400.", "60 down 60; 160 escalated 60 1; down 60"),
    ]);
}

#[test]
fn an_incident_is_resolved_by_hand_only_while_checks_are_good() {
    check(&[
        (plain, "60d 70d 80x", "70 down 60; 80 refused; down 60"),
        (plain, "60u 70x", "70 nothing; up -"),
        // A recovery that is held, and one that is not confirmed.
        (
            || cooldown(300),
            "60u 120d 180u 240d 300u 350x",
            "120 down 120; 180 up 180; 240 down_again 240; 350 up 300; up -",
        ),
        (|| recovers_after(3), "60u 120d 130d 140u 150x", "130 down 120; 150 up 140; up -"),
        (|| recovers_after(3), "60u 120d 130d 140u 145d 150x", "130 down 120; 150 refused; down 120"),
        // It has just failed again.
        (
            || AlertPolicy { cooldown: seconds(300), ..plain() },
            "60u 120d 130d 180u 240d 250d 300u 350d 351x",
            "130 down 120; 180 up 180; 250 down_again 240; 351 refused; up 120",
        ),
    ]);
}

#[test]
fn no_data_is_no_outage() {
    check(&[
        // At least 60 s and so many slots.
        (|| no_data(3), "60u 120o 180o 240o", "240 no_data 120; up -"),
        (|| no_data(2), "60u 120o 130o 140o 179o", "up -"),
        (|| no_data(2), "60u 120o 130o 140o 180o 190o", "180 no_data 120; up -"),
        (|| no_data(3), "60u 120o 180r 240o 300o", "240 no_data 120; up -"),
        // A verdict ends it, and is told.
        (|| no_data(3), "60u 120o 180o 240o 300u", "240 no_data 120; 300 up 300; up -"),
        (|| no_data(3), "60u 120o 180o 240o 300d 310d", "240 no_data 120; 310 down 300; down 300"),
        (|| no_data(3), "60u 120o 180o 240o 300d 310u", "240 no_data 120; 310 up 310; up -"),
        // A verdict in between begins the count again.
        (|| no_data(3), "60u 120o 180o 200u 240o 300o", "up -"),
        (|| no_data(3), "60u 120o 180o 200d 240o 300o", "up -"),
        // What is missed for other reasons is no sign of being unwatched, and begins it again: this process was not there.
        (|| no_data(3), "60u 120s 180s 240s 300z 360z", "up -"),
        (|| no_data(3), "60u 120o 180o 190z 240o 300o", "up -"),
        (|| no_data(3), "60u 120o 180o 190R 240o 300o", "up -"),
        // Once told it is told to be over, over a restart too.
        (|| no_data(3), "60u 120o 180o 240o 250R 300o 360o 420o 480u", "240 no_data 120; 480 up 480; up -"),
        // Not before the first verdict, and not while an incident is open.
        (|| no_data(3), "120o 180o 240o 300o", "pending -"),
        (|| no_data(3), "60d 70d 120o 180o 240o 300o", "70 down 60; down 60"),
        // Paused it is not watched on purpose.
        (|| no_data(3), "60u 120o 180o 240o 300p", "240 no_data 120; 300 no_longer_monitored 120; pending -"),
        (|| AlertPolicy { no_data_after: None, ..plain() }, "60u 120o 180o 240o 300o 360o 420o 480o 540o", "up -"),
        (|| AlertPolicy { send_recovery: false, ..no_data(3) }, "60u 120o 180o 240o 300u", "240 no_data 120; up -"),
        // Maintenance says nothing, neither that it is watched.
        (|| no_data(3), "60u 120o 180o 200g 240o", "240 no_data 120; up -"),
        // What is missed in a window counts nowhere.
        (|| no_data(3), "60u 120o 180W 190o 240o 300o 310E 360o 420o", "420 no_data 120; up -"),
    ]);
}

#[test]
fn degraded_is_confirmed_told_and_ended_beside_outages() {
    check(&[
        // A status of its own, by the thresholds of outages; told where that is wanted, and then its end too.
        (plain, "60u 120l 180l", "degraded -"),
        (plain, "60u 120l 180l 240u", "up -"),
        (degrading, "60u 120l 180u 240l", "up -"),
        (degrading, "60u 120l 180l", "180 degraded 120; degraded -"),
        (degrading, "60u 120l 180l 240l 300u", "180 degraded 120; 300 up 300 1; up -"),
        (|| AlertPolicy { notify_degraded: true, ..of(2, 3) }, "60u 120l 180u 240l", "240 degraded 120; degraded -"),
        (|| AlertPolicy { notify_degraded: true, ..of(2, 3) }, "60u 120l 180u 240u 300l", "up -"),
        (
            || AlertPolicy { notify_degraded: true, ..recovers_after(2) },
            "60u 120l 180l 240u 300l 360u 420u",
            "180 degraded 120; 420 up 360 1; up -",
        ),
        (|| AlertPolicy { notify_degraded: true, ..quiet_recovery() }, "60u 120l 180u", "120 degraded 120; up -"),
        // The first check of all is no change of anything.
        (degrading, "60l 120l", "up -"),
        (degrading, "60l 120l 180l", "180 degraded 120; degraded -"),
        // By hand nothing is confirmed, and a good one ends it.
        (degrading, "60u 120l 130L 140L", "up -"),
        (degrading, "60u 120l 180l 190U", "180 degraded 120; 190 up 190 1; up -"),
        // Missed slots and maintenance count neither way, and a failed check is nothing of the sort.
        (degrading, "60u 120l 130o 140w 150d 180l", "180 degraded 120; degraded -"),
        (degrading, "60u 120l 125e 180l", "up -"),
        (degrading, "60u 120l 125R 180l", "180 degraded 120; degraded -"),
        // It counts as good for outages, and for their ends.
        (plain, "60u 120d 130l 180d", "up -"),
        (plain, "60u 120d 130d 140l", "130 down 120; 140 up 140; up -"),
        // The end of an outage is the end of both; who was told of the one is told.
        (degrading, "60u 120l 180l 240d 250d 300u", "180 degraded 120; 250 down 240; 300 up 300; up -"),
        (
            degrading,
            "60u 120l 180l 240d 250d 300l 360l 420l",
            "180 degraded 120; 250 down 240; 300 up 300; 420 degraded 360; degraded -",
        ),
        // Leaving ends it.
        (degrading, "60u 120l 180l 200p", "180 degraded 120; 200 no_longer_monitored 120; pending -"),
        (plain, "60u 120l 180l 200p", "degraded -"),
        // Within the cooldown of a told end it is told at once, and its end once that has lasted.
        (
            degrading,
            "60u 120l 180l 240u 300l 360l 420u 700u 730.",
            "180 degraded 120; 240 up 240 1; 360 degraded 300; 720 up 420 1; up -",
        ),
        (
            degrading,
            "60u 120l 180l 240u 300l 360l 420u 480l 540l 600u 950.",
            "180 degraded 120; 240 up 240 1; 360 degraded 300; 900 up 600 1; up -",
        ),
        // What keeps it back has it noted; it is told afterwards if it lasts.
        (degrading, "60u 120l 130W 180l 200E 210.", "180 degraded 120 kept back; 201 degraded 120; degraded -"),
        (degrading, "60u 120l 130W 180l 190u 200E 210.", "180 degraded 120 kept back; up -"),
    ]);
}

#[test]
fn edits_restarts_and_leaving() {
    check(&[
        (plain, "60u 120d 125R 130d", "130 down 120; down 120"),
        (plain, "60u 120d 125e 130d 140d", "140 down 130; down 130"),
        // An edit keeps the incident.
        (plain, "60u 120d 130d 135e 140d 150u", "130 down 120; 150 up 150; up -"),
        (|| recovers_after(2), "60u 120d 130d 140u 145e 150u 160u", "130 down 120; 160 up 150; up -"),
        (plain, "60u 120d 130d 135R 140u", "130 down 120; 140 up 140; up -"),
        (plain, "60u 120d 130d 135p 200u", "130 down 120; 135 no_longer_monitored 120; up -"),
        (plain, "60u 120p", "up -"),
    ]);
}

#[test]
fn after_a_start_failures_of_our_network_open_nothing() {
    check(&[
        (plain, "1G 2n 3n 4n 31N 32n", "32 down 2; down 2"),
        (plain, "1G 2n 3n 4u 5N 6n", "up -"),
        // A wrong answer is never held.
        (plain, "1G 2d 3d", "3 down 2; down 2"),
        (|| of(2, 3), "1G 2n 3n 4n 5n 31N 32n", "32 down 4; down 4"),
    ]);
}

/// Lives through what happens, and writes down what is told.
fn run(policy: &AlertPolicy, happens: &str) -> String {
    let mut life = Life {
        policy,
        state: EndpointState::pending(from_micros(0)),
        missed: MissedRun::default(),
        around: Facts::default(),
        said: String::new(),
    };
    let mut now = 0;
    for word in happens.split_whitespace() {
        let (at, what) = word.split_at(word.len() - 1);
        let at: i64 = at.parse().unwrap();
        while now < at {
            now += 1;
            while let Some(step) = advance(&life.state, policy, &life.around, from_micros(now * SECOND)) {
                life.keep(step, now);
            }
        }
        life.meet(what, now);
    }
    let open = life.state.incident.as_ref().map(|incident| (micros(incident.started_at) / SECOND).to_string());
    write!(life.said, "{} {}", life.state.status, open.as_deref().unwrap_or("-")).unwrap();
    life.said
}

struct Life<'a> {
    policy: &'a AlertPolicy,
    state: EndpointState,
    missed: MissedRun,
    around: Facts,
    said: String,
}

impl Life<'_> {
    fn meet(&mut self, what: &str, now: i64) {
        let at = from_micros(now * SECOND);
        let failed = |kind| Outcome::Down(Failure::new(kind, "it failed"));
        let wrong = failed(FailureKind::HttpStatus);
        let missed = |reason| CheckResult::missed(EndpointId(1), at, 1, reason);
        match what {
            "u" => self.check(Outcome::Up, Trigger::Scheduled, false, now),
            "d" => self.check(wrong, Trigger::Scheduled, false, now),
            "n" => self.check(failed(FailureKind::DnsServfail), Trigger::Scheduled, false, now),
            "l" => self.check(Outcome::Degraded, Trigger::Scheduled, false, now),
            "L" => self.check(Outcome::Degraded, Trigger::Manual, false, now),
            "M" => self.check(wrong, Trigger::Manual, false, now),
            "U" => self.check(Outcome::Up, Trigger::Manual, false, now),
            "w" => self.check(wrong, Trigger::Scheduled, true, now),
            "g" => self.check(Outcome::Up, Trigger::Scheduled, true, now),
            "o" => self.take(&missed(MissedReason::Overload), now),
            "r" => self.take(&missed(MissedReason::Overrun), now),
            "s" => self.take(&missed(MissedReason::Stopped), now),
            "z" => self.take(&missed(MissedReason::Suspended), now),
            "a" | "A" => {
                let wanted = (what == "A").then(|| seconds(100));
                let by = Acknowledging { by: "ci".to_owned(), note: None, wanted };
                self.keep_or("nothing", acknowledge(&self.state, by, self.policy, at), now);
            }
            "x" => match resolve_by_hand(&self.state, self.policy, at) {
                Ok(step) => self.keep(step, now),
                Err(Unresolvable::NothingOpen) => self.say("nothing", now),
                Err(Unresolvable::ChecksFail) => self.say("refused", now),
            },
            "e" => self.state = self.state.recounted(),
            "R" => self.missed = MissedRun::default(),
            "p" => {
                if let Some(step) = abandon(&self.state, at) {
                    self.keep(step, now);
                }
            }
            "G" => self.around.start_grace = Some(Hold { name: String::new(), until: None }),
            "N" => self.around.start_grace = None,
            "S" => self.around.silence = Some(Hold { name: String::new(), until: None }),
            "T" => self.around.silence = None,
            "W" => self.around.maintenance = Some(Hold { name: String::new(), until: None }),
            "E" => self.around.maintenance = None,
            "." => {}
            other => panic!("no such word: {other}"),
        }
    }

    fn check(&mut self, outcome: Outcome, trigger: Trigger, in_maintenance: bool, now: i64) {
        let result = CheckResult { in_maintenance, ..super::tests::result(now, outcome, trigger) };
        self.take(&result, now);
    }

    fn take(&mut self, result: &CheckResult, now: i64) {
        let at = from_micros(now * SECOND);
        if let Some(step) = watch(&self.state, &mut self.missed, result, self.policy, &self.around, at) {
            self.keep(step, now);
        }
        let step = step(&self.state, result, self.policy, &self.around, at);
        self.keep(step, now);
    }

    fn keep_or(&mut self, otherwise: &str, step: Option<Step>, now: i64) {
        match step {
            Some(step) => self.keep(step, now),
            None => self.say(otherwise, now),
        }
    }

    fn keep(&mut self, step: Step, now: i64) {
        self.state = step.state;
        if let Some(Tell { event, span, ordinal, held_by }) = step.tell {
            let span = micros(span) / SECOND;
            let ordinal = if ordinal == 0 { String::new() } else { format!(" {ordinal}") };
            let kept = if held_by.is_some() { " kept back" } else { "" };
            self.say(&format!("{event} {span}{ordinal}{kept}"), now);
        }
    }

    fn say(&mut self, what: &str, now: i64) {
        write!(self.said, "{now} {what}; ").unwrap();
    }
}
