//! `routes` and `group_messages`.

use std::time::Duration;

use api_monitor::domain::grouping::GroupingPolicy;

use super::*;

const CHANNELS: &str = "channels: {team: {type: console}}\nendpoints: [{name: one, url: 'https://one.example'}]\n";

#[test]
fn every_mistake_of_a_route_says_where_it_is() {
    let told = errors(&format!(
        "{CHANNELS}routes:\n  - {{match: 'tag:shop', notify: [taem]}}\n  - {{notify: [team]}}\n  - {{match: 'id:3', notify: \
         [team]}}\n  - {{match: '*'}}\n  - {{match: '*', alert_policy: {{failure_treshold: 2}}}}\n  - {{match: ['', one], \
         alert_policy: {{success_threshold: 0}}}}\n  - team\n"
    ));
    for (place, said) in [
        ("routes[0].notify[0]", "did you mean team ?"),
        ("routes[1].match", "names no endpoints"),
        ("routes[2].match", "an id is given by the database"),
        ("routes[3]", "says nothing"),
        ("routes[4].alert_policy.failure_treshold", "failure_threshold"),
        ("routes[5].match", "is empty"),
        ("routes[5].alert_policy.success_threshold", "out of range"),
        ("routes[6]", "a mapping with match"),
    ] {
        assert!(told.contains(place) && told.contains(said), "{place}: {said}\n{told}");
    }
    assert!(told.contains("config.yaml:4"), "{told}");
}

#[test]
fn a_selector_that_means_nothing_yet_is_a_warning() {
    let text = format!("{CHANNELS}routes: [{{match: ['tag:shop', oen, one], notify: [team]}}]\n");
    let told = yaml(&text).warnings("config.yaml");
    assert!(told.contains("no endpoint has the tag `shop`") && told.contains("did you mean `one`?"), "{told}");
    assert_eq!(good(&text).endpoints[0].endpoint.notify, Some(vec!["team".to_owned()]));
}

#[test]
fn messages_are_grouped_as_the_file_says() {
    let of = |text: &str| good(&format!("{CHANNELS}{text}")).telling.group_messages;
    assert_eq!(of(""), Some(GroupingPolicy { after: 3, window: Duration::from_secs(30) }));
    assert_eq!(of("group_messages: false\n"), None);
    let other = GroupingPolicy { after: 1, window: Duration::from_mins(1) };
    assert_eq!(of("group_messages: {after: 1, window: 1m}\n"), Some(other));
    let told = errors("group_messages: {after: 0, window: 1h, wndow: 1}\n");
    assert!(told.contains("group_messages.after") && told.contains("1 s to 10 min"), "{told}");
    assert!(told.contains("did you mean window"), "{told}");
}
