//! `endpoint_states`: what the incident machine remembers of each endpoint.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait};

use super::entities::endpoint_states as table;
use super::{StoreError, decode};
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::{EndpointState, Trail};
use crate::domain::outcome::Failure;
use crate::domain::{from_micros, micros};

/// Rows in one statement, far below the bind limits.
const ROWS: usize = 100;

/// All states.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<(EndpointId, EndpointState)>, StoreError> {
    table::Entity::find().all(db).await?.into_iter().map(read).collect()
}

/// Stores states, in place of those that are there. An endpoint may occur once only.
pub async fn upsert_many(db: &impl ConnectionTrait, states: &[(EndpointId, EndpointState)]) -> Result<(), StoreError> {
    for chunk in states.chunks(ROWS) {
        table::Entity::insert_many(chunk.iter().map(|(id, state)| row_of(*id, state)))
            .on_conflict(
                OnConflict::column(table::Column::EndpointId)
                    .update_columns([
                        table::Column::Status,
                        table::Column::Since,
                        table::Column::Failures,
                        table::Column::Successes,
                        table::Column::RunStartedAt,
                        table::Column::FailureKind,
                        table::Column::FailureMessage,
                        table::Column::Incident,
                        table::Column::Recovered,
                        table::Column::Trail,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// Forgets the state of an endpoint, if it has one.
pub async fn delete(db: &impl ConnectionTrait, id: EndpointId) -> Result<(), StoreError> {
    table::Entity::delete_by_id(id.0).exec(db).await?;
    Ok(())
}

fn row_of(id: EndpointId, state: &EndpointState) -> table::ActiveModel {
    table::ActiveModel {
        endpoint_id: ActiveValue::Set(id.0),
        status: ActiveValue::Set(state.status.to_string()),
        since: ActiveValue::Set(micros(state.since)),
        failures: ActiveValue::Set(state.failures.into()),
        successes: ActiveValue::Set(state.successes.into()),
        run_started_at: ActiveValue::Set(state.run_started_at.map(micros)),
        failure_kind: ActiveValue::Set(state.cause.as_ref().map(|f| f.kind.to_string())),
        failure_message: ActiveValue::Set(state.cause.as_ref().map(|f| f.message.clone())),
        // Structs of strings, numbers and instants, which JSON always has.
        incident: ActiveValue::Set(state.incident.as_ref().and_then(|i| serde_json::to_value(i).ok())),
        recovered: ActiveValue::Set(state.recovered.as_ref().and_then(|r| serde_json::to_value(r).ok())),
        trail: ActiveValue::Set(
            Some(&state.trail).filter(|trail| **trail != Trail::default()).and_then(|t| serde_json::to_value(t).ok()),
        ),
    }
}

fn read(row: table::Model) -> Result<(EndpointId, EndpointState), StoreError> {
    let cause = row
        .failure_kind
        .map(|kind| {
            let kind = decode::word(&kind, "endpoint_states.failure_kind")?;
            Ok::<_, StoreError>(Failure::new(kind, row.failure_message.unwrap_or_default()))
        })
        .transpose()?;
    let state = EndpointState {
        status: decode::word(&row.status, "endpoint_states.status")?,
        since: from_micros(row.since),
        failures: decode::number(row.failures, "endpoint_states.failures")?,
        successes: decode::number(row.successes, "endpoint_states.successes")?,
        run_started_at: row.run_started_at.map(from_micros),
        cause,
        incident: row.incident.map(|json| decode::json(json, "endpoint_states.incident")).transpose()?,
        recovered: row.recovered.map(|json| decode::json(json, "endpoint_states.recovered")).transpose()?,
        trail: row.trail.map(|json| decode::json(json, "endpoint_states.trail")).transpose()?.unwrap_or_default(),
    };
    Ok((EndpointId(row.endpoint_id), state))
}

/// The state of an endpoint, if it has one.
pub async fn find(db: &impl ConnectionTrait, id: EndpointId) -> Result<Option<EndpointState>, StoreError> {
    let row = table::Entity::find_by_id(id.0).one(db).await?;
    Ok(row.map(read).transpose()?.map(|(_, state)| state))
}
