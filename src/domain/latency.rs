//! A mergeable sketch of latencies: percentiles within 1 % of the true value, in a few bytes a distinct value.
//!
//! The buckets grow by a constant factor, as in DDSketch (Masson, Rim, Lee 2019). Libraries of it keep dense
//! arrays, a kilobyte and more each; an endpoint's latencies fall into a few dozen buckets, and there is a
//! sketch an endpoint in memory and one a day on disk, so this one is sparse.

use std::collections::BTreeMap;

/// Relative error of a percentile.
const ERROR: f64 = 0.01;

/// Counts of latencies in buckets of relative width.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LatencySketch {
    counts: BTreeMap<u16, u32>,
}

fn log_gamma() -> f64 {
    ((1.0 + ERROR) / (1.0 - ERROR)).ln()
}

fn bucket_of(micros: u32) -> u16 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ln(u32::MAX)/ln(gamma) is about 1,110"
    )]
    let index = (f64::from(micros.max(1)).ln() / log_gamma()).ceil() as u16;
    index
}

fn value_of(bucket: u16) -> f64 {
    // The middle of the bucket, which is at most 1 % from either of its ends.
    let upper = (f64::from(bucket) * log_gamma()).exp();
    upper * (1.0 - ERROR)
}

impl LatencySketch {
    pub fn add(&mut self, micros: u32) {
        let count = self.counts.entry(bucket_of(micros)).or_default();
        *count = count.saturating_add(1);
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, n) in &other.counts {
            let count = self.counts.entry(*bucket).or_default();
            *count = count.saturating_add(*n);
        }
    }

    pub fn count(&self) -> u64 {
        self.counts.values().map(|n| u64::from(*n)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The latency in microseconds below which the share `q` (0..=1) of the values lies; `None` without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank within the count"
        )]
        let rank = (q.clamp(0.0, 1.0) * (total - 1) as f64).round() as u64;
        let mut seen = 0;
        for (bucket, n) in &self.counts {
            seen += u64::from(*n);
            if seen > rank {
                return Some(value_of(*bucket));
            }
        }
        None
    }

    /// Pairs of (step to the bucket, count), as variable-length integers.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.counts.len() * 3);
        let mut last = 0;
        for (bucket, n) in &self.counts {
            write_varint(&mut bytes, u32::from(*bucket - last));
            write_varint(&mut bytes, *n);
            last = *bucket;
        }
        bytes
    }

    /// The inverse of [`encode`](Self::encode); `None` when the bytes are no sketch.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut counts = BTreeMap::new();
        let mut bucket: u16 = 0;
        while !bytes.is_empty() {
            bucket = bucket.checked_add(u16::try_from(read_varint(&mut bytes)?).ok()?)?;
            counts.insert(bucket, read_varint(&mut bytes)?);
        }
        Some(Self { counts })
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value: u32 = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(LatencySketch::default().quantile(0.5), None);
    }

    #[test]
    fn bytes_that_are_no_sketch_are_refused() {
        assert_eq!(LatencySketch::decode(&[0x80]), None);
        assert_eq!(LatencySketch::decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 1]), None);
    }

    proptest! {
        #[test]
        fn percentiles_are_within_one_percent(mut values in proptest::collection::vec(1_u32..60_000_000, 1..300), q in 0.0_f64..=1.0) {
            let mut sketch = LatencySketch::default();
            for value in &values { sketch.add(*value); }
            values.sort_unstable();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
            let exact = f64::from(values[(q * (values.len() - 1) as f64).round() as usize]);
            let estimate = sketch.quantile(q).unwrap_or(0.0);
            prop_assert!((estimate - exact).abs() <= exact * 0.0101 + 0.5, "{estimate} for {exact}");
        }

        #[test]
        fn encoding_and_merging_lose_nothing(a in proptest::collection::vec(any::<u32>(), 0..100), b in proptest::collection::vec(any::<u32>(), 0..100)) {
            let sketch = |values: &[u32]| { let mut s = LatencySketch::default(); for value in values { s.add(*value); } s };
            let (sa, sb) = (sketch(&a), sketch(&b));
            prop_assert_eq!(LatencySketch::decode(&sa.encode()), Some(sa.clone()));
            let mut merged = sa;
            merged.merge(&sb);
            prop_assert_eq!(merged, sketch(&[a, b].concat()));
        }
    }
}
