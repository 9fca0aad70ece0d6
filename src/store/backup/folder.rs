//! The folder of the backups that nobody gave a name: those made through the API, and those of the command line
//! without a file. What is in it is all that is known of them; a name says when a backup was begun.
//!
//! One at a time writes there, also of several processes: whoever does holds a lock. What was left unfinished is
//! removed by the next one, and at the start.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{NaiveDateTime, SubsecRound, TimeDelta};

use super::{Form, unavailable};
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::StoreError;

/// What every name begins with.
const PREFIX: &str = "backup_";

/// How a name goes on.
const INSTANT: &str = "%Y%m%dT%H%M%SZ";

/// Whoever writes holds this file.
const LOCK: &str = ".backups.lock";

/// The most backups that are looked at in a folder.
const MOST: usize = 10_000;

/// Backups this close to each other are named in their order.
const CROWD: TimeDelta = TimeDelta::minutes(1);

/// The folder, and what is known of the newest backup in it.
#[derive(Debug)]
pub struct BackupFolder {
    path: PathBuf,
    /// How many stay in it, the newest first.
    keep: usize,
    last: Mutex<Option<Timestamp>>,
}

/// A whole backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// `backup_20260301T120001Z`
    pub id: String,
    pub path: PathBuf,
    pub form: Form,
    /// When it was begun, and so the state that it holds.
    pub created_at: Timestamp,
    /// When its file was written to the end.
    pub finished_at: Option<Timestamp>,
    pub bytes: u64,
}

/// The right to write into the folder, until it is dropped.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "its lock goes with it")] File);

impl Form {
    fn extension(self) -> &'static str {
        match self {
            Self::Native => "db",
            Self::Portable => "jsonl.gz",
        }
    }
}

/// When the backup with an id was begun.
pub fn begun_at(id: &str) -> Option<Timestamp> {
    let instant = NaiveDateTime::parse_from_str(id.strip_prefix(PREFIX)?, INSTANT).ok()?.and_utc();
    // Nothing but what is written here: the parser lets other widths pass.
    (id_of(instant) == id).then_some(instant)
}

fn id_of(begun: Timestamp) -> String {
    format!("{PREFIX}{}", begun.format(INSTANT))
}

impl BackupFolder {
    /// `keep` is at least 1.
    pub fn new(path: PathBuf, keep: usize) -> Self {
        Self { path, keep, last: Mutex::new(None) }
    }

    /// When the newest backup that is known was begun: of those that were in the folder when it was looked at.
    pub fn last(&self) -> Option<Timestamp> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows of a backup that was begun then.
    pub fn note(&self, begun: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (*last).max(Some(begun));
    }

    /// The whole backups, the newest first. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Kept>, StoreError> {
        let mut all = Vec::new();
        match std::fs::read_dir(&self.path) {
            Ok(entries) => all.extend(entries.filter_map(|entry| kept(&entry.ok()?)).take(MOST)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unavailable("the folder of the backups cannot be read", &self.path, &error)),
        }
        all.sort_by(|one, other| other.id.cmp(&one.id));
        if let Some(newest) = all.first() {
            self.note(newest.created_at);
        }
        Ok(all)
    }

    /// Takes the right to write, makes the folder, and removes what others have left unfinished. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] while somebody else writes; [`StoreError::Unavailable`].
    pub fn claim(&self) -> Result<Claim, StoreError> {
        let cannot = |error: io::Error| unavailable("the folder of the backups cannot be written", &self.path, &error);
        make_private(&self.path).map_err(cannot)?;
        let lock = self.path.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(lock).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Conflict(format!(
                    "another process is writing a backup into {}: wait for it",
                    self.path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        for entry in std::fs::read_dir(&self.path).map_err(cannot)?.filter_map(Result::ok) {
            let name = entry.file_name();
            let is_unfinished = name.to_str().is_some_and(|name| {
                name.strip_prefix('.').is_some_and(|name| name.starts_with(PREFIX)) && name.contains(".partial")
            });
            if is_unfinished {
                match std::fs::remove_file(entry.path()) {
                    Ok(()) => tracing::info!(file = %entry.path().display(), "an unfinished backup was removed"),
                    Err(error) => tracing::warn!(%error, "an unfinished backup cannot be removed"),
                }
            }
        }
        Ok(Claim(file))
    }

    /// Removes what was left unfinished, and looks at what there is. Blocks.
    pub fn tidy_up(&self) {
        if self.path.is_dir() {
            match self.claim() {
                // Somebody is at work there.
                Ok(_) | Err(StoreError::Conflict(_)) => {}
                Err(error) => tracing::warn!(%error, "what was left of backups cannot be removed"),
            }
            self.look();
        }
    }

    /// Looks which backup is the newest. Blocks.
    pub fn look(&self) {
        if let Err(error) = self.list() {
            tracing::debug!(%error, "the folder of the backups cannot be read");
        }
    }

    /// A name for a backup that is begun now, and its file. Of several within a second each is a second later than the one
    /// before. Blocks.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn name(&self, form: Form, now: Timestamp) -> Result<(String, PathBuf), StoreError> {
        let taken = self.list()?;
        let mut begun = now.trunc_subsecs(0);
        // Also of those that are gone, or a new one would pass for an old one. A clock that was set back by more is no
        // reason to go on in the future.
        if let Some(next) = self.last().and_then(|last| last.checked_add_signed(TimeDelta::seconds(1)))
            && next > begun
            && next - begun < CROWD
        {
            begun = next;
        }
        while taken.iter().any(|kept| kept.created_at == begun) {
            begun = begun.checked_add_signed(TimeDelta::seconds(1)).unwrap_or(begun);
        }
        let id = id_of(begun);
        let path = self.path.join(format!("{id}.{}", form.extension()));
        Ok((id, path))
    }

    /// Removes a backup. Blocks.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Unavailable`].
    pub fn remove(&self, id: &str) -> Result<(), StoreError> {
        let found = self.list()?.into_iter().find(|kept| kept.id == id).ok_or(StoreError::NotFound)?;
        std::fs::remove_file(&found.path).map_err(|e| unavailable("the backup cannot be removed", &found.path, &e))
    }

    /// Removes the oldest backups beyond what is kept, after `made` was made, which stays even where a clock was set back;
    /// returns their ids. Blocks.
    ///
    /// # Errors
    /// As [`remove`](Self::remove), after those that could be removed.
    pub fn remove_old(&self, made: &str) -> Result<Vec<String>, StoreError> {
        let mut gone = Vec::new();
        for kept in self.list()?.into_iter().filter(|kept| kept.id != made).skip(self.keep.saturating_sub(1)) {
            self.remove(&kept.id)?;
            gone.push(kept.id);
        }
        Ok(gone)
    }
}

/// What an entry of the folder is, if it is a backup.
fn kept(entry: &std::fs::DirEntry) -> Option<Kept> {
    let name = entry.file_name();
    let (id, extension) = name.to_str()?.split_once('.')?;
    let form = [Form::Native, Form::Portable].into_iter().find(|form| form.extension() == extension)?;
    // Not of what a link leads to.
    let file = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(Kept {
        created_at: begun_at(id)?,
        id: id.to_owned(),
        path: entry.path(),
        form,
        finished_at: file.modified().ok().map(|at| from_micros(micros(at.into()))),
        bytes: file.len(),
    })
}

/// Makes a folder, which this user alone can read, unless it is there.
fn make_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_in_the_folder_is_all_that_there_is() {
        let place = tempfile::tempdir().unwrap();
        let folder = BackupFolder::new(place.path().join("deep/backups"), 2);
        assert_eq!((folder.list().unwrap(), folder.last()), (Vec::new(), None));
        folder.tidy_up();
        assert!(!folder.path.exists(), "nothing is made for nothing");
        let claim = folder.claim().unwrap();
        assert!(matches!(folder.claim(), Err(StoreError::Conflict(_))));
        let now = at("2026-03-01T12:00:01.7Z");
        for (form, text) in [(Form::Native, "one"), (Form::Portable, "two!"), (Form::Native, "three")] {
            let (_, path) = folder.name(form, now).unwrap();
            std::fs::write(path, text).unwrap();
        }
        for other in ["backup_20260301T120001Z", "backup_1.db", "notes.db", "backup_20260301T120001Z.txt", "x.jsonl.gz"]
        {
            std::fs::write(folder.path.join(other), "not ours").unwrap();
        }
        std::fs::write(folder.path.join(".backup_20260301T130000Z.db.x1.partial"), "").unwrap();
        std::fs::write(folder.path.join(".backup_20260301T130000Z.db.x1.partial-journal"), "").unwrap();
        std::fs::create_dir(folder.path.join("backup_20260301T140000Z.db")).unwrap();
        let all = folder.list().unwrap();
        let told: Vec<_> = all.iter().map(|kept| (kept.id.as_str(), kept.form, kept.bytes)).collect();
        assert_eq!(
            told,
            [
                ("backup_20260301T120003Z", Form::Native, 5),
                ("backup_20260301T120002Z", Form::Portable, 4),
                ("backup_20260301T120001Z", Form::Native, 3),
            ]
        );
        assert_eq!(folder.last(), Some(at("2026-03-01T12:00:03Z")));
        drop(claim);
        folder.tidy_up();
        assert!(
            std::fs::read_dir(&folder.path).unwrap().all(|e| !e.unwrap().path().to_string_lossy().contains("partial"))
        );
        assert_eq!(folder.remove_old("backup_20260301T120001Z").unwrap(), ["backup_20260301T120002Z"]);
        assert_eq!(folder.remove("backup_20260301T120002Z"), Err(StoreError::NotFound));
        for wrong in ["../deep", "backup_20260301T140000Z", "notes", ""] {
            assert_eq!(folder.remove(wrong), Err(StoreError::NotFound), "{wrong}");
        }
        folder.remove("backup_20260301T120003Z").unwrap();
        assert_eq!(folder.list().unwrap().len(), 1);
        assert_eq!(folder.last(), Some(at("2026-03-01T12:00:03Z")), "it was made, whatever became of it");
        let named = |now: &str| folder.name(Form::Native, at(now)).unwrap().0;
        assert_eq!(named("2026-03-01T12:00:02Z"), "backup_20260301T120004Z", "after the one before");
        assert_eq!(named("2026-03-01T11:00:00Z"), "backup_20260301T110000Z", "the clock was set right");
    }

    #[test]
    fn an_id_says_when_it_was_begun() {
        assert_eq!(begun_at("backup_20260301T120001Z"), Some(at("2026-03-01T12:00:01Z")));
        for wrong in
            ["backup_", "backup_123", "backup_20260301T120001", "backup_20261301T120001Z", "backup_2026031T120001Z"]
        {
            assert_eq!(begun_at(wrong), None, "{wrong}");
        }
    }
}
