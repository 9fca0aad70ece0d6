//! `depends_on`: who depends on whom, and what is wrong with it.

use super::*;

#[test]
fn parents_are_inherited_and_replaced() {
    let config = good(
        "defaults: {depends_on: [gate]}\n\
         groups:\n  core: {depends_on: ['group:infra', 'infra/db'], endpoints: [{name: a, url: 'http://a.example'}]}\n\
         endpoints:\n\
         \x20 - {name: gate, url: 'http://gate.example', depends_on: []}\n\
         \x20 - {name: db, group: infra, url: 'http://db.example'}\n\
         \x20 - {name: one, url: 'http://one.example', depends_on: core/a}\n\
         \x20 - {name: two, url: 'http://two.example', depends_on: ['id:7', 'tag:x', 'tag:x'], tags: [x]}\n",
    );
    let parents = |name: &str| {
        let of_it = config.endpoints.iter().find(|configured| configured.endpoint.name == name).unwrap();
        of_it.endpoint.depends_on.0.join(" ")
    };
    let all = ["gate", "db", "one", "two", "a"].map(parents);
    assert_eq!(all, ["", "gate", "core/a", "id:7 tag:x", "group:infra infra/db"]);
}

#[test]
fn mistakes_of_parents_are_told_where_they_are_written() {
    for (text, place, said) in [
        (
            "endpoints:\n  - {name: a, url: 'http://a.example', depends_on: [b, nobody]}\n  - {name: b, url: 'http://b.example'}\n",
            ":2:",
            "there is no endpoint `nobody`",
        ),
        (
            "defaults:\n  depends_on: ['group:infr']\nendpoints:\n  - {name: a, group: infra, url: 'http://a.example'}\n  - {name: b, url: 'http://b.example'}\n",
            ":2:",
            "did you mean `infra`?",
        ),
        (
            "endpoints:\n  - {name: a, group: x, url: 'http://a.example'}\n  - {name: a, group: y, url: 'http://a.example'}\n  - name: b\n    url: 'http://b.example'\n    depends_on: a\n",
            ":6:",
            "the name of 2 endpoints",
        ),
        ("endpoints:\n  - {name: a, url: 'http://a.example', depends_on: ' '}\n", ":2:", "is empty"),
        ("endpoints:\n  - {name: a, url: 'http://a.example', depends_on: {x: 1}}\n", ":2:", "selector"),
        (
            "groups:\n  core:\n    depends_on: ['group:core']\n    endpoints:\n      - {name: a, url: 'http://a.example'}\n      - {name: b, url: 'http://b.example'}\n",
            ":3:",
            "in a circle: core/a → core/b (by `group:core`) → core/a",
        ),
        (
            "endpoints:\n  - {name: a, url: 'http://a.example', depends_on: b}\n  - {name: b, url: 'http://b.example', depends_on: c}\n  - {name: c, url: 'http://c.example', depends_on: a}\n",
            ":2:",
            "in a circle: a → b → c → a",
        ),
    ] {
        let told = errors(text);
        assert!(told.contains(place) && told.contains(said), "{text}\n{told}");
    }
}

#[test]
fn a_mistake_that_many_inherit_is_told_once() {
    let mut text = "defaults: {depends_on: [gat]}\nendpoints:\n  - {name: gate, url: 'http://g.example'}\n".to_owned();
    for i in 0..300 {
        text.push_str(&format!("  - {{name: e{i}, url: 'http://e.example'}}\n"));
    }
    assert_eq!(errors(&text).matches("there is no endpoint `gat`").count(), 1);
}
