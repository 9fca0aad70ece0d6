//! When requests arrived, and what that says of punctuality.

use serde::{Deserialize, Serialize};

/// Busy moments are looked for at this width.
const BIN_US: u64 = 100_000;

/// Punctuality over a window, as the target saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Punctuality {
    pub(crate) seconds: f64,
    pub(crate) hits: u64,
    /// Slots in which nothing arrived.
    pub(crate) missed: u64,
    /// How far the time between two arrivals of an endpoint is from the interval, milliseconds.
    pub(crate) deviation_p50_ms: f64,
    pub(crate) deviation_p99_ms: f64,
    /// Arrivals in the busiest 100 ms, over the mean of all 100 ms.
    pub(crate) burst: f64,
    pub(crate) connections: u64,
}

/// `arrivals`: of each endpoint, microseconds since the window began, ascending.
pub(crate) fn punctuality(arrivals: &[Vec<u64>], interval_us: u64, window_us: u64, connections: u64) -> Punctuality {
    let mut deviations = Vec::new();
    let mut missed = 0;
    let mut bins = vec![0_u64; usize::try_from(window_us.div_ceil(BIN_US)).unwrap_or(0).max(1)];
    for of_one in arrivals {
        for gap in of_one.windows(2).map(|pair| pair[1] - pair[0]) {
            let slots = ((gap + interval_us / 2) / interval_us).max(1);
            missed += slots - 1;
            deviations.push(gap.abs_diff(slots * interval_us));
        }
        // Towards the ends of the window up to one interval is rightly empty; half of one more is lateness.
        let edge = |empty: u64| empty.saturating_sub(interval_us / 2) / interval_us;
        missed += match (of_one.first(), of_one.last()) {
            (Some(first), Some(last)) => edge(*first) + edge(window_us.saturating_sub(*last)),
            _ => window_us / interval_us,
        };
        for at in of_one {
            if let Some(bin) = usize::try_from(at / BIN_US).ok().and_then(|bin| bins.get_mut(bin)) {
                *bin += 1;
            }
        }
    }
    let hits: u64 = arrivals.iter().map(|of_one| of_one.len() as u64).sum();
    deviations.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "counts and microseconds far below 2^52")]
    Punctuality {
        seconds: window_us as f64 / 1e6,
        hits,
        missed,
        deviation_p50_ms: quantile(&deviations, 0.5) as f64 / 1e3,
        deviation_p99_ms: quantile(&deviations, 0.99) as f64 / 1e3,
        burst: bins.iter().copied().max().unwrap_or(0) as f64 * bins.len() as f64 / hits.max(1) as f64,
        connections,
    }
}

/// The value below which the share `q` of the ascending `values` lies; 0 without values.
pub(crate) fn quantile(values: &[u64], q: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index within the values"
    )]
    let index = (q * values.len().saturating_sub(1) as f64).round() as usize;
    values.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_punctual_endpoint_misses_nothing() {
        let seen = punctuality(&[vec![300_000, 1_300_000, 2_300_000]], SECOND, 3 * SECOND, 3);
        assert_eq!((seen.hits, seen.missed), (3, 0));
        assert!(seen.deviation_p99_ms.abs() < f64::EPSILON);
        assert!((seen.burst - 10.0).abs() < 1e-9, "one of 30 bins with a third of the hits: {}", seen.burst);
    }

    #[test]
    fn holes_are_counted_inside_and_at_both_ends() {
        let inside = punctuality(&[vec![0, 3_010_000]], SECOND, 4 * SECOND, 2);
        assert_eq!(inside.missed, 2);
        assert!((inside.deviation_p50_ms - 10.0).abs() < 1e-9, "{}", inside.deviation_p50_ms);
        let late_begin = punctuality(&[vec![2_900_000, 3_900_000]], SECOND, 4 * SECOND, 2);
        assert_eq!(late_begin.missed, 2);
        let early_end = punctuality(&[vec![100_000]], SECOND, 4 * SECOND, 1);
        assert_eq!(early_end.missed, 3);
        let never = punctuality(&[vec![]], SECOND, 4 * SECOND, 0);
        assert_eq!(never.missed, 4);
    }
}
