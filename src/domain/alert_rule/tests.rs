use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    "2026-11-21T07:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::seconds(seconds)
}

fn settings(json: serde_json::Value) -> AlertSettings {
    serde_json::from_value(json).unwrap()
}

fn bounds(comparison: Comparison, threshold: f64, clear: f64, hold: u64) -> Bounds {
    Bounds { comparison, threshold, clear, is_share: false, hold: Duration::from_secs(hold) }
}

const fn of(kind: QuantityKind) -> Quantity {
    Quantity { kind, has_whole: false }
}

const MEMORY: Quantity = Quantity { kind: QuantityKind::Bytes, has_whole: true };
const FILES: Quantity = Quantity { kind: QuantityKind::Count, has_whole: true };
const BYTES: Quantity = of(QuantityKind::Bytes);
const LAG: Quantity = of(QuantityKind::Seconds);
const CPU: Quantity = of(QuantityKind::Percent);
const COUNT: Quantity = of(QuantityKind::Count);

#[test]
fn a_threshold_is_read_in_the_unit_of_the_metric() {
    for (written, quantity, number, is_share) in [
        (json!("80%"), MEMORY, 80.0, true),
        (json!("64MB"), MEMORY, 64e6, false),
        (json!("64 MiB"), MEMORY, 67_108_864.0, false),
        (json!("1.5gb"), MEMORY, 1.5e9, false),
        (json!(1000), MEMORY, 1000.0, false),
        (json!("1000"), MEMORY, 1000.0, false),
        (json!("50ms"), LAG, 0.05, false),
        (json!("5s"), LAG, 5.0, false),
        (json!("500us"), LAG, 0.0005, false),
        (json!("2m"), LAG, 120.0, false),
        (json!(0.5), LAG, 0.5, false),
        (json!("90%"), CPU, 90.0, false),
        (json!("90"), CPU, 90.0, false),
        (json!(100), COUNT, 100.0, false),
        (json!("80%"), FILES, 80.0, true),
    ] {
        let bounds = Bounds::of(&settings(json!({ "threshold": written })), quantity).unwrap();
        assert!((bounds.threshold - number).abs() < 1e-6 && bounds.is_share == is_share, "{written}: {bounds:?}");
    }
}

#[test]
fn a_threshold_that_does_not_fit_is_refused_with_its_field() {
    for (written, quantity, field, rule) in [
        (json!({}), MEMORY, "threshold", "required"),
        (json!({"threshold": "50ms"}), MEMORY, "threshold", "invalid"),
        (json!({"threshold": "80%"}), BYTES, "threshold", "invalid"),
        (json!({"threshold": "80%"}), LAG, "threshold", "invalid"),
        (json!({"threshold": "64MB"}), CPU, "threshold", "invalid"),
        (json!({"threshold": "5s"}), COUNT, "threshold", "invalid"),
        (json!({"threshold": "much"}), MEMORY, "threshold", "invalid"),
        (json!({"threshold": ""}), MEMORY, "threshold", "invalid"),
        (json!({"threshold": "64M"}), MEMORY, "threshold", "invalid"),
        (json!({"threshold": "NaN"}), MEMORY, "threshold", "invalid"),
        (json!({"threshold": "1".repeat(41)}), MEMORY, "threshold", "invalid"),
        (json!({"threshold": -1}), MEMORY, "threshold", "out_of_range"),
        (json!({"threshold": 1e300}), MEMORY, "threshold", "out_of_range"),
        (json!({"threshold": 10, "clear_threshold": 11}), MEMORY, "clear_threshold", "conflict"),
        (json!({"threshold": 10, "clear_threshold": 9, "comparison": "lt"}), MEMORY, "clear_threshold", "conflict"),
        (json!({"threshold": "80%", "clear_threshold": "64MB"}), MEMORY, "clear_threshold", "conflict"),
        (json!({"threshold": 10, "for": "8d"}), MEMORY, "for", "out_of_range"),
    ] {
        let broken = Bounds::of(&settings(written.clone()), quantity).unwrap_err();
        let found: Vec<_> = broken.iter().map(|(field, rule, _)| (*field, *rule)).collect();
        assert_eq!(found, [(field, rule)], "{written}");
    }
}

#[test]
fn it_clears_a_twentieth_away_unless_it_is_said_where() {
    for (written, quantity, clear) in [
        (json!({"threshold": "80%"}), MEMORY, 76.0),
        (json!({"threshold": 100, "comparison": "lt"}), LAG, 105.0),
        (json!({"threshold": 100}), COUNT, 95.0),
        (json!({"threshold": 1}), COUNT, 1.0),
        (json!({"threshold": "10%"}), FILES, 9.5),
        (json!({"threshold": "80%", "clear_threshold": "50%"}), MEMORY, 50.0),
        (json!({"threshold": 5, "clear_threshold": 5}), MEMORY, 5.0),
        (json!({"threshold": 40, "comparison": "lt"}), COUNT, 40.0),
        (json!({"threshold": 40, "comparison": "lte"}), COUNT, 40.0),
        (json!({"threshold": "90%", "comparison": "lt"}), FILES, 94.5),
        (json!({"threshold": "97%", "comparison": "lt"}), FILES, 100.0),
        (json!({"threshold": 97, "comparison": "lte"}), CPU, 100.0),
        (json!({"threshold": 97, "clear_threshold": 120, "comparison": "lte"}), CPU, 100.0),
    ] {
        let bounds = Bounds::of(&settings(written.clone()), quantity).unwrap();
        assert!((bounds.clear - clear).abs() < 1e-9, "{written}: {bounds:?}");
    }
}

#[test]
fn values_and_ids_for_people() {
    let plain = bounds(Comparison::Gt, 1.0, 1.0, 0);
    let share = Bounds { is_share: true, ..plain };
    for (quantity, bounds, value, shown, unit) in [
        (MEMORY, &share, 83.204, "83.2%", "percent"),
        (MEMORY, &plain, 64_200_000.0, "64.2MB", "bytes"),
        (LAG, &plain, 0.0504, "50.4ms", "seconds"),
        (LAG, &plain, 12.0, "12s", "seconds"),
        (CPU, &plain, 0.0, "0%", "percent"),
        (COUNT, &plain, 100.0, "100", "count"),
    ] {
        assert_eq!((quantity.shown(value, bounds).as_str(), quantity.unit(bounds)), (shown, unit));
    }
    assert_eq!((AlertId(7).to_string().as_str(), AlertId(1234).to_string().as_str()), ("alert_007", "alert_1234"));
    assert_eq!((AlertId::read("alert_007"), AlertId::read("alert_1234")), (Some(AlertId(7)), Some(AlertId(1234))));
    for other in ["", "7", "alert_", "alert_7", "alert_0007", "alert_+07", "alert_99999999999999999999", "Alert_007"] {
        assert_eq!(AlertId::read(other), None, "{other}");
    }
}

#[test]
fn a_share_is_of_the_whole() {
    let share = Bounds { is_share: true, ..bounds(Comparison::Gt, 80.0, 76.0, 0) };
    assert_eq!(share.measured(Some(50.0), Some(200.0)), Some(25.0));
    for (value, whole) in [(Some(1.0), None), (Some(1.0), Some(0.0)), (None, Some(1.0)), (Some(f64::NAN), Some(1.0))] {
        assert_eq!(share.measured(value, whole), None);
    }
    assert_eq!(bounds(Comparison::Gt, 1.0, 1.0, 0).measured(Some(f64::INFINITY), None), None);
}

/// `f`: fires, `c`: clears, else the first letter of the standing, with `-` for no data.
fn run(bounds: &Bounds, measured: &[(i64, Option<f64>)]) -> String {
    let mut state = RuleState::Ok { since: at(0) };
    let mut told = String::new();
    for (second, value) in measured {
        let (next, change) = step(state, *value, bounds, at(*second));
        told.push(match (change, next.standing()) {
            (Some(Change::Fired(_)), _) => 'f',
            (Some(Change::Cleared(_)), _) => 'c',
            (None, Standing::Ok) => 'o',
            (None, Standing::Pending) => 'p',
            (None, Standing::NoData) => '-',
            (None, _) => 'F',
        });
        state = next;
    }
    told
}

#[test]
fn the_machine_as_a_table() {
    let every_five = |values: &[f64]| -> Vec<(i64, Option<f64>)> {
        values.iter().enumerate().map(|(i, v)| (i64::try_from(i).unwrap() * 5, (!v.is_nan()).then_some(*v))).collect()
    };
    let none = f64::NAN;
    let upper = bounds(Comparison::Gt, 80.0, 76.0, 0);
    let held = bounds(Comparison::Gt, 80.0, 76.0, 10);
    let lower = bounds(Comparison::Lt, 10.0, 12.0, 0);
    for (bounds, values, told) in [
        (&upper, &[79.0, 80.0, 80.1, 79.0, 76.1, 76.0, 79.0, 81.0][..], "oofFFcof"),
        (&upper, &[81.0, none, none, 50.0, none, 81.0], "fFFc-f"),
        (&held, &[81.0, 81.0, 81.0, 70.0], "ppfc"),
        (&held, &[81.0, 81.0, 80.0, 81.0, 81.0, 81.0], "ppoppf"),
        (&held, &[81.0, 81.0, none, 81.0, 81.0, 81.0], "pp-ppf"),
        (&lower, &[10.0, 9.0, 11.9, 12.0, 11.0, 9.9], "ofFcof"),
        (&bounds_of_gte(), &[4.0, 5.0, 5.0, 4.9], "ofFc"),
        (&bounds(Comparison::Gte, 5.0, 0.0, 0), &[5.0, 0.5, 0.0], "fFc"),
        (&bounds(Comparison::Lte, 97.0, 100.0, 0), &[97.0, 99.0, 100.0], "fFc"),
    ] {
        assert_eq!(run(bounds, &every_five(values)), told, "{bounds:?} {values:?}");
    }
}

fn bounds_of_gte() -> Bounds {
    bounds(Comparison::Gte, 5.0, 5.0, 0)
}

#[test]
fn while_nobody_looked_nothing_was_pending() {
    let held = bounds(Comparison::Gt, 80.0, 76.0, 60);
    let wrong = Some(90.0);
    assert_eq!(run(&held, &[(0, wrong), (30, wrong), (60, wrong)]), "ppf");
    assert_eq!(run(&held, &[(0, wrong), (3600, wrong), (3630, wrong), (3660, wrong)]), "pppf", "it slept");
    assert_eq!(run(&held, &[(0, wrong), (-3600, wrong), (-3570, wrong), (-3540, wrong)]), "pppf", "set back");
}

prop_compose! {
    fn any_bounds()(
        comparison in prop::sample::select(Comparison::ALL),
        threshold in 0.0..100.0_f64,
        margin in 0.0..20.0_f64,
        hold in 0_u64..40,
    ) -> Bounds {
        let clear = if comparison.is_upper() { threshold - margin } else { threshold + margin };
        bounds(comparison, threshold, clear, hold)
    }
}

/// Where a measurement can be no better: at 0, at 100 %, or of things as soon as it is not wrong any more.
fn best(bounds: &Bounds, quantity: Quantity) -> f64 {
    match bounds.comparison {
        Comparison::Gt | Comparison::Gte => 0.0,
        _ if bounds.is_share || quantity.kind == QuantityKind::Percent => 100.0,
        Comparison::Lt => bounds.threshold.ceil(),
        Comparison::Lte => bounds.threshold.floor() + 1.0,
    }
}

proptest! {
    #[test]
    fn at_the_best_that_can_be_measured_it_clears(
        comparison in prop::sample::select(Comparison::ALL),
        quantity in prop::sample::select(&[MEMORY, FILES, CPU, COUNT, LAG][..]),
        threshold in prop_oneof![(0_u32..=100).prop_map(f64::from), 0.0..100.0_f64, Just(99.999)],
        in_percent in any::<bool>(),
        clear in prop::option::of(0.0..150.0_f64),
    ) {
        // How high bytes and times can come is not known: it clears at the level that is shown.
        let is_known = comparison.is_upper() || !matches!(quantity.kind, QuantityKind::Bytes | QuantityKind::Seconds);
        let in_percent = quantity.has_whole && (in_percent || !is_known);
        prop_assume!(is_known || in_percent);
        // How many things there can be is known to whoever says where it clears.
        let clear = clear.filter(|_| comparison.is_upper() || in_percent || quantity == CPU);
        let clear = clear.map(|clear| if comparison.is_upper() { clear.min(threshold) } else { clear.max(threshold) });
        let written = |level: f64| if in_percent { json!(format!("{level}%")) } else { json!(level) };
        let mut rule = json!({"comparison": comparison, "threshold": written(threshold)});
        if let Some(clear) = clear {
            rule["clear_threshold"] = written(clear);
        }
        let bounds = Bounds::of(&settings(rule), quantity).unwrap();
        let best = best(&bounds, quantity);
        let is_good = !comparison.holds(best, bounds.threshold);
        prop_assert_eq!(is_good, !bounds.always_holds(quantity), "{:?} at {}", bounds, best);
        let firing = Firing { crossed_at: at(0), fired_at: at(0), value: 0.0 };
        let (_, change) = step(RuleState::Firing(firing), Some(best), &bounds, at(5));
        prop_assert_eq!(change, is_good.then_some(Change::Cleared(firing)), "{:?} at {}", bounds, best);
    }

    #[test]
    fn each_fire_has_one_clear_and_neither_comes_too_early(
        bounds in any_bounds(),
        steps in prop::collection::vec((1_i64..20, prop::option::weighted(0.9, -5.0..125.0_f64)), 1..200),
    ) {
        let (mut state, mut second, mut open) = (RuleState::Ok { since: at(0) }, 0, None);
        let mut wrong_since: Option<i64> = None;
        for (pause, value) in steps {
            second += pause;
            let is_wrong = value.is_some_and(|value| bounds.comparison.holds(value, bounds.threshold));
            wrong_since = if is_wrong { wrong_since.or(Some(second)) } else { None };
            let (next, change) = step(state, value, &bounds, at(second));
            match change {
                Some(Change::Fired(firing)) => {
                    prop_assert!(open.is_none(), "it had not cleared");
                    prop_assert!(is_wrong);
                    let held = second - wrong_since.unwrap();
                    prop_assert!(held >= i64::try_from(bounds.hold.as_secs()).unwrap(), "only {held} s");
                    prop_assert_eq!(firing.fired_at, at(second));
                    open = Some(firing);
                }
                Some(Change::Cleared(firing)) => {
                    prop_assert_eq!(open.take(), Some(firing), "the one that fired");
                    // Inside the band nothing happens.
                    let value = value.unwrap();
                    let is_back =
                        if bounds.comparison.is_upper() { value <= bounds.clear } else { value >= bounds.clear };
                    prop_assert!(is_back && !bounds.comparison.holds(value, bounds.threshold));
                }
                None => {
                    let held = wrong_since.map(|since| second - since);
                    let overdue = held.is_some_and(|held| held >= i64::try_from(bounds.hold.as_secs()).unwrap());
                    prop_assert!(open.is_some() || !overdue, "it should have fired");
                }
            }
            prop_assert_eq!(next.firing(), open);
            state = next;
        }
    }
}
