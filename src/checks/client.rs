//! The HTTP clients of all checks, and the hooks in them that time and observe a connection.
//!
//! The only place that builds clients: they are shared by all endpoints with the same TLS policy, because a
//! trust store of its own would cost each endpoint milliseconds and 100 KB. Nothing of one attempt is kept for
//! the next: no connection, no session ticket, no cookie.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tower::{BoxError, Layer, Service};

use super::failure;
use super::trace::{Phase, Trace};
use super::trust::{Files, Trust};
use crate::domain::check::TlsPolicy;
use crate::domain::endpoint::Origin;
use crate::domain::outcome::{Failure, FailureKind};
use crate::outbound::Outbound;

/// Why a client cannot be built. The text is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of the policy cannot be read, or does not hold what it should.
    #[error("The {what} in {path} cannot be read: {reason}")]
    File { what: &'static str, path: String, reason: String },
    #[error("The TLS settings cannot be used: {0}")]
    Tls(String),
    #[error("The HTTP client cannot be built: {0}")]
    Http(#[from] reqwest::Error),
}

/// Which versions of HTTP are offered on a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Versions {
    All,
    /// For what HTTP/2 cannot say, such as a `Host` that is not the URL's.
    Http1,
}

/// More clients than this are never kept: when it is reached all are forgotten and built again as needed.
const MAX_CLIENTS: usize = 256;
/// Bound of a `ca_file`: the whole public set of authorities is a fifth of it.
const MAX_CA_FILE_BYTES: u64 = 1024 * 1024;
/// Bound of what an HTTP/2 server may send ahead of us, and so of the memory of a check.
const HTTP2_WINDOW_BYTES: u32 = 256 * 1024;
/// As generous as with HTTP/1, where a message head may have 400 KB: some sites send large policies.
const HTTP2_MAX_HEADER_BYTES: u32 = 64 * 1024;

/// When a `ca_file` was changed, and its length.
type FileStamp = (Option<SystemTime>, u64);

/// What is made through the API has clients of its own, whose resolver examines what it finds.
type Key = (TlsPolicy, Versions, Origin);

type Built = HashMap<Key, (Option<FileStamp>, reqwest::Client)>;

/// The clients, built when first asked for.
pub(super) struct Clients {
    trust: Trust,
    outbound: Arc<Outbound>,
    built: Mutex<Built>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    /// Reads the machine's authorities and builds the usual client, so that an error shows at the start.
    pub(super) fn new(trust: Trust, outbound: Arc<Outbound>) -> Result<Self, ClientError> {
        let clients = Self { trust, outbound, built: Mutex::default() };
        let usual = (TlsPolicy::default(), Versions::All, Origin::Config);
        let client = clients.build(&usual, None)?;
        clients.keep(usual, None, &client);
        Ok(clients)
    }

    /// The client for a policy. A `ca_file` that has changed since is read again.
    pub(super) async fn get(
        &self,
        tls: &TlsPolicy,
        versions: Versions,
        origin: Origin,
    ) -> Result<reqwest::Client, ClientError> {
        let path = tls.ca_file.as_deref().filter(|_| tls.verify);
        let unreadable = |path: &str, error: &io::Error| ClientError::File {
            what: "TLS authorities",
            path: path.to_owned(),
            reason: failure::shown(&error.to_string()),
        };
        let stamp = match path {
            None => None,
            Some(path) => Some(stamp(path).await.map_err(|e| unreadable(path, &e))?),
        };
        let key = (tls.clone(), versions, origin);
        if let Some((kept, client)) = self.built.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && *kept == stamp
        {
            return Ok(client.clone());
        }
        let authorities = match path {
            None => None,
            Some(path) => Some(read(path).await.map_err(|e| unreadable(path, &e))?),
        };
        let client = self.build(&key, authorities.as_deref())?;
        self.keep(key, stamp, &client);
        Ok(client)
    }

    fn keep(&self, key: Key, stamp: Option<FileStamp>, client: &reqwest::Client) {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if built.len() >= MAX_CLIENTS {
            built.clear();
        }
        built.insert(key, (stamp, client.clone()));
    }

    fn build(&self, (tls, versions, origin): &Key, authorities: Option<&[u8]>) -> Result<reqwest::Client, ClientError> {
        let mut config =
            self.trust.config(tls, &Files { authorities: authorities.map(<[u8]>::to_vec), ..Files::default() })?;
        config.resumption = Resumption::store(Arc::new(FullHandshakes));
        config.alpn_protocols = match versions {
            Versions::All => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Versions::Http1 => vec![b"http/1.1".to_vec()],
        };
        #[expect(clippy::disallowed_methods, reason = "this is the one place that builds clients")]
        let builder = reqwest::Client::builder();
        Ok(builder
            .tls_backend_preconfigured(config)
            .dns_resolver(TracedResolver { outbound: Arc::clone(&self.outbound), origin: *origin })
            .connector_layer(TracedConnectorLayer)
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http2_initial_stream_window_size(HTTP2_WINDOW_BYTES)
            .http2_initial_connection_window_size(HTTP2_WINDOW_BYTES)
            .http2_max_header_list_size(HTTP2_MAX_HEADER_BYTES)
            .build()?)
    }
}

async fn stamp(path: &str) -> io::Result<FileStamp> {
    let metadata = tokio::fs::metadata(path).await?;
    if metadata.is_file() {
        Ok((metadata.modified().ok(), metadata.len()))
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

async fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    let read = tokio::fs::File::open(path).await?.take(MAX_CA_FILE_BYTES + 1).read_to_end(&mut pem).await?;
    if u64::try_from(read).is_ok_and(|n| n <= MAX_CA_FILE_BYTES) {
        Ok(pem)
    } else {
        Err(io::Error::other("it is larger than 1 MiB"))
    }
}

/// A failure that one of our hooks has already put into words, on its way through the library's errors.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(super) struct Worded(pub(super) Failure);

/// Gives only addresses that may be connected to. The library looks no name up by itself.
struct TracedResolver {
    outbound: Arc<Outbound>,
    origin: Origin,
}

impl Resolve for TracedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let trace = Trace::current();
        let (outbound, origin) = (Arc::clone(&self.outbound), self.origin);
        Box::pin(async move {
            let addresses = outbound.resolve(name.as_str(), origin).await.map_err(Worded)?;
            if let Some(trace) = trace {
                trace.resolved(addresses.clone());
            }
            Ok(Box::new(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

#[derive(Debug, Clone)]
struct TracedConnectorLayer;

impl<S> Layer<S> for TracedConnectorLayer {
    type Service = TracedConnector<S>;
    fn layer(&self, inner: S) -> TracedConnector<S> {
        TracedConnector(inner)
    }
}

/// Bounds the TCP phase by the attempt's connect timeout, and notes when the connection stands.
#[derive(Debug, Clone)]
struct TracedConnector<S>(S);

impl<S, R> Service<R> for TracedConnector<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connecting = self.0.call(request);
        let Some(trace) = Trace::current() else { return Box::pin(connecting) };
        Box::pin(async move {
            let overdue = Arc::clone(&trace);
            // The library may finish a connection on a task of its own: the hooks below need the trace there.
            let connection = tokio::select! {
                biased;
                connection = Arc::clone(&trace).scope(connecting) => connection?,
                () = overdue.connect_overdue() => {
                    let limit = trace.connect_timeout().unwrap_or_default();
                    return Err(Worded(failure::connect_timeout(&trace.peer(), limit)).into());
                }
            };
            trace.enter(Phase::FirstByte);
            Ok(connection)
        })
    }
}

impl From<ClientError> for Failure {
    /// Our own settings are at fault. They concern the TLS handshake, which cannot be made as it was asked for.
    fn from(error: ClientError) -> Self {
        Failure::new(FailureKind::TlsHandshake, error.to_string())
    }
}

/// Keeps no session, so that each attempt makes the whole handshake a new visitor makes. It is asked for one
/// when the connection stands and the handshake begins, which is how that instant is known.
#[derive(Debug)]
struct FullHandshakes;

impl ClientSessionStore for FullHandshakes {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if let Some(trace) = Trace::current() {
            trace.enter(Phase::Tls);
        }
        None
    }
}
