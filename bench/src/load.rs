//! `load`: the product and the floor make the same checks, one after the other, each against a fresh target.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::Common;
use crate::arrivals::Punctuality;
use crate::floor;
use crate::monitor::{Monitor, Place};
use crate::process::{Guarded, Memory, Usage};
use crate::session::Session;
use crate::show::{self, Row};
use crate::target::Target;

/// How long a monitor with one endpoint runs before it counts as at rest.
const REST: Duration = Duration::from_secs(10);

/// How long every endpoint may take to be checked once, beyond an interval.
const FIRST_CHECKS: Duration = Duration::from_secs(120);

/// Results are committed at most this long after their check, with room.
const COMMITTED: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// Numbers of endpoints
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    endpoints: Vec<usize>,
    /// Seconds between two checks of an endpoint
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// Seconds of each measurement; at least four intervals say something
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How often each number is measured; the table shows medians
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    common: Common,
}

/// One subject over one window.
#[derive(Debug, Serialize)]
struct Measured {
    /// Microseconds of CPU a check.
    cpu_us: f64,
    /// The user's and the system's part of it, from `/proc/<pid>/stat`.
    user_us: f64,
    system_us: f64,
    /// Of one core.
    cpu_percent: f64,
    memory: Memory,
    /// Bytes written to the disk a check.
    written: f64,
    punctuality: Punctuality,
}

/// What only the product has.
#[derive(Debug, Serialize)]
struct Kept {
    until_live_ms: f64,
    until_all_checked_s: f64,
    /// Recorded since the start, by the API.
    recorded: u64,
    missed: u64,
    /// Endpoints of which the API and the target do not tell the same number.
    disagreeing: usize,
    /// Bytes of the closed database, schema and endpoints included, over its checks.
    database_per_check: f64,
}

#[derive(Debug, Serialize)]
struct Run {
    endpoints: usize,
    floor: Measured,
    product: Measured,
    kept: Kept,
}

#[derive(Debug, Serialize)]
struct Report {
    interval: u64,
    seconds: u64,
    binary_bytes: u64,
    stripped_bytes: Option<u64>,
    rest: Memory,
    runs: Vec<Run>,
}

impl Load {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let session = Session::begin()?;
        let (binary_bytes, stripped_bytes) = sizes(&self.common.binary)?;
        let rest = self.at_rest(&session)?;
        let mut runs = Vec::new();
        for endpoints in &self.endpoints {
            for _ in 0..self.runs {
                let floor = self.floor(&session, *endpoints)?;
                let (product, kept) = self.product(&session, *endpoints)?;
                runs.push(Run { endpoints: *endpoints, floor, product, kept });
            }
        }
        session.end();
        let report =
            Report { interval: self.interval, seconds: self.seconds, binary_bytes, stripped_bytes, rest, runs };
        print(&report, &self.endpoints)
    }

    fn at_rest(&self, session: &Session) -> anyhow::Result<Memory> {
        session.say("product with 1 endpoint: at rest");
        let target = Target::start(1, self.interval)?;
        let place = Place::prepare(self.common.dir.as_deref(), &target.urls(1), self.interval)?;
        let monitor = Monitor::start(session, &self.common.binary, &place)?;
        session.wait(REST)?;
        let memory = monitor.process.memory()?;
        monitor.stop()?;
        Ok(memory)
    }

    fn floor(&self, session: &Session, endpoints: usize) -> anyhow::Result<Measured> {
        let mut target = Target::start(endpoints, self.interval)?;
        session.say(&format!("floor with {endpoints} endpoints: first checks"));
        let mut process = floor::start(endpoints, self.interval, &target.addresses)?;
        self.until_all_checked(session, &mut target, &mut process, endpoints)?;
        self.measure(session, &format!("floor with {endpoints} endpoints"), &mut target, &mut process)
    }

    fn product(&self, session: &Session, endpoints: usize) -> anyhow::Result<(Measured, Kept)> {
        let mut target = Target::start(endpoints, self.interval)?;
        let place = Place::prepare(self.common.dir.as_deref(), &target.urls(endpoints), self.interval)?;
        session.say(&format!("product with {endpoints} endpoints: first checks"));
        let mut monitor = Monitor::start(session, &self.common.binary, &place)?;
        self.until_all_checked(session, &mut target, &mut monitor.process, endpoints)?;
        let until_all_checked_s = monitor.started.elapsed().as_secs_f64();
        let what = format!("product with {endpoints} endpoints");
        let measured = self.measure(session, &what, &mut target, &mut monitor.process)?;

        session.say(&format!("{what}: counting"));
        let counted = Counted::ask(session, &mut target, &monitor, endpoints)?;
        let until_live_ms = monitor.until_live.as_secs_f64() * 1e3;
        monitor.stop()?;
        let in_database: u64 = target.seen()?.hits.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "bytes and checks far below 2^52")]
        let database_per_check = place.database_bytes()? as f64 / in_database.max(1) as f64;
        let Counted { recorded, missed, disagreeing } = counted;
        let kept = Kept { until_live_ms, until_all_checked_s, recorded, missed, disagreeing, database_per_check };
        Ok((measured, kept))
    }

    fn until_all_checked(
        &self,
        session: &Session,
        target: &mut Target,
        process: &mut Guarded,
        endpoints: usize,
    ) -> anyhow::Result<()> {
        let limit = FIRST_CHECKS + Duration::from_secs(self.interval);
        session.until("every endpoint is checked once", limit, Duration::from_millis(50), || {
            process.ensure_running()?;
            Ok((target.seen()?.endpoints == endpoints).then_some(()))
        })
    }

    /// Settles for an interval, then measures.
    fn measure(
        &self,
        session: &Session,
        what: &str,
        target: &mut Target,
        process: &mut Guarded,
    ) -> anyhow::Result<Measured> {
        session.say(&format!("{what}: settling"));
        session.wait(Duration::from_secs(self.interval))?;
        session.say(&format!("{what}: measuring"));
        target.begin()?;
        let before = process.usage()?;
        session.wait(Duration::from_secs(self.seconds))?;
        process.ensure_running()?;
        let after = process.usage()?;
        let punctuality = target.end()?;
        Ok(Measured::over(before, after, process.memory()?, punctuality))
    }
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "counts and bytes far below 2^52")]
    fn over(before: Usage, after: Usage, memory: Memory, punctuality: Punctuality) -> Self {
        let checks = punctuality.hits.max(1) as f64;
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        let ticks = |now: u64, then: u64| now.saturating_sub(then) as f64 * 10_000.0 / checks;
        Self {
            cpu_us: cpu * 1e6 / checks,
            user_us: ticks(after.user, before.user),
            system_us: ticks(after.system, before.system),
            cpu_percent: cpu * 100.0 / punctuality.seconds,
            memory,
            written: after.written.saturating_sub(before.written) as f64 / checks,
            punctuality,
        }
    }
}

/// What the monitor counted by its own account, beside the target's.
struct Counted {
    recorded: u64,
    missed: u64,
    disagreeing: usize,
}

impl Counted {
    /// Checks go on meanwhile: a count agrees when it lies between what the target saw before and after.
    fn ask(session: &Session, target: &mut Target, monitor: &Monitor, endpoints: usize) -> anyhow::Result<Self> {
        let ids = monitor.ids(endpoints)?;
        let before = target.seen()?.hits;
        std::thread::sleep(COMMITTED);
        let (mut recorded, mut missed, mut counts) = (0, 0, Vec::with_capacity(endpoints));
        for (done, id) in ids.iter().enumerate() {
            session.progress(done as u64, endpoints as u64)?;
            let stats = monitor.api.json(&format!("/api/v1/stats/uptime/{id}?from=2000-01-01"))?;
            let number = |key: &str| stats[key].as_u64().with_context(|| format!("the uptime has no {key}"));
            counts.push(number("total_checks")?);
            recorded += number("total_checks")?;
            missed += number("missed_checks")?;
        }
        let after = target.seen()?.hits;
        let agrees = |(count, (before, after)): &(&u64, (&u64, &u64))| before <= count && count <= after;
        let agreeing = counts.iter().zip(before.iter().zip(&after)).filter(agrees).count();
        Ok(Self { recorded, missed, disagreeing: endpoints - agreeing })
    }
}

/// Bytes of the binary as built, and without its symbols where `strip` is there.
fn sizes(binary: &Path) -> anyhow::Result<(u64, Option<u64>)> {
    let built = std::fs::metadata(binary).with_context(|| format!("{}: build it first", binary.display()))?.len();
    let folder = tempfile::tempdir()?;
    let stripped: PathBuf = folder.path().join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(binary).stderr(Stdio::null()).status();
    let bytes = match strip {
        Ok(status) if status.success() => Some(std::fs::metadata(&stripped)?.len()),
        _ => None,
    };
    Ok((built, bytes))
}

fn print(report: &Report, numbers: &[usize]) -> anyhow::Result<()> {
    for endpoints in numbers {
        let runs: Vec<_> = report.runs.iter().filter(|run| run.endpoints == *endpoints).collect();
        let title = format!(
            "{endpoints} endpoints every {} s, {} s, median of {}",
            report.interval,
            report.seconds,
            runs.len()
        );
        let both = |what, of: fn(&Measured) -> f64| {
            let pairs: Vec<_> = runs.iter().map(|run| (of(&run.floor), of(&run.product))).collect();
            Row::compared(what, &pairs)
        };
        let own =
            |what, of: fn(&Kept) -> f64| Row::alone(what, &runs.iter().map(|run| of(&run.kept)).collect::<Vec<_>>());
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let rows = [
            both("CPU a check, µs", |m| m.cpu_us),
            both("  user, µs", |m| m.user_us),
            both("  system, µs", |m| m.system_us),
            both("CPU, % of a core", |m| m.cpu_percent),
            both("resident, MiB", |m| m.memory.rss_kib as f64 / 1_024.0),
            both("resident at most, MiB", |m| m.memory.peak_kib as f64 / 1_024.0),
            both("written a check, B", |m| m.written),
            both("checks arrived", |m| m.punctuality.hits as f64),
            both("slots without one", |m| m.punctuality.missed as f64),
            both("gap deviation p50, ms", |m| m.punctuality.deviation_p50_ms),
            both("gap deviation p99, ms", |m| m.punctuality.deviation_p99_ms),
            both("busiest 100 ms / mean", |m| m.punctuality.burst),
            both("connections", |m| m.punctuality.connections as f64),
            own("recorded, by the API", |k| k.recorded as f64),
            own("missed, by the API", |k| k.missed as f64),
            own("endpoints counted otherwise", |k| k.disagreeing as f64),
            own("database a check, B", |k| k.database_per_check),
            own("start until live, ms", |k| k.until_live_ms),
            own("start until all checked, s", |k| k.until_all_checked_s),
        ];
        show::table(&title, &rows)?;
    }
    let mib = |bytes: u64| show::figure(show::mib(bytes));
    show::line(&format!(
        "\nat rest with 1 endpoint: {} MiB; binary {} MiB, stripped {}",
        mib(report.rest.rss_kib * 1_024),
        mib(report.binary_bytes),
        report.stripped_bytes.map_or("unknown: no `strip` here".to_owned(), |bytes| format!("{} MiB", mib(bytes)))
    ))?;
    show::json("load", report)
}
