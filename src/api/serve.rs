//! Serving a router on a listener until told to stop, to any client: connections are bounded, counted, and ended
//! when they keep the monitor waiting.
//!
//! Our own loop, because neither `axum::serve` nor axum-server bounds or cuts connections
//! (`docs/decisions/0007-serving.md`).

mod body;
mod connection;
mod limits;
pub mod tls;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

pub use self::body::BodyTooSlow;
use self::body::{RequestBody, ResponseBody};
use self::connection::{Connection, Overdue, Socket};
use self::limits::Shares;
pub use self::limits::{MostConnections, ServeLimits};
use self::tls::Tls;
use super::client_address::as_one_client;
use crate::clock::Clock;
use crate::config::RunningSettings;
use crate::lifecycle::Tasks;
use crate::telemetry::connections::Connections;
use crate::telemetry::metrics::Metrics;

/// The bytes of a request's head, and its header fields. More is 431.
const HEAD_BYTES: u32 = 32 * 1024;
const HEADER_FIELDS: usize = 100;

/// HTTP/2: requests at once on a connection, and those reset by the client that are still known.
const STREAMS: u32 = 100;
const PENDING_RESETS: usize = 20;

/// HTTP/2: an idle client is asked whether it is still there so often, and has so long to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The pause when the system lets no connection be accepted (no descriptor, no memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The bytes of answers that the system holds for a connection and has not sent: without a bound of ours it would hold
/// megabytes for each client that does not read, and one that reads nothing would not be noticed for as long.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// What serving needs beside a listener and a router.
#[derive(Debug, Clone)]
pub struct Serving {
    pub limits: ServeLimits,
    /// Says how many connections there may be; new ones go by it.
    pub running: Arc<RunningSettings>,
    /// `None`: plain HTTP.
    pub tls: Option<Arc<Tls>>,
    pub trusted_proxies: Vec<IpNet>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// In which open connections are seen.
    pub connections: Arc<Connections>,
    /// Connections are tasks of these; serving ends when these begin to stop.
    pub tasks: Tasks,
}

/// Serves until the stop begins; then no connection is accepted, those in use have their answers, and what is not
/// done within the grace is cut.
pub async fn serve(listener: TcpListener, router: Router, serving: Serving) {
    let stopping = serving.tasks.stopping().clone();
    let server = Arc::new(Server::new(router, serving));
    let mut sweep = tokio::time::interval(server.serving.limits.sweep_every());
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            _ = sweep.tick() => server.sweep(),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => server.accept(stream, peer),
                Err(error) => server.not_accepted(&error).await,
            }
        }
    }
    drop(listener);
    server.stop().await;
}

#[derive(Debug)]
struct Server {
    serving: Serving,
    router: Router,
    http: auto::Builder<Spawn>,
    tracker: TaskTracker,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

impl Server {
    fn new(router: Router, serving: Serving) -> Self {
        let mut http = auto::Builder::new(Spawn(serving.tasks.clone()));
        http.http1()
            .max_buf_size(HEAD_BYTES as usize)
            .max_headers(HEADER_FIELDS)
            // Told by `Connection::overdue`, which knows an idle connection from a slow head.
            .header_read_timeout(None);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { serving, router, http, tracker: TaskTracker::new(), open: Mutex::default() }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let metrics = &self.serving.metrics;
        let Some(connection) = self.admit(peer) else {
            metrics.connections_refused.add(1);
            tracing::debug!(%peer, "a connection is refused: there are too many");
            return;
        };
        metrics.connections_accepted.add(1);
        metrics.connections_open.add(1);
        // Answers are small and whole: waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        #[cfg(target_os = "linux")]
        if let Err(error) = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT) {
            tracing::debug!(%error, "TCP_NOTSENT_LOWAT could not be set");
        }
        let (server, socket) = (self.clone(), Socket::new(stream, connection.clone()));
        let task = async move {
            let leaving = Leaving { server, id: connection.shown.id };
            leaving.server.carry(socket, &connection).await;
            drop(leaving);
            let shown = &connection.shown;
            let (requests, read, written) = (shown.requests.get(), shown.bytes_read.get(), shown.bytes_written.get());
            tracing::debug!(%peer, requests, read, written, "a connection is over");
        };
        drop(self.serving.tasks.spawn(self.tracker.track_future(task)));
    }

    /// Room for a connection, if there is any or can be made.
    ///
    /// What is kept for this machine is judged by what this machine has, not by what there is in all: when the number
    /// was lowered there may be more than it says, of which none makes room, and health checks get through all the
    /// same. Then there are more by that share at most.
    fn admit(&self, peer: SocketAddr) -> Option<Arc<Connection>> {
        let wanted = self.serving.running.get().max_connections;
        let Shares { connections, kept_for_local, per_client } = self.serving.limits.shares(wanted);
        self.serving.metrics.connections_limit.set(i64::try_from(connections).unwrap_or(i64::MAX));
        let ip = peer.ip().to_canonical();
        let is_local = ip.is_loopback();
        let mut open = self.open();
        let is_bounded = !is_local && !self.serving.trusted_proxies.iter().any(|network| network.contains(&ip));
        if is_bounded {
            let client = as_one_client(ip);
            let of_client = |connection: &&Arc<Connection>| as_one_client(connection.shown.peer.ip()) == client;
            if open.values().filter(of_client).count() >= per_client {
                return None;
            }
        }
        let bound = if is_local { connections } else { connections - kept_for_local };
        // One more than there may be; many more after the number was lowered.
        let surplus = (open.len() + 1).saturating_sub(bound);
        if surplus > 0 {
            let mut idle: Vec<_> = open.iter().filter_map(|(id, c)| Some((c.idle_for()?, *id))).collect();
            let locals = || open.values().filter(|connection| connection.shown.client().is_loopback()).count();
            if idle.len() < surplus && !(is_local && locals() < kept_for_local) {
                return None;
            }
            idle.sort_unstable_by(|a, b| b.cmp(a));
            for (_, id) in idle.into_iter().take(surplus) {
                if let Some(idle) = open.remove(&id) {
                    idle.shown.cut.cancel();
                    self.serving.metrics.connections_evicted.add(1);
                }
            }
        }
        let Serving { connections, clock, tls, .. } = &self.serving;
        let shown = connections.enter(peer, clock.now(), tls.is_some());
        let connection = Arc::new(Connection::new(shown));
        open.insert(connection.shown.id, connection.clone());
        Some(connection)
    }

    /// The system refuses a connection: without descriptors it would do so again at once.
    async fn not_accepted(&self, error: &std::io::Error) {
        use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            return;
        }
        if self.serving.metrics.accepts_failed.get() == 0 {
            tracing::error!(%error, "connections cannot be accepted; it is tried again");
        }
        self.serving.metrics.accepts_failed.add(1);
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    /// Ends what has kept us waiting for too long.
    fn sweep(&self) {
        for connection in self.open().values() {
            let Some(overdue) = connection.overdue(&self.serving.limits) else { continue };
            // Idle ones first get the chance to end in an orderly way.
            let shown = &connection.shown;
            if overdue == Overdue::Idle && !shown.close.is_cancelled() {
                shown.close.cancel();
            } else if !shown.cut.is_cancelled() {
                shown.cut.cancel();
                self.serving.metrics.connections_cut.add(1);
                tracing::debug!(peer = %shown.peer, ?overdue, "a connection is cut");
            }
        }
    }

    async fn carry(&self, socket: Socket, connection: &Arc<Connection>) {
        let Some(tls) = &self.serving.tls else {
            connection.ready();
            return self.exchange(socket, connection).await;
        };
        let handshake = TlsAcceptor::from(tls.config()).accept(socket);
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.serving.limits.handshake, handshake) => shaken,
            () = connection.shown.cut.cancelled() => return,
            () = self.serving.tasks.stopping().cancelled() => return,
        };
        match shaken {
            Ok(Ok(stream)) => {
                connection.ready();
                self.exchange(stream, connection).await;
            }
            Ok(Err(error)) => {
                self.serving.metrics.handshakes_failed.add(1);
                tracing::debug!(peer = %connection.shown.peer, %error, "a TLS handshake failed");
            }
            Err(_) => {
                self.serving.metrics.connections_cut.add(1);
                tracing::debug!(peer = %connection.shown.peer, "a TLS handshake took too long");
            }
        }
    }

    async fn exchange(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, connection: &Arc<Connection>) {
        let (router, limit) = (self.router.clone(), self.serving.limits.body);
        let most = MostConnections::new(&self.serving.limits, &self.serving.running);
        let of_connection = connection.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let in_flight = of_connection.begin(request.version() == Version::HTTP_2);
            let connection = in_flight.connection().clone();
            let mut request = request.map(|body| Body::new(RequestBody::new(body, limit, connection)));
            request.extensions_mut().insert(ConnectInfo(of_connection.shown.peer));
            request.extensions_mut().insert(of_connection.shown.clone());
            request.extensions_mut().insert(most.clone());
            let answer = router.clone().oneshot(request);
            async move {
                let response: Response<Body> = match answer.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                Ok::<_, Infallible>(response.map(|body| ResponseBody::new(body, in_flight)))
            }
        });
        let exchange = self.http.serve_connection(TokioIo::new(io), service);
        tokio::pin!(exchange);
        let mut closing = false;
        loop {
            tokio::select! {
                ended = exchange.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %connection.shown.peer, %error, "a connection broke off");
                    }
                    return;
                }
                () = connection.shown.cut.cancelled() => return,
                () = connection.shown.close.cancelled(), if !closing => {
                    closing = true;
                    exchange.as_mut().graceful_shutdown();
                }
            }
        }
    }

    async fn stop(&self) {
        for connection in self.open().values() {
            connection.shown.close.cancel();
        }
        self.tracker.close();
        if tokio::time::timeout(self.serving.limits.grace, self.tracker.wait()).await.is_err() {
            let open: Vec<_> = self.open().values().cloned().collect();
            tracing::info!(connections = open.len(), "clients that did not finish their requests are cut off");
            for connection in open {
                connection.shown.cut.cancel();
            }
            self.tracker.wait().await;
        }
    }
}

/// Takes a connection off the list when it is over, also by a panic.
struct Leaving {
    server: Arc<Server>,
    id: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.server.open().remove(&self.id);
        self.server.serving.connections.leave(self.id);
        self.server.serving.metrics.connections_open.add(-1);
    }
}

/// Spawns what serves a single request of HTTP/2.
#[derive(Debug, Clone)]
struct Spawn(Tasks);

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        drop(self.0.spawn(task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::{Adjustable, LogLevel, MaxConcurrent, MaxConnections};

    fn running(max_connections: MaxConnections) -> Arc<RunningSettings> {
        Arc::new(RunningSettings::new(Adjustable {
            logging_level: LogLevel::Info,
            check_history_days: 1,
            hourly_rollup_days: 1,
            max_concurrent_checks: MaxConcurrent::Auto,
            max_connections,
            cooldown: Duration::ZERO,
        }))
    }

    #[test]
    fn the_number_of_connections_changes_for_new_ones_within_what_files_allow() {
        let serving = Serving {
            running: running(MaxConnections::Fixed(20)),
            limits: ServeLimits::fitting(100, Duration::ZERO),
            tls: None,
            trusted_proxies: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            metrics: Arc::default(),
            connections: Arc::default(),
            tasks: Tasks::new(),
        };
        let server = Server::new(Router::new(), serving);
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let set = |connections| {
            let running = &server.serving.running;
            running.set(Adjustable { max_connections: MaxConnections::Fixed(connections), ..running.get() });
        };
        let mut busy: Vec<_> = (0..20).map(|_| server.admit(peer).unwrap().begin(false)).collect();
        assert!(server.admit(peer).is_none(), "all are in use");
        set(21);
        busy.push(server.admit(peer).unwrap().begin(false));
        set(16);
        busy.truncate(17);
        assert!(server.admit(peer).is_none(), "four are idle, and six would have to go");
        busy.truncate(10);
        assert!(server.admit(peer).is_some());
        assert_eq!((server.open().len(), server.serving.metrics.connections_evicted.get()), (16, 6));
        set(1_000);
        while let Some(connection) = server.admit(peer) {
            busy.push(connection.begin(false));
            assert!(busy.len() <= 50);
        }
        assert_eq!(server.open().len(), 50, "half of the open files");
    }

    #[test]
    fn a_client_has_its_share_and_this_machine_its_own() {
        let serving = Serving {
            running: running(MaxConnections::Auto),
            limits: ServeLimits {
                connections: 10,
                kept_for_local: 2,
                per_client: 3,
                ..ServeLimits::fitting(1_024, Duration::ZERO)
            },
            tls: None,
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            clock: Arc::new(crate::clock::SystemClock::new()),
            metrics: Arc::default(),
            connections: Arc::default(),
            tasks: Tasks::new(),
        };
        let server = Server::new(Router::new(), serving);
        // Each with a request under way, so that none makes room.
        let mut under_way = Vec::new();
        let mut admitted = |ip: &str, tries: usize| {
            let peer = SocketAddr::new(ip.parse().unwrap(), 1);
            let admitted = (0..tries).filter_map(|_| Some(server.admit(peer)?.begin(false)));
            let before = under_way.len();
            under_way.extend(admitted);
            under_way.len() - before
        };
        assert_eq!(admitted("198.51.100.1", 5), 3);
        assert_eq!((admitted("2001:db8:0:1::1", 2), admitted("2001:db8:0:1::2", 2)), (2, 1), "a network is one client");
        assert_eq!(admitted("10.0.0.1", 5), 2, "a proxy has what there is");
        assert_eq!(admitted("198.51.100.2", 1), 0);
        assert_eq!(admitted("127.0.0.1", 5), 2, "the rest is for this machine");
        drop(under_way);
        assert!(server.admit("198.51.100.2:1".parse().unwrap()).is_some(), "an idle one makes room");
    }

    #[test]
    fn what_is_kept_for_this_machine_is_there_also_after_the_number_was_lowered() {
        let serving = Serving {
            running: running(MaxConnections::Fixed(64)),
            limits: ServeLimits::fitting(1_024, Duration::ZERO),
            tls: None,
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            clock: Arc::new(SystemClock::new()),
            metrics: Arc::default(),
            connections: Arc::default(),
            tasks: Tasks::new(),
        };
        let server = Server::new(Router::new(), serving);
        let admit = |peer: &str| server.admit(peer.parse().unwrap()).map(|connection| connection.begin(false));
        let mut under_way: Vec<_> = (0..60).filter_map(|_| admit("10.0.0.1:1")).collect();
        assert_eq!(under_way.len(), 60);
        let running = &server.serving.running;
        running.set(Adjustable { max_connections: MaxConnections::Fixed(32), ..running.get() });
        assert!(admit("10.0.0.1:1").is_none());
        // Two of 32.
        let local: Vec<_> = (0..3).filter_map(|_| admit("127.0.0.1:1")).collect();
        assert_eq!(local.len(), 2, "its own, and no more of what others have too much of");
        assert_eq!(server.open().len(), 62);
        assert_eq!(server.serving.metrics.connections_evicted.get(), 0);
        under_way.truncate(31);
        drop(local);
        assert!(admit("127.0.0.1:1").is_some(), "idle ones make room again");
        assert_eq!(server.open().len(), 32);
    }
}
