//! Putting a backup in the place of a database. The backup is verified before anything is touched, the new database
//! is made beside the old one, and the old one is kept.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, Statement, TransactionTrait};

use super::reader::{Next, Reader};
use super::tables::TableForm;
use super::{Form, Progress, Told, is_same_file, numbering, rows, sync_folder, unavailable};
use crate::domain::Timestamp;
use crate::store::beside::Beside;
use crate::store::dialect::{Dialect, sqlite};
use crate::store::lock::ProcessLock;
use crate::store::{Store, StoreError, StoreOptions, StoreTarget, integrity, open, sessions};

/// Bytes copied at a time.
const BLOCK: usize = 1 << 20;

/// Values bound in one statement, far below the limits of both databases.
const VALUES: usize = 2_000;

/// A backup that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub form: Form,
    /// Rows of a portable backup.
    pub rows: Option<u64>,
    /// Size of the backup.
    pub bytes: u64,
    /// Where the database that was there is kept.
    pub kept: Option<PathBuf>,
}

/// Puts a backup of either form in the place of the database. With `replace` also when that has data.
///
/// # Errors
/// A sentence, and nothing was changed: the backup is damaged, cut off or of a newer version; a monitor uses the
/// database; it has data ([`StoreError::Conflict`]).
pub async fn restore(
    options: &StoreOptions,
    backup: &Path,
    replace: bool,
    now: Timestamp,
    told: Told<'_>,
) -> Result<Restored, StoreError> {
    if let StoreTarget::Sqlite(target) = &options.target
        && is_same_file(backup, target)
    {
        return Err(StoreError::Conflict(format!("{} is the database itself, not a backup", backup.display())));
    }
    let form = recognise(backup)?;
    if form == Form::Portable {
        Reader::verify(backup, told)?;
    }
    let (rows, kept) = match &options.target {
        StoreTarget::Sqlite(target) => into_file(target, options.echo, backup, form, replace, now, told).await?,
        StoreTarget::Postgres(_) if form == Form::Native => {
            return Err(StoreError::Conflict(format!(
                "{} is a native backup, which goes into SQLite only: make one with `api-monitor backup --format \
                 portable`, if need be of a database of SQLite into which this one was restored",
                backup.display()
            )));
        }
        StoreTarget::Postgres(_) => (Some(into_server(options, backup, replace, told).await?), None),
        StoreTarget::Memory => {
            return Err(StoreError::Unavailable(
                "database.url names a database in memory, into which nothing can be restored: name a file".to_owned(),
            ));
        }
    };
    let bytes = std::fs::metadata(backup).map_or(0, |file| file.len());
    Ok(Restored { form, rows, bytes, kept })
}

/// Makes a new file beside the old one and swaps them.
async fn into_file(
    target: &Path,
    echo: bool,
    backup: &Path,
    form: Form,
    replace: bool,
    now: Timestamp,
    told: Told<'_>,
) -> Result<(Option<u64>, Option<PathBuf>), StoreError> {
    open::create_folder(target)?;
    let lock = ProcessLock::take(target)?;
    if !replace {
        refuse_data(target).await?;
    }
    let made = Beginning(beside(target, ".restoring"));
    let fresh = made.0.as_path();
    made.remove();
    let rows = match form {
        Form::Native => {
            copy(backup, fresh, told)?;
            verify_copy(backup, fresh).await?;
            None
        }
        Form::Portable => Some(fill(fresh, echo, backup, told).await?),
    };
    // Opens it as a monitor would: what an older version wrote is brought up to date, and the file is made whole.
    let name = backup.display().to_string();
    let writer = Database::connect(sqlite::writer_options(fresh, echo)).await;
    let writer = writer.map_err(|error| open::named(&name, error.into()))?;
    open::migrate(&Dialect::sqlite(), &writer, &name).await?;
    // Who has signed out since must not be signed in again.
    sessions::delete_all(&writer).await?;
    let settled = sqlite::settle(&writer).await;
    writer.close_by_ref().await?;
    settled?;
    let kept = put_in_place(fresh, target, now).await?;
    lock.forget_the_past();
    Ok((rows, kept))
}

/// Replaces all tables in one transaction.
async fn into_server(options: &StoreOptions, backup: &Path, replace: bool, told: Told<'_>) -> Result<u64, StoreError> {
    let store = Store::open(options).await?;
    let done = async {
        if !replace && !is_empty(store.readers()).await? {
            return Err(StoreError::Conflict(format!(
                "the database {} has data: replace it with --force, or name another database",
                store.place()
            )));
        }
        let transaction = store.begin_durable().await?;
        Migrator::down(&transaction, None).await?;
        let rows = load(&transaction, backup, told).await?;
        Migrator::up(&transaction, None).await?;
        sessions::delete_all(&transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    };
    let done = done.await;
    let closed = store.close().await;
    let rows = done?;
    closed?;
    Ok(rows)
}

/// Tells the form of a backup by its first bytes.
fn recognise(backup: &Path) -> Result<Form, StoreError> {
    let cannot = |e: std::io::Error| unavailable("the backup cannot be read", backup, &e);
    let mut head = Vec::new();
    File::open(backup).map_err(cannot)?.take(16).read_to_end(&mut head).map_err(cannot)?;
    if head.starts_with(b"SQLite format 3\0") {
        let journal = beside(backup, "-wal");
        if journal.metadata().is_ok_and(|file| file.len() > 0) {
            return Err(StoreError::Unavailable(format!(
                "{} is no backup but a database with changes in {}: make a backup of it with `api-monitor backup`",
                backup.display(),
                journal.display()
            )));
        }
        return Ok(Form::Native);
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(Form::Portable);
    }
    Err(StoreError::Unavailable(format!(
        "{} is not a backup of api-monitor: it is neither a database of SQLite nor compressed",
        backup.display()
    )))
}

/// Refuses a target in which anything is kept. One that cannot be read may hold everything.
async fn refuse_data(target: &Path) -> Result<(), StoreError> {
    if std::fs::metadata(target).map_or(0, |file| file.len()) == 0 {
        return Ok(());
    }
    let there = |why: &str| {
        StoreError::Conflict(format!(
            "the database {} {why}: restore with --force, which keeps it beside, or name another database",
            target.display()
        ))
    };
    let Ok(database) = Beside::at(target, false).await else { return Err(there("is there and cannot be read")) };
    let empty = is_empty(database.readers()).await;
    database.close().await?;
    match empty {
        Ok(true) => Ok(()),
        Ok(false) => Err(there("has data")),
        Err(_) => Err(there("is there and cannot be read")),
    }
}

/// Whether nothing was ever monitored: what the monitor remembers of itself does not count.
async fn is_empty(db: &DatabaseConnection) -> Result<bool, StoreError> {
    for form in super::tables::all()? {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", form.name);
        let query = Statement::from_string(db.get_database_backend(), sql);
        // An older schema lacks some of the tables.
        if form.name != "settings" && matches!(db.query_one_raw(query).await, Ok(Some(_))) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy(from: &Path, to: &Path, told: Told<'_>) -> Result<(), StoreError> {
    let mut source = File::open(from).map_err(|e| unavailable("the backup cannot be read", from, &e))?;
    let total = source.metadata().map_or(0, |file| file.len());
    let mut target = File::create_new(to).map_err(|e| unavailable("it cannot be made", to, &e))?;
    let mut block = vec![0; BLOCK];
    let mut done = 0;
    loop {
        let read = source.read(&mut block).map_err(|e| unavailable("the backup cannot be read", from, &e))?;
        if read == 0 {
            return Ok(());
        }
        target.write_all(&block[..read]).map_err(|e| unavailable("it cannot be written", to, &e))?;
        done += read as u64;
        told(Progress::Bytes { done, total });
    }
}

/// Examines every page of a copied backup, so that what is restored is what was verified.
async fn verify_copy(backup: &Path, copied: &Path) -> Result<(), StoreError> {
    let damaged = |what: &str| {
        let name = backup.display();
        StoreError::Unavailable(format!("the backup {name} is damaged ({what}): nothing was changed; use another"))
    };
    match integrity::examine(copied, integrity::Depth::Full, || false).await {
        Ok(findings) if findings.is_empty() => match integrity::is_cut(copied) {
            Ok(false) => {}
            Ok(true) => return Err(damaged("its end is missing")),
            Err(error) => return Err(damaged(&error.to_string())),
        },
        Ok(findings) => return Err(damaged(&findings.join("; "))),
        Err(error) => return Err(damaged(&error.to_string())),
    }
    let name_it = |error: StoreError| match error {
        StoreError::Unavailable(sentence) => StoreError::Unavailable(
            sentence
                .replace(&format!("the database {}", copied.display()), &format!("the backup {}", backup.display()))
                .replace(&copied.display().to_string(), &backup.display().to_string()),
        ),
        other => other,
    };
    Beside::at(copied, false).await.map_err(name_it)?.close().await
}

/// Makes a new database from a portable backup.
async fn fill(fresh: &Path, echo: bool, backup: &Path, told: Told<'_>) -> Result<u64, StoreError> {
    let name = fresh.display().to_string();
    let about = |e: sea_orm::DbErr| open::named(&name, e.into());
    let writer = Database::connect(sqlite::loading_options(fresh, echo)).await.map_err(about)?;
    let transaction = writer.begin().await.map_err(about)?;
    let rows = load(&transaction, backup, told).await;
    if rows.is_ok() {
        transaction.commit().await.map_err(about)?;
    }
    writer.close_by_ref().await?;
    rows
}

/// Makes the tables of the backup's time, which must not exist, and their rows; returns how many.
async fn load(db: &DatabaseTransaction, backup: &Path, told: Told<'_>) -> Result<u64, StoreError> {
    let mut reader = Reader::open(backup)?;
    let migrations = u32::try_from(reader.header.migrations.len()).unwrap_or(u32::MAX);
    Migrator::up(db, Some(migrations)).await?;
    let forms = reader.header.tables.clone();
    let mut current: Option<&TableForm> = None;
    let mut waiting = Vec::new();
    loop {
        let is_row = match reader.next()? {
            Next::Row(line) => {
                let row = current.and_then(|form| rows::decode(form, line));
                let Some(row) = row else { return Err(reader.damaged("a row that does not fit its table")) };
                waiting.push(row);
                true
            }
            Next::Table(name) => {
                flush(db, current, &mut waiting).await?;
                current = forms.iter().find(|form| form.name == name);
                if current.is_none() {
                    return Err(reader.damaged("a table that it does not describe"));
                }
                false
            }
            Next::End => {
                flush(db, current, &mut waiting).await?;
                break;
            }
        };
        if is_row && current.is_some_and(|form| (waiting.len() + 1) * form.columns.len() > VALUES) {
            flush(db, current, &mut waiting).await?;
        }
        reader.tell(told);
    }
    for form in &forms {
        if let Some(last) = form.last_id {
            numbering::go_on_after(db, &form.name, &form.key[0], last).await?;
        }
    }
    Ok(reader.rows())
}

async fn flush(
    db: &DatabaseTransaction,
    form: Option<&TableForm>,
    waiting: &mut Vec<Vec<sea_orm::Value>>,
) -> Result<(), StoreError> {
    if let Some(form) = form.filter(|_| !waiting.is_empty()) {
        db.execute(&rows::insert(form, std::mem::take(waiting), db.get_database_backend())?).await?;
    }
    Ok(())
}

/// Swaps the files. Returns where the old database is kept, if there was one.
async fn put_in_place(fresh: &Path, target: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    let cannot = |e: std::io::Error| unavailable("the restored database cannot be put in place", target, &e);
    let mut kept = None;
    if let Ok(old) = target.metadata() {
        keep_owner(fresh, &old);
        if old.len() > 0 {
            // What is still in its journal goes into the file; of one that is damaged, the journal is kept as well.
            if let Ok(writer) = Database::connect(sqlite::writer_options(target, false)).await {
                drop(sqlite::empty_journal(&writer).await);
                drop(writer.close_by_ref().await);
            }
            kept = Some(beside(target, &format!(".before-restore-{}", now.format("%Y%m%dT%H%M%SZ"))));
        }
    }
    File::open(fresh).and_then(|file| file.sync_all()).map_err(cannot)?;
    if let Some(kept) = &kept {
        // By a second name where that can be had, so that at no moment there is no database: a monitor that is started
        // then would begin an empty one.
        std::fs::hard_link(target, kept).or_else(|_| std::fs::rename(target, kept)).map_err(cannot)?;
    }
    for suffix in ["-wal", "-shm"] {
        let left = beside(target, suffix);
        if left.exists() {
            match &kept {
                Some(kept) if suffix == "-wal" => std::fs::rename(&left, beside(kept, suffix)).map_err(cannot)?,
                _ => std::fs::remove_file(&left).map_err(cannot)?,
            }
        }
    }
    std::fs::rename(fresh, target).map_err(cannot)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(folder).map_err(cannot)?;
    Ok(kept)
}

/// Whoever could use the old file can use the new one: the restore may be run by another user than the monitor.
fn keep_owner(fresh: &Path, old: &std::fs::Metadata) {
    drop(std::fs::set_permissions(fresh, old.permissions()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, chown};
        drop(chown(fresh, Some(old.uid()), Some(old.gid())));
    }
}

/// The file of a database that is being made, removed with what belongs to it unless it was put in place.
struct Beginning(PathBuf);

impl Beginning {
    fn remove(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            // Most are not there.
            drop(std::fs::remove_file(beside(&self.0, suffix)));
        }
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        self.remove();
    }
}

/// `monitor.db` and `-wal`: `monitor.db-wal`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
