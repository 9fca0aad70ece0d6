//! Scenes of the machine, and a property over random ones.

use proptest::prelude::*;

use super::*;

const MAX: u64 = 600;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn of(address: &str) -> Reaches {
    Reaches::of([address.parse().unwrap()])
}

fn public() -> Reaches {
    of("9.9.9.9")
}

/// The machine with one target in the Internet.
struct Scene {
    machine: Connectivity,
    targets: Reaches,
}

impl Scene {
    fn new(quorum: u32) -> Self {
        let rules = Rules { quorum, interval: s(10), max_suppression: s(MAX) };
        Self { machine: Connectivity::new(rules), targets: public() }
    }

    fn with_targets(targets: Reaches) -> Self {
        Self { targets, ..Self::new(1) }
    }

    fn probe(&mut self, at: u64, answered: u32) -> Option<Change> {
        self.machine.ask(s(at));
        self.machine.probed(Probe { began: s(at), answered, reaches: self.targets })
    }

    fn judge(&mut self, endpoint: i64, at: u64) -> Verdict {
        self.judge_at(endpoint, public(), at)
    }

    fn judge_at(&mut self, endpoint: i64, reaches: Reaches, at: u64) -> Verdict {
        let failed = FailedCheck { endpoint: EndpointId(endpoint), reaches, began: s(at), ended: s(at) };
        self.machine.judge(failed, s(at))
    }

    /// Judges, and asks the targets if that is called for.
    fn fail(&mut self, endpoint: i64, at: u64, answered: u32) -> Verdict {
        match self.judge(endpoint, at) {
            Verdict::Ask => {
                self.probe(at, answered);
                self.judge(endpoint, at)
            }
            verdict => verdict,
        }
    }

    fn succeed(&mut self, endpoint: i64, began: u64, ended: u64) {
        self.machine.succeeded(EndpointId(endpoint), public(), s(began), s(ended));
    }

    fn network(&self, at: u64) -> Network {
        self.machine.network(s(at)).0
    }
}

fn until(seconds: u64) -> Verdict {
    Verdict::OwnNetwork { until: s(seconds) }
}

#[test]
fn nobody_is_asked_while_nothing_fails() {
    let mut scene = Scene::new(1);
    scene.succeed(1, 1, 2);
    assert_eq!((scene.machine.ask_at(), scene.network(3)), (None, Network::Reachable));
}

#[test]
fn a_failure_counts_while_the_targets_answer_and_not_while_they_do_not() {
    let mut scene = Scene::new(1);
    assert_eq!(scene.fail(1, 100, 1), Verdict::Counts);
    assert_eq!(scene.judge(1, 101), Verdict::Ask, "an answer of before says nothing");
    assert_eq!(scene.probe(101, 0), Some(Change::Blind { since: s(101) }));
    assert_eq!(scene.judge(1, 102), until(102 + MAX));
    assert_eq!(scene.judge(2, 110), until(102 + MAX), "from the first suppressed failure of the period");
    assert_eq!(scene.network(110), Network::Blind);
    let check = vec![EndpointId(1), EndpointId(2)];
    assert_eq!(scene.probe(120, 1), Some(Change::Over { since: s(101), check }));
    assert_eq!((scene.judge(1, 121), scene.network(121)), (Verdict::Ask, Network::Reachable));
}

#[test]
fn as_many_targets_must_answer_as_the_quorum_says() {
    for (quorum, answered, expected) in [(1, 1, true), (1, 0, false), (2, 1, false), (2, 2, true), (2, 4, true)] {
        let mut scene = Scene::new(quorum);
        assert_eq!(scene.fail(1, 5, answered) == Verdict::Counts, expected, "{answered} of {quorum}");
    }
}

#[test]
fn only_what_is_where_the_targets_are_is_suppressed() {
    let (private, loopback) = (of("10.0.0.1"), of("127.0.0.1"));
    for (targets, reaches, suppressed) in [
        (public(), public(), true),
        (public(), private, false),
        (private, private, true),
        (private, public(), false),
        (public().and(private), private, true),
        (private, Reaches::UNRESOLVED, false),
        (public(), Reaches::UNRESOLVED, true),
        (public().and(private), loopback, false),
        (loopback, loopback, false),
        (loopback, public(), false),
    ] {
        let mut scene = Scene::with_targets(targets);
        scene.probe(1, 0);
        assert_eq!(scene.judge_at(1, reaches, 2) != Verdict::Counts, suppressed, "{targets:?} {reaches:?}");
    }
    let mut scene = Scene::new(1);
    assert_eq!(scene.judge_at(1, loopback, 2), Verdict::Counts, "nobody is asked for it");
    assert_eq!(scene.machine.ask_at(), None);
}

#[test]
fn targets_are_asked_once_a_second_at_most_and_at_intervals_while_they_do_not_answer() {
    let mut scene = Scene::new(1);
    scene.judge(1, 50);
    assert_eq!(scene.machine.ask_at(), Some(Duration::ZERO));
    scene.probe(50, 1);
    assert_eq!(scene.machine.ask_at(), None);
    scene.judge(2, 50);
    assert_eq!(scene.machine.ask_at(), None, "asked since");
    let ended = Duration::from_millis(50_100);
    scene.machine.judge(FailedCheck { endpoint: EndpointId(2), reaches: public(), began: ended, ended }, ended);
    assert_eq!(scene.machine.ask_at(), Some(s(51)));
    scene.probe(51, 0);
    assert_eq!(scene.machine.ask_at(), Some(s(61)));
    scene.judge(2, 55);
    assert_eq!(scene.machine.ask_at(), Some(s(61)), "what is known is enough");
}

#[test]
fn an_endpoint_that_is_reached_while_the_targets_do_not_answer_proves_them_wrong_once_they_are_asked_again() {
    let mut scene = Scene::new(1);
    scene.fail(1, 100, 0);
    scene.succeed(2, 99, 101);
    assert_eq!(scene.machine.ask_at(), Some(s(110)), "it began before");
    scene.machine.succeeded(EndpointId(3), of("10.0.0.1"), s(101), s(102));
    scene.machine.succeeded(EndpointId(3), of("127.0.0.1"), s(101), s(102));
    assert_eq!(scene.machine.ask_at(), Some(s(110)), "neither is where the targets are");
    scene.succeed(2, 101, 102);
    assert_eq!(scene.machine.ask_at(), Some(s(101)));
    let ignored = Change::Ignored { since: s(100), by: EndpointId(2), check: vec![EndpointId(1)] };
    assert_eq!(scene.probe(103, 0), Some(ignored));
    assert_eq!((scene.judge(1, 104), scene.network(104)), (Verdict::Counts, Network::Ignored));
    assert_eq!(scene.probe(113, 0), None, "told once");
    assert_eq!(scene.probe(123, 1), Some(Change::Heeded { since: s(100) }));
    assert_eq!(scene.judge(1, 124), Verdict::Ask, "heeded again");
}

#[test]
fn a_network_that_is_back_proves_nothing_against_the_targets() {
    let mut scene = Scene::new(1);
    scene.fail(1, 100, 0);
    scene.succeed(2, 101, 105);
    assert_eq!(scene.probe(104, 0), None, "asked before that check ended");
    assert!(matches!(scene.probe(106, 1), Some(Change::Over { .. })));
}

#[test]
fn failures_count_once_they_were_suppressed_for_long_enough() {
    let mut scene = Scene::new(1);
    assert_eq!(scene.fail(1, 100, 0), until(100 + MAX));
    scene.judge(2, 400);
    assert_eq!(scene.machine.release_at(), Some(s(100 + MAX)));
    assert_eq!(scene.machine.released(s(99 + MAX)), []);
    assert_eq!(scene.machine.suppressed_until(EndpointId(2), s(99 + MAX)), Some(s(100 + MAX)));
    assert_eq!(scene.machine.released(s(100 + MAX)), [EndpointId(1), EndpointId(2)]);
    assert_eq!(scene.machine.release_at(), None, "each once");
    for endpoint in [1, 2, 3] {
        assert_eq!(scene.judge(endpoint, 101 + MAX), Verdict::Counts, "{endpoint}");
    }
    assert_eq!(scene.network(101 + MAX), Network::Exhausted);
    assert!(scene.machine.was_in_doubt(EndpointId(2)) && !scene.machine.was_in_doubt(EndpointId(3)));
    assert!(matches!(scene.probe(800, 1), Some(Change::Over { since, check }) if since == s(100) && check.is_empty()));
}

#[test]
fn targets_that_come_and_go_do_not_prolong_it_for_an_endpoint_that_goes_on_failing() {
    let mut scene = Scene::new(1);
    scene.fail(1, 100, 0);
    scene.probe(300, 1);
    assert_eq!(scene.fail(1, 301, 0), until(100 + MAX), "a new period, the same outage");
    assert_eq!(scene.fail(2, 302, 0), until(301 + MAX));
    assert_eq!(scene.machine.released(s(100 + MAX)), [EndpointId(1)]);
    assert_eq!(scene.judge(1, 101 + MAX), Verdict::Counts);
    scene.succeed(1, 101, 102 + MAX);
    assert_eq!(scene.judge(1, 103 + MAX), until(301 + MAX), "good in between");
}

#[test]
fn a_check_that_began_before_the_targets_answered_again_is_made_again() {
    let mut scene = Scene::new(1);
    scene.fail(1, 100, 0);
    scene.probe(110, 1);
    let under_way = |endpoint, reaches, began, ended| FailedCheck {
        endpoint: EndpointId(endpoint),
        reaches,
        began: s(began),
        ended: s(ended),
    };
    let late = under_way(2, public(), 109, 112);
    assert_eq!(scene.machine.judge(late, s(112)), Verdict::Ask, "the targets may be gone again");
    scene.probe(112, 1);
    assert_eq!(scene.machine.judge(late, s(112)), until(112 + MAX));
    assert_eq!(scene.machine.judge(under_way(3, of("10.0.0.1"), 109, 112), s(112)), Verdict::Counts, "elsewhere");
    assert_eq!(scene.machine.judge(under_way(4, public(), 111, 112), s(112)), Verdict::Counts, "began after");
    assert_eq!((scene.machine.release_at(), scene.machine.released(s(112))), (Some(s(113)), vec![]));
    assert_eq!(scene.machine.released(s(113)), [EndpointId(2)]);
    assert_eq!(scene.machine.release_at(), None);
    scene.probe(113 + MAX, 1);
    assert_eq!(scene.machine.judge(late, s(112 + MAX)), Verdict::Counts, "not for ever");
}

#[test]
fn what_is_monitored_no_longer_is_forgotten() {
    let mut scene = Scene::new(1);
    scene.fail(1, 100, 0);
    scene.fail(2, 100, 0);
    scene.machine.forget(|id| id == EndpointId(2));
    assert!(!scene.machine.was_in_doubt(EndpointId(1)) && scene.machine.was_in_doubt(EndpointId(2)));
    assert!(matches!(scene.probe(110, 1), Some(Change::Over { check, .. }) if check == [EndpointId(2)]));
}

/// What happens in a second.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// A check of an endpoint fails, or is good.
    Check(i64, bool),
    /// The targets begin or cease to answer.
    Targets(bool),
    /// The next things come so much later.
    Pause(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..3_i64, prop::bool::weighted(0.1)).prop_map(|(id, good)| Happens::Check(id, good)),
        2 => any::<bool>().prop_map(Happens::Targets),
        2 => (1..200_u64).prop_map(Happens::Pause),
    ]
}

proptest! {
    /// Whatever the targets do, the failures of an endpoint count once `max_suppression` has passed since the first that
    /// was suppressed, until it is good; none is suppressed while the targets answer; and what was suppressed is released or
    /// checked at the end.
    #[test]
    fn nothing_is_suppressed_for_longer_than_the_maximum(script in prop::collection::vec(happens(), 1..200)) {
        let mut scene = Scene::new(1);
        let (mut now, mut answering) = (1, true);
        let mut first: BTreeMap<i64, u64> = BTreeMap::new();
        let mut open: BTreeSet<EndpointId> = BTreeSet::new();
        for what in script {
            now += 1;
            match what {
                Happens::Pause(seconds) => now += seconds,
                Happens::Targets(answer) => answering = answer,
                Happens::Check(id, true) => {
                    scene.succeed(id, now, now);
                    first.remove(&id);
                    open.remove(&EndpointId(id));
                }
                Happens::Check(id, false) => {
                    let verdict = scene.fail(id, now, u32::from(answering));
                    prop_assert_ne!(verdict, Verdict::Ask);
                    if let Verdict::OwnNetwork { until } = verdict {
                        let first = *first.entry(id).or_insert(now);
                        prop_assert!(now < first + MAX, "{} is suppressed at {}, first at {}", id, now, first);
                        prop_assert!(until > s(now) && until <= s(first + MAX));
                        open.insert(EndpointId(id));
                    }
                }
            }
            for released in scene.machine.released(s(now)) {
                open.remove(&released);
            }
            while let Some(at) = scene.machine.ask_at().filter(|at| *at <= s(now)) {
                prop_assert!(at >= Duration::ZERO);
                let change = scene.probe(now, u32::from(answering));
                if let Some(Change::Over { check, .. } | Change::Ignored { check, .. }) = change {
                    open.retain(|id| !check.contains(id));
                }
            }
            let state = scene.network(now);
            if matches!(state, Network::Reachable | Network::Ignored) {
                prop_assert!(open.is_empty(), "{:?} wait for nothing", open);
                prop_assert_eq!(scene.machine.release_at(), None);
            }
            if state == Network::Blind && !open.is_empty() {
                prop_assert!(scene.machine.release_at().is_some_and(|at| at <= s(now + MAX)));
            }
        }
    }
}
