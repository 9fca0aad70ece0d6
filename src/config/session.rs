//! `api.auth.session`: how long somebody who has signed in is known.

use std::time::Duration;

use serde::Deserialize;

use super::report::Report;
use super::section::Section;
use crate::domain::session::SessionLimits;
use crate::domain::setting::DurationSetting;

const LIFETIME: Duration = Duration::from_hours(7 * 24);
const IDLE: Duration = Duration::from_hours(24);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSession {
    lifetime: Option<DurationSetting>,
    idle: Option<DurationSetting>,
}

/// `section` is `api`.
pub(super) fn read(section: &Section<'_>, raw: RawSession, report: &mut Report) -> SessionLimits {
    let mut within = |key: &str, given: Option<DurationSetting>, default| {
        let given = given.map_or(default, |given| given.0);
        if given < Duration::from_mins(1) || given > Duration::from_hours(366 * 24) {
            section.wrong(&format!("auth.session.{key}"), "must be 1 min to 366 days", report);
        }
        given
    };
    let lifetime = within("lifetime", raw.lifetime, LIFETIME);
    SessionLimits { lifetime, idle: within("idle", raw.idle, IDLE) }
}
