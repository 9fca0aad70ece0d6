//! The REST surface: it translates between HTTP and the verbs of [`service`](crate::service), and nothing else.
//! No query and no rule is in here.

pub mod api_keys;
pub mod audit;
pub mod auth;
pub mod away;
pub mod backups;
pub mod bulk;
pub mod channel_view;
pub mod channels;
pub mod check_view;
pub mod client_address;
pub mod config;
pub mod cors;
pub mod docs;
pub mod endpoint_view;
pub mod endpoints;
pub mod error;
pub mod events;
pub mod extract;
pub mod group_view;
pub mod groups;
pub mod health;
pub mod incidents;
pub mod limits;
pub mod notifications;
pub mod observe;
pub mod openapi;
pub mod origin;
pub mod pagination;
pub mod policy;
pub mod rate_limit;
pub mod root;
pub mod router;
pub mod serve;
pub mod session_cookie;
pub mod sessions;
pub mod stats;

pub use router::{document, router, router_and_document};
pub use serve::{ServeLimits, Serving, serve};
