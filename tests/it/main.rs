//! The one integration binary: a module an area.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod api;
mod app;
mod architecture;
mod attempts;
mod backup;
mod cli;
mod config;
mod containers;
mod database;
mod documents;
mod flows;
mod name_server;
mod namespace;
mod notify;
mod outbound;
mod platform;
mod postgres;
mod store;
mod telling;
