//! The nouns and the rules of monitoring, as pure code.
//!
//! Nothing in here is asynchronous, does I/O or reads a clock: time is an argument. Whatever decides
//! (is this answer good, is this endpoint down, when is the next slot, what is the uptime) is decided
//! here and tested as tables and properties; the other modules only carry it out.

pub mod alert_policy;
pub mod alert_rule;
pub mod api_key;
pub mod audience;
pub mod availability;
pub mod certificate;
pub mod check;
pub mod condition;
pub mod connectivity;
pub mod counts;
pub mod dependency;
pub mod dial;
pub mod endpoint;
pub mod group;
pub mod grouping;
pub mod hold;
pub mod holds;
pub mod incident;
pub mod latency;
pub mod maintenance;
pub mod notification;
pub mod outbound;
pub mod outcome;
pub mod placeholder;
pub mod plan;
pub mod pointer;
pub mod preset;
pub mod promise;
pub mod push;
pub mod recheck;
pub mod retry;
pub mod role;
pub mod route;
pub mod schedule;
pub mod secret_names;
pub mod selector;
pub mod session;
pub mod setting;
pub mod silence;
pub mod simulation;
pub mod start_grace;
pub mod suggest;
pub mod suppression;
pub mod template;
pub mod uptime;

/// An instant in UTC. Everything recorded is truncated to whole microseconds ([`micros`]).
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// Microseconds since the Unix epoch: how instants are stored, and the id of a check in the history.
pub fn micros(at: Timestamp) -> i64 {
    at.timestamp_micros()
}

/// The instant `micros` microseconds after the Unix epoch; values beyond what a calendar holds are clamped.
pub fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_timestamp_micros(micros).unwrap_or(if micros < 0 { Timestamp::MIN_UTC } else { Timestamp::MAX_UTC })
}
