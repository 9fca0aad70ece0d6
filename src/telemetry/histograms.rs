//! How long things take, counted in buckets. Whoever measures often holds its histogram; nothing is looked up there.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts};

use super::metrics::Counter;
use crate::domain::endpoint::Kind;
use crate::domain::outcome::OutcomeWord;

/// Upper bounds in seconds: what a target on this machine takes, and what one at its timeout does.
const CHECK: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// A slot is begun within a millisecond or two; what is above a second is trouble.
const LAG: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];
const COMMIT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0];
const DELIVERY: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const REQUEST: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Channels that are counted apart. Those that come later, in the place of others, are counted together.
const MOST_CHANNELS: usize = 1_000;

/// Where those are counted. No channel can have the name.
const OTHER_CHANNELS: &str = "";

/// Name and help are given where it is shown.
fn histogram(buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new("seconds", "seconds").buckets(buckets.to_vec());
    Histogram::with_opts(options).expect("the bounds are constants that grow")
}

/// How long checks took, by kind and verdict: the last attempt of each, good or bad. Missed slots took no time.
#[derive(Debug)]
pub struct CheckDurations(Vec<[Histogram; VERDICTS.len()]>);

const VERDICTS: [OutcomeWord; 3] = [OutcomeWord::Up, OutcomeWord::Degraded, OutcomeWord::Down];

impl Default for CheckDurations {
    fn default() -> Self {
        Self(Kind::ALL.iter().map(|_| VERDICTS.map(|_| histogram(CHECK))).collect())
    }
}

impl CheckDurations {
    pub fn observe(&self, kind: Kind, outcome: OutcomeWord, micros: u32) {
        let place = match outcome {
            OutcomeWord::Up => 0,
            OutcomeWord::Degraded => 1,
            OutcomeWord::Down => 2,
            OutcomeWord::Missed => return,
        };
        if let Some(histogram) = self.0.get(kind as usize).and_then(|of_kind| of_kind.get(place)) {
            histogram.observe(f64::from(micros) / 1_000_000.0);
        }
    }

    pub fn all(&self) -> impl Iterator<Item = (Kind, OutcomeWord, &Histogram)> {
        let of_kind = |(kind, histograms)| VERDICTS.iter().zip(histograms).map(move |(verdict, h)| (kind, *verdict, h));
        Kind::ALL.iter().copied().zip(&self.0).flat_map(of_kind)
    }
}

/// How late due slots were begun.
#[derive(Debug)]
pub struct Lag(pub Histogram);

impl Default for Lag {
    fn default() -> Self {
        Self(histogram(LAG))
    }
}

/// How long the writing of a batch took, if it was written.
#[derive(Debug)]
pub struct Commits(pub Histogram);

impl Default for Commits {
    fn default() -> Self {
        Self(histogram(COMMIT))
    }
}

/// What was attempted through one channel.
#[derive(Debug)]
pub struct Deliveries {
    /// Messages that arrived.
    pub delivered: Counter,
    /// Attempts that failed and are repeated.
    pub failed: Counter,
    /// Attempts that failed and were the last.
    pub dead: Counter,
    /// Messages that digests told in their place.
    pub grouped: Counter,
    /// Those digests.
    pub digests: Counter,
    /// Of an attempt, whatever came of it.
    pub durations: Histogram,
}

impl Default for Deliveries {
    fn default() -> Self {
        let (delivered, failed, dead) = (Counter::default(), Counter::default(), Counter::default());
        let (grouped, digests) = (Counter::default(), Counter::default());
        Self { delivered, failed, dead, grouped, digests, durations: histogram(DELIVERY) }
    }
}

/// What was attempted, by channel.
#[derive(Debug, Default)]
pub struct DeliveriesByChannel(Mutex<BTreeMap<String, Arc<Deliveries>>>);

impl DeliveriesByChannel {
    /// That of a channel, to be kept by whoever delivers through it.
    pub fn of(&self, channel: &str) -> Arc<Deliveries> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(channel) {
            return known.clone();
        }
        let name = if all.len() < MOST_CHANNELS { channel } else { OTHER_CHANNELS };
        all.entry(name.to_owned()).or_default().clone()
    }

    pub fn all(&self) -> BTreeMap<String, Arc<Deliveries>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Requests answered by one method of one route.
#[derive(Debug)]
pub struct Requests {
    /// By the hundreds of their status, from 1xx on.
    pub by_class: [Counter; 5],
    /// From the head of the request to the head of the answer.
    pub durations: Histogram,
}

impl Default for Requests {
    fn default() -> Self {
        Self { by_class: Default::default(), durations: histogram(REQUEST) }
    }
}

/// Requests by method and template of the route. As many as the API has routes, each with its methods.
#[derive(Debug, Default)]
pub struct RequestsByRoute(RwLock<HashMap<&'static str, BTreeMap<String, Arc<Requests>>>>);

/// The methods that are told apart; any other word is `OTHER`.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The route of requests that came to none.
pub const NO_ROUTE: &str = "none";

impl RequestsByRoute {
    /// Counts a request. `route` is the template of the route, `None` where there was none.
    pub fn observe(&self, method: &str, route: Option<&str>, status: u16, took: Duration) {
        let requests = self.of(method, route.unwrap_or(NO_ROUTE));
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = requests.by_class.get(class) {
            counter.add(1);
        }
        requests.durations.observe(took.as_secs_f64());
    }

    fn of(&self, method: &str, route: &str) -> Arc<Requests> {
        let method = METHODS.iter().find(|known| **known == method).copied().unwrap_or("OTHER");
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = known.get(method).and_then(|routes| routes.get(route)) {
            return requests.clone();
        }
        drop(known);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(method).or_default().entry(route.to_owned()).or_default().clone()
    }

    /// Ordered by route and method.
    pub fn all(&self) -> BTreeMap<(String, &'static str), Arc<Requests>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_method = |(method, routes): (&&'static str, &BTreeMap<String, Arc<Requests>>)| {
            let method = *method;
            routes.iter().map(move |(route, requests)| ((route.clone(), method), requests.clone())).collect::<Vec<_>>()
        };
        all.iter().flat_map(of_method).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_counted_by_their_verdict_and_missed_slots_are_not() {
        let durations = CheckDurations::default();
        for (outcome, micros) in [
            (OutcomeWord::Up, 1_500),
            (OutcomeWord::Up, 4_000_000),
            (OutcomeWord::Down, 30_000_001),
            (OutcomeWord::Missed, 1),
        ] {
            durations.observe(Kind::Http, outcome, micros);
        }
        let counts: Vec<_> = durations.all().map(|(_, outcome, h)| (outcome, h.get_sample_count())).collect();
        assert_eq!(counts, [(OutcomeWord::Up, 2), (OutcomeWord::Degraded, 0), (OutcomeWord::Down, 1)]);
    }

    #[test]
    fn channels_beyond_the_bound_are_counted_together() {
        let deliveries = DeliveriesByChannel::default();
        for number in 0..MOST_CHANNELS + 5 {
            deliveries.of(&format!("channel {number}")).delivered.add(1);
        }
        deliveries.of("channel 0").delivered.add(1);
        let all = deliveries.all();
        assert_eq!(all.len(), MOST_CHANNELS + 1);
        assert_eq!((all["channel 0"].delivered.get(), all[OTHER_CHANNELS].delivered.get()), (2, 5));
    }

    #[test]
    fn requests_are_counted_by_route_and_not_by_what_clients_make_up() {
        let requests = RequestsByRoute::default();
        requests.observe("GET", Some("/a"), 200, Duration::from_millis(1));
        requests.observe("GET", Some("/a"), 404, Duration::from_millis(1));
        for method in ["BREW", "PROPFIND"] {
            requests.observe(method, None, 405, Duration::ZERO);
        }
        requests.observe("GET", Some("/a"), 999, Duration::ZERO);
        let all = requests.all();
        let names: Vec<_> = all.keys().map(|(route, method)| format!("{method} {route}")).collect();
        assert_eq!(names, ["GET /a", "OTHER none"]);
        let classes = |requests: &Requests| requests.by_class.each_ref().map(Counter::get);
        assert_eq!(all.values().map(|r| classes(r)).collect::<Vec<_>>(), [[0, 1, 0, 1, 0], [0, 0, 0, 2, 0]]);
        assert_eq!(all[&("/a".to_owned(), "GET")].durations.get_sample_count(), 3);
    }
}
