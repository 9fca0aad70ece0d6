//! The portable form: gzip of lines of JSON.
//!
//! The first line says what it is ([`Header`]). Then, for each table, a line `{"table": name}` and a line `[…]` a
//! row, in the order of the key. The last line says how many rows there were and has the SHA-256 of all lines before
//! it ([`Footer`]): a file without it is cut off.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::TryStreamExt;
use sea_orm::sea_query::{Alias, Expr, Func, Query};
use sea_orm::{ConnectionTrait, DatabaseTransaction, StreamTrait};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tables::TableForm;
use super::{Progress, Told, numbering, rows, tables};
use crate::domain::Timestamp;
use crate::store::StoreError;

pub(super) const FORMAT: &str = "api-monitor-backup";
/// The version of the form. One that is higher is refused.
pub(super) const VERSION: u32 = 1;

/// Rows between two words of progress.
const STEP: u64 = 500;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) created_at: Timestamp,
    /// The version of the program that wrote it.
    pub(super) program: String,
    /// The migrations of its schema, oldest first.
    pub(super) migrations: Vec<String>,
    pub(super) tables: Vec<TableForm>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TableLine {
    pub(super) table: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Footer {
    /// Rows of each table.
    pub(super) rows: BTreeMap<String, u64>,
    pub(super) sha256: String,
}

/// Writes all that a transaction sees; returns how many rows that were.
pub(super) async fn write(
    db: &DatabaseTransaction,
    migrations: &[String],
    into: impl Write,
    now: Timestamp,
    told: Told<'_>,
) -> Result<u64, StoreError> {
    let mut forms = tables::all()?;
    let mut total = 0;
    for form in &mut forms {
        total += count(db, form).await?;
        if form.last_id.is_some() {
            form.last_id = Some(numbering::last(db, &form.name, &form.key[0]).await?);
        }
    }
    let mut out = Lines::new(into);
    out.json(&Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        created_at: now,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        migrations: migrations.to_vec(),
        tables: forms.clone(),
    })?;
    let mut done = 0;
    let mut counts = BTreeMap::new();
    for form in &forms {
        out.json(&TableLine { table: form.name.clone() })?;
        let before = done;
        let mut stream = db.stream(&rows::select(form, ConnectionTrait::get_database_backend(db))).await?;
        while let Some(row) = stream.try_next().await? {
            rows::encode(form, &row, &mut out.line)?;
            out.end_line()?;
            done += 1;
            if done % STEP == 0 {
                told(Progress::Rows { done, total: total.max(done) });
            }
        }
        counts.insert(form.name.clone(), done - before);
    }
    out.finish(counts)?;
    told(Progress::Rows { done, total: done });
    Ok(done)
}

async fn count(db: &DatabaseTransaction, form: &TableForm) -> Result<u64, StoreError> {
    let query =
        Query::select().expr(Func::count(Expr::col(Alias::new(&form.key[0])))).from(Alias::new(&form.name)).to_owned();
    let counted: i64 = db.query_one(&query).await?.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
    Ok(u64::try_from(counted).unwrap_or_default())
}

/// Compresses lines and keeps their sum.
struct Lines<W: Write> {
    gzip: GzEncoder<W>,
    sum: Sha256,
    /// The line being put together.
    line: Vec<u8>,
}

impl<W: Write> Lines<W> {
    fn new(into: W) -> Self {
        // The fast level: rows are so alike that the best one gains a fifth for five times the time.
        Self { gzip: GzEncoder::new(into, Compression::fast()), sum: Sha256::new(), line: Vec::new() }
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), StoreError> {
        serde_json::to_writer(&mut self.line, value).map_err(|e| cannot_write(&e.into()))?;
        self.end_line()
    }

    fn end_line(&mut self) -> Result<(), StoreError> {
        self.line.push(b'\n');
        self.sum.update(&self.line);
        self.gzip.write_all(&self.line).map_err(|e| cannot_write(&e))?;
        self.line.clear();
        Ok(())
    }

    fn finish(mut self, rows: BTreeMap<String, u64>) -> Result<(), StoreError> {
        let sha256 = hex(&self.sum.clone().finalize());
        self.json(&Footer { rows, sha256 })?;
        self.gzip.finish().map_err(|e| cannot_write(&e))?.flush().map_err(|e| cannot_write(&e))
    }
}

fn cannot_write(error: &std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::StorageFull => {
            StoreError::Unavailable("the disk of the backup is full: free some space".to_owned())
        }
        _ => StoreError::Unavailable(format!("the backup cannot be written: {error}")),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
