//! `backup:`: where backups are kept that are made through the API, and how many.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::DatabaseTarget;
use super::report::Report;
use super::section::Section;

/// `backup:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupConfig {
    /// Absolute.
    pub folder: PathBuf,
    /// How many stay in the folder, at least 1.
    pub keep: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawBackup {
    folder: Option<String>,
    keep: Option<u32>,
}

/// The folder, where the database is no file that it could be beside.
const FOLDER: &str = "data/backups";

pub(super) fn read(section: &Section<'_>, database: &DatabaseTarget, report: &mut Report) -> BackupConfig {
    let raw: RawBackup = section.read(report);
    let folder = raw.folder.map(|folder| PathBuf::from(folder.trim())).filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| match database {
        DatabaseTarget::Sqlite { path } => path.parent().unwrap_or(Path::new("/")).join("backups"),
        DatabaseTarget::SqliteMemory | DatabaseTarget::Postgres(_) => FOLDER.into(),
    });
    BackupConfig {
        folder: std::path::absolute(&folder).unwrap_or(folder),
        keep: section.in_range("keep", raw.keep, 10, 1, 1_000, report),
    }
}
