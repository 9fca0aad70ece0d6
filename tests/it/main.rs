//! The one integration binary: a module an area.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod architecture;
mod config;
mod notify;
mod store;
