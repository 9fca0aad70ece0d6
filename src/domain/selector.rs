//! Which endpoints are meant: `*`, `group:core`, `tag:prod`, `id:12`, `group/name`, or a name that only one has.

use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::dependency::MOST_SELECTORS;
use crate::domain::endpoint::{Endpoint, EndpointId, KnownEndpoint};
use crate::domain::suggest::closest;

/// The most selectors in one list. Further ones are refused.
pub const MOST: usize = 200;

/// The longest selector, in characters.
const LONGEST: usize = 500;

/// Endpoints that at least one of the texts means. Written as a list, or as one text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Selectors(pub Vec<String>);

impl<'de> Deserialize<'de> for Selectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Selectors;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a selector such as \"group:core\", or a list of them")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Selectors, E> {
                Ok(Selectors(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Selectors, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(Selectors(all))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for Selectors {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(LONGEST));
        OneOfBuilder::new()
            .item(text())
            .item(ArrayBuilder::new().items(text()).min_items(Some(1)).max_items(Some(MOST)))
            .description(Some(
                "Endpoints: `*`, `group:core`, `tag:prod`, `id:12`, `group/name`, or a name that only one has",
            ))
            .examples([serde_json::json!(["group:core", "tag:prod"])])
            .into()
    }
}

/// The selectors of parents: none are some too, which replace those that would be inherited.
pub fn schema_of_parents() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(LONGEST));
    OneOfBuilder::new()
        .item(text())
        .item(ArrayBuilder::new().items(text()).max_items(Some(MOST_SELECTORS)))
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .description(Some(
            "What the endpoint depends on: `group/name`, a name that only one has, `id:12`, `group:core` (down when all \
             of its endpoints are), or `tag:infra` and `*` (each endpoint that it means). While one of these is down, \
             nobody is told of this endpoint. An empty list: nothing, whatever the group and the defaults say",
        ))
        .examples([serde_json::json!(["group:core", "infra/gateway"])])
        .into()
}

impl ToSchema for Selectors {
    fn name() -> std::borrow::Cow<'static, str> {
        "Selectors".into()
    }
}

/// What there is to be meant.
#[derive(Debug, Default)]
pub struct Selectable<'a> {
    /// Those of a configuration have no id yet.
    pub endpoints: Vec<(Option<EndpointId>, &'a Endpoint)>,
    /// Those that are declared; they may have no endpoints.
    pub groups: Vec<&'a str>,
}

impl Selectors {
    /// Whether one of them means this endpoint.
    pub fn select(&self, known: &KnownEndpoint) -> bool {
        self.0.iter().any(|selector| means(selector, Some(known.id), &known.endpoint))
    }

    /// Whether one of them means an endpoint of this name, group and tags. None does by `id:`.
    pub fn mean(&self, name: &str, group: &str, tags: &[String]) -> bool {
        self.0.iter().any(|selector| is_meant(selector, None, Called { name, group, tags }))
    }

    /// What is wrong with the form of each, by its place in the list, whatever there is to be meant.
    pub fn mistakes_of_form(&self) -> Vec<(usize, String)> {
        let of = |(i, selector): (usize, &String)| Some((i, malformed(selector)?));
        self.0.iter().enumerate().filter_map(of).collect()
    }

    /// What is wrong with each, by its place in the list: its form, and that it means nothing that there is, or
    /// several endpoints of one name. `id:` is believed where endpoints have none.
    pub fn mistakes(&self, there: &Selectable<'_>) -> Vec<(usize, String)> {
        let of = |(i, selector): (usize, &String)| Some((i, mistake(selector, there)?));
        self.0.iter().enumerate().filter_map(of).collect()
    }
}

/// What an endpoint is called, and where it belongs.
#[derive(Clone, Copy)]
struct Called<'a> {
    name: &'a str,
    group: &'a str,
    tags: &'a [String],
}

fn means(selector: &str, id: Option<EndpointId>, endpoint: &Endpoint) -> bool {
    is_meant(selector, id, Called { name: &endpoint.name, group: &endpoint.group, tags: &endpoint.tags })
}

fn is_meant(selector: &str, id: Option<EndpointId>, endpoint: Called<'_>) -> bool {
    let by_prefix = match selector.split_once(':') {
        Some(("group", group)) => endpoint.group == group,
        Some(("tag", tag)) => endpoint.tags.iter().any(|there| there == tag),
        Some(("id", number)) => id.is_some_and(|id| number == id.0.to_string()),
        _ => false,
    };
    by_prefix || selector == "*" || selector == endpoint.name || is_key(selector, endpoint)
}

/// Whether it is `group/name`. Both may hold slashes.
fn is_key(selector: &str, endpoint: Called<'_>) -> bool {
    let rest = selector.strip_prefix(endpoint.group).and_then(|rest| rest.strip_prefix('/'));
    !endpoint.group.is_empty() && rest == Some(endpoint.name)
}

/// What is wrong with the form of a selector, whatever there is to be meant.
pub fn malformed(selector: &str) -> Option<String> {
    if selector.trim().is_empty() {
        return Some(
            "is empty: write *, group:core, tag:prod, id:12, group/name or the name of an endpoint".to_owned(),
        );
    }
    if selector.chars().count() > LONGEST || selector.chars().any(char::is_control) {
        return Some(format!("is not a selector: at most {LONGEST} characters, no control characters"));
    }
    None
}

fn mistake(selector: &str, there: &Selectable<'_>) -> Option<String> {
    if let Some(detail) = malformed(selector) {
        return Some(detail);
    }
    if selector == "*" {
        return None;
    }
    let meant: Vec<_> = there.endpoints.iter().filter(|(id, endpoint)| means(selector, *id, endpoint)).collect();
    if let Some(number) = selector.strip_prefix("id:") {
        let is_number = number.parse::<i64>().is_ok_and(|id| id > 0 && id.to_string() == number);
        return match there.endpoints.iter().all(|(id, _)| id.is_some()) {
            _ if !is_number => Some(format!("`{selector}` has no number of an endpoint, such as id:12")),
            true if meant.is_empty() => Some(format!("there is no endpoint with the {selector}")),
            _ => None,
        };
    }
    if let Some(group) = selector.strip_prefix("group:") {
        let names = || there.groups.iter().copied().chain(there.endpoints.iter().map(|(_, e)| e.group.as_str()));
        let is_there = !group.is_empty() && names().any(|name| name == group);
        return (!is_there).then(|| format!("there is no group `{group}`{}", meaning(group, names())));
    }
    if let Some(tag) = selector.strip_prefix("tag:") {
        let tags = there.endpoints.iter().flat_map(|(_, e)| e.tags.iter().map(String::as_str));
        return meant.is_empty().then(|| format!("no endpoint has the tag `{tag}`{}", meaning(tag, tags)));
    }
    let by_name = meant.iter().filter(|(_, endpoint)| endpoint.name == selector).count();
    match meant.len() {
        0 => {
            let names = there.endpoints.iter().map(|(_, endpoint)| endpoint.name.as_str());
            Some(format!("there is no endpoint `{selector}`{}", meaning(selector, names)))
        }
        _ if by_name > 1 => Some(format!("`{selector}` is the name of {by_name} endpoints: write group/name")),
        _ => None,
    }
}

fn meaning<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    closest(word, known).map_or_else(String::new, |meant| format!(": did you mean `{meant}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::endpoint::{EndpointSettings, Layers, resolve};
    use crate::domain::from_micros;

    fn endpoint(name: &str, group: &str, tags: &[&str]) -> Endpoint {
        let settings = EndpointSettings {
            name: Some(name.into()),
            group: Some(group.into()),
            url: Some("http://127.0.0.1/".into()),
            tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
            ..EndpointSettings::default()
        };
        let defaults = EndpointSettings::default();
        let layers = Layers { defaults: &defaults, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
        resolve(&settings, layers, from_micros(0)).unwrap()
    }

    #[test]
    fn each_form_means_its_endpoints() {
        let all =
            [endpoint("api", "core", &["prod"]), endpoint("api", "edge", &[]), endpoint("a/b", "", &["x", "prod"])];
        for (selector, meant) in [
            ("*", vec![1, 2, 3]),
            ("api", vec![1, 2]),
            ("core/api", vec![1]),
            ("group:edge", vec![2]),
            ("tag:prod", vec![1, 3]),
            ("id:2", vec![2]),
            ("id:02", vec![]),
            ("a/b", vec![3]),
            ("/a/b", vec![]),
            ("core", vec![]),
            ("tag:", vec![]),
        ] {
            let found: Vec<i64> =
                (1..).zip(&all).filter(|(id, e)| means(selector, Some(EndpointId(*id)), e)).map(|(id, _)| id).collect();
            assert_eq!(found, meant, "{selector}");
        }
    }

    #[test]
    fn what_means_nothing_is_told() {
        let all = [endpoint("api", "core", &["prod"]), endpoint("api", "edge", &[]), endpoint("shop", "", &[])];
        let endpoints = (1..).zip(&all).map(|(id, e)| (Some(EndpointId(id)), e)).collect();
        let there = Selectable { endpoints, groups: vec!["spare"] };
        for (selector, said) in [
            ("*", None),
            ("shop", None),
            ("core/api", None),
            ("group:spare", None),
            ("id:3", None),
            ("api", Some("the name of 2 endpoints")),
            ("shoop", Some("did you mean `shop`?")),
            ("group:cor", Some("did you mean `core`?")),
            ("group:", Some("no group")),
            ("tag:prd", Some("did you mean `prod`?")),
            ("id:9", Some("no endpoint with the id:9")),
            ("id:x", Some("no number")),
            (" ", Some("is empty")),
            ("a\u{0}", Some("no control characters")),
        ] {
            let found = Selectors(vec![selector.to_owned()]).mistakes(&there);
            match said {
                None => assert_eq!(found, [], "{selector}"),
                Some(said) => assert!(found[0].1.contains(said), "{selector}: {found:?}"),
            }
        }
        let configured = Selectable { endpoints: vec![(None, &all[0])], groups: Vec::new() };
        assert_eq!(Selectors(vec!["id:9".into()]).mistakes(&configured), [], "it may be one made through the API");
    }
}
