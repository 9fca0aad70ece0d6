//! One file a table. These types never leave `store`.
#![expect(unreachable_pub, reason = "the derive macros of SeaORM make public types")]

pub mod alert_rules;
pub mod api_keys;
pub mod audit_log;
pub mod certificates;
pub mod channels;
pub mod check_results;
pub mod deliveries;
pub mod endpoint_certificates;
pub mod endpoint_states;
pub mod endpoints;
pub mod groups;
pub mod incident_events;
pub mod incidents;
pub mod maintenance_windows;
pub mod notifications;
pub mod rollups;
pub mod sessions;
pub mod settings;
pub mod silences;
