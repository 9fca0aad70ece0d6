//! api-monitor: a synthetic endpoint uptime monitor.
//!
//! Level 0 is [`domain`]; every other module imports only from levels below its own (see ARCHITECTURE.md).

pub mod api;
pub mod app;
pub mod board;
pub mod certificates;
pub mod checks;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connectivity;
pub mod domain;
pub mod events;
pub mod feed;
pub mod handover;
pub mod jobs;
pub mod keyring;
pub mod lifecycle;
pub mod links;
pub mod network;
pub mod notify;
pub mod outbound;
pub mod quiet;
pub mod recorder;
pub mod scheduler;
pub mod service;
pub mod sessions;
pub mod store;
pub mod telemetry;
pub mod teller;
pub mod wakeup;
