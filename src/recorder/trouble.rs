//! The time in which the database does not take what is to be written: noticed, said once at its beginning and once
//! at its end.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Timestamp;
use crate::telemetry::metrics::{Away, Metrics};

/// A write may take this long before the database counts as away.
const SLOW: Duration = Duration::from_secs(3);

/// How long a write is waited for. A timeout doubles it up to the longest, for a database that is slow but works.
const FIRST_LIMIT: Duration = Duration::from_secs(10);
const LONGEST_LIMIT: Duration = Duration::from_secs(80);

/// The pause after a failed commit, doubled at each further failure up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How the writing goes.
#[derive(Debug)]
pub(super) struct Trouble {
    away: Option<Spell>,
    /// After a failure.
    pause: Option<Duration>,
    /// How long the next write is waited for.
    pub(super) limit: Duration,
}

/// A time away.
#[derive(Debug)]
struct Spell {
    began: Instant,
    /// Results written since.
    results: usize,
    /// What waited when it was back is written; what came meanwhile is being written.
    last_round: bool,
}

impl Trouble {
    pub(super) fn new() -> Self {
        Self { away: None, pause: None, limit: FIRST_LIMIT }
    }

    /// Until everything that had to wait is written.
    pub(super) fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Whether the last attempt failed.
    pub(super) fn has_failed(&self) -> bool {
        self.pause.is_some()
    }

    /// A commit has been under way since `began`; it counts as away when that is too long.
    pub(super) fn watch(&mut self, began: Instant, metrics: &Metrics, now: Timestamp) {
        if self.away.is_none() && began.elapsed() >= SLOW {
            self.begin(began, "a write takes longer than 3 s", metrics, now);
        }
    }

    /// When [`watch`](Self::watch) should look, for a commit that began then.
    pub(super) fn watch_at(&self, began: Instant) -> Option<Instant> {
        self.away.is_none().then(|| began + SLOW)
    }

    /// A commit failed that began then, because the database is away or for a reason of its own. Gives how long to wait
    /// before the next.
    pub(super) fn failed(
        &mut self,
        began: Instant,
        unreachable: Option<&str>,
        metrics: &Metrics,
        now: Timestamp,
    ) -> Duration {
        if let Some(why) = unreachable {
            if self.away.is_none() {
                self.begin(began, why, metrics, now);
            }
            if began.elapsed() >= self.limit {
                self.limit = (self.limit * 2).min(LONGEST_LIMIT);
            }
        }
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        pause
    }

    fn begin(&mut self, began: Instant, why: &str, metrics: &Metrics, now: Timestamp) {
        tracing::error!(
            why,
            "the database is away: results and incidents are kept in memory, people are told, and writing is tried again ({why})"
        );
        let since = now - chrono::TimeDelta::from_std(began.elapsed()).unwrap_or_default();
        metrics.database.begin(Away { since, why: why.to_owned() });
        self.away = Some(Spell { began, results: 0, last_round: false });
    }

    /// A batch was committed, and with it, if so, `all` that waited when the writing began; `more` has come since.
    pub(super) fn committed(&mut self, results: usize, all: bool, more: bool, metrics: &Metrics, now: Timestamp) {
        self.pause = None;
        self.limit = FIRST_LIMIT;
        let Some(spell) = &mut self.away else { return };
        spell.results += results;
        if !all {
            return;
        }
        if more && !spell.last_round {
            spell.last_round = true;
            return;
        }
        tracing::info!(
            seconds = spell.began.elapsed().as_secs(),
            results = spell.results,
            dropped_since_start = metrics.results_dropped.get(),
            "the database is back, and everything that waited is written"
        );
        metrics.database.end(now);
        self.away = None;
    }
}
