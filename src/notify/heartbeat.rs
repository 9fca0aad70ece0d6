//! The outgoing dead man's switch: an address that is called as long as all is well with this monitor. Whoever
//! listens there notices when the calls stop, which this monitor itself could not tell.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::reach::Reach;
use super::tls::{self, Authorities};
use crate::board::Board;
use crate::clock::Clock;
use crate::config::HeartbeatConfig;
use crate::domain::endpoint::Origin;
use crate::outbound::Outbound;
use crate::telemetry::metrics::Metrics;

/// A call may take this long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The loops of scheduler and recorder go round at least this often.
const LOOP_LIMIT: Duration = Duration::from_secs(10);

/// Checks that begin later than this are no longer what was promised.
const LAG_LIMIT_US: i64 = 30_000_000;

/// Results waiting for a commit beyond this are results that are not being stored.
const PENDING_LIMIT: i64 = 5_000;

/// Calls the configured address.
#[derive(Debug)]
pub struct Heartbeat {
    client: reqwest::Client,
    config: HeartbeatConfig,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Heartbeat {
    /// # Errors
    /// One sentence, when there is no TLS to call with.
    pub fn new(
        config: HeartbeatConfig,
        board: Arc<Board>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        outbound: Arc<Outbound>,
    ) -> Result<Self, String> {
        let reach = Reach::new(outbound, Origin::Config);
        let line = tls::http_line(&Authorities::load().client_config()?, reach)?;
        Ok(Self { client: line.client, config, board, clock, metrics })
    }

    /// Calls at each interval while all is well, until the stop.
    pub async fn run(self, stopping: CancellationToken) {
        let mut interval = tokio::time::interval(self.config.every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // At the start nothing has been checked yet.
        interval.tick().await;
        let mut failing = false;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = interval.tick() => {}
            }
            if let Err(why) = self.all_is_well() {
                tracing::warn!(why, "the heartbeat is not sent: {why}");
                continue;
            }
            let called = tokio::select! {
                () = stopping.cancelled() => return,
                called = self.call() => called,
            };
            match called {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(error, "the heartbeat did not arrive");
                }
                Err(_) => {}
            }
        }
    }

    /// Whether checks are made and recorded and messages flow; else what is wrong.
    ///
    /// # Errors
    /// What is wrong, in a few words.
    pub fn all_is_well(&self) -> Result<(), &'static str> {
        let monotonic = self.clock.monotonic();
        let metrics = &self.metrics;
        if !metrics.scheduler_heartbeat.is_alive(monotonic, LOOP_LIMIT) {
            return Err("the scheduler stands still");
        }
        if !metrics.recorder_heartbeat.is_alive(monotonic, LOOP_LIMIT) {
            return Err("the recorder stands still");
        }
        if metrics.database.away().is_some() || metrics.results_pending.get() > PENDING_LIMIT {
            return Err("results are not being stored");
        }
        if metrics.schedule_lag_us.get() > LAG_LIMIT_US {
            return Err("checks are late");
        }
        let channels = metrics.channels();
        if !channels.is_empty() && channels.values().all(|channel| channel.failing_since.is_some()) {
            return Err("no channel delivers");
        }
        if self.nothing_is_recorded() {
            return Err("no check was recorded for long");
        }
        Ok(())
    }

    /// Whether every endpoint that should have had a verdict by now has had none.
    fn nothing_is_recorded(&self) -> bool {
        let now = self.clock.now();
        let overdue = |entry: &crate::board::Entry| {
            let endpoint = &entry.known.endpoint;
            let patience = endpoint.schedule.interval(now) * 3 + Duration::from_secs(60);
            let since = entry.live.last_verdict.as_ref().map_or(entry.known.scheduled_from, |last| last.started_at);
            (now - since).to_std().is_ok_and(|age| age > patience)
        };
        let mut checked = self.board.entries().into_iter().filter(|entry| entry.known.is_checked()).peekable();
        checked.peek().is_some() && checked.all(|entry| overdue(&entry))
    }

    async fn call(&self) -> Result<(), String> {
        // The address may hold a token: it never stands in an error.
        let call = self.client.get(self.config.url.expose()).timeout(TIMEOUT).send();
        let answer = call.await.map_err(|error| error.without_url().to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it was answered with {}", answer.status())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::config::Secret;
    use crate::telemetry::metrics::{Away, ChannelStatus};

    #[tokio::test]
    async fn it_beats_only_while_checks_are_recorded_and_messages_flow() {
        let start = "2026-11-21T12:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(start));
        let metrics = Arc::new(Metrics::default());
        let config = HeartbeatConfig { url: Secret::new("http://127.0.0.1:1/"), every: Duration::from_secs(60) };
        let heartbeat =
            Heartbeat::new(config, Arc::new(Board::new()), clock.clone(), metrics.clone(), Arc::default()).unwrap();
        assert_eq!(heartbeat.all_is_well(), Err("the scheduler stands still"));
        metrics.scheduler_heartbeat.beat(clock.monotonic());
        assert_eq!(heartbeat.all_is_well(), Err("the recorder stands still"));
        metrics.recorder_heartbeat.beat(clock.monotonic());
        assert_eq!(heartbeat.all_is_well(), Ok(()));

        let failing = ChannelStatus { failing_since: Some(start), ..ChannelStatus::default() };
        metrics.set_channel("mail", failing);
        assert_eq!(heartbeat.all_is_well(), Err("no channel delivers"));
        metrics.set_channel("hook", ChannelStatus::default());
        assert_eq!(heartbeat.all_is_well(), Ok(()));

        metrics.results_pending.set(PENDING_LIMIT + 1);
        assert_eq!(heartbeat.all_is_well(), Err("results are not being stored"));
        metrics.results_pending.set(0);
        metrics.database.begin(Away { since: start, why: "the disk is full".to_owned() });
        assert_eq!(heartbeat.all_is_well(), Err("results are not being stored"));
        metrics.database.end(start);
        metrics.schedule_lag_us.set(LAG_LIMIT_US + 1);
        assert_eq!(heartbeat.all_is_well(), Err("checks are late"));
        metrics.schedule_lag_us.set(0);
        clock.advance(LOOP_LIMIT + Duration::from_secs(1));
        assert_eq!(heartbeat.all_is_well(), Err("the scheduler stands still"));
    }
}
