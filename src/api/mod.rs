//! The REST surface: it translates between HTTP and the verbs of [`service`](crate::service), and nothing else.
//! No query and no rule is in here.

pub mod api_keys;
pub mod auth;
pub mod away;
pub mod channel_view;
pub mod channels;
pub mod check_view;
pub mod client_address;
pub mod collections;
pub mod config;
pub mod connections;
pub mod cors;
pub mod docs;
pub mod endpoint_view;
pub mod endpoints;
pub mod error;
pub mod extract;
pub mod health;
pub mod incidents;
pub mod limits;
pub mod metrics;
pub mod modules;
pub mod notifications;
pub mod observe;
pub mod openapi;
pub mod pagination;
pub mod policy;
pub mod query_stats;
pub mod rate_limit;
pub mod root;
pub mod router;
pub mod serve;
pub mod stats;
pub mod tasks;
pub mod threads;

pub use router::{document, router, router_and_document};
pub use serve::{ServeLimits, Serving, serve};
