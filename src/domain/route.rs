//! Routes: who is told of an endpoint, and how its outages are judged, by what it is called and where it belongs. A
//! layer of its settings between those of its group and its own.

use serde::{Deserialize, Serialize};

use crate::domain::endpoint::{AlertPolicySettings, EndpointSettings};
use crate::domain::selector::Selectors;

/// A route as a person wrote it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSettings {
    /// The endpoints that it is for: at least one selector, none of them by `id:`, since what is routed may have none
    /// yet.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub selectors: Option<Selectors>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_policy: Option<AlertPolicySettings>,
}

/// A route that breaks no rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub selectors: Selectors,
    /// `notify` and `alert_policy` alone.
    pub settings: EndpointSettings,
    /// `file:line` where it stands.
    pub source: String,
}

/// The route of an endpoint, and its place among all from 0: the first that means it. The others do not apply.
pub fn first<'r>(routes: &'r [Route], name: &str, group: &str, tags: &[String]) -> Option<(usize, &'r Route)> {
    routes.iter().enumerate().find(|(_, route)| route.selectors.mean(name, group, tags))
}
