//! `connectivity`.

use std::time::Duration;

use api_monitor::domain::connectivity::Rules;

use super::{errors, good, shipped, yaml};

#[test]
fn what_is_asked_of_the_network_is_read() {
    let config =
        good("connectivity: {targets: ['tcp://9.9.9.9:53', 'https://example.com/x'], quorum: 2, interval: 5s}\n");
    let connectivity = config.connectivity.unwrap();
    let targets: Vec<&str> = connectivity.targets.iter().map(url::Url::as_str).collect();
    assert_eq!(targets, ["tcp://9.9.9.9:53", "https://example.com/x"]);
    let (interval, max_suppression) = (Duration::from_secs(5), Duration::from_mins(10));
    assert_eq!(connectivity.rules, Rules { quorum: 2, interval, max_suppression });
    for off in ["endpoints: []\n", "connectivity: null\n", "connectivity:\n"] {
        assert_eq!(good(off).connectivity, None, "{off}");
    }
    let every = good(&shipped("config/every-key.yaml")).connectivity.unwrap();
    let plain = good("connectivity: {targets: ['tcp://9.9.9.9:53']}\n").connectivity.unwrap();
    assert_eq!(every.rules, plain.rules, "its defaults");
}

#[test]
fn mistakes_are_told_where_they_are() {
    let told = errors(
        "connectivity:\n  targets: ['udp://9.9.9.9:53', 'tcp://9.9.9.9', 'tcp://9.9.9.9:53', 'tcp://9.9.9.9:53']\n  quorum: 5\n  \
         interval: 100ms\n  max_suppression: 2d\n  target: x\n",
    );
    for mistake in [
        "2:13  connectivity.targets.0\n  the scheme `udp` cannot be asked",
        "2:33  connectivity.targets.1\n  has no port",
        "2:70  connectivity.targets.3\n  is named twice",
        "3:11  connectivity.quorum\n  5 is out of range: 1 to 4",
        "4:13  connectivity.interval\n  must be 1 s to 1 h",
        "5:20  connectivity.max_suppression\n  must be 1 s to 24 h",
        "6:3  connectivity.target\n  unknown key",
    ] {
        assert!(told.contains(mistake), "{mistake}\n\n{told}");
    }
    for none in ["connectivity: {}\n", "connectivity: {targets: []}\n"] {
        assert!(errors(none).contains("has none: name 1 to 16"), "{}", errors(none));
    }
    let many: Vec<String> = (1..=17).map(|port| format!("'tcp://9.9.9.9:{port}'")).collect();
    let told = errors(&format!("connectivity: {{targets: [{}]}}\n", many.join(", ")));
    assert!(told.contains("too many: at most 16"), "{told}");
}

#[test]
fn targets_on_this_machine_are_warned_of() {
    let case = yaml("connectivity: {targets: ['tcp://127.0.0.1:53', 'tcp://9.9.9.9:53']}\n");
    let told = case.warnings("config.yaml");
    assert!(told.contains("connectivity.targets.0") && !told.contains("targets.1"), "{told}");
}
