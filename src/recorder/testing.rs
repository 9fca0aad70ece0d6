//! An endpoint and a result of it, as the tests of the recorder need them.

use crate::domain::Timestamp;
use crate::domain::check::{CheckResult, Timings, Trigger};
use crate::domain::endpoint::{EndpointId, EndpointSettings, KnownEndpoint, Layers, Origin, resolve};
use crate::domain::outcome::Outcome;

pub(super) fn known(name: &str, url: &str, at: Timestamp) -> KnownEndpoint {
    let settings =
        EndpointSettings { name: Some(name.to_owned()), url: Some(url.to_owned()), ..EndpointSettings::default() };
    let defaults = EndpointSettings::default();
    let layers = Layers { defaults: &defaults, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
    let endpoint = resolve(&settings, layers, at).unwrap();
    KnownEndpoint {
        id: EndpointId(1),
        origin: Origin::Api,
        source: None,
        revision: 1,
        created_at: at,
        updated_at: at,
        scheduled_from: at,
        settings,
        endpoint,
        paused: false,
    }
}

pub(super) fn good(at: Timestamp) -> CheckResult {
    CheckResult {
        endpoint_id: EndpointId(1),
        scheduled_at: at,
        started_at: at,
        outcome: Outcome::Up,
        slots: 1,
        status_code: Some(200),
        timings: Timings::default(),
        attempts: 1,
        trigger: Trigger::Scheduled,
        in_maintenance: false,
    }
}
