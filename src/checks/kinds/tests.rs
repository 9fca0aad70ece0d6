//! Each kind against servers of this machine that answer well, badly, or not at all.

mod dns;
mod grpc;
mod tcp;
mod websocket;

use serde_json::{Value, json};

use super::*;
use crate::domain::Timestamp;
use crate::domain::check::judge;
use crate::domain::endpoint::{EndpointSettings, Layers, resolve};
use crate::domain::outbound::OutboundPolicy;
use crate::domain::outcome::Outcome;

/// What one attempt saw, and the verdict.
async fn examine_as(origin: Origin, outbound: Outbound, settings: Value) -> (Observation, Outcome) {
    let mut settings: EndpointSettings = serde_json::from_value(settings).unwrap();
    settings.name = Some("e".to_owned());
    let none = EndpointSettings::default();
    let layers = Layers { defaults: &none, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
    let spec = resolve(&settings, layers, Timestamp::UNIX_EPOCH).unwrap().check;
    let checkers = Checkers::new(Arc::new(outbound)).unwrap();
    let seen = checkers.check(&spec, origin, Instant::now() + spec.timeout).await;
    let outcome = judge(&spec, &seen, Timestamp::UNIX_EPOCH).outcome;
    (seen, outcome)
}

async fn examine(settings: Value) -> (Observation, Outcome) {
    let (seen, outcome) = examine_as(Origin::Config, Outbound::default(), settings).await;
    assert!(!seen.own_trouble, "{seen:?}");
    (seen, outcome)
}

/// The kind of the failure and its sentence.
async fn failure(settings: Value) -> (&'static str, String) {
    let (seen, outcome) = examine(settings).await;
    let failure = outcome.failure().unwrap_or_else(|| panic!("no failure: {outcome:?} {seen:?}"));
    (failure.kind.as_str(), failure.message.clone())
}

/// An address at which nobody listens.
fn nobody() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// As [`json!`], with a second to answer.
fn soon(mut settings: Value) -> Value {
    settings["timeout"] = json!("1s");
    settings
}

#[tokio::test]
async fn what_is_made_through_the_api_obeys_the_policy_in_every_kind() {
    for settings in [
        json!({"url": "tcp://127.0.0.9:80"}),
        json!({"url": "tls://127.0.0.9"}),
        json!({"url": "ws://127.0.0.9"}),
        json!({"url": "grpc://127.0.0.9:80"}),
        json!({"url": "icmp://127.0.0.9"}),
        json!({"url": "dns://127.0.0.9/shop.example"}),
        json!({"url": "tcp://2130706441:80"}),
        json!({"url": "dns:///shop.example", "dns": {"server": "127.0.0.9"}}),
    ] {
        let deny = vec!["127.0.0.9".parse::<std::net::IpAddr>().unwrap().into()];
        let outbound = Outbound::new(None, OutboundPolicy { allow_private: true, deny }).unwrap();
        let (seen, outcome) = examine_as(Origin::Api, outbound, soon(settings.clone())).await;
        let kind = outcome.failure().map(|failure| failure.kind.as_str());
        assert_eq!((kind, seen.remote_address), (Some("outbound_refused"), None), "{settings}");
    }
}
