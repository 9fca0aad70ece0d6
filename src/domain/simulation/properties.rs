//! The monitor as a whole, whatever happens to it: checks of every sort, restarts, a clock that jumps, windows, silences,
//! acknowledgements, edits, parents that are down, a network of our own that is cut off, and channels that come and go,
//! in any order, against what [`model`](super::model) expects.
//!
//! `PROPTEST_CASES` says how many cases, `PROPTEST_RNG_SEED` which; the seed is printed. `tests/alerting/run` makes many.

mod moves;
mod run;

use std::time::Duration;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

pub(crate) use self::moves::{Move, Setting, moves, settings};
pub(crate) use self::run::Message;
use self::run::Run;

pub(crate) const CHANNELS: [&str; 3] = ["console", "mail", "on-call"];
const ENDPOINTS: i64 = 3;
/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(3);
const LONGEST_CHECK: Duration = Duration::from_millis(2_500);

/// What is told in a case, which is as expected, in its order, and how long the case lasts.
pub(crate) fn told_in(setting: &Setting, moves: &[Move]) -> (Vec<Message>, Duration) {
    let mut run = Run::new(setting);
    for one in moves {
        run.make(one);
    }
    run.told()
}

/// Runs cases, as many and of such a seed as the environment says; without a word, as few as a test takes, and the same.
pub(crate) fn run_cases<S: Strategy>(strategy: &S, test: impl Fn(S::Value)) {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        // Among the tests always the same cases: others are for `tests/alerting/run`.
        RngSeed::Random => 20_261_122,
    };
    config.rng_seed = RngSeed::Fixed(seed);
    println!("{} cases, PROPTEST_RNG_SEED={seed}", config.cases);
    let result = TestRunner::new(config).run(strategy, |case| {
        test(case);
        Ok(())
    });
    if let Err(error) = result {
        panic!("PROPTEST_RNG_SEED={seed}: {error}");
    }
}

#[test]
fn the_whole_is_right() {
    run_cases(&(settings(), moves()), |(setting, moves)| drop(told_in(&setting, &moves)));
}
