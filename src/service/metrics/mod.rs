//! The monitor's own metrics by name: one table, from which lists, single values and threshold rules are made.
//!
//! Everything is read from memory, so it works while the database is away. What cannot be had at a moment is null,
//! with the reason.

mod endpoints;
mod families;
mod gatus;
mod text;

use std::cell::OnceCell;

pub use self::families::families;
pub use self::text::{Form, text};
use super::channels;
use super::context::ServiceContext;
use super::summary::{Summary, summary};
use crate::domain::outcome::{MissedReason, words};
use crate::domain::suggest::closest;
use crate::telemetry::process::Sample;

words! {
    /// What a number counts.
    pub enum Unit {
        /// 0 to 100.
        Percent = "percent",
        Bytes = "bytes",
        Seconds = "seconds",
        /// Whole things.
        Count = "count",
        PerSecond = "per_second",
    }
}

/// A metric as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricValue {
    pub name: &'static str,
    pub unit: Unit,
    /// One sentence.
    pub help: &'static str,
    /// In `unit`. `None`: it cannot be had at this moment, for the `reason`.
    pub numeric_value: Option<f64>,
    /// For people: `10%`, `64MB`, `0.4ms`, `25`.
    pub value: Option<String>,
    /// Why there is no value.
    pub reason: Option<&'static str>,
    /// What 100 % of it is, in `unit`, where that makes sense and is known.
    pub whole: Option<f64>,
}

impl MetricValue {
    /// It as a percentage of its whole: of `memory_usage` that of the memory that the process may have.
    pub fn percent(&self) -> Option<f64> {
        let whole = self.whole.filter(|whole| *whole > 0.0)?;
        Some(self.numeric_value? / whole * 100.0)
    }

    /// Whether it is a plain number among others; else it is shown with its unit.
    pub fn is_plain(&self) -> bool {
        is_plain(self.name, self.unit)
    }
}

/// Numbers of things, and what says its unit in its name.
pub fn is_plain(name: &str, unit: Unit) -> bool {
    unit == Unit::Count || name.ends_with("_seconds") || name.ends_with("_per_second")
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub unit: Unit,
    /// One sentence.
    pub help: &'static str,
    read: fn(&Reading<'_>) -> Option<f64>,
    /// What 100 % is.
    whole: fn(&Reading<'_>) -> Option<f64>,
    /// Why [`read`](Self::read) gave nothing.
    without: &'static str,
}

/// What values are read from; each part is looked at once, and only if it is needed.
struct Reading<'c> {
    ctx: &'c ServiceContext,
    sample: OnceCell<Sample>,
    summary: OnceCell<Summary>,
}

impl Reading<'_> {
    fn sample(&self) -> &Sample {
        self.sample.get_or_init(|| self.ctx.metrics.process.get())
    }

    fn summary(&self) -> &Summary {
        self.summary.get_or_init(|| summary(&self.ctx.board))
    }
}

const NOT_SAMPLED: &str = "The system does not tell it, or it was not sampled yet";
const NEVER: &str = "";

const fn metric(
    name: &'static str,
    unit: Unit,
    help: &'static str,
    read: fn(&Reading<'_>) -> Option<f64>,
    without: &'static str,
) -> Metric {
    Metric { name, unit, help, read, whole: |_| None, without }
}

const fn count(name: &'static str, help: &'static str, read: fn(&Reading<'_>) -> Option<f64>) -> Metric {
    metric(name, Unit::Count, help, read, NEVER)
}

/// Every metric, in the order in which they are shown.
pub const METRICS: &[Metric] = &[
    Metric {
        whole: |_| Some(100.0),
        ..metric(
            "cpu_usage",
            Unit::Percent,
            "Processor time of this process in the last second, of all processors that it may use",
            |r| percent(r.sample().process_cpu),
            NOT_SAMPLED,
        )
    },
    Metric {
        whole: |_| Some(100.0),
        ..metric(
            "system_cpu_usage",
            Unit::Percent,
            "Time in which the processors of the machine were not idle in the last second",
            |r| percent(r.sample().machine_cpu),
            NOT_SAMPLED,
        )
    },
    Metric {
        whole: |r| bytes(r.sample().memory_limit_bytes),
        ..metric(
            "memory_usage",
            Unit::Bytes,
            "Memory of this process in RAM; in percent it is of `memory_limit`",
            |r| bytes(r.sample().resident_bytes),
            NOT_SAMPLED,
        )
    },
    metric(
        "memory_limit",
        Unit::Bytes,
        "Memory that this process may have: the limit of its control group, else all of the machine",
        |r| bytes(r.sample().memory_limit_bytes),
        NOT_SAMPLED,
    ),
    Metric {
        whole: |r| bytes(r.sample().open_files_limit),
        ..metric(
            "open_files",
            Unit::Count,
            "Files and connections that this process has open; in percent it is of what it may have",
            |r| bytes(r.sample().open_files),
            NOT_SAMPLED,
        )
    },
    metric("uptime_seconds", Unit::Seconds, "Time since the start", |r| Some(uptime(r.ctx)), NEVER),
    Metric {
        whole: |r| gauge(r.ctx.metrics.connections_limit.get()).filter(|most| *most > 0.0),
        ..count(
            "active_connections",
            "Connections to this API that are open; in percent it is of those that there may be",
            |r| gauge(r.ctx.metrics.connections_open.get()),
        )
    },
    count("total_connections", "Connections to this API since the start", |r| {
        whole(r.ctx.metrics.connections_accepted.get())
    }),
    count("refused_connections", "Connections closed at once because there were too many, since the start", |r| {
        whole(r.ctx.metrics.connections_refused.get())
    }),
    count("total_checks", "Checks begun since the start", |r| whole(r.ctx.metrics.checks_started.get())),
    metric(
        "checks_per_second",
        Unit::PerSecond,
        "Checks begun in a second, the mean of the last ten seconds",
        |r| r.sample().checks_per_second,
        NOT_SAMPLED,
    ),
    count("total_queries_executed", "Statements that the database was asked since the start", |r| {
        whole(r.ctx.metrics.queries.totals().executed)
    }),
    metric(
        "query_response_time_avg",
        Unit::Seconds,
        "Mean time that the database took for a statement, since the start",
        |r| r.ctx.metrics.queries.totals().average().map(|average| average.as_secs_f64()),
        "The database was asked nothing yet",
    ),
    count("checks_in_flight", "Checks under way, those that wait for their turn included", |r| {
        gauge(r.ctx.metrics.checks_in_flight.get())
    }),
    metric(
        "schedule_lag",
        Unit::Seconds,
        "How late the last due check was begun",
        |r| seconds_once(r.ctx.metrics.schedule_lag_us.get(), r.ctx.metrics.checks_started.get()),
        "No check was due yet",
    ),
    count("missed_total", "Slots without a verdict since the start", |r| whole(r.ctx.metrics.missed.total())),
    count("missed_overrun", "Of those: the check before was still being made", |r| missed(r, MissedReason::Overrun)),
    count("missed_overload", "Of those: the check before still waited for its turn", |r| {
        missed(r, MissedReason::Overload)
    }),
    count("missed_stopped", "Of those: the monitor was not running", |r| missed(r, MissedReason::Stopped)),
    count("missed_suspended", "Of those: the machine slept, or its clock jumped", |r| {
        missed(r, MissedReason::Suspended)
    }),
    count("missed_shutdown", "Of those: the check was cut by a stop", |r| missed(r, MissedReason::Shutdown)),
    count("missed_own_network", "Of those: our own network was in doubt", |r| missed(r, MissedReason::OwnNetwork)),
    count("results_recorded", "Results written since the start", |r| whole(r.ctx.metrics.results_recorded.get())),
    count("results_pending", "Results that wait to be written", |r| gauge(r.ctx.metrics.results_pending.get())),
    count("results_dropped", "Results lost since the start because too many waited", |r| {
        whole(r.ctx.metrics.results_dropped.get())
    }),
    count("results_refused", "Results that the database refuses, since the start", |r| {
        whole(r.ctx.metrics.results_refused.get())
    }),
    metric(
        "commit_time",
        Unit::Seconds,
        "How long the last write of results took",
        |r| seconds_once(r.ctx.metrics.commit_us.get(), r.ctx.metrics.results_recorded.get()),
        "Nothing was written yet",
    ),
    count("commits_failed", "Writes of results that failed, since the start", |r| {
        whole(r.ctx.metrics.commits_failed.get())
    }),
    metric(
        "database_away_seconds",
        Unit::Seconds,
        "Time in which the database took nothing, since the start",
        |r| Some(r.ctx.metrics.database.away_seconds(r.ctx.clock.now())),
        NEVER,
    ),
    metric(
        "database_size",
        Unit::Bytes,
        "What the database takes on the disk, looked at each minute",
        |r| bytes(u64::try_from(r.ctx.metrics.database_bytes.get()).ok().filter(|bytes| *bytes > 0)),
        "It was not looked at yet, or the database is away",
    ),
    count("deliveries_delivered", "Messages that arrived, since the start", |r| {
        whole(r.ctx.metrics.deliveries_delivered.get())
    }),
    count("deliveries_failed", "Attempts to deliver that failed, since the start", |r| {
        whole(r.ctx.metrics.deliveries_failed.get())
    }),
    count("deliveries_dead", "Messages given up, since the start", |r| whole(r.ctx.metrics.deliveries_dead.get())),
    count("deliveries_grouped", "Messages that digests told in their place, since the start", |r| {
        whole(r.ctx.metrics.deliveries_grouped.get())
    }),
    count("digests", "Digests made of messages, since the start", |r| whole(r.ctx.metrics.digests.get())),
    count("channels_failing", "Channels whose last attempts failed", |r| whole(channels::failing(r.ctx).len() as u64)),
    count("endpoints_total", "Endpoints known, active or not", |r| whole(r.summary().total)),
    count("endpoints_up", "Endpoints that are up and not degraded", |r| {
        whole(r.summary().healthy.saturating_sub(r.summary().degraded))
    }),
    count("endpoints_degraded", "Endpoints that are degraded", |r| whole(r.summary().degraded)),
    count("endpoints_down", "Endpoints that are down", |r| whole(r.summary().unhealthy)),
    count("endpoints_pending", "Endpoints without a verdict yet", |r| whole(r.summary().pending)),
    count("endpoints_maintenance", "Endpoints in maintenance", |r| whole(r.summary().maintenance)),
    count("endpoints_unknown", "Endpoints of which nothing can be said", |r| whole(r.summary().unknown)),
    count("endpoints_paused", "Endpoints that are not checked", |r| whole(r.summary().inactive)),
    count("open_incidents", "Endpoints with an incident that is not resolved", |r| whole(r.summary().open_incidents)),
];

/// Every metric as it is now.
pub fn all(ctx: &ServiceContext) -> Vec<MetricValue> {
    let reading = Reading { ctx, sample: OnceCell::new(), summary: OnceCell::new() };
    METRICS.iter().map(|metric| metric.value(&reading)).collect()
}

/// The metric of a name as it is now; `None` if there is none of that name.
pub fn get(ctx: &ServiceContext, name: &str) -> Option<MetricValue> {
    let reading = Reading { ctx, sample: OnceCell::new(), summary: OnceCell::new() };
    METRICS.iter().find(|metric| metric.name == name).map(|metric| metric.value(&reading))
}

/// The name that was most likely meant by one that is no metric's.
pub fn meant(name: &str) -> Option<&'static str> {
    closest(name, METRICS.iter().map(|metric| metric.name))
}

impl Metric {
    fn value(&self, reading: &Reading<'_>) -> MetricValue {
        let numeric_value = (self.read)(reading).filter(|number| number.is_finite());
        MetricValue {
            name: self.name,
            unit: self.unit,
            help: self.help,
            numeric_value,
            value: numeric_value.map(|number| shown(self.name, self.unit, number)),
            reason: numeric_value.is_none().then_some(self.without),
            whole: (self.whole)(reading),
        }
    }
}

fn percent(share: Option<f64>) -> Option<f64> {
    share.map(|share| share * 100.0)
}

fn bytes(bytes: Option<u64>) -> Option<f64> {
    bytes.and_then(whole)
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]
#[expect(clippy::unnecessary_wraps, reason = "as every line of the table gives it")]
fn whole(n: u64) -> Option<f64> {
    Some(n as f64)
}

fn gauge(n: i64) -> Option<f64> {
    whole(u64::try_from(n).unwrap_or_default())
}

fn missed(reading: &Reading<'_>, reason: MissedReason) -> Option<f64> {
    whole(reading.ctx.metrics.missed.get(reason))
}

/// Microseconds in seconds, once something has been measured.
fn seconds_once(micros: i64, measured: u64) -> Option<f64> {
    if measured == 0 { None } else { gauge(micros).map(|micros| micros / 1_000_000.0) }
}

fn uptime(ctx: &ServiceContext) -> f64 {
    ctx.clock.monotonic().saturating_sub(ctx.started).as_secs_f64().floor()
}

/// For people, without a space before the unit.
fn shown(name: &str, unit: Unit, number: f64) -> String {
    match unit {
        _ if is_plain(name, unit) => rounded(number),
        Unit::Percent => format!("{}%", rounded(number)),
        Unit::Bytes => {
            let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
            let (unit, size) = units.into_iter().find(|(_, size)| number >= *size).unwrap_or(("B", 1.0));
            format!("{}{unit}", rounded(number / size))
        }
        Unit::Seconds if number < 1.0 => format!("{}ms", rounded(number * 1000.0)),
        Unit::Seconds => format!("{}s", rounded(number)),
        Unit::Count | Unit::PerSecond => rounded(number),
    }
}

/// As many digits as say something: two after the point below ten, one below a hundred.
fn rounded(number: f64) -> String {
    let digits = match number.abs() {
        n if n < 10.0 => 2,
        n if n < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_for_people() {
        for (unit, number, expected) in [
            (Unit::Percent, 10.0, "10%"),
            (Unit::Percent, 0.416, "0.42%"),
            (Unit::Percent, 99.96, "100%"),
            (Unit::Bytes, 64_000_000.0, "64MB"),
            (Unit::Bytes, 1_540_000_000.0, "1.54GB"),
            (Unit::Bytes, 512.0, "512B"),
            (Unit::Seconds, 0.0004, "0.4ms"),
            (Unit::Seconds, 0.05, "50ms"),
            (Unit::Seconds, 12.34, "12.3s"),
            (Unit::Count, 25.0, "25"),
            (Unit::Count, 1_234_567.0, "1234567"),
            (Unit::PerSecond, 0.0, "0"),
        ] {
            assert_eq!(shown("x", unit, number), expected);
        }
        assert_eq!(shown("uptime_seconds", Unit::Seconds, 172_800.0), "172800");
    }

    #[test]
    fn each_name_is_there_once_and_what_is_near_is_meant() {
        let names: std::collections::HashSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        assert_eq!(
            (meant("cpu-usage"), meant("memory_usag"), meant("x")),
            (Some("cpu_usage"), Some("memory_usage"), None)
        );
    }

    #[test]
    fn a_percentage_is_of_the_whole() {
        let of = |numeric_value, whole| MetricValue {
            name: "memory_usage",
            unit: Unit::Bytes,
            help: "",
            numeric_value,
            value: None,
            reason: None,
            whole,
        };
        assert_eq!(of(Some(40.0), Some(50.0)).percent(), Some(80.0));
        assert_eq!((of(None, Some(50.0)).percent(), of(Some(1.0), None).percent()), (None, None));
        assert_eq!(of(Some(1.0), Some(0.0)).percent(), None);
    }
}
