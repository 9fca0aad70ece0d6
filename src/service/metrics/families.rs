//! The metrics as Prometheus has them: families with a name, a help, a type, and a sample for each set of labels.
//!
//! All of it is read from memory: a scrape asks no database, and works while it is away.

use prometheus::Histogram;
use prometheus::core::Metric as _;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::{endpoints, gatus};
use crate::domain::Timestamp;
use crate::domain::connectivity::{Moment, Network};
use crate::domain::outcome::MissedReason;
use crate::service::context::ServiceContext;
use crate::service::health::HEARTBEAT_LIMIT;
use crate::service::summary::{Summary, summary};
use crate::telemetry::metrics::Metrics;

/// A family being filled.
pub(super) struct Family(MetricFamily);

impl Family {
    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self(family)
    }

    pub(super) fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    pub(super) fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    fn histogram(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::HISTOGRAM)
    }

    /// Adds a sample; of its labels those are given first that are shared by many.
    pub(super) fn add(&mut self, shared: &[(&'static str, String)], own: &[(&'static str, &str)], value: f64) {
        let shared = shared.iter().map(|(name, value)| pair(name, value.clone()));
        let own = own.iter().map(|(name, value)| pair(name, (*value).to_owned()));
        let mut metric = Metric::from_label(shared.chain(own).collect());
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.mut_metric().push(metric);
    }

    fn one(mut self, value: f64) -> Self {
        self.add(&[], &[], value);
        self
    }

    /// Nothing is said of what is not known.
    fn known(self, value: Option<f64>) -> Self {
        match value {
            Some(value) => self.one(value),
            None => self,
        }
    }

    fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        self.add(&[], labels, value);
        self
    }

    fn with_histogram(mut self, labels: &[(&'static str, &str)], histogram: &Histogram) -> Self {
        let mut metric = histogram.metric();
        metric.set_label(labels.iter().map(|(name, value)| pair(name, (*value).to_owned())).collect());
        self.0.mut_metric().push(metric);
        self
    }
}

fn pair(name: &str, value: String) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value);
    pair
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]
pub(super) fn number(n: u64) -> f64 {
    n as f64
}

pub(super) fn seconds(at: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of this era are below 2^52")]
    let micros = at.timestamp_micros() as f64;
    micros / 1_000_000.0
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn up_and_down(gauge: i64) -> f64 {
    number(u64::try_from(gauge).unwrap_or_default())
}

/// Every family that has a sample, in an order that stays.
pub fn families(ctx: &ServiceContext) -> Vec<MetricFamily> {
    let mut all = Vec::with_capacity(64);
    all.extend(process(&ctx.metrics));
    all.extend(monitor(ctx));
    all.extend(checks(&ctx.metrics));
    all.extend(network(ctx));
    all.extend(recorder(ctx));
    all.extend(statements(&ctx.metrics));
    all.extend(deliveries(&ctx.metrics));
    all.extend(api(&ctx.metrics));
    let prometheus = &ctx.config.prometheus;
    if prometheus.endpoint_metrics || prometheus.gatus_names {
        let most = prometheus.max_endpoints as usize;
        let entries = ctx.board.entries();
        let (shown, left_out) = entries.split_at(entries.len().min(most));
        if !left_out.is_empty() && ctx.metrics.endpoints_left_out_told.get() == 0 {
            ctx.metrics.endpoints_left_out_told.add(1);
            tracing::warn!(
                shown = shown.len(),
                left_out = left_out.len(),
                "there are more endpoints than have metrics of their own: raise prometheus.max_endpoints to see them"
            );
        }
        all.push(
            Family::gauge(
                "api_monitor_endpoints_without_metrics",
                "Endpoints without metrics of their own because prometheus.max_endpoints is reached",
            )
            .one(number(left_out.len() as u64)),
        );
        if prometheus.endpoint_metrics {
            all.extend(endpoints::families(shown));
        }
        if prometheus.gatus_names {
            all.extend(gatus::families(shown, ctx.clock.now()));
        }
    }
    all.into_iter().map(|family| family.0).filter(|family| !family.get_metric().is_empty()).collect()
}

/// Under the names that are the same for every process.
fn process(metrics: &Metrics) -> [Family; 9] {
    let sample = metrics.process.get();
    let of = |n: Option<u64>| n.map(number);
    [
        Family::counter("process_cpu_seconds_total", "Processor time of the process").known(sample.cpu_seconds),
        Family::gauge("process_resident_memory_bytes", "Memory of the process in RAM").known(of(sample.resident_bytes)),
        Family::gauge("process_virtual_memory_bytes", "Address space of the process").known(of(sample.virtual_bytes)),
        Family::gauge("process_open_fds", "Files and connections that the process has open")
            .known(of(sample.open_files)),
        Family::gauge("process_max_fds", "Files and connections that the process may have open")
            .known(of(sample.open_files_limit)),
        Family::gauge("process_start_time_seconds", "When the process began, since the Unix epoch")
            .known(of(sample.started_at)),
        Family::gauge("api_monitor_cpu_usage_ratio", "Processor time of the last second, of all that may be used")
            .known(sample.process_cpu),
        Family::gauge("api_monitor_machine_cpu_usage_ratio", "Time in which the machine's processors were not idle")
            .known(sample.machine_cpu),
        Family::gauge(
            "api_monitor_memory_limit_bytes",
            "Memory that the process may have: the limit of its control group, else all of the machine",
        )
        .known(of(sample.memory_limit_bytes)),
    ]
}

fn monitor(ctx: &ServiceContext) -> Vec<Family> {
    let Summary { healthy, unhealthy, degraded, pending, unknown, maintenance, inactive, open_incidents, .. } =
        summary(&ctx.board);
    let mut by_status = Family::gauge("api_monitor_endpoints", "Endpoints by their status");
    for (status, n) in [
        ("up", healthy.saturating_sub(degraded)),
        ("degraded", degraded),
        ("down", unhealthy),
        ("pending", pending),
        ("unknown", unknown),
        ("maintenance", maintenance),
        ("paused", inactive),
    ] {
        by_status.add(&[], &[("status", status)], number(n));
    }
    let now = ctx.clock.monotonic();
    let alive = |heartbeat: &crate::telemetry::metrics::Heartbeat| flag(heartbeat.is_alive(now, HEARTBEAT_LIMIT));
    vec![
        Family::gauge("api_monitor_build_info", "Always 1; the version is in the label")
            .with(&[("version", env!("CARGO_PKG_VERSION"))], 1.0),
        Family::gauge("api_monitor_part_running", "Whether a part that must never stand still has gone round lately")
            .with(&[("part", "scheduler")], alive(&ctx.metrics.scheduler_heartbeat))
            .with(&[("part", "recorder")], alive(&ctx.metrics.recorder_heartbeat)),
        by_status,
        Family::gauge("api_monitor_open_incidents", "Endpoints with an incident that is not resolved")
            .one(number(open_incidents)),
    ]
}

fn checks(metrics: &Metrics) -> Vec<Family> {
    let mut durations = Family::histogram(
        "api_monitor_check_duration_seconds",
        "Time of the last attempt of each check, by kind and outcome",
    );
    for (kind, outcome, histogram) in metrics.check_durations.all() {
        let labels = [("kind", kind.as_str()), ("outcome", outcome.as_str())];
        durations = durations.with_histogram(&labels, histogram);
    }
    let mut missed = Family::counter("api_monitor_missed_slots_total", "Slots without a verdict, by reason");
    for reason in MissedReason::ALL {
        missed.add(&[], &[("reason", reason.as_str())], number(metrics.missed.get(*reason)));
    }
    let any = metrics.checks_started.get() > 0;
    vec![
        Family::counter("api_monitor_checks_started_total", "Checks begun").one(number(metrics.checks_started.get())),
        Family::gauge("api_monitor_checks_in_flight", "Checks under way, those that wait for their turn included")
            .one(up_and_down(metrics.checks_in_flight.get())),
        durations,
        Family::histogram("api_monitor_schedule_lag_seconds", "How late due checks were begun")
            .with_histogram(&[], &metrics.schedule_lags.0),
        Family::gauge("api_monitor_schedule_lag_last_seconds", "How late the last due check was begun")
            .known(any.then(|| up_and_down(metrics.schedule_lag_us.get()) / 1_000_000.0)),
        missed,
    ]
}

/// Nothing without targets of `connectivity`.
fn network(ctx: &ServiceContext) -> [Family; 2] {
    let view = ctx.own_network.view(Moment { at: ctx.clock.now(), running: ctx.clock.monotonic() });
    let mut states = Family::gauge(
        "api_monitor_own_network",
        "1 at what the connectivity targets say of our own network: reachable, blind, exhausted or ignored",
    );
    if let Some(view) = &view {
        for state in Network::ALL {
            states.add(&[], &[("state", state.as_str())], flag(*state == view.network));
        }
    }
    let suppressed = Family::counter(
        "api_monitor_own_network_suppressed_total",
        "Checks that failed and were not counted, because our own network was in doubt",
    );
    [states, suppressed.known(view.map(|view| number(view.suppressed)))]
}

fn recorder(ctx: &ServiceContext) -> Vec<Family> {
    let metrics = &ctx.metrics;
    let results = Family::counter(
        "api_monitor_results_total",
        "Results that were written, repeated a slot, were lost because too many waited, or are refused by the database",
    );
    let bytes = u64::try_from(metrics.database_bytes.get()).ok().filter(|bytes| *bytes > 0);
    vec![
        results
            .with(&[("result", "recorded")], number(metrics.results_recorded.get()))
            .with(&[("result", "repeated")], number(metrics.results_repeated.get()))
            .with(&[("result", "dropped")], number(metrics.results_dropped.get()))
            .with(&[("result", "refused")], number(metrics.results_refused.get())),
        Family::gauge("api_monitor_results_pending", "Results that wait to be written")
            .one(up_and_down(metrics.results_pending.get())),
        Family::histogram("api_monitor_commit_duration_seconds", "How long the writing of a batch of results took")
            .with_histogram(&[], &metrics.commits.0),
        Family::counter("api_monitor_commits_failed_total", "Writes of results that failed")
            .one(number(metrics.commits_failed.get())),
        Family::gauge("api_monitor_database_up", "1 while the database takes what is written")
            .one(flag(metrics.database.away().is_none())),
        Family::counter("api_monitor_database_away_seconds_total", "Time in which the database took nothing")
            .one(metrics.database.away_seconds(ctx.clock.now())),
        Family::gauge("api_monitor_database_size_bytes", "What the database takes on the disk, looked at each minute")
            .known(bytes.map(number)),
    ]
}

fn statements(metrics: &Metrics) -> [Family; 4] {
    let totals = metrics.queries.totals();
    [
        Family::counter("api_monitor_database_statements_total", "Statements that the database was asked")
            .one(number(totals.executed)),
        Family::counter("api_monitor_database_statements_failed_total", "Statements that failed")
            .one(number(totals.failed)),
        Family::counter("api_monitor_database_statements_slow_total", "Statements that took at least 0.1 s")
            .one(number(totals.slow)),
        Family::counter("api_monitor_database_statement_seconds_total", "Time that statements took")
            .one(totals.time.as_secs_f64()),
    ]
}

fn deliveries(metrics: &Metrics) -> [Family; 5] {
    let mut results = Family::counter(
        "api_monitor_deliveries_total",
        "Attempts to deliver a message: it arrived, it is tried again, or it was given up",
    );
    let mut durations =
        Family::histogram("api_monitor_delivery_duration_seconds", "Time of an attempt to deliver a message");
    let mut grouped =
        Family::counter("api_monitor_deliveries_grouped_total", "Messages that digests told in their place");
    let mut digests = Family::counter("api_monitor_digests_total", "Digests made of messages");
    let mut failing = Family::gauge("api_monitor_channel_failing", "1 while the last attempts of a channel failed");
    let statuses = metrics.channels();
    for (channel, of) in metrics.deliveries.all() {
        for (result, n) in [("delivered", &of.delivered), ("failed", &of.failed), ("dead", &of.dead)] {
            results.add(&[], &[("channel", &channel), ("result", result)], number(n.get()));
        }
        grouped.add(&[], &[("channel", &channel)], number(of.grouped.get()));
        digests.add(&[], &[("channel", &channel)], number(of.digests.get()));
        durations = durations.with_histogram(&[("channel", &channel)], &of.durations);
        let is_failing = statuses.get(&channel).is_some_and(|status| status.failing_since.is_some());
        failing.add(&[], &[("channel", &channel)], flag(is_failing));
    }
    [results, grouped, digests, durations, failing]
}

fn api(metrics: &Metrics) -> Vec<Family> {
    let mut requests = Family::counter("api_monitor_http_requests_total", "Requests answered, by route and status");
    let mut durations = Family::histogram(
        "api_monitor_http_request_duration_seconds",
        "Time from the head of a request to the head of its answer, by route",
    );
    for ((route, method), of) in metrics.requests.all() {
        for (class, n) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(&of.by_class) {
            if n.get() > 0 {
                let labels = [("method", method), ("route", route.as_str()), ("status", class)];
                requests.add(&[], &labels, number(n.get()));
            }
        }
        durations = durations.with_histogram(&[("method", method), ("route", &route)], &of.durations);
    }
    let counter = |name, help, n: &crate::telemetry::metrics::Counter| Family::counter(name, help).one(number(n.get()));
    vec![
        requests,
        durations,
        counter("api_monitor_http_requests_limited_total", "Requests answered with 429", &metrics.requests_limited),
        Family::gauge("api_monitor_connections_open", "Connections to the API that are open")
            .one(up_and_down(metrics.connections_open.get())),
        Family::gauge("api_monitor_connections_max", "Connections to the API that there may be at once")
            .known(Some(metrics.connections_limit.get()).filter(|most| *most > 0).map(up_and_down)),
        counter("api_monitor_connections_accepted_total", "Connections accepted", &metrics.connections_accepted),
        counter(
            "api_monitor_connections_refused_total",
            "Connections closed at once because there were too many",
            &metrics.connections_refused,
        ),
        counter(
            "api_monitor_connections_evicted_total",
            "Idle connections closed to make room",
            &metrics.connections_evicted,
        ),
        counter(
            "api_monitor_connections_cut_total",
            "Connections cut because their clients took too long",
            &metrics.connections_cut,
        ),
        counter("api_monitor_tls_handshakes_failed_total", "TLS handshakes that failed", &metrics.handshakes_failed),
        Family::gauge(
            "api_monitor_tls_certificate_expiry_timestamp_seconds",
            "When the certificate of the API expires",
        )
        .known(metrics.tls().map(|tls| seconds(tls.not_after))),
    ]
}
