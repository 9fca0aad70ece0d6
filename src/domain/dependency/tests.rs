use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::check::{CheckResult, Timings, Trigger};
use crate::domain::endpoint::EndpointId;
use crate::domain::from_micros;
use crate::domain::incident::EndpointState;
use crate::domain::outcome::{Failure, FailureKind, MissedReason, Outcome, Status};
use crate::domain::selector::Selectors;
use crate::domain::suppression::Facts;

/// `group/name tag… > selector…`; what is tagged `push` reports by itself.
#[derive(Debug, Clone)]
struct Written {
    group: String,
    name: String,
    tags: Vec<String>,
    depends_on: Selectors,
}

fn written(lines: &[&str]) -> Vec<Written> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    lines
        .iter()
        .map(|line| {
            let (what, parents) = line.split_once('>').unwrap_or((line, ""));
            let mut what = words(what);
            let key = what.remove(0);
            let (group, name) = key.split_once('/').unwrap_or(("", &key));
            let (group, name) = (group.to_owned(), name.to_owned());
            Written { group, name, tags: what, depends_on: Selectors(words(parents)) }
        })
        .collect()
}

fn graph_of(all: &[Written]) -> Arc<Graph> {
    Arc::new(Graph::new((1..).zip(all).map(|(id, written)| Member {
        id: EndpointId(id),
        group: &written.group,
        name: &written.name,
        tags: &written.tags,
        depends_on: &written.depends_on,
        reports_itself: written.tags.iter().any(|tag| tag == "push"),
    })))
}

fn graph(lines: &[&str]) -> Arc<Graph> {
    graph_of(&written(lines))
}

fn parents(graph: &Graph, id: i64) -> Vec<i64> {
    graph.parents(EndpointId(id)).map(|(_, parent)| parent.0).collect()
}

#[test]
fn each_form_of_a_selector_means_its_parents_and_never_itself() {
    let graph = graph(&[
        "core/db infra",
        "core/cache infra > tag:infra",
        "edge/api > core/db",
        "shop > db group:core id:3 tag:infra *",
        "lonely",
    ]);
    for (child, expected) in
        [(1, vec![]), (2, vec![1]), (3, vec![1]), (4, vec![1, 1, 2, 3, 1, 2, 1, 2, 3, 5]), (5, vec![])]
    {
        assert_eq!(parents(&graph, child), expected, "{child}");
    }
    assert!(graph.is_child(EndpointId(2)) && graph.is_parent(EndpointId(2)) && !graph.is_child(EndpointId(1)));
    assert!(!graph.has_cycles());
    let order: Vec<i64> = graph.ids().iter().map(|id| id.0).collect();
    let at = |id: i64| order.iter().position(|other| *other == id).unwrap();
    assert!(at(1) < at(2) && at(2) < at(4) && at(3) < at(4), "{order:?}");
    assert_eq!((graph.meant_by("tag:infra"), graph.meant_by("tag:other")), (2, 0));
}

#[test]
fn circles_are_found_and_named_however_they_are_written() {
    for (lines, said) in [
        (vec!["a > a"], None),
        (vec!["a x > tag:x", "b"], None),
        (vec!["a > *"], None),
        (vec!["a > b", "b > c", "c"], None),
        (vec!["a > b c", "b > d", "c > d", "d"], None),
        (vec!["a > b", "b > a"], Some("a → b → a")),
        (vec!["z > a", "a > b", "b > c", "c > a"], Some("a → b → c → a")),
        (vec!["core/a > group:core", "core/b"], None),
        (
            vec!["core/a > group:core", "core/b > group:core"],
            Some("core/a → core/b (by `group:core`) → core/a (by `group:core`)"),
        ),
        (vec!["core/a > x", "x > group:core"], Some("core/a → x → core/a (by `group:core`)")),
        (vec!["a x > tag:x", "b x > tag:x"], Some("a → b (by `tag:x`) → a (by `tag:x`)")),
        (vec!["a > *", "b > *"], Some("a → b (by `*`) → a (by `*`)")),
        (vec!["a x > tag:x", "b x > c", "c > a"], Some("a → b (by `tag:x`) → c → a")),
    ] {
        let graph = graph(&lines);
        let cycles: Vec<String> = graph.cycles().iter().map(ToString::to_string).collect();
        assert_eq!(cycles, said.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{lines:?}");
        assert_eq!(graph.has_cycles(), said.is_some(), "{lines:?}");
    }
}

#[test]
fn within_a_circle_nothing_depends_on_anything_so_that_somebody_is_told() {
    let graph = graph(&["a > b out", "b > a", "out", "core/x > group:core out", "core/y > core/x"]);
    assert_eq!((parents(&graph, 1), parents(&graph, 2)), (vec![3], vec![]));
    assert_eq!(parents(&graph, 4), [3], "a group with an endpoint of the circle is left out");
    let mut standings = Standings::new(graph);
    for id in 1..=5 {
        standings.set(EndpointId(id), if id == 3 { Standing::NotDown } else { Standing::Down });
    }
    for id in 1..=5 {
        assert_eq!(standings.parent_down(EndpointId(id)), None, "{id}");
    }
}

#[test]
fn a_parent_counts_as_down_by_its_status_its_newest_check_or_an_attempt() {
    let good = EndpointState { status: Status::Up, ..EndpointState::pending(from_micros(0)) };
    let down = EndpointState { status: Status::Down, ..good.clone() };
    let pending = EndpointState::pending(from_micros(0));
    let result = |outcome| CheckResult {
        endpoint_id: EndpointId(1),
        scheduled_at: from_micros(0),
        started_at: from_micros(0),
        outcome,
        slots: 1,
        status_code: None,
        timings: Timings::default(),
        attempts: 1,
        trigger: Trigger::Scheduled,
        in_maintenance: false,
    };
    let up = result(Outcome::Up);
    let failed = result(Outcome::Down(Failure { kind: FailureKind::ConnectRefused, message: "refused".into() }));
    let degraded = result(Outcome::Degraded);
    let missed = result(Outcome::Missed(MissedReason::Overload));
    for (is_checked, state, newest, attempt, expected) in [
        (true, &good, Some(&up), false, Standing::NotDown),
        (true, &good, Some(&degraded), false, Standing::NotDown),
        (true, &good, Some(&missed), false, Standing::NotDown),
        (true, &pending, None, false, Standing::NotDown),
        (true, &good, Some(&failed), false, Standing::Down),
        (true, &pending, Some(&failed), false, Standing::Down),
        (true, &good, Some(&up), true, Standing::Down),
        (true, &down, Some(&failed), false, Standing::Down),
        // Its recovery is not confirmed yet.
        (true, &down, Some(&up), false, Standing::Down),
        (false, &down, Some(&failed), true, Standing::Absent),
    ] {
        assert_eq!(standing(is_checked, state, newest, attempt), expected, "{is_checked} {newest:?} {attempt}");
    }
}

#[test]
fn what_is_down_is_told_by_its_name_a_group_only_as_a_whole() {
    let graph = graph(&["core/a", "core/b", "core/c > group:core", "core/d", "web > group:core tag:x", "gate x"]);
    for (states, of_web, of_c) in [
        ("....|.", None, None),
        ("dd..|.", None, None),
        ("ddd.|.", None, None),
        // Of the endpoints beside itself all.
        ("dd.d|.", None, Some("group:core")),
        ("dddd|.", Some("group:core"), Some("group:core")),
        // What is paused does not count.
        ("dd-d|.", Some("group:core"), Some("group:core")),
        ("d---|.", Some("group:core"), Some("group:core")),
        ("----|.", None, None),
        ("--d-|.", Some("group:core"), None),
        ("....|d", Some("gate"), None),
        ("....|-", None, None),
        ("dddd|d", Some("group:core"), Some("group:core")),
    ] {
        let mut standings = Standings::new(graph.clone());
        let ids = [1, 2, 3, 4, 6];
        for (id, state) in ids.into_iter().zip(states.chars().filter(|c| *c != '|')) {
            let standing = match state {
                'd' => Standing::Down,
                '-' => Standing::Absent,
                _ => Standing::NotDown,
            };
            standings.set(EndpointId(id), standing);
        }
        let of = |child| standings.parent_down(EndpointId(child)).map(|down| down.name);
        assert_eq!((of(5), of(3)), (of_web, of_c), "{states}");
    }
}

#[test]
fn who_is_to_be_asked_is_bounded_and_a_group_is_asked_as_a_whole() {
    let graph = graph(&["core/a", "core/b", "core/c", "x t", "y t", "z t > tag:t", "web > group:core tag:t"]);
    let standings = |down: &[i64]| {
        let mut standings = Standings::new(graph.clone());
        for id in down {
            standings.set(EndpointId(*id), Standing::Down);
        }
        standings
    };
    let asked = |down: &[i64], child, most| -> Vec<i64> {
        standings(down).to_ask(EndpointId(child), most).into_iter().map(|one| one.id.0).collect()
    };
    assert_eq!(asked(&[], 7, 50), [1, 2, 3, 4, 5, 6]);
    assert_eq!(asked(&[2, 4], 7, 50), [1, 3, 5, 6]);
    assert_eq!(asked(&[], 6, 50), [4, 5], "not itself");
    assert_eq!(asked(&[], 7, 2), [4, 5], "the group is too large, and is left out");
    assert_eq!(asked(&[], 7, 4), [1, 2, 3, 4]);
    assert_eq!(asked(&[], 1, 50), Vec::<i64>::new());
}

#[test]
fn nobody_waits_for_a_parent_that_reports_by_itself() {
    let graph = graph(&["job push", "core/a", "core/b push", "web > job group:core"]);
    let mut standings = Standings::new(graph.clone());
    let asked = |standings: &Standings| -> Vec<i64> {
        standings.to_ask(EndpointId(4), 50).into_iter().map(|one| one.id.0).collect()
    };
    assert_eq!(asked(&standings), [2], "what is known of the others counts");

    let state = EndpointState::pending(from_micros(0));
    let at = from_micros(60_000_000);
    let refused = Outcome::Down(Failure { kind: FailureKind::ConnectRefused, message: "refused".into() });
    let failed = |id: i64| CheckResult {
        outcome: refused.clone(),
        attempts: 1,
        ..CheckResult::missed(EndpointId(id), at, 1, MissedReason::Overload)
    };
    let held = |parents: &Parents, id| parents.beside(Facts::default(), &failed(id), &state, at).parent_down;
    let mut parents = Parents::default();
    parents.follow(&self::graph(&["job push", "web > job"]), |_| Some(Standing::NotDown));
    assert_eq!(held(&parents, 2), None, "decided at once");
    parents.follow(&self::graph(&["job", "web > job"]), |_| Some(Standing::NotDown));
    assert!(held(&parents, 2).is_some(), "one that can be asked is asked");

    // A child that reports by itself is not checked before it is told of, once its parent is back.
    let incident = serde_json::json!({
        "started_at": at, "opened_at": at, "span_started_at": at, "reopened": false, "reminders": 0, "remind_at": null,
        "cause": {"kind": "push_overdue", "message": "silence"}, "held": null, "untold": "down",
    });
    let open = EndpointState { incident: serde_json::from_value(incident).unwrap(), ..state.clone() };
    let good = EndpointState { status: Status::Up, ..state.clone() };
    let kept_back = |child: &str| {
        let graph = self::graph(&["gate", child]);
        let mut parents = Parents::begin(&graph, |_| Some(Standing::Down), |_| true);
        let examined = |id: i64, state| Examined { id: EndpointId(id), is_checked: true, state, newest: None };
        assert!(parents.hold(examined(2, &open), |_| false, at).is_some(), "its parent is down");
        parents.note(examined(1, &good));
        parents.hold(examined(2, &open), |_| false, at)
    };
    assert_eq!(kept_back("job push > gate"), None);
    assert!(kept_back("web > gate").is_some());

    standings.set(EndpointId(1), Standing::Down);
    assert_eq!(standings.parent_down(EndpointId(4)).map(|down| down.name), Some("job"), "one that is down is a parent");
}

#[test]
fn maintenance_is_inherited_through_parents_and_their_parents() {
    let graph = graph(&["gate", "core/a > gate", "core/b > gate", "web > group:core", "api > core/a", "free > core/a"]);
    let held = |own: &[(i64, u32)], absent: &[i64]| -> Vec<(i64, u32, String)> {
        let own: HashMap<i64, u32> = own.iter().copied().collect();
        let all = inherited(
            &graph,
            |id| own.get(&id.0).copied(),
            |id| absent.contains(&id.0),
            |one: &u32, other| one > other,
        );
        let mut all: Vec<_> = all.into_iter().map(|(id, of)| (id.0, of.hold, of.through)).collect();
        all.sort();
        all
    };
    let of = |id: i64, until: u32, through: &str| (id, until, through.to_owned());
    assert_eq!(held(&[], &[]), []);
    assert_eq!(
        held(&[(1, 9)], &[]),
        [of(2, 9, "gate"), of(3, 9, "gate"), of(4, 9, "group:core"), of(5, 9, "core/a"), of(6, 9, "core/a")]
    );
    assert_eq!(held(&[(2, 9)], &[]), [of(5, 9, "core/a"), of(6, 9, "core/a")], "not the whole group");
    assert_eq!(
        held(&[(2, 9), (3, 5)], &[]),
        [of(4, 5, "group:core"), of(5, 9, "core/a"), of(6, 9, "core/a")],
        "until the first of the group is back"
    );
    assert_eq!(held(&[(2, 9)], &[3]), [of(4, 9, "group:core"), of(5, 9, "core/a"), of(6, 9, "core/a")]);
    assert_eq!(held(&[(1, 9)], &[2]), [of(3, 9, "gate"), of(4, 9, "group:core")], "nothing through what is paused");
    assert_eq!(held(&[(1, 9), (5, 2)], &[]).len(), 4, "its own counts");
}

#[test]
fn ten_thousand_endpoints_behind_one_group_of_a_thousand_are_a_small_graph() {
    let mut all = Vec::new();
    for i in 0..1_000 {
        all.push(format!("core/p{i} > gate"));
    }
    all.push("gate".to_owned());
    for i in 0..9_000 {
        all.push(format!("web/c{i} > group:core"));
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let graph = graph(&all);
    assert_eq!((graph.ids().len(), graph.meanings.len()), (10_001, 2));
    assert_eq!(graph.meanings.iter().map(|meaning| meaning.members.len()).sum::<usize>(), 1_001);
    let mut standings = Standings::new(graph);
    for id in 1..=1_000 {
        assert_eq!(standings.parent_down(EndpointId(5_000)), None);
        standings.set(EndpointId(id), Standing::Down);
    }
    assert_eq!(standings.parent_down(EndpointId(5_000)).unwrap().name, "group:core");
}

/// A chain as long as there are endpoints: nothing here calls itself.
#[test]
fn a_long_chain_is_followed() {
    let all: Vec<String> = (0..20_000).map(|i| format!("c{i} > c{}", (i + 1) % 20_000)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let ring = graph(&all);
    assert_eq!(ring.cycles()[0].endpoints.len(), 20_000);
    assert!(!graph(&all[..19_999]).has_cycles());
}

fn some() -> impl Strategy<Value = Vec<Written>> {
    let one = (0_usize..3, proptest::collection::vec(0_usize..3, 0..3), proptest::collection::vec(0_usize..16, 0..3));
    proptest::collection::vec(one, 1..9).prop_map(|all| {
        let count = all.len();
        let lines = all.into_iter().enumerate().map(|(i, (group, tags, parents))| {
            let group = ["", "g", "h"][group].to_owned();
            let tags = tags.into_iter().map(|tag| format!("t{tag}")).collect();
            let selector = |k: usize| match k {
                0..3 => format!("tag:t{k}"),
                3 => "group:g".to_owned(),
                4 => "group:h".to_owned(),
                5 => "*".to_owned(),
                k => format!("e{}", k % count),
            };
            let depends_on = Selectors(parents.into_iter().map(selector).collect());
            Written { group, name: format!("e{i}"), tags, depends_on }
        });
        lines.collect()
    })
}

/// By the words of the rules: which other endpoints a selector means.
fn meant(all: &[Written], child: usize, selector: &str) -> Vec<usize> {
    let is = |one: &Written| match selector.split_once(':') {
        Some(("tag", tag)) => one.tags.iter().any(|there| there == tag),
        Some((_, group)) => one.group == group,
        None => selector == "*" || one.name == selector,
    };
    (0..all.len()).filter(|i| *i != child && is(&all[*i])).collect()
}

proptest! {
    /// The graph, its circles and what is down are what the rules say in their plainest form.
    #[test]
    fn it_agrees_with_the_plain_words(all in some(), downs in proptest::collection::vec(0_u8..3, 9)) {
        let graph = graph_of(&all);
        let count = all.len();
        let edges: Vec<HashSet<usize>> = (0..count)
            .map(|child| all[child].depends_on.0.iter().flat_map(|selector| meant(&all, child, selector)).collect())
            .collect();
        let mut reach = edges.clone();
        for _ in 0..count {
            for from in 0..count {
                let further: Vec<usize> = reach[from].iter().flat_map(|to| reach[*to].iter().copied()).collect();
                reach[from].extend(further);
            }
        }
        let in_circle = |one: usize, other: usize| reach[one].contains(&other) && reach[other].contains(&one);
        prop_assert_eq!(graph.has_cycles(), (0..count).any(|i| reach[i].contains(&i)));
        for cycle in graph.cycles() {
            let ids: Vec<usize> = cycle.endpoints.iter().map(|id| usize::try_from(id.0).unwrap() - 1).collect();
            for (from, to) in ids.iter().zip(ids.iter().cycle().skip(1)) {
                prop_assert!(edges[*from].contains(to), "{}", cycle);
            }
        }

        let mut standings = Standings::new(graph.clone());
        let of = |i: usize| [Standing::NotDown, Standing::Down, Standing::Absent][usize::from(downs[i])];
        for i in (0..count).chain((0..count).rev()) {
            standings.set(EndpointId(i64::try_from(i).unwrap() + 1), of(i));
        }
        for child in 0..count {
            let is_down = all[child].depends_on.0.iter().any(|selector| {
                let parents = meant(&all, child, selector);
                if selector.starts_with("group:") {
                    let circled = parents.iter().any(|parent| in_circle(child, *parent));
                    let counted: Vec<_> = parents.iter().filter(|i| of(**i) != Standing::Absent).collect();
                    !circled && !counted.is_empty() && counted.iter().all(|i| of(**i) == Standing::Down)
                } else {
                    parents.iter().any(|i| !in_circle(child, *i) && of(*i) == Standing::Down)
                }
            });
            let found = standings.parent_down(EndpointId(i64::try_from(child).unwrap() + 1));
            prop_assert_eq!(found.is_some(), is_down, "{} of {:?} {:?}", child, all, &downs[..count]);
        }
    }
}
