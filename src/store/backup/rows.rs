//! Between a row of the database and a line of a portable backup.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, InsertStatement, Order, Query, SelectStatement};
use sea_orm::{DbBackend, QueryResult, TryGetable, Value};
use serde::Serialize;
use serde_json::Value as Json;

use super::tables::{Kind, TableForm};
use crate::store::StoreError;

/// All rows of a table in the order of its key, JSON as text.
pub(super) fn select(form: &TableForm, backend: DbBackend) -> SelectStatement {
    let mut query = Query::select();
    for column in &form.columns {
        let name = Expr::col(Alias::new(&column.name));
        // What is text anyhow stays as it is.
        let as_text = column.kind == Kind::Json && backend != DbBackend::Sqlite;
        query.expr(if as_text { name.cast_as("text") } else { name });
    }
    query.from(Alias::new(&form.name));
    for key in &form.key {
        query.order_by(Alias::new(key), Order::Asc);
    }
    query
}

/// Appends a row to a line.
pub(super) fn encode(form: &TableForm, row: &QueryResult, line: &mut Vec<u8>) -> Result<(), StoreError> {
    for (index, column) in form.columns.iter().enumerate() {
        line.push(if index == 0 { b'[' } else { b',' });
        match column.kind {
            Kind::Integer => cell::<i64>(row, index, line)?,
            Kind::Boolean => cell::<bool>(row, index, line)?,
            Kind::Text | Kind::Json => cell::<String>(row, index, line)?,
            Kind::Bytes => {
                let bytes: Option<Vec<u8>> = row.try_get_by_index(index)?;
                put(&bytes.map(|bytes| BASE64_STANDARD.encode(bytes)), line)?;
            }
        }
    }
    line.push(b']');
    Ok(())
}

fn cell<T: TryGetable + Serialize>(row: &QueryResult, index: usize, line: &mut Vec<u8>) -> Result<(), StoreError> {
    put(&row.try_get_by_index::<Option<T>>(index)?, line)
}

fn put(value: &impl Serialize, line: &mut Vec<u8>) -> Result<(), StoreError> {
    serde_json::to_writer(line, value).map_err(|e| StoreError::Other(format!("a row cannot be written: {e}")))
}

/// The cells of a line; `None` when it is not a row of this table.
pub(super) fn decode(form: &TableForm, line: &[u8]) -> Option<Vec<Value>> {
    let cells: Vec<Json> = serde_json::from_slice(line).ok()?;
    if cells.len() != form.columns.len() {
        return None;
    }
    cells.into_iter().zip(&form.columns).map(|(cell, column)| value_of(column.kind, cell)).collect()
}

fn value_of(kind: Kind, cell: Json) -> Option<Value> {
    Some(match (kind, cell) {
        (Kind::Integer, Json::Null) => Value::BigInt(None),
        (Kind::Integer, Json::Number(number)) => Value::BigInt(Some(number.as_i64()?)),
        (Kind::Boolean, Json::Null) => Value::Bool(None),
        (Kind::Boolean, Json::Bool(value)) => Value::Bool(Some(value)),
        (Kind::Text | Kind::Json, Json::Null) => Value::String(None),
        (Kind::Text | Kind::Json, Json::String(text)) => Value::String(Some(text)),
        (Kind::Bytes, Json::Null) => Value::Bytes(None),
        (Kind::Bytes, Json::String(text)) => Value::Bytes(Some(BASE64_STANDARD.decode(text).ok()?)),
        _ => return None,
    })
}

/// One statement for many rows.
pub(super) fn insert(
    form: &TableForm,
    rows: Vec<Vec<Value>>,
    backend: DbBackend,
) -> Result<InsertStatement, StoreError> {
    let mut statement = Query::insert();
    statement.into_table(Alias::new(&form.name)).columns(form.columns.iter().map(|column| Alias::new(&column.name)));
    for row in rows {
        let cells = row.into_iter().zip(&form.columns).map(|(value, column)| match (backend, column.kind, value) {
            (DbBackend::Sqlite, _, value) => Expr::value(value),
            (_, Kind::Json, value) => Expr::value(value).cast_as("json"),
            // SQLite keeps a NUL in a text, PostgreSQL does not.
            (_, Kind::Text, Value::String(Some(text))) => Expr::value(text.replace('\0', "\u{fffd}")),
            (_, _, value) => Expr::value(value),
        });
        statement.values(cells).map_err(|e| StoreError::Other(format!("a row cannot be restored: {e}")))?;
    }
    Ok(statement)
}
