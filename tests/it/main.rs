//! The one integration binary: a module an area.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod api;
mod app;
mod architecture;
mod backup;
mod cli;
mod config;
mod database;
mod flows;
mod notify;
mod postgres;
mod store;
mod telling;
