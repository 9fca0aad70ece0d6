//! `/api/v1/events`: what happens at this moment, as server-sent events.
//!
//! The text is written here and not by `axum::response::sse`, which makes a frame of each event: many events go out as
//! one piece, no larger than the connection takes at once. A stream holds its place in the feed and nothing else, and
//! is asked for the next piece only when its client has taken the one before.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::auth::Standing;
use super::client_address::as_one_client;
use super::error::{Problem, ProblemKind};
use super::pagination::{FromParams, Params, Query};
use super::serve::MostConnections;
use crate::domain::endpoint::EndpointId;
use crate::domain::role::Role;
use crate::service::events::{self as verbs, EndpointFilter, EventKind, Read, Subscription, Wanted};
use crate::service::{Actor, ServiceContext};

type Ctx = State<Arc<ServiceContext>>;

/// Streams at once, of everybody; fewer where few connections may be open, of which streams have a quarter. One more is
/// refused with 503. When the number of connections is lowered the newest streams beyond the quarter end: nothing else
/// would ever end them, and whoever is left out comes back with the last id and misses nothing.
const STREAMS: usize = 256;
const CONNECTIONS_SHARE: usize = 4;

/// Streams at once of one client: of a key, else of an address. Programs on this machine that need no key are not
/// counted. One more is refused with 429.
const PER_CLIENT: usize = 64;

/// What somebody who is refused may wait before the next attempt, in seconds.
const RETRY_AFTER: u16 = 15;

/// The longest piece: as much as a connection hands out at once.
const PIECE: usize = 16 * 1024;

/// A stream without events says so often that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often it is looked up whether the reader's key is still good.
const LOOK_UP: Duration = Duration::from_secs(5);

/// What browsers wait before they connect again, milliseconds.
const RETRY: u32 = 3_000;

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
static ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Which events.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// Only these types, separated by commas: `check`, `status`, `incident`, `notification`, `config`, `login`,
    /// `error`. Default: all that the role may see.
    #[param(rename = "type", value_type = Option<String>, example = "status,incident",
        pattern = "^(check|status|incident|notification|config|login|error)(,(check|status|incident|notification|config|login|error))*$")]
    kinds: Option<Vec<EventKind>>,
    /// Only events about this endpoint: its id, or its group and name as `group/name` (without a group the name).
    #[param(value_type = Option<String>, min_length = 1, example = "core/payments")]
    endpoint: Option<EndpointFilter>,
    /// Only events about endpoints of this group.
    group: Option<String>,
    /// The id of the last event that is known, for clients that cannot send the header `Last-Event-ID`, which counts
    /// more.
    last_event_id: Option<String>,
}

impl FromParams for EventParams {
    fn from_params(params: &mut Params) -> Self {
        let known = EventKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let kinds = |text: &str| {
            let words = text.split(',').map(str::parse::<EventKind>);
            words.collect::<Result<Vec<_>, _>>().map_err(|_| format!("must be of {known}, separated by commas"))
        };
        let endpoint = |text: &str| {
            if text.is_empty() {
                return Err("must be the id of an endpoint, or group/name".to_owned());
            }
            let id = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
            Ok(id.map_or_else(|| EndpointFilter::Key(text.to_owned()), |id| EndpointFilter::Id(EndpointId(id))))
        };
        Self {
            kinds: params.parsed("type", kinds),
            endpoint: params.parsed("endpoint", endpoint),
            group: params.text("group"),
            last_event_id: params.text("last_event_id"),
        }
    }
}

/// Look on
///
/// Server-sent events: what happens from now on, or after the event whose id is sent as `Last-Event-ID`. An event
/// `reset` says that something was missed and everything must be read again. The stream goes on until the client ends
/// it, its key is no longer good, or the monitor stops. `config` and `login` are for administrators: asked for by
/// somebody else they are refused, not asked for they are left out.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(EventParams, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that is known")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream",
            description = "Blocks of `id`, `event` and `data`, which is a JSON object in one line"),
        (status = 403, response = super::openapi::ProblemResponse),
    ))]
pub async fn stream(
    State(ctx): Ctx,
    actor: Actor,
    Extension(standing): Extension<Standing>,
    connections: Option<Extension<MostConnections>>,
    headers: HeaderMap,
    Query(params): Query<EventParams>,
) -> Response {
    let EventParams { kinds, endpoint, group, last_event_id } = params;
    // A browser that connects again repeats the query of its first request. What is no text is no id of ours.
    let in_header = headers.get(&LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("-").to_owned());
    let after = in_header.or(last_event_id).filter(|id| !id.is_empty());
    let subscription = match verbs::subscribe(&ctx, &actor, Wanted { kinds, endpoint, group }, after.as_deref()) {
        Ok(subscription) => subscription,
        Err(error) => return standing.refuse(&actor, error.into()).await,
    };
    let most = MostStreams(connections.map(|Extension(connections)| connections));
    let seat = match standing.streams().take(&actor, most.get()) {
        Ok(seat) => seat,
        Err(problem) => return problem.into_response(),
    };
    let now = Instant::now();
    let streaming = Streaming {
        subscription,
        standing,
        stopping: ctx.tasks.stopping().clone(),
        looked_up: now,
        told: now,
        greeted: false,
        most,
        seat,
    };
    let body = Body::from_stream(stream::unfold(streaming, |mut streaming| async {
        let piece = streaming.next().await?;
        Some((Ok::<_, Infallible>(piece), streaming))
    }));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Proxies that gather answers are asked not to.
        (ACCEL_BUFFERING.clone(), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

/// A stream under way.
#[derive(Debug)]
struct Streaming {
    subscription: Subscription,
    standing: Standing,
    stopping: CancellationToken,
    /// When the key was last looked up.
    looked_up: Instant,
    /// When the client was last told anything.
    told: Instant,
    greeted: bool,
    most: MostStreams,
    seat: Seat,
}

/// How many streams there may be at once, as it is now.
#[derive(Debug)]
struct MostStreams(Option<MostConnections>);

impl MostStreams {
    fn get(&self) -> usize {
        let connections = self.0.as_ref();
        connections.map_or(STREAMS, |most| STREAMS.min(most.get() / CONNECTIONS_SHARE)).max(1)
    }
}

impl Streaming {
    /// The next piece; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.stopping.is_cancelled() || !self.is_welcome() {
                return None;
            }
            if let Some(piece) = self.piece() {
                self.told = Instant::now();
                return Some(piece.into());
            }
            let wake_at = (self.told + KEEP_ALIVE).min(self.looked_up + LOOK_UP);
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = self.subscription.wait() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// Whether the reader's key is still good, and there is still room for it. What its role may no longer see is left
    /// out.
    fn is_welcome(&mut self) -> bool {
        if self.looked_up.elapsed() < LOOK_UP {
            return true;
        }
        self.looked_up = Instant::now();
        let Some(role) = self.standing.role().filter(|role| *role >= Role::Viewer) else { return false };
        self.subscription.set_role(role);
        self.seat.is_within(self.most.get())
    }

    /// What there is to say now.
    fn piece(&mut self) -> Option<String> {
        let mut text = String::new();
        if !self.greeted {
            self.greeted = true;
            text = format!("retry: {RETRY}\n");
            // An id without data is no event, but it is what a client goes on from. Not so where it has to be told of a
            // reset first: in one block with that, or a client that leaves in between would never hear of it.
            if !self.subscription.is_reset() {
                return Some(text + &format!("id: {}\n\n", self.subscription.place()));
            }
        }
        let written = match self.subscription.read(PIECE) {
            Read::Events(events) => events.iter().try_for_each(|(number, event)| {
                let (id, kind, data) = (self.subscription.id(*number), event.kind(), event.data());
                write!(text, "id: {id}\nevent: {kind}\ndata: {data}\n\n")
            }),
            Read::Reset(reason) => {
                let (id, reason) = (self.subscription.place(), reason.as_str());
                write!(text, "id: {id}\nevent: reset\ndata: {{\"reason\":\"{reason}\"}}\n\n")
            }
            // With the place, so that a client whose filters let little through is not left behind by the ring.
            Read::Nothing if self.told.elapsed() >= KEEP_ALIVE => {
                write!(text, ": still here\nid: {}\n\n", self.subscription.place())
            }
            Read::Nothing => return None,
        };
        // A text takes whatever is written.
        written.is_ok().then_some(text)
    }
}

/// Who has how many streams.
#[derive(Debug, Default)]
pub struct Streams {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Seats are numbered in the order in which they were taken.
    all: BTreeSet<u64>,
    given: u64,
    /// Only those who have some.
    by_client: HashMap<Client, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Client {
    Key(String),
    Address(IpAddr),
    /// A program on this machine that needs no key.
    Local,
}

/// The place of one stream; free again when dropped.
#[derive(Debug)]
struct Seat {
    streams: Arc<Streams>,
    number: u64,
    client: Client,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, actor: &Actor, most: usize) -> Result<Seat, Problem> {
        let client = if actor.has_key() {
            Client::Key(actor.name.clone())
        } else if actor.role == Role::Admin {
            Client::Local
        } else {
            // Without an address (never over a socket) all are one client.
            Client::Address(as_one_client(actor.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into())))
        };
        let mut taken = self.lock();
        let refuse = |kind, detail: String| {
            Err(Problem::new(kind, detail).with_header(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER)))
        };
        let of_client = taken.by_client.get(&client).copied().unwrap_or(0);
        if client != Client::Local && of_client >= PER_CLIENT.min(most) {
            return refuse(ProblemKind::RateLimited, format!("You have {of_client} streams of events: end one first"));
        }
        if taken.all.len() >= most {
            return refuse(
                ProblemKind::Unavailable,
                format!("All {most} streams of events are taken: try again later"),
            );
        }
        taken.given += 1;
        let number = taken.given;
        taken.all.insert(number);
        *taken.by_client.entry(client.clone()).or_default() += 1;
        drop(taken);
        Ok(Seat { streams: self.clone(), number, client })
    }
}

impl Seat {
    /// Whether it is among the `most` oldest.
    fn is_within(&self, most: usize) -> bool {
        self.streams.lock().all.range(..self.number).count() < most
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.streams.lock();
        taken.all.remove(&self.number);
        if let Some(count) = taken.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_in_all_and_for_each_client_and_come_free() {
        let streams = Arc::new(Streams::default());
        let actor = |name: &str, role, address: &str| Actor {
            name: name.to_owned(),
            role,
            address: Some(address.parse().unwrap()),
        };
        let (local, key) = (actor("local", Role::Admin, "127.0.0.1"), actor("wall", Role::Viewer, "192.0.2.1"));
        let stranger = actor("anonymous", Role::Viewer, "2001:db8::1");
        let neighbour = actor("anonymous", Role::Viewer, "2001:db8::2");
        let mut seats: Vec<_> = (0..PER_CLIENT).map(|_| streams.take(&key, STREAMS).unwrap()).collect();
        assert!(streams.take(&key, STREAMS).is_err(), "one more of the same key");
        let mut others: Vec<_> = (0..PER_CLIENT).map(|_| streams.take(&stranger, STREAMS).unwrap()).collect();
        assert!(streams.take(&neighbour, STREAMS).is_err(), "of the same network");
        let mut local_seats: Vec<_> =
            (0..STREAMS - 2 * PER_CLIENT).map(|_| streams.take(&local, STREAMS).unwrap()).collect();
        assert!(streams.take(&local, STREAMS).is_err(), "one more in all");
        others.pop();
        local_seats.push(streams.take(&local, STREAMS).unwrap());
        assert!(seats[9].is_within(10) && !seats[10].is_within(10), "the oldest stay when there may be fewer");
        seats.clear();
        assert!(others[0].is_within(1));
        others.clear();
        local_seats.clear();
        let taken = streams.lock();
        assert!(taken.all.is_empty() && taken.by_client.is_empty());
    }
}
