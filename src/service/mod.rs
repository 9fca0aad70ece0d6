//! The verbs: what can be done with the monitor, the same for every surface.
//!
//! A verb checks the permission, validates, makes its change and its audit row in one transaction, brings the
//! board up to date after the commit and nudges the scheduler. It knows nothing of HTTP.

pub mod alerts;
pub mod api_keys;
pub mod audit;
pub mod backtest;
pub mod backups;
pub mod bulk;
pub mod certificates;
pub mod channel_secrets;
pub mod channels;
pub mod checks;
pub mod context;
pub mod endpoints;
pub mod error;
pub mod events;
pub mod export;
pub mod groups;
pub mod health;
pub mod history;
pub mod imagined;
pub mod incidents;
pub mod links;
pub mod maintenance;
pub mod merge_patch;
pub mod metrics;
pub mod notifications;
pub mod operations;
pub mod outages;
pub mod outbound;
pub mod push;
pub mod query_stats;
mod random;
pub mod rebuild;
pub mod redaction;
pub mod reports;
pub mod series;
pub mod sessions;
pub mod settings;
pub mod silences;
pub mod sla;
pub mod summary;
pub mod sync;
pub mod why;

pub use crate::keyring::Shown;
pub use crate::store::StoreError;
pub use context::{Actor, Identity, ServiceContext};
pub use error::ServiceError;
