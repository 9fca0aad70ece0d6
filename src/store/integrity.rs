//! Whether a database file is whole, page by page. A connection of its own, whose statement can be cut short: on
//! gigabytes it takes minutes.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::sqlx::{ConnectOptions, Connection, Error as SqlxError, Row, query};
use sea_orm::{DbErr, RuntimeErr};

use super::StoreError;

/// Steps of the database's machine between two questions whether to go on: a fraction of a millisecond.
const STEPS: i32 = 20_000;

/// Findings that are told; the first says enough.
const FINDINGS: usize = 3;

/// Result codes that tell of damage: malformed, malformed virtual table and sequence, and no database at all.
const DAMAGE: [&str; 4] = ["11", "267", "523", "26"];

/// What is examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The pages and their rows.
    Quick,
    /// And that every index says what its table says.
    Full,
}

/// What is known of the wholeness of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// The last process closed it, or it was examined since.
    Sound,
    /// The last process did not close it, and nobody has examined it since.
    Doubtful,
    /// It was examined; this is the first that was found.
    Damaged(String),
}

/// Examines a database; returns what is wrong, in words. `enough` is asked now and then whether to give up.
pub(super) async fn examine(
    path: &Path,
    depth: Depth,
    mut enough: impl FnMut() -> bool + Send + 'static,
) -> Result<Vec<String>, StoreError> {
    let trouble = |error: SqlxError| StoreError::from(DbErr::Query(RuntimeErr::SqlxError(error.into())));
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(trouble)?;
    connection.lock_handle().await.map_err(trouble)?.set_progress_handler(STEPS, move || !enough());
    let statement = match depth {
        Depth::Quick => query("PRAGMA quick_check"),
        Depth::Full => query("PRAGMA integrity_check"),
    };
    let rows = statement.fetch_all(&mut connection).await;
    drop(connection.close().await);
    let rows = match rows {
        Ok(rows) => rows,
        // So damaged that it cannot say where.
        Err(SqlxError::Database(error)) if error.code().is_some_and(|code| DAMAGE.contains(&code.as_ref())) => {
            return Ok(vec![error.message().to_owned()]);
        }
        Err(error) => return Err(trouble(error)),
    };
    let said: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(trouble)?;
    Ok(said.into_iter().filter(|line| line != "ok").take(FINDINGS).map(|line| line.replace('\n', " ")).collect())
}

/// Whether the end of a database file that nobody writes is missing. A page whose rest is all zeros is whole for
/// [`examine`] even so. The first 100 bytes say how many pages there are (<https://www.sqlite.org/fileformat.html>,
/// section 1.3).
pub(super) fn is_cut(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = [0; 100];
    file.read_exact(&mut head)?;
    let number =
        |at: usize, bytes: usize| head[at..at + bytes].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let page = match number(16, 2) {
        1 => 65_536,
        size => size,
    };
    // The number counts where the same change wrote it.
    let is_known = number(24, 4) == number(92, 4);
    Ok(is_known && length < page * number(28, 4))
}
