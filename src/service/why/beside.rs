//! What is known without asking a running monitor: what the database has, read beside it.

use super::super::groups;
use super::super::maintenance;
use super::super::rebuild;
use crate::config::{Config, Listing};
use crate::domain::Timestamp;
use crate::domain::endpoint::KnownEndpoint;
use crate::quiet::Quiet;
use crate::store::{Beside, StoreError, endpoints};

/// What the database has.
#[derive(Debug)]
pub struct Stored {
    /// Those that are watched, made through the API or configured when a monitor last ran. What cannot be read as it is
    /// now is left out.
    pub endpoints: Vec<KnownEndpoint>,
    pub listing: Listing,
    /// The windows of the configuration and of the database, and the silences.
    pub quiet: Quiet,
}

/// Reads it.
///
/// # Errors
/// When the database cannot be read, or has the tables of another version.
pub async fn stored(source: &Beside, config: &Config, now: Timestamp) -> Result<Stored, StoreError> {
    source.require_current()?;
    let db = source.readers();
    let listing = groups::listing(db, config).await?;
    let stored = endpoints::list_current(db).await?;
    let known = stored.into_iter().filter_map(|stored| rebuild::known(stored, &listing, now).ok()).collect();
    let quiet = maintenance::load_from(db, config, now).await?;
    Ok(Stored { endpoints: known, listing, quiet })
}
