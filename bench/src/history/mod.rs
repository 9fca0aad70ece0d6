//! `history`: how fast the reads are over a long history, and how fast a monitor starts on it.

mod generate;

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::Common;
use crate::api::Api;
use crate::arrivals::quantile;
use crate::monitor::{Monitor, Place};
use crate::process::Memory;
use crate::session::Session;
use crate::show;
use crate::target::Target;

/// Requests of each kind, after a few that do not count.
const REQUESTS: u32 = 200;
const UNCOUNTED: u32 = 5;

/// How long every endpoint may take to be checked once, beyond an interval.
const FIRST_CHECKS: Duration = Duration::from_secs(120);

/// How long the work that a start leaves for later (days to close, rows to remove) is given before the reads.
const SETTLING: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// How far the history reaches back
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
    /// Seconds between two checks of an endpoint
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    interval: u64,
    #[arg(long, default_value_t = 10)]
    endpoints: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
struct Latency {
    path: String,
    p50_ms: f64,
    p99_ms: f64,
    bytes: usize,
}

#[derive(Debug, Serialize)]
struct Report {
    days: u32,
    interval: u64,
    endpoints: usize,
    checks: u64,
    /// Of the closed database as it was generated.
    database_bytes: u64,
    database_per_check: f64,
    until_live_ms: f64,
    until_all_checked_s: f64,
    memory: Memory,
    reads: Vec<Latency>,
}

impl History {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let session = Session::begin()?;
        let mut target = Target::start(self.endpoints, self.interval)?;
        let urls = target.urls(self.endpoints);
        let place = Place::prepare(self.common.dir.as_deref(), &urls, self.interval)?;

        session.say(&format!("generating {} days of {} endpoints", self.days, self.endpoints));
        let checks = generate::history(&session, &place, self.days, self.interval)?;
        let database_bytes = place.database_bytes()?;

        session.say("product starts on it");
        let mut monitor = Monitor::start(&session, &self.common.binary, &place)?;
        let limit = FIRST_CHECKS + Duration::from_secs(self.interval);
        session.until("every endpoint is checked once", limit, Duration::from_millis(50), || {
            monitor.process.ensure_running()?;
            Ok((target.seen()?.endpoints == self.endpoints).then_some(()))
        })?;
        let until_all_checked_s = monitor.started.elapsed().as_secs_f64();
        session.wait(SETTLING)?;

        let ids = monitor.ids(self.endpoints)?;
        let of_one = ids.get(ids.len() / 2).context("there is no endpoint")?;
        let mut reads = Vec::new();
        for path in [
            "/health/live".to_owned(),
            format!("/api/v1/stats/uptime/{of_one}?period=24h"),
            format!("/api/v1/stats/uptime/{of_one}?period=7d"),
            format!("/api/v1/stats/uptime/{of_one}?period=30d"),
            format!("/api/v1/stats/history/{of_one}?limit=100"),
            "/api/v1/endpoints".to_owned(),
            "/api/v1/stats/summary".to_owned(),
        ] {
            session.say(&path);
            reads.push(latency(&session, &monitor.api, path)?);
        }
        let (until_live_ms, memory) = (monitor.until_live.as_secs_f64() * 1e3, monitor.process.memory()?);
        monitor.stop()?;
        session.end();
        #[expect(clippy::cast_precision_loss, reason = "bytes and checks far below 2^52")]
        let database_per_check = database_bytes as f64 / checks.max(1) as f64;
        print(&Report {
            days: self.days,
            interval: self.interval,
            endpoints: self.endpoints,
            checks,
            database_bytes,
            database_per_check,
            until_live_ms,
            until_all_checked_s,
            memory,
            reads,
        })
    }
}

fn latency(session: &Session, api: &Api, path: String) -> anyhow::Result<Latency> {
    let mut bytes = 0;
    let mut micros = Vec::with_capacity(REQUESTS as usize);
    for request in 0..UNCOUNTED + REQUESTS {
        session.progress(request.into(), (UNCOUNTED + REQUESTS).into())?;
        let (took, body) = api.timed(&path)?;
        if request >= UNCOUNTED {
            micros.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            bytes = body.len();
        }
    }
    micros.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
    let ms = |q| quantile(&micros, q) as f64 / 1e3;
    Ok(Latency { p50_ms: ms(0.5), p99_ms: ms(0.99), path, bytes })
}

fn print(report: &Report) -> anyhow::Result<()> {
    show::line(&format!(
        "\n{} checks of {} endpoints, every {} s for {} days: {} MiB, {} B a check",
        report.checks,
        report.endpoints,
        report.interval,
        report.days,
        show::figure(show::mib(report.database_bytes)),
        show::figure(report.database_per_check)
    ))?;
    show::line(&format!(
        "start until live {} ms, until all checked {} s; resident {} MiB, at most {} MiB\n",
        show::figure(report.until_live_ms),
        show::figure(report.until_all_checked_s),
        show::figure(show::mib(report.memory.rss_kib * 1_024)),
        show::figure(show::mib(report.memory.peak_kib * 1_024))
    ))?;
    show::line(&format!("{:<44}{:>10}{:>10}{:>10}", "", "p50, ms", "p99, ms", "bytes"))?;
    for Latency { path, p50_ms, p99_ms, bytes } in &report.reads {
        show::line(&format!("{path:<44}{:>10}{:>10}{bytes:>10}", show::figure(*p50_ms), show::figure(*p99_ms)))?;
    }
    show::json("history", report)
}
