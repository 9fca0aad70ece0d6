//! The grace after a start: our own network, or a sidecar, may not be up yet.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::suppression::{Facts, Hold};

/// The longest grace.
const LONGEST: Duration = Duration::from_secs(30);

/// Whether failures of the name and connect layers may still be our own.
#[derive(Debug)]
pub struct StartGrace {
    began: Duration,
    over: bool,
    /// Nothing but this machine is watched, so any success ends the grace.
    all_on_loopback: bool,
}

impl StartGrace {
    /// Of these endpoints. `monotonic` is the clock's, now.
    pub fn begin<'a>(endpoints: impl IntoIterator<Item = &'a KnownEndpoint>, monotonic: Duration) -> Self {
        let all_on_loopback = endpoints.into_iter().all(is_on_loopback);
        Self { began: monotonic, over: false, all_on_loopback }
    }

    /// It has been over for long.
    pub fn over() -> Self {
        Self { began: Duration::ZERO, over: true, all_on_loopback: false }
    }

    /// What holds at this moment, for whoever asks; begun by the monotonic clock, shown by the other.
    pub fn shown(&self, monotonic: Duration, now: Timestamp) -> Option<Hold> {
        let left = (self.began + LONGEST).checked_sub(monotonic).filter(|_| !self.over)?;
        let until = now.checked_add_signed(chrono::TimeDelta::from_std(left).ok()?)?;
        Some(Hold {
            name: String::new(),
            until: Some(crate::domain::from_micros(until.timestamp_micros() / 1_000_000 * 1_000_000 + 1_000_000)),
        })
    }

    /// What holds for this result; a success that proves the network ends the grace.
    pub fn around(
        &mut self,
        result: &CheckResult,
        known: &KnownEndpoint,
        monotonic: Duration,
        now: Timestamp,
    ) -> Facts {
        if !self.over {
            let proof = result.outcome.is_good() && (self.all_on_loopback || !is_on_loopback(known));
            self.over = proof || monotonic.saturating_sub(self.began) > LONGEST;
        }
        let left = (self.began + LONGEST).saturating_sub(monotonic);
        // A moment longer than the grace, which is over by the monotonic clock alone.
        let until = Some(now + left + Duration::from_secs(1));
        let start_grace = (!self.over).then(|| Hold { name: String::new(), until });
        Facts { start_grace, ..Facts::default() }
    }
}

fn is_on_loopback(known: &KnownEndpoint) -> bool {
    match known.endpoint.check.url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
