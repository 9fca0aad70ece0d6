//! Collections of metrics: what clients had measured from the creation of a collection on, or from when it was
//! cleared last. They live in memory and end with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::process::Sample;
use crate::domain::Timestamp;

/// Collections at once. Those beyond are refused, so that forgotten ones cost no more than this.
pub const MOST: usize = 10;

/// Methods that are counted by their names; all others are `OTHER`, so that clients cannot make up rows.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// The collections there are.
#[derive(Debug, Default)]
pub struct Collections(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    /// The newest sample of the process.
    sample: Sample,
    collections: BTreeMap<u64, Collection>,
}

/// What was measured since `start`.
#[derive(Debug, Clone, PartialEq)]
pub struct Collection {
    pub start: Timestamp,
    pub machine_cpu: Share,
    pub process_cpu: Share,
    /// The most memory of the process in RAM.
    pub resident_peak: Option<u64>,
    /// By route template and method.
    pub requests: BTreeMap<(Arc<str>, &'static str), Requests>,
}

/// Samples of a share, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Share {
    samples: u32,
    sum: f64,
    peak: f64,
}

/// Requests to one route by one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    pub hits: u64,
    pub time: Duration,
    pub longest: Duration,
}

impl Share {
    fn add(&mut self, sample: Option<f64>) {
        if let Some(share) = sample {
            let share = share.clamp(0.0, 1.0);
            self.samples = self.samples.saturating_add(1);
            self.sum += share;
            self.peak = self.peak.max(share);
        }
    }

    /// `None` before the first sample.
    pub fn mean(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum / f64::from(self.samples))
    }

    /// `None` before the first sample.
    pub fn peak(&self) -> Option<f64> {
        (self.samples > 0).then_some(self.peak)
    }
}

impl Collection {
    fn begin(start: Timestamp, sample: &Sample) -> Self {
        let (machine_cpu, process_cpu) = Default::default();
        Self { start, machine_cpu, process_cpu, resident_peak: sample.resident_bytes, requests: BTreeMap::new() }
    }
}

impl Collections {
    /// Begins a collection; `None` when there are [`MOST`] already. Ids count from 0 and are given once.
    pub fn create(&self, now: Timestamp) -> Option<u64> {
        let mut kept = self.kept();
        if kept.collections.len() >= MOST {
            return None;
        }
        let id = kept.next;
        kept.next += 1;
        let collection = Collection::begin(now, &kept.sample);
        kept.collections.insert(id, collection);
        Some(id)
    }

    /// Ascending.
    pub fn ids(&self) -> Vec<u64> {
        self.kept().collections.keys().copied().collect()
    }

    pub fn get(&self, id: u64) -> Option<Collection> {
        self.kept().collections.get(&id).cloned()
    }

    /// Begins a collection anew; whether there is one.
    pub fn clear(&self, id: u64, now: Timestamp) -> bool {
        let mut kept = self.kept();
        let fresh = Collection::begin(now, &kept.sample);
        kept.collections.get_mut(&id).map(|collection| *collection = fresh).is_some()
    }

    /// Whether there was one.
    pub fn delete(&self, id: u64) -> bool {
        self.kept().collections.remove(&id).is_some()
    }

    /// A request to a route was answered, after `elapsed`.
    pub fn answered(&self, method: &str, template: &str, elapsed: Duration) {
        let mut kept = self.kept();
        if kept.collections.is_empty() {
            return;
        }
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER");
        let url: Arc<str> = template.into();
        for collection in kept.collections.values_mut() {
            let requests = collection.requests.entry((url.clone(), method)).or_default();
            requests.hits += 1;
            requests.time += elapsed;
            requests.longest = requests.longest.max(elapsed);
        }
    }

    /// The process was sampled.
    pub fn sampled(&self, sample: Sample) {
        let mut kept = self.kept();
        kept.sample = sample;
        for collection in kept.collections.values_mut() {
            collection.machine_cpu.add(sample.machine_cpu);
            collection.process_cpu.add(sample.process_cpu);
            collection.resident_peak = collection.resident_peak.max(sample.resident_bytes);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands every sample of the process to the collections, until the stop.
pub async fn follow(collections: Arc<Collections>, metrics: Arc<Metrics>, stopping: CancellationToken) {
    let mut samples = metrics.process.subscribe();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = samples.changed() => if changed.is_err() { return },
        }
        let sample = *samples.borrow_and_update();
        collections.sampled(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> Timestamp {
        format!("2026-03-01T12:00:{second:02}Z").parse().unwrap()
    }

    fn sample(cpu: f64, resident: u64) -> Sample {
        Sample {
            machine_cpu: Some(cpu * 2.0),
            process_cpu: Some(cpu),
            resident_bytes: Some(resident),
            ..Sample::default()
        }
    }

    #[test]
    fn there_are_ten_at_most_and_ids_are_given_once() {
        let collections = Collections::default();
        let ids: Vec<_> = (0..12).map(|second| collections.create(at(second))).collect();
        assert_eq!(ids[..10], (0..10).map(Some).collect::<Vec<_>>());
        assert_eq!(ids[10..], [None, None]);
        assert!(collections.delete(3) && !collections.delete(3));
        assert_eq!(collections.create(at(1)), Some(10));
        assert_eq!(collections.ids(), [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]);
        assert!(!collections.clear(3, at(1)) && collections.get(3).is_none());
    }

    #[test]
    fn a_collection_measures_from_its_beginning_or_its_clearing() {
        let collections = Collections::default();
        collections.sampled(sample(0.4, 900));
        let id = collections.create(at(0)).unwrap();
        let fresh = collections.get(id).unwrap();
        assert_eq!((fresh.process_cpu.mean(), fresh.process_cpu.peak(), fresh.resident_peak), (None, None, Some(900)));
        collections.sampled(sample(0.1, 500));
        collections.sampled(sample(0.3, 700));
        let measured = collections.get(id).unwrap();
        assert!((measured.process_cpu.mean().unwrap() - 0.2).abs() < 1e-9);
        assert_eq!((measured.process_cpu.peak(), measured.machine_cpu.peak()), (Some(0.3), Some(0.6)));
        assert_eq!(measured.resident_peak, Some(900));
        collections.sampled(Sample::default());
        assert_eq!(collections.get(id).unwrap(), measured, "what was not measured changes nothing");

        for (method, milliseconds) in [("GET", 1), ("GET", 5), ("PUT", 2), ("BREW", 1), ("STIR", 1)] {
            collections.answered(method, "/pots/{id}", Duration::from_millis(milliseconds));
        }
        let requests = collections.get(id).unwrap().requests;
        let seen: Vec<_> = requests.iter().map(|((url, method), r)| (&**url, *method, r.hits, r.longest)).collect();
        let ms = Duration::from_millis;
        assert_eq!(
            seen,
            [("/pots/{id}", "GET", 2, ms(5)), ("/pots/{id}", "OTHER", 2, ms(1)), ("/pots/{id}", "PUT", 1, ms(2))]
        );

        assert!(collections.clear(id, at(9)));
        let cleared = collections.get(id).unwrap();
        assert_eq!((cleared.start, cleared.requests.len(), cleared.process_cpu), (at(9), 0, Share::default()));
        assert_eq!(cleared.resident_peak, None, "that of the newest sample, which knew none");
    }
}
