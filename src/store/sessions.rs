//! `sessions`: who has signed in.

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder};

use super::entities::sessions as table;
use super::{StoreError, decode};
use crate::domain::api_key::KeyDigest;
use crate::domain::session::Session;
use crate::domain::{Timestamp, from_micros, micros};

/// Adds a session; the id is given here.
pub async fn insert(db: &impl ConnectionTrait, new: Session) -> Result<Session, StoreError> {
    let row = table::ActiveModel {
        id: ActiveValue::NotSet,
        key_id: ActiveValue::Set(new.key.to_string()),
        digest: ActiveValue::Set(new.digest.to_hex()),
        binding: ActiveValue::Set(new.binding.to_hex()),
        address: ActiveValue::Set(new.address.map(|address| address.to_string())),
        user_agent: ActiveValue::Set(new.user_agent),
        service: ActiveValue::Set(new.service),
        created_at: ActiveValue::Set(micros(new.created_at)),
        last_seen_at: ActiveValue::Set(micros(new.last_seen_at)),
        expires_at: ActiveValue::Set(micros(new.expires_at)),
    };
    read(table::Entity::insert(row).exec_with_returning(db).await?)
}

/// Removes sessions; those that are gone already do not matter. Returns how many went.
pub async fn delete(db: &impl ConnectionTrait, ids: &[i64]) -> Result<u64, StoreError> {
    let gone = table::Entity::delete_many().filter(table::Column::Id.is_in(ids.iter().copied())).exec(db).await?;
    Ok(gone.rows_affected)
}

/// Removes all sessions.
pub(super) async fn delete_all(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    Ok(table::Entity::delete_many().exec(db).await?.rows_affected)
}

/// Notes when a session was used last. Of one that is gone nothing is noted.
pub async fn note_seen(db: &impl ConnectionTrait, id: i64, at: Timestamp) -> Result<(), StoreError> {
    table::Entity::update_many()
        .col_expr(table::Column::LastSeenAt, Expr::value(micros(at)))
        .filter(table::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// All sessions, by id.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<Session>, StoreError> {
    table::Entity::find().order_by(table::Column::Id, Order::Asc).all(db).await?.into_iter().map(read).collect()
}

fn read(row: table::Model) -> Result<Session, StoreError> {
    let digest = |text: &str, column| KeyDigest::from_hex(text).ok_or_else(|| decode::unreadable(column, "***"));
    Ok(Session {
        id: row.id,
        key: decode::word(&row.key_id, "sessions.key_id")?,
        digest: digest(&row.digest, "sessions.digest")?,
        binding: digest(&row.binding, "sessions.binding")?,
        address: row.address.as_deref().map(|text| decode::word(text, "sessions.address")).transpose()?,
        user_agent: row.user_agent,
        service: row.service,
        created_at: from_micros(row.created_at),
        last_seen_at: from_micros(row.last_seen_at),
        expires_at: from_micros(row.expires_at),
    })
}
