//! What can go wrong between the monitor and its database.

use sea_orm::{ConnAcquireErr, DbErr, SqlErr};

use super::dialect;

/// Why the database did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No such row.
    #[error("not found")]
    NotFound,
    /// It would break a rule of uniqueness; the sentence says which.
    #[error("{0}")]
    Conflict(String),
    /// The row was changed by somebody else since it was read.
    #[error("it was changed in the meantime")]
    Stale,
    /// The database cannot be used now, or not by this process; the sentence says why and what to do.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else: a defect of ours, or a damaged database.
    #[error("{0}")]
    Other(String),
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(detail)) => return Self::Conflict(format!("it exists: {detail}")),
            Some(SqlErr::ForeignKeyConstraintViolation(detail)) => {
                return Self::Conflict(format!("something depends on it: {detail}"));
            }
            _ => {}
        }
        match &error {
            DbErr::RecordNotFound(_) | DbErr::RecordNotUpdated => Self::NotFound,
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => Self::Unavailable(dialect::NO_CONNECTION.to_owned()),
            DbErr::ConnectionAcquire(_) => Self::Unavailable("the database is closed".to_owned()),
            _ => dialect::trouble(&error)
                .map_or_else(|| Self::Other(format!("the database refused: {error}")), Self::Unavailable),
        }
    }
}
