//! What a portable backup says of its tables, taken from the entities. It is written into the backup, so that one of
//! an older schema can be read by its own words.

use sea_orm::sea_query::ColumnType;
use sea_orm::{ColumnTrait, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn, PrimaryKeyTrait};
use serde::{Deserialize, Serialize};

use crate::store::{StoreError, entities};

/// A table and its columns, in the order of the cells of each row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableForm {
    pub(super) name: String,
    pub(super) key: Vec<String>,
    pub(super) columns: Vec<ColumnForm>,
    /// For a table that counts its key up: the highest that was ever given, so that none is given twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_id: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ColumnForm {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
}

/// What a cell holds, and how it is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A number of 64 bits.
    Integer,
    Text,
    Boolean,
    /// A text that is JSON, letter by letter as it is stored.
    Json,
    /// Base64.
    Bytes,
}

/// All tables. A new one is a line here.
pub(super) fn all() -> Result<Vec<TableForm>, StoreError> {
    Ok(vec![
        form::<entities::endpoints::Entity>()?,
        form::<entities::endpoint_states::Entity>()?,
        form::<entities::certificates::Entity>()?,
        form::<entities::endpoint_certificates::Entity>()?,
        form::<entities::groups::Entity>()?,
        form::<entities::check_results::Entity>()?,
        form::<entities::rollups::Entity>()?,
        form::<entities::incidents::Entity>()?,
        form::<entities::incident_events::Entity>()?,
        form::<entities::notifications::Entity>()?,
        form::<entities::deliveries::Entity>()?,
        form::<entities::maintenance_windows::Entity>()?,
        form::<entities::silences::Entity>()?,
        form::<entities::alert_rules::Entity>()?,
        form::<entities::api_keys::Entity>()?,
        form::<entities::channels::Entity>()?,
        form::<entities::sessions::Entity>()?,
        form::<entities::audit_log::Entity>()?,
        form::<entities::settings::Entity>()?,
    ])
}

fn form<E: EntityTrait>() -> Result<TableForm, StoreError> {
    let name = E::default().table_name().to_owned();
    let columns = E::Column::iter()
        .map(|column| {
            let kind = match column.def().get_column_type() {
                ColumnType::BigInteger => Kind::Integer,
                ColumnType::String(_) | ColumnType::Text => Kind::Text,
                ColumnType::Boolean => Kind::Boolean,
                ColumnType::Json | ColumnType::JsonBinary => Kind::Json,
                ColumnType::Blob | ColumnType::VarBinary(_) => Kind::Bytes,
                other => {
                    let column = column.as_str();
                    return Err(StoreError::Other(format!("{name}.{column} cannot be backed up: it is a {other:?}")));
                }
            };
            Ok(ColumnForm { name: column.as_str().to_owned(), kind })
        })
        .collect::<Result<_, _>>()?;
    let key = E::PrimaryKey::iter().map(|key| key.into_column().as_str().to_owned()).collect();
    let last_id = E::PrimaryKey::auto_increment().then_some(0);
    Ok(TableForm { name, key, columns, last_id })
}
