//! The schema of api-monitor as code: one migration a table, applied in order at start.
//!
//! Instants are integer microseconds since the Unix epoch, UTC, in every database. A change of the schema is a
//! new file and a new line below; an applied migration is never edited.

mod m20261121_000001_create_endpoints;
mod m20261121_000002_create_endpoint_states;
mod m20261121_000003_create_check_results;
mod m20261121_000004_create_rollups;
mod m20261121_000005_create_audit_log;
mod m20261121_000006_create_settings;
mod m20261121_000007_create_incidents;
mod m20261121_000008_create_outbox;
mod m20261121_000009_create_api_keys;
mod m20261121_000010_create_sessions;
mod m20261121_000011_create_alert_rules;
mod m20261121_000012_create_groups;
mod m20261121_000013_create_channels;
mod m20261121_000025_index_audit_log;
mod m20261121_000030_mark_endpoints_to_purge;
mod m20261121_000039_index_incidents;
mod m20261121_000040_remember_alerting;
mod m20261121_000050_create_maintenance_windows;
mod m20261121_000051_create_silences;
mod m20261121_000070_name_what_holds;
mod m20261121_000080_hold_deliveries;
mod m20261121_000130_create_certificates;

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::{MigrationTrait, async_trait};

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_create_endpoints::Migration),
            Box::new(m20261121_000002_create_endpoint_states::Migration),
            Box::new(m20261121_000003_create_check_results::Migration),
            Box::new(m20261121_000004_create_rollups::Migration),
            Box::new(m20261121_000005_create_audit_log::Migration),
            Box::new(m20261121_000006_create_settings::Migration),
            Box::new(m20261121_000007_create_incidents::Migration),
            Box::new(m20261121_000008_create_outbox::Migration),
            Box::new(m20261121_000009_create_api_keys::Migration),
            Box::new(m20261121_000010_create_sessions::Migration),
            Box::new(m20261121_000011_create_alert_rules::Migration),
            Box::new(m20261121_000012_create_groups::Migration),
            Box::new(m20261121_000013_create_channels::Migration),
            Box::new(m20261121_000025_index_audit_log::Migration),
            Box::new(m20261121_000030_mark_endpoints_to_purge::Migration),
            Box::new(m20261121_000039_index_incidents::Migration),
            Box::new(m20261121_000040_remember_alerting::Migration),
            Box::new(m20261121_000050_create_maintenance_windows::Migration),
            Box::new(m20261121_000051_create_silences::Migration),
            Box::new(m20261121_000070_name_what_holds::Migration),
            Box::new(m20261121_000080_hold_deliveries::Migration),
            Box::new(m20261121_000130_create_certificates::Migration),
        ]
    }
}
