//! How often a client may ask, and how fast keys can be guessed.
//!
//! A request with a good key counts against that key, any other against the client's address. Keys that are wrong
//! are counted apart and strictly: [`GUESSES`] at once and then one a second from an address. While an address has
//! guessed too much, a good key is refused there as well, or guessing would only have to look for the answer that
//! is not 429; a client that has used its key from there within the last hour is not concerned, nor is one that has
//! signed in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::client_address::{as_one_client, client};
use super::error::{Problem, ProblemKind};
use super::limits::is_push;
use crate::clock::Clock;
use crate::config::RateLimitConfig;
use crate::telemetry::metrics::Metrics;

static LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Routes that are not limited: whoever restarts a monitor that does not answer must not be kept from asking by
/// somebody who shares its address.
const UNLIMITED: [&str; 3] = ["/health", "/health/live", "/health/ready"];

/// Wrong keys from an address at once; then one a second.
const GUESSES: u32 = 10;

/// How long a client that has used its key is known by its address.
const KNOWN_FOR: Duration = Duration::from_hours(1);

/// Clients counted one by one. Beyond, new ones share [`CROWDS`] counters.
const CLIENTS: usize = 20_000;
const CROWDS: u16 = 1_024;

/// Clients known by address and key. When there are more, those of the last hour have to prove themselves again.
const KNOWN: usize = 10_000;

/// After so many requests what is not needed any more is forgotten.
const CLEAN_EVERY: u32 = 256;

/// Who asks, as far as limits are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'a> {
    /// A program on this machine that needs no key: not limited, as it could do worse than ask.
    Local,
    /// The name of a key that is good.
    Key(&'a str),
    /// The name of the key of a session. Its token cannot be guessed, so it proves nothing by being good.
    Session(&'a str),
    /// A key that is not.
    WrongKey,
    /// No key.
    Anonymous,
}

/// What a client is counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    Key(String),
    Address(IpAddr),
    /// One of those who came when there were too many to be counted one by one.
    Crowd(u16),
}

/// The clock of the process, as governor reads it.
#[derive(Debug, Clone)]
struct Monotonic(Arc<dyn Clock>);

impl governor::clock::Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

type Counters = RateLimiter<Counted, DashMapStateStore<Counted>, Monotonic, StateInformationMiddleware>;

/// The limits, shared by all requests.
#[derive(Debug)]
pub struct RateLimits {
    requests: Counters,
    guesses: Counters,
    config: RateLimitConfig,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// When a key was last used from an address.
    known: Mutex<HashMap<(IpAddr, String), Duration>>,
    asked: AtomicU32,
    crowded: std::sync::atomic::AtomicBool,
}

/// What is left to a client, told in the headers of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Budget {
    limit: u32,
    remaining: u32,
    /// Until all of it is there again.
    reset: Duration,
}

/// Where a request's budget is put for [`tell`].
#[derive(Debug, Clone, Default)]
struct Slot(Arc<OnceLock<Budget>>);

impl RateLimits {
    pub fn new(config: RateLimitConfig, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let counters = |quota| {
            RateLimiter::dashmap_with_clock(quota, Monotonic(clock.clone()))
                .with_middleware::<StateInformationMiddleware>()
        };
        let least = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self {
            requests: counters(Quota::per_minute(least(config.requests_per_minute)).allow_burst(least(config.burst))),
            guesses: counters(Quota::per_second(NonZeroU32::MIN).allow_burst(least(GUESSES))),
            config,
            clock,
            metrics,
            known: Mutex::default(),
            asked: AtomicU32::new(0),
            crowded: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Counts a request of a caller.
    ///
    /// # Errors
    /// The problem to answer with when it is one too many.
    pub fn admit(&self, parts: &Parts, caller: Caller<'_>) -> Result<(), Problem> {
        let template = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        if caller == Caller::Local || template.is_some_and(|path| UNLIMITED.contains(&path) || is_push(path)) {
            return Ok(());
        }
        self.clean_up_now_and_then();
        // Without an address (never over a socket) all are one client.
        let address = as_one_client(client(parts).unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        let slot = parts.extensions.get::<Slot>();
        let counted = match caller {
            Caller::Key(name) => {
                self.prove(address, name).map_err(|wait| self.refused(slot, wait, GUESSED))?;
                Counted::Key(name.to_owned())
            }
            Caller::Session(name) => Counted::Key(name.to_owned()),
            Caller::WrongKey => {
                self.guess(address).map_err(|wait| self.refused(slot, wait, GUESSED))?;
                self.by_address(address)
            }
            Caller::Local | Caller::Anonymous => self.by_address(address),
        };
        match self.requests.check_key(&counted) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                self.note(slot, remaining, Duration::ZERO);
                Ok(())
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.monotonic());
                Err(self.refused(slot, wait, "Too many requests: wait as long as `Retry-After` says"))
            }
        }
    }

    /// Counts a key that came in the body of a request, which was counted as one without a key: `name` is that of a good
    /// one.
    ///
    /// # Errors
    /// The problem to answer with while keys are being guessed from there.
    pub fn admit_in_body(&self, parts: &Parts, name: Option<&str>) -> Result<(), Problem> {
        let address = as_one_client(client(parts).unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        let counted = name.map_or_else(|| self.guess(address), |name| self.prove(address, name));
        counted.map_err(|wait| self.refused(parts.extensions.get::<Slot>(), wait, GUESSED))
    }

    /// A wrong key came from an address.
    fn guess(&self, address: IpAddr) -> Result<(), Duration> {
        let counted = self.guesses.check_key(&self.by_address(address));
        counted.map(drop).map_err(|not_until| not_until.wait_time_from(self.clock.monotonic()))
    }

    /// A good key is used from an address. Where keys are being guessed it counts as a guess, unless it was used
    /// there before.
    fn prove(&self, address: IpAddr, name: &str) -> Result<(), Duration> {
        let now = self.clock.monotonic();
        let key = (address, name.to_owned());
        let is_known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&key).is_some_and(|at| now.saturating_sub(*at) < KNOWN_FOR)
        };
        if !is_known {
            self.guess(address)?;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, now);
        Ok(())
    }

    fn by_address(&self, address: IpAddr) -> Counted {
        if !self.crowded.load(Ordering::Relaxed) {
            return Counted::Address(address);
        }
        let mut hasher = std::hash::DefaultHasher::new();
        std::hash::Hash::hash(&address, &mut hasher);
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below CROWDS")]
        let crowd = (std::hash::Hasher::finish(&hasher) % u64::from(CROWDS)) as u16;
        Counted::Crowd(crowd)
    }

    fn clean_up_now_and_then(&self) {
        if !self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEAN_EVERY) {
            return;
        }
        let mut counted = 0;
        for counters in [&self.requests, &self.guesses] {
            if counters.len() > CLIENTS / 2 {
                counters.retain_recent();
            }
            counted += counters.len();
        }
        self.crowded.store(counted > CLIENTS, Ordering::Relaxed);
        let now = self.clock.monotonic();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, at| now.saturating_sub(*at) < KNOWN_FOR);
    }

    fn refused(&self, slot: Option<&Slot>, wait: Duration, detail: &str) -> Problem {
        self.metrics.requests_limited.add(1);
        self.note(slot, 0, wait);
        let seconds = HeaderValue::from(whole_seconds(wait).max(1));
        Problem::new(ProblemKind::RateLimited, detail).with_header(header::RETRY_AFTER, seconds)
    }

    fn note(&self, slot: Option<&Slot>, remaining: u32, at_least: Duration) {
        let limit = self.config.burst;
        let missing = limit.saturating_sub(remaining);
        let each = Duration::from_mins(1) / self.config.requests_per_minute;
        let budget = Budget { limit, remaining, reset: (each * missing).max(at_least) };
        if let Some(slot) = slot {
            // A request is counted once.
            slot.0.get_or_init(|| budget);
        }
    }
}

const GUESSED: &str = "Too many wrong keys came from this address: wait as long as `Retry-After` says";

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The layer that writes what is left into the headers of every limited answer.
pub async fn tell(mut request: Request, next: Next) -> Response {
    let slot = Slot::default();
    request.extensions_mut().insert(slot.clone());
    let mut response = next.run(request).await;
    if let Some(budget) = slot.0.get() {
        let headers = response.headers_mut();
        headers.insert(LIMIT.clone(), budget.limit.into());
        headers.insert(REMAINING.clone(), budget.remaining.into());
        headers.insert(RESET.clone(), whole_seconds(budget.reset).into());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::client_address::ClientAddress;
    use crate::clock::ManualClock;

    #[test]
    fn what_is_counted_is_bounded() {
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z".parse().unwrap()));
        let config = RateLimitConfig { requests_per_minute: 60, burst: 2 };
        let limits = RateLimits::new(config, clock.clone(), Arc::default());
        let ask = |n: u32| {
            let mut parts = axum::http::Request::new(()).into_parts().0;
            parts.extensions.insert(ClientAddress(Ipv4Addr::from_bits(n).into()));
            limits.admit(&parts, Caller::Anonymous)
        };
        let most = CLIENTS + usize::from(CROWDS) + CLEAN_EVERY as usize;
        for n in 0..30_000 {
            drop(ask(n));
        }
        assert!(limits.requests.len() <= most, "{}", limits.requests.len());
        assert!(limits.crowded.load(Ordering::Relaxed));
        // Those who were counted one by one are forgotten when their budget is whole again.
        clock.advance(Duration::from_secs(10));
        for _ in 0..CLEAN_EVERY {
            drop(ask(1));
        }
        assert!(limits.requests.len() < 1_000, "{}", limits.requests.len());
        assert!(!limits.crowded.load(Ordering::Relaxed));
    }
}
