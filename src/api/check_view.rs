//! How a check is shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::check::{CheckDetail, CheckResult, Timings, Trigger};
use crate::domain::condition::ConditionSeen;
use crate::domain::outcome::{FailureKind, MissedReason, Outcome, OutcomeWord};
use crate::domain::{Timestamp, micros};

/// One check.
#[derive(Debug, Serialize, ToSchema)]
pub struct Check {
    /// The slot in microseconds since 1970; unique within the endpoint.
    id: i64,
    endpoint_id: i64,
    #[serde(flatten)]
    seen: CheckSeen,
}

/// What was seen by a check.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckSeen {
    /// HTTP status of the last attempt, when an answer came.
    status_code: Option<u16>,
    /// Seconds of the last attempt; null for missed slots.
    #[schema(example = 0.234)]
    response_time: Option<f64>,
    /// Up or degraded; null for missed slots, which have no verdict.
    success: Option<bool>,
    /// What was wrong, in a sentence.
    error_message: Option<String>,
    /// When the first attempt began; for missed slots the slot.
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
    /// The slot of the schedule.
    #[schema(value_type = String, format = DateTime)]
    scheduled_at: Timestamp,
    outcome: OutcomeWord,
    /// What was wrong, in a stable word.
    failure_kind: Option<FailureKind>,
    /// Why there is no verdict.
    missed_reason: Option<MissedReason>,
    /// Slots that this entry stands for: 1, or the length of a gap of missed slots.
    slots: u32,
    /// Attempts made.
    attempts: u32,
    trigger: Trigger,
    in_maintenance: bool,
    timings: CheckTimings,
    /// Address of the last connection, `ip:port`. Null where what explains a check is not kept: it is of the newest check
    /// of an endpoint, and of those that were not good.
    address: Option<String>,
    /// The conditions with the values that were seen; null where they are not kept.
    conditions: Option<Vec<ConditionItem>>,
    /// The beginning of the answer's body, where it is text and the check was not good.
    excerpt: Option<String>,
}

/// A condition with the values that were seen.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConditionItem {
    /// As it is written.
    #[schema(example = "[STATUS] == 200")]
    condition: String,
    /// It holds.
    success: bool,
    /// With the values.
    #[schema(example = "[STATUS] (502) == 200")]
    seen: String,
    /// One of `degraded_unless`.
    degrades: bool,
    /// Where it does not hold, why, in a sentence.
    why: Option<String>,
}

impl From<&ConditionSeen> for ConditionItem {
    fn from(seen: &ConditionSeen) -> Self {
        let ConditionSeen { condition, success, seen, degrades, why } = seen.clone();
        Self { condition, success, seen, degrades, why }
    }
}

impl Check {
    /// With what explains it, where that is known.
    pub fn explained(result: &CheckResult, detail: Option<&CheckDetail>) -> Self {
        let check = Self::from(result);
        Self { seen: check.seen.with(detail), ..check }
    }
}

impl CheckSeen {
    /// With what explains it, where that is known.
    #[must_use]
    pub fn with(self, detail: Option<&CheckDetail>) -> Self {
        let Some(detail) = detail else { return self };
        Self {
            address: detail.address.clone(),
            conditions: Some(detail.conditions.iter().map(ConditionItem::from).collect()),
            excerpt: detail.excerpt.clone(),
            ..self
        }
    }
}

/// Milliseconds of each phase of the last attempt; null where a phase was not reached or does not exist.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "numbers carry their unit in JSON")]
pub struct CheckTimings {
    dns_ms: Option<f64>,
    connect_ms: Option<f64>,
    tls_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    transfer_ms: Option<f64>,
    total_ms: Option<f64>,
}

impl From<&CheckResult> for Check {
    fn from(result: &CheckResult) -> Self {
        Self { id: micros(result.scheduled_at), endpoint_id: result.endpoint_id.0, seen: result.into() }
    }
}

impl From<&CheckResult> for CheckSeen {
    fn from(result: &CheckResult) -> Self {
        let missed_reason = match result.outcome {
            Outcome::Missed(reason) => Some(reason),
            _ => None,
        };
        let failure = result.outcome.failure();
        Self {
            status_code: result.status_code,
            response_time: result.response_time_us().map(|us| f64::from(us) / 1e6),
            success: missed_reason.is_none().then(|| result.outcome.is_good()),
            error_message: failure.map(|f| f.message.clone()),
            checked_at: result.started_at,
            scheduled_at: result.scheduled_at,
            outcome: result.outcome.word(),
            failure_kind: failure.map(|f| f.kind),
            missed_reason,
            slots: result.slots,
            attempts: result.attempts,
            trigger: result.trigger,
            in_maintenance: result.in_maintenance,
            timings: CheckTimings::of(&result.timings, result.response_time_us()),
            address: None,
            conditions: None,
            excerpt: None,
        }
    }
}

impl CheckTimings {
    fn of(timings: &Timings, total_us: Option<u32>) -> Self {
        let ms = |us: Option<u32>| us.map(|us| f64::from(us) / 1e3);
        Self {
            dns_ms: ms(timings.dns_us),
            connect_ms: ms(timings.connect_us),
            tls_ms: ms(timings.tls_us),
            first_byte_ms: ms(timings.first_byte_us),
            transfer_ms: ms(timings.transfer_us),
            total_ms: ms(total_us),
        }
    }
}
