//! The highest number that a table ever gave to a row, which is more than the highest it has when rows were removed.

use sea_orm::sea_query::{Alias, Expr, Func, Query};
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use crate::store::StoreError;

/// The highest number given, 0 for none.
pub(super) async fn last(db: &impl ConnectionTrait, table: &str, key: &str) -> Result<i64, StoreError> {
    let backend = db.get_database_backend();
    let given = if backend == DbBackend::Sqlite {
        one(db, "SELECT seq FROM sqlite_sequence WHERE name = ?", [table.into()]).await?
    } else {
        // The sequence knows more than this transaction sees, which does no harm: a few numbers are left out.
        one(db, "SELECT pg_sequence_last_value(pg_get_serial_sequence($1, $2)::regclass)", [quoted(table), key.into()])
            .await?
    };
    let highest = Func::max(Expr::col(Alias::new(key)));
    let highest = Query::select().expr(highest).from(Alias::new(table)).to_owned();
    let highest: Option<i64> = db.query_one(&highest).await?.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
    Ok(given.max(highest).unwrap_or_default())
}

/// Has a table go on after `last`. Its rows must be there already.
pub(super) async fn go_on_after(
    db: &impl ConnectionTrait,
    table: &str,
    key: &str,
    last: i64,
) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    if last < 1 {
        return Ok(());
    }
    if backend == DbBackend::Sqlite {
        run(db, "DELETE FROM sqlite_sequence WHERE name = ?", [table.into()]).await?;
        run(db, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", [table.into(), last.into()]).await
    } else {
        one(db, "SELECT setval(pg_get_serial_sequence($1, $2), $3)", [quoted(table), key.into(), last.into()])
            .await
            .map(drop)
    }
}

/// How a function that reads a name wants it.
fn quoted(table: &str) -> Value {
    format!("\"{}\"", table.replace('"', "\"\"")).into()
}

async fn one<const N: usize>(
    db: &impl ConnectionTrait,
    sql: &str,
    values: [Value; N],
) -> Result<Option<i64>, StoreError> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.query_one_raw(statement).await?.map(|row| row.try_get_by_index(0)).transpose()?.flatten())
}

async fn run<const N: usize>(db: &impl ConnectionTrait, sql: &str, values: [Value; N]) -> Result<(), StoreError> {
    db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await?;
    Ok(())
}
