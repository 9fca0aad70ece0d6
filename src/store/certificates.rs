//! `certificates` and `endpoint_certificates`: what endpoints serve, and which of it was told to expire soon.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoreError;
use super::entities::{certificates as table, endpoint_certificates as of_endpoints};
use crate::domain::certificate::ServedChain;
use crate::domain::check::CertificateSeen;
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::without_nul;
use crate::domain::{Timestamp, from_micros, micros};

/// As many rows are written by one statement.
const AT_ONCE: usize = 500;

/// One of the certificates that were served after the leaf.
#[derive(Serialize, Deserialize)]
struct StoredIssuer {
    fingerprint: String,
    subject: String,
    issuer: String,
    not_before: i64,
    not_after: i64,
}

/// What an endpoint served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    pub chain: Arc<ServedChain>,
    /// Scheme, host and port at which it did.
    pub place: String,
}

/// What each endpoint served last.
///
/// # Errors
/// When the database fails.
pub async fn list(db: &impl ConnectionTrait) -> Result<HashMap<EndpointId, Served>, StoreError> {
    let chains = table::Entity::find().all(db).await?;
    let chains: HashMap<String, Arc<ServedChain>> =
        chains.into_iter().map(|row| (row.fingerprint.clone(), Arc::new(read(row)))).collect();
    let rows = of_endpoints::Entity::find().all(db).await?;
    let served = |row: of_endpoints::Model| {
        let chain = chains.get(&row.fingerprint)?.clone();
        Some((EndpointId(row.endpoint_id), Served { chain, place: row.place }))
    };
    Ok(rows.into_iter().filter_map(served).collect())
}

/// Up to which instant it was told of each certificate, by fingerprint.
///
/// # Errors
/// When the database fails.
pub async fn told(db: &impl ConnectionTrait) -> Result<HashMap<String, Timestamp>, StoreError> {
    let rows: Vec<(String, i64)> = table::Entity::find()
        .select_only()
        .columns([table::Column::Fingerprint, table::Column::ToldUntil])
        .filter(table::Column::ToldUntil.is_not_null())
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(fingerprint, until)| (fingerprint, from_micros(until))).collect())
}

/// These endpoints serve these certificates from now on; `None`: no longer any that is known.
///
/// # Errors
/// When the database fails.
pub async fn serve(
    db: &impl ConnectionTrait,
    served: &[(EndpointId, Option<Served>)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let chains: BTreeMap<&str, &ServedChain> = served
        .iter()
        .filter_map(|(_, served)| served.as_ref())
        .map(|served| (served.chain.leaf.fingerprint.as_str(), &*served.chain))
        .collect();
    let rows: Vec<_> = chains.into_values().map(|chain| row(chain, now)).collect();
    for some in rows.chunks(AT_ONCE) {
        let keep = OnConflict::column(table::Column::Fingerprint).update_column(table::Column::LastServedAt).to_owned();
        table::Entity::insert_many(some.to_vec()).on_conflict(keep).exec_without_returning(db).await?;
    }
    let (with, without): (Vec<_>, Vec<_>) = served.iter().partition(|(_, chain)| chain.is_some());
    let rows: Vec<_> = with
        .iter()
        .filter_map(|(id, served)| {
            let Served { chain, place } = served.as_ref()?;
            Some(of_endpoints::ActiveModel {
                endpoint_id: ActiveValue::Set(id.0),
                fingerprint: ActiveValue::Set(chain.leaf.fingerprint.clone()),
                place: ActiveValue::Set(place.clone()),
            })
        })
        .collect();
    for some in rows.chunks(AT_ONCE) {
        let replace = OnConflict::column(of_endpoints::Column::EndpointId)
            .update_columns([of_endpoints::Column::Fingerprint, of_endpoints::Column::Place])
            .to_owned();
        of_endpoints::Entity::insert_many(some.to_vec()).on_conflict(replace).exec_without_returning(db).await?;
    }
    for some in without.chunks(AT_ONCE) {
        let ids = some.iter().map(|(id, _)| id.0);
        of_endpoints::Entity::delete_many().filter(of_endpoints::Column::EndpointId.is_in(ids)).exec(db).await?;
    }
    Ok(())
}

/// It was told of a certificate up to this instant.
///
/// # Errors
/// When the database fails.
pub async fn note_told(db: &impl ConnectionTrait, fingerprint: &str, until: Timestamp) -> Result<(), StoreError> {
    table::Entity::update_many()
        .col_expr(table::Column::ToldUntil, Expr::value(micros(until)))
        .filter(table::Column::Fingerprint.eq(fingerprint))
        .exec(db)
        .await?;
    Ok(())
}

/// Removes the certificates that no endpoint serves and that were first served, or came back, before an instant. What is
/// still served stays however old it is. Returns their number.
///
/// # Errors
/// When the database fails.
pub async fn delete_unserved(db: &impl ConnectionTrait, before: Timestamp) -> Result<u64, StoreError> {
    let served = Query::select().column(of_endpoints::Column::Fingerprint).from(of_endpoints::Entity).to_owned();
    let deleted = table::Entity::delete_many()
        .filter(Expr::col(table::Column::LastServedAt).lt(micros(before)))
        .filter(table::Column::Fingerprint.not_in_subquery(served))
        .exec(db)
        .await?;
    Ok(deleted.rows_affected)
}

fn row(chain: &ServedChain, now: Timestamp) -> table::ActiveModel {
    let ServedChain { leaf, issuers } = chain;
    let issuers: Vec<_> = issuers
        .iter()
        .map(|issuer| StoredIssuer {
            fingerprint: issuer.fingerprint.clone(),
            subject: without_nul(issuer.subject.clone()),
            issuer: without_nul(issuer.issuer.clone()),
            not_before: micros(issuer.not_before),
            not_after: micros(issuer.not_after),
        })
        .collect();
    let sans = leaf.sans.iter().map(|name| Value::String(without_nul(name.clone()))).collect();
    table::ActiveModel {
        fingerprint: ActiveValue::Set(leaf.fingerprint.clone()),
        subject: ActiveValue::Set(without_nul(leaf.subject.clone())),
        issuer: ActiveValue::Set(without_nul(leaf.issuer.clone())),
        not_before: ActiveValue::Set(micros(leaf.not_before)),
        not_after: ActiveValue::Set(micros(leaf.not_after)),
        sans: ActiveValue::Set(Value::Array(sans)),
        // These fields are always JSON.
        issuers: ActiveValue::Set(serde_json::to_value(issuers).unwrap_or_default()),
        first_served_at: ActiveValue::Set(micros(now)),
        last_served_at: ActiveValue::Set(micros(now)),
        told_until: ActiveValue::Set(None),
    }
}

/// What cannot be read of a chain is left out: the next check brings it again.
fn read(row: table::Model) -> ServedChain {
    let issuers: Vec<StoredIssuer> = serde_json::from_value(row.issuers).unwrap_or_default();
    ServedChain {
        leaf: CertificateSeen {
            fingerprint: row.fingerprint,
            subject: row.subject,
            issuer: row.issuer,
            not_before: from_micros(row.not_before),
            not_after: from_micros(row.not_after),
            sans: serde_json::from_value(row.sans).unwrap_or_default(),
        },
        issuers: issuers
            .into_iter()
            .map(|stored| CertificateSeen {
                fingerprint: stored.fingerprint,
                subject: stored.subject,
                issuer: stored.issuer,
                not_before: from_micros(stored.not_before),
                not_after: from_micros(stored.not_after),
                sans: Vec::new(),
            })
            .collect(),
    }
}
