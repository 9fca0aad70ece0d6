//! A check result as a row of `check_results`.

use sea_orm::ActiveValue::{NotSet, Set};

use crate::domain::check::{CheckResult, Timings};
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::{Failure, Outcome, OutcomeWord};
use crate::domain::{from_micros, micros};
use crate::store::entities::check_results as table;
use crate::store::{StoreError, decode};

pub(super) fn of(result: &CheckResult) -> table::ActiveModel {
    let missed_reason = match &result.outcome {
        Outcome::Missed(reason) => Some(reason.to_string()),
        _ => None,
    };
    let failure = result.outcome.failure();
    table::ActiveModel {
        position: NotSet,
        endpoint_id: Set(result.endpoint_id.0),
        scheduled_at: Set(micros(result.scheduled_at)),
        started_at: Set(micros(result.started_at)),
        outcome: Set(result.outcome.word().to_string()),
        missed_reason: Set(missed_reason),
        failure_kind: Set(failure.map(|f| f.kind.to_string())),
        failure_message: Set(failure.map(|f| f.message.clone())),
        slots: Set(result.slots.into()),
        status_code: Set(result.status_code.map(Into::into)),
        dns_us: Set(result.timings.dns_us.map(Into::into)),
        connect_us: Set(result.timings.connect_us.map(Into::into)),
        tls_us: Set(result.timings.tls_us.map(Into::into)),
        first_byte_us: Set(result.timings.first_byte_us.map(Into::into)),
        transfer_us: Set(result.timings.transfer_us.map(Into::into)),
        total_us: Set(result.timings.total_us.into()),
        attempts: Set(result.attempts.into()),
        trigger: Set(result.trigger.to_string()),
        in_maintenance: Set(result.in_maintenance),
    }
}

pub(super) fn read(row: table::Model) -> Result<CheckResult, StoreError> {
    let outcome = match decode::word(&row.outcome, "check_results.outcome")? {
        OutcomeWord::Up => Outcome::Up,
        OutcomeWord::Degraded => Outcome::Degraded,
        OutcomeWord::Down => {
            let kind = row.failure_kind.as_deref().unwrap_or_default();
            let kind = decode::word(kind, "check_results.failure_kind")?;
            Outcome::Down(Failure::new(kind, row.failure_message.unwrap_or_default()))
        }
        OutcomeWord::Missed => {
            let reason = row.missed_reason.as_deref().unwrap_or_default();
            Outcome::Missed(decode::word(reason, "check_results.missed_reason")?)
        }
    };
    Ok(CheckResult {
        endpoint_id: EndpointId(row.endpoint_id),
        scheduled_at: from_micros(row.scheduled_at),
        started_at: from_micros(row.started_at),
        outcome,
        slots: decode::number(row.slots, "check_results.slots")?,
        status_code: decode::optional(row.status_code, "check_results.status_code")?,
        timings: Timings {
            dns_us: decode::optional(row.dns_us, "check_results.dns_us")?,
            connect_us: decode::optional(row.connect_us, "check_results.connect_us")?,
            tls_us: decode::optional(row.tls_us, "check_results.tls_us")?,
            first_byte_us: decode::optional(row.first_byte_us, "check_results.first_byte_us")?,
            transfer_us: decode::optional(row.transfer_us, "check_results.transfer_us")?,
            total_us: decode::number(row.total_us, "check_results.total_us")?,
        },
        attempts: decode::number(row.attempts, "check_results.attempts")?,
        trigger: decode::word(&row.trigger, "check_results.trigger")?,
        in_maintenance: row.in_maintenance,
    })
}
