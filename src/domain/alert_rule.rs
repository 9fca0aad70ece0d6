//! Rules over the monitor's own metrics: what is set of one, and when it fires and clears, as a pure machine: state,
//! measurement, bounds, now → state, what changed. What a threshold means is said in `threshold`.
//!
//! It measures nothing, stores nothing and reads no clock.

mod threshold;

use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::threshold::{Bounds, Broken, Comparison, LONGEST_HOLD, Quantity, QuantityKind, ThresholdSetting};
use crate::domain::Timestamp;
use crate::domain::notification::Severity;
use crate::domain::outcome::words;
use crate::domain::setting::DurationSetting;

words! {
    /// How a rule stands.
    pub enum Standing {
        /// On the good side of its threshold.
        Ok = "ok",
        /// On the wrong side, not yet for as long as `for` says.
        Pending = "pending",
        /// It was told, and has not cleared.
        Firing = "firing",
        /// Its metric has no value; it neither fires nor clears.
        NoData = "no_data",
        /// It is switched off.
        Disabled = "disabled",
    }
}

/// The number of a rule, which is never used again; `alert_001` to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(pub i64);

impl AlertId {
    /// Reads the text form, and no other way to write it.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("alert_").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        let id = Self(digits.parse().ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "alert_{:03}", self.0)
    }
}

/// What of a rule is set, as it is written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertSettings {
    /// A name of `/api/v1/metrics`. Required but in a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "memory_usage", max_length = 100)]
    pub metric: Option<String>,
    /// Required but in a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<ThresholdSetting>,
    /// Through which channel it is told: the name of a channel, with or without `_notify`; `email_notify`,
    /// `webhook_notify` and `telegram_notify` also where there is none yet. Required but in a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "email_notify", max_length = 200)]
    pub action: Option<String>,
    /// Default `gt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// How long it must hold without interruption before it fires, at most 7 days. Default 0.
    #[serde(skip_serializing_if = "Option::is_none", rename = "for")]
    pub hold: Option<DurationSetting>,
    /// Back at this it clears. Default: 5 % of the threshold away from it, as far as the metric can come; for `lt` and
    /// `lte` on counts the threshold itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear_threshold: Option<ThresholdSetting>,
    /// Default `warning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// What is remembered of a rule between two measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RuleState {
    Ok {
        since: Timestamp,
    },
    NoData {
        since: Timestamp,
    },
    /// On the wrong side without interruption; seen so last at `seen_at`.
    Pending {
        since: Timestamp,
        seen_at: Timestamp,
    },
    Firing(Firing),
}

/// A rule that has fired and not cleared. Stored, so that a restart neither repeats nor forgets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// Since when it has been on the wrong side.
    pub crossed_at: Timestamp,
    /// The confirmation; with the rule its identity.
    pub fired_at: Timestamp,
    /// What was measured then, as it is compared.
    pub value: f64,
}

/// A firing with what was told of it, as it is kept until it clears.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fired {
    #[serde(flatten)]
    pub firing: Firing,
    /// Why, in one sentence without a full stop.
    pub cause: String,
    /// The channels to which it was addressed; they are told of its end.
    pub told: Vec<String>,
}

/// What one measurement changed that is to be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    Fired(Firing),
    Cleared(Firing),
}

/// Between two measurements further apart than this nobody looked: what was pending begins again.
const LONGEST_GAP: TimeDelta = TimeDelta::seconds(30);

impl RuleState {
    pub fn standing(&self) -> Standing {
        match self {
            Self::Ok { .. } => Standing::Ok,
            Self::NoData { .. } => Standing::NoData,
            Self::Pending { .. } => Standing::Pending,
            Self::Firing(_) => Standing::Firing,
        }
    }

    pub fn since(&self) -> Timestamp {
        match self {
            Self::Ok { since } | Self::NoData { since } | Self::Pending { since, .. } => *since,
            Self::Firing(firing) => firing.fired_at,
        }
    }

    pub fn firing(&self) -> Option<Firing> {
        match self {
            Self::Firing(firing) => Some(*firing),
            _ => None,
        }
    }
}

/// Advances the machine by one measurement ([`Bounds::measured`]). Without one it neither fires nor clears, and what
/// was pending is interrupted.
pub fn step(state: RuleState, value: Option<f64>, bounds: &Bounds, now: Timestamp) -> (RuleState, Option<Change>) {
    let Some(value) = value else {
        let next = match state {
            RuleState::Firing(_) | RuleState::NoData { .. } => state,
            RuleState::Ok { .. } | RuleState::Pending { .. } => RuleState::NoData { since: now },
        };
        return (next, None);
    };
    match state {
        RuleState::Firing(firing) if bounds.is_cleared(value) => {
            (RuleState::Ok { since: now }, Some(Change::Cleared(firing)))
        }
        RuleState::Firing(_) => (state, None),
        _ if bounds.is_wrong(value) => {
            let crossed_at = match state {
                // A clock that was set back does not keep it pending for longer than `for`.
                RuleState::Pending { since, seen_at } if seen_at <= now && now - seen_at <= LONGEST_GAP => since,
                _ => now,
            };
            if (now - crossed_at).to_std().unwrap_or_default() >= bounds.hold {
                let firing = Firing { crossed_at, fired_at: now, value };
                (RuleState::Firing(firing), Some(Change::Fired(firing)))
            } else {
                (RuleState::Pending { since: crossed_at, seen_at: now }, None)
            }
        }
        RuleState::Ok { .. } => (state, None),
        RuleState::NoData { .. } | RuleState::Pending { .. } => (RuleState::Ok { since: now }, None),
    }
}

#[cfg(test)]
mod tests;
