//! api-monitor: a synthetic endpoint uptime monitor.
//!
//! Level 0 is [`domain`]; every other module imports only from levels below its own (see ARCHITECTURE.md).

pub mod api;
pub mod board;
pub mod clock;
pub mod config;
pub mod domain;
pub mod events;
pub mod lifecycle;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod wakeup;
