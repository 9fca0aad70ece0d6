//! What may happen.

use std::time::Duration;

use proptest::prelude::*;

use super::{CHANNELS, ENDPOINTS};
use crate::domain::alert_policy::{AlertPolicy, EscalationStep, FailureThreshold, FlapPolicy, ReminderPolicy};

/// How checks of an endpoint end.
#[derive(Debug, Clone)]
pub(crate) enum Health {
    Good,
    /// With a wrong status.
    Bad,
    /// No connection.
    Unreachable,
    /// One bit a check, over and over.
    Flaky(u16),
}

#[derive(Debug, Clone)]
pub(crate) enum Move {
    Health(i64, Health),
    Pass(u64),
    /// The wall clock is set by so many seconds.
    Jump(i64),
    /// The targets of our own network do not answer for so many seconds; with it everything that is not on this machine
    /// is cut off.
    Cut(u64, bool),
    Restart(u64),
    /// Work begins in so many seconds, for so many: of one endpoint, or of all.
    Window(Option<i64>, i64, i64),
    Silence(Option<i64>, i64),
    /// All silences end.
    Unsilence,
    Acknowledge(i64, Option<u64>),
    Resolve(i64),
    Policy(i64, AlertPolicy),
    /// What is checked is another thing.
    Edit(i64),
    Pause(i64, bool),
    /// A channel is on or off.
    Channel(usize, bool),
    Telling(bool),
}

pub(super) fn policies() -> impl Strategy<Value = AlertPolicy> {
    let threshold = prop_oneof![
        3 => (1_u32..=3).prop_map(FailureThreshold::in_a_row),
        1 => (1_u32..=3, 0_u32..=2).prop_map(|(failures, more)| FailureThreshold { failures, of: failures + more }),
    ];
    let cooldown = prop_oneof![1 => Just(0_u64), 3 => 1_u64..=300];
    let reminder = prop::option::of((20_u64..200, 1.0_f64..3.0, 200_u64..600));
    let flap = prop::option::of((1_u32..7, 100_u64..600));
    let escalation = prop::collection::vec(1_u64..200, 0..3);
    let thresholds = (threshold, 1_u64..=20, 1_u32..=3);
    (thresholds, prop::bool::weighted(0.85), cooldown, reminder, flap, escalation, 60_u64..600).prop_map(
        |((failure_threshold, confirm, successes), tells, cooldown, reminder, flap, pauses, acknowledge_for)| {
            let seconds = Duration::from_secs;
            let mut after = 0;
            let step = |pause| {
                after += pause;
                EscalationStep { after: seconds(after), notify: vec!["on-call".to_owned()] }
            };
            AlertPolicy {
                failure_threshold,
                confirm_interval: seconds(confirm),
                success_threshold: successes,
                send_recovery: tells,
                cooldown: seconds(cooldown),
                reminder: reminder.map(|(every, backoff, max)| ReminderPolicy {
                    every: seconds(every),
                    backoff,
                    max: seconds(max),
                }),
                flap: flap.map(|(changes, window)| FlapPolicy { changes, window: seconds(window) }),
                acknowledge_for: seconds(acknowledge_for),
                escalation: pauses.into_iter().map(step).collect(),
                ..AlertPolicy::default()
            }
        },
    )
}

pub(crate) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let id = || 1..=ENDPOINTS;
    let of = || prop::option::of(1..=ENDPOINTS);
    let health = prop_oneof![
        3 => Just(Health::Good),
        4 => Just(Health::Bad),
        1 => Just(Health::Unreachable),
        3 => any::<u16>().prop_map(Health::Flaky),
    ];
    let one = prop_oneof![
        12 => (id(), health).prop_map(|(id, health)| Move::Health(id, health)),
        16 => (1_u64..300).prop_map(Move::Pass),
        1 => (-4_000_i64..4_000).prop_map(Move::Jump),
        2 => (5_u64..400, prop::bool::weighted(0.7)).prop_map(|(length, all)| Move::Cut(length, all)),
        2 => (0_u64..120).prop_map(Move::Restart),
        2 => (of(), 0_i64..30, 5_i64..300).prop_map(|(of, begins, length)| Move::Window(of, begins, length)),
        2 => (of(), 5_i64..300).prop_map(|(of, length)| Move::Silence(of, length)),
        1 => Just(Move::Unsilence),
        3 => (id(), prop::option::of(60_u64..600)).prop_map(|(id, wanted)| Move::Acknowledge(id, wanted)),
        1 => id().prop_map(Move::Resolve),
        1 => (id(), policies()).prop_map(|(id, policy)| Move::Policy(id, policy)),
        1 => id().prop_map(Move::Edit),
        1 => (id(), prop::bool::weighted(0.4)).prop_map(|(id, paused)| Move::Pause(id, paused)),
        1 => (0..CHANNELS.len(), prop::bool::weighted(0.7)).prop_map(|(n, on)| Move::Channel(n, on)),
        1 => prop::bool::weighted(0.8).prop_map(Move::Telling),
    ];
    prop::collection::vec(one, 1..40)
}

/// What depends on what.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Apart,
    /// The second on the first.
    Pair,
    /// The third on the second, and that on the first.
    Chain,
    /// The third on each of the others.
    Both,
    /// The third on the group of the others.
    Group,
}

/// Everything that is as it is from the beginning.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// In seconds.
    pub(super) interval: u64,
    pub(super) policies: Vec<AlertPolicy>,
    pub(super) shape: Shape,
    /// On this machine.
    pub(super) local: Option<i64>,
    /// How often the targets are asked, and for how long failures are not counted, in seconds; `None`: there are none.
    pub(super) network: Option<(u64, u64)>,
}

pub(crate) fn settings() -> impl Strategy<Value = Setting> {
    let shapes = [Shape::Apart, Shape::Pair, Shape::Chain, Shape::Both, Shape::Group];
    let shape = prop::sample::select(shapes.to_vec());
    let local = prop::option::weighted(0.3, 1..=ENDPOINTS);
    let network = prop::option::weighted(0.6, (2_u64..20, 40_u64..400));
    let count = usize::try_from(ENDPOINTS).unwrap_or_default();
    let policies = prop::collection::vec(policies(), count);
    // Now and then so long that only a confirming check can be in time.
    let interval = prop_oneof![5 => 10_u64..90, 1 => 300_u64..900];
    (interval, policies, shape, local, network).prop_map(|(interval, policies, shape, local, network)| Setting {
        interval,
        policies,
        shape,
        local,
        network,
    })
}
