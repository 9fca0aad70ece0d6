//! `/api/v1/connections`: the connections of clients that are open now. Only administrators come here.

use std::cmp::Ordering as Order;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::TextPath;
use super::pagination::{Page, PageParams, Query, sort_keys};
use crate::domain::Timestamp;
use crate::domain::role::Role;
use crate::service::operations::{self as verbs, OpenConnection, State as Doing};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

sort_keys! {
    /// By what connections are ordered. Default: as they were opened.
    pub enum ConnectionSort {
        StartTime = "start_time",
        ClientIp = "client_ip",
        State = "state",
        Principal = "principal",
        IdleSeconds = "idle_seconds",
        Requests = "requests",
        BytesRead = "bytes_read",
        BytesWritten = "bytes_written",
    }
}

type ConnectionParams = PageParams<ConnectionSort>;

/// A page of the open connections.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionList {
    /// On all pages.
    total_active_connections: u64,
    connections: Vec<ConnectionItem>,
    /// Connections accepted since the start.
    accepts: u64,
    /// Those closed at once because there were too many.
    refused: u64,
    total: u64,
    limit: u64,
    offset: u64,
}

/// An open connection.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionItem {
    /// Never given again while the monitor runs.
    #[schema(example = "conn_12345", pattern = "^conn_[0-9]+$")]
    id: String,
    #[schema(value_type = String, format = DateTime)]
    start_time: Timestamp,
    /// The address at the other end: behind a proxy, the proxy's.
    #[schema(example = "192.168.1.1")]
    client_ip: String,
    #[schema(minimum = 0, maximum = 65535)]
    client_port: u16,
    state: ConnectionState,
    /// Who made the newest request, as the logs call them; null before the first.
    principal: Option<String>,
    /// What they were allowed then; null before the first request, and of one that was told by no key where one is
    /// needed.
    role: Option<Role>,
    /// Since the last answer, or the beginning; 0 while a request is under way.
    #[schema(minimum = 0)]
    idle_seconds: f64,
    protocol: Protocol,
    is_encrypted: bool,
    statistics: ConnectionStatistics,
}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// TLS is being agreed upon.
    Handshake,
    /// Nothing is under way.
    Idle,
    /// A request comes in.
    Reading,
    /// A request is worked at.
    Handling,
    /// An answer goes out.
    Writing,
    /// It is being ended.
    Closing,
}

/// Of the newest request; `unknown` before the first.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub enum Protocol {
    #[serde(rename = "unknown")]
    Unknown,
    #[serde(rename = "http/1")]
    Http1,
    #[serde(rename = "http/2")]
    Http2,
}

/// What went through a connection.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionStatistics {
    /// Whose head was read.
    requests: u64,
    /// Of the socket, so with TLS the encrypted ones.
    bytes_read: u64,
    bytes_written: u64,
    /// Reads that brought bytes.
    reads: u64,
    /// Writes of which bytes were taken.
    writes: u64,
    /// Writes that had to wait because the socket was full.
    buffered_writes: u64,
    /// How often the socket became full.
    high_water: u64,
    /// How often it took bytes again afterwards.
    low_water: u64,
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a connection are exact")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

impl From<&OpenConnection> for ConnectionItem {
    fn from(connection: &OpenConnection) -> Self {
        let requests = connection.requests.get();
        let (principal, role) = connection.principal().unzip();
        Self {
            id: format!("conn_{}", connection.id),
            start_time: connection.since,
            client_ip: connection.client().to_string(),
            client_port: connection.peer.port(),
            state: match connection.state() {
                Doing::Handshake => ConnectionState::Handshake,
                Doing::Idle => ConnectionState::Idle,
                Doing::Reading => ConnectionState::Reading,
                Doing::Handling => ConnectionState::Handling,
                Doing::Writing => ConnectionState::Writing,
                Doing::Closing => ConnectionState::Closing,
            },
            principal: principal.map(|name| name.to_string()),
            role: role.flatten(),
            idle_seconds: seconds(connection.idle_for().unwrap_or(0)),
            protocol: match (requests, connection.is_http2.load(Ordering::Relaxed)) {
                (0, _) => Protocol::Unknown,
                (_, false) => Protocol::Http1,
                (_, true) => Protocol::Http2,
            },
            is_encrypted: connection.is_encrypted,
            statistics: ConnectionStatistics {
                requests,
                bytes_read: connection.bytes_read.get(),
                bytes_written: connection.bytes_written.get(),
                reads: connection.reads.get(),
                writes: connection.writes.get(),
                buffered_writes: connection.buffered_writes.get(),
                high_water: connection.high_water.get(),
                low_water: connection.low_water.get(),
            },
        }
    }
}

/// The connection by which a request came, where the accept loop brought it.
#[derive(Debug)]
pub struct Own(Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for Own {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Arc<OpenConnection>>().map(|connection| connection.id)))
    }
}

fn compare(key: ConnectionSort, a: &ConnectionItem, b: &ConnectionItem) -> Order {
    match key {
        ConnectionSort::StartTime => a.start_time.cmp(&b.start_time),
        ConnectionSort::ClientIp => a.client_ip.cmp(&b.client_ip),
        ConnectionSort::State => a.state.cmp(&b.state),
        ConnectionSort::Principal => a.principal.cmp(&b.principal),
        ConnectionSort::IdleSeconds => a.idle_seconds.total_cmp(&b.idle_seconds),
        ConnectionSort::Requests => a.statistics.requests.cmp(&b.statistics.requests),
        ConnectionSort::BytesRead => a.statistics.bytes_read.cmp(&b.statistics.bytes_read),
        ConnectionSort::BytesWritten => a.statistics.bytes_written.cmp(&b.statistics.bytes_written),
    }
}

/// List the open connections
///
/// Those of clients of this API, at most as many as the server lets in.
#[utoipa::path(get, path = "/api/v1/connections", tag = "operations", params(ConnectionParams),
    responses((status = 200, body = ConnectionList)))]
pub async fn list(
    State(ctx): Ctx,
    actor: Actor,
    Query(params): Query<ConnectionParams>,
) -> Result<Json<ConnectionList>, Problem> {
    // As they are at one moment: what changes while it is compared has no order.
    let mut connections: Vec<ConnectionItem> =
        verbs::connections(&ctx, &actor)?.iter().map(|c| (&**c).into()).collect();
    if let Some(sort) = params.sort {
        sort.arrange(&mut connections, compare);
    }
    let (total, Page { limit, offset }) = (connections.len() as u64, params.page);
    let connections = params.page.cut(connections);
    let (accepts, refused) = (ctx.metrics.connections_accepted.get(), ctx.metrics.connections_refused.get());
    Ok(Json(ConnectionList { total_active_connections: total, connections, accepts, refused, total, limit, offset }))
}

/// Get an open connection
#[utoipa::path(get, path = "/api/v1/connections/{id}", tag = "operations",
    params(("id" = String, Path, description = "As the list has it: `conn_7`")),
    responses((status = 200, body = ConnectionItem)))]
pub async fn get(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
) -> Result<Json<ConnectionItem>, Problem> {
    Ok(Json((&*verbs::connection(&ctx, &actor, &id)?).into()))
}

/// End a connection
///
/// At once, whatever is under way on it; the one by which this request comes ends after its answer.
#[utoipa::path(delete, path = "/api/v1/connections/{id}", tag = "operations",
    params(("id" = String, Path, description = "As the list has it: `conn_7`")),
    responses((status = 204, description = "ended")))]
pub async fn delete(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(id): TextPath,
    Query(()): Query<()>,
    Own(own): Own,
) -> Result<StatusCode, Problem> {
    verbs::end_connection(&ctx, &actor, &id, own).await?;
    Ok(StatusCode::NO_CONTENT)
}
