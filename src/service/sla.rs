//! Availability against a target: how much downtime was allowed in a window, and how much of it is left.

use std::ops::Range;

use super::context::ServiceContext;
use super::error::{FieldError, ServiceError};
use super::export::form::{Cell, Format, Sheet};
use super::outages;
use super::reports::{self, Retention, WindowQuery};
use crate::board::Entry;
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::store::StoreError;

/// The most endpoints of one report.
const MOST_ENDPOINTS: usize = 1_000;

/// Which endpoints; all of those given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    pub endpoint: Option<EndpointId>,
    pub group: Option<String>,
    pub tag: Option<String>,
}

impl Selection {
    fn holds(&self, entry: &Entry) -> bool {
        let endpoint = &entry.known.endpoint;
        self.endpoint.is_none_or(|id| entry.known.id == id)
            && self.group.as_ref().is_none_or(|group| endpoint.group == *group)
            && self.tag.as_ref().is_none_or(|tag| endpoint.tags.contains(tag))
    }
}

/// The budget of one endpoint, or of all of a report.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Budget {
    /// The time in which it was watched, seconds.
    pub monitored: f64,
    /// Of it down, seconds.
    pub downtime: f64,
    /// The downtime that the target allows, seconds.
    pub allowed: f64,
}

impl Budget {
    fn new(monitored: f64, downtime: f64, target: f64) -> Self {
        Self { monitored, downtime, allowed: monitored * (100.0 - target) / 100.0 }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            monitored: self.monitored + other.monitored,
            downtime: self.downtime + other.downtime,
            allowed: self.allowed + other.allowed,
        }
    }

    /// Seconds of downtime that are left; below 0 when more was used than allowed.
    pub fn left(&self) -> f64 {
        self.allowed - self.downtime
    }

    /// The share of the budget that is used; `None` where nothing is allowed, or nothing was watched.
    pub fn used(&self) -> Option<f64> {
        (self.allowed > 0.0).then(|| self.downtime / self.allowed)
    }

    /// Whether the target is met; `None` where nothing was watched.
    pub fn is_met(&self) -> Option<bool> {
        (self.monitored > 0.0).then_some(self.downtime <= self.allowed)
    }

    /// Percent of the monitored time, four decimals, as targets have; 100 only without any downtime.
    pub fn availability(&self) -> Option<f64> {
        (self.monitored > 0.0).then(|| {
            let share = (1.0 - self.downtime / self.monitored).max(0.0);
            let rounded = (share * 1_000_000.0).round() / 10_000.0;
            if self.downtime > 0.0 { rounded.min(99.9999) } else { rounded }
        })
    }
}

/// One endpoint of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub id: EndpointId,
    pub name: String,
    pub group: String,
    pub budget: Budget,
    pub uptime_percentage: Option<f64>,
    /// Incidents that reach into the window.
    pub incidents: u64,
}

/// Availability against a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// In the order of their groups and names.
    pub lines: Vec<Line>,
    pub total: Budget,
}

/// Reports on every current endpoint of the selection. `target` is percent.
///
/// # Errors
/// `NotFound` when an endpoint is named that does not exist; `Invalid` when there are too many; `Store`.
pub async fn report(
    ctx: &ServiceContext,
    selection: &Selection,
    window: Range<Timestamp>,
    target: f64,
) -> Result<Report, ServiceError> {
    let mut entries: Vec<Entry> = ctx.board.entries().into_iter().filter(|entry| selection.holds(entry)).collect();
    if let (Some(id), true) = (selection.endpoint, entries.is_empty())
        && ctx.board.get(id).is_none()
    {
        return Err(ServiceError::NotFound(format!("endpoint {id}")));
    }
    if entries.len() > MOST_ENDPOINTS {
        let detail = format!("{} endpoints, and a report has at most {MOST_ENDPOINTS}: choose some", entries.len());
        return Err(ServiceError::Invalid(vec![FieldError::parameter("group", "out_of_range", detail)]));
    }
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| (entry.known.endpoint.group.clone(), entry.known.endpoint.name.clone());
        key(a).cmp(&key(b))
    });
    let lines = lines(ctx, &entries, window, target).await.map_err(ServiceError::Store)?;
    let total = lines.iter().fold(Budget::default(), |sum, line| sum.plus(line.budget));
    Ok(Report { lines, total })
}

/// In few statements for all of them, and from one state of the database.
async fn lines(
    ctx: &ServiceContext,
    entries: &[Entry],
    window: Range<Timestamp>,
    target: f64,
) -> Result<Vec<Line>, StoreError> {
    let now = ctx.clock.now();
    let query = WindowQuery { from: window.start, to: window.end, now, retention: Retention::of(&ctx.running) };
    let asked: Vec<_> = entries.iter().map(|entry| (entry.known.id, entry.live.open_hour.as_ref())).collect();
    let db = ctx.store.snapshot().await?;
    let (answered, buckets) = reports::counted_of_many(&db, &asked, query).await?;
    let known = outages::available_of_many(&db, now, &answered, &buckets).await?;
    let line = |entry: &Entry| {
        let (id, endpoint) = (entry.known.id, &entry.known.endpoint);
        let (bucket, known) = (buckets.get(&id)?, known.get(&id)?);
        let monitored = known.availability.monitored_seconds;
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a few centuries are below 2^53")]
        let downtime = known.availability.downtime.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6;
        Some(Line {
            id,
            name: endpoint.name.clone(),
            group: endpoint.group.clone(),
            budget: Budget::new(monitored, downtime.min(monitored), target),
            uptime_percentage: bucket.uptime_percentage(),
            incidents: known.incidents,
        })
    };
    // Each of them was counted.
    Ok(entries.iter().filter_map(line).collect())
}

/// The lines as a table.
///
/// # Errors
/// When it cannot be written, which memory does not refuse.
pub fn csv(report: &Report) -> std::io::Result<Vec<u8>> {
    const COLUMNS: &[&str] = &[
        "endpoint_id",
        "group",
        "name",
        "availability_percentage",
        "uptime_percentage",
        "monitored_seconds",
        "downtime_seconds",
        "budget_seconds",
        "budget_remaining_seconds",
        "incidents",
    ];
    let mut table = Vec::new();
    let mut sheet = Sheet::new(Format::Csv, COLUMNS, &mut table);
    sheet.begin()?;
    for line in &report.lines {
        let budget = line.budget;
        sheet.row(vec![
            Cell::Integer(line.id.0),
            Cell::text(&line.group),
            Cell::text(&line.name),
            Cell::number(budget.availability()),
            Cell::number(line.uptime_percentage),
            Cell::Number(budget.monitored),
            Cell::Number(budget.downtime),
            Cell::Number(budget.allowed),
            Cell::Number(budget.left()),
            Cell::count(line.incidents),
        ])?;
    }
    sheet.end()?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_the_downtime_that_a_target_allows() {
        // Thirty days at 99.9 %: 43 minutes and 12 seconds.
        let month = 30.0 * 86_400.0;
        let budget = Budget::new(month, 1_296.0, 99.9);
        assert!((budget.allowed - 2_592.0).abs() < 1e-6);
        assert!((budget.left() - 1_296.0).abs() < 1e-6);
        assert_eq!((budget.used().map(|used| (used * 1e6).round()), budget.is_met()), (Some(500_000.0), Some(true)));
        assert_eq!(budget.availability(), Some(99.95));

        let spent = Budget::new(month, 5_184.0, 99.9);
        assert_eq!((spent.is_met(), spent.left() < 0.0), (Some(false), true));
        assert_eq!(Budget::new(month, 0.001, 99.9).availability(), Some(99.9999));
        assert_eq!(Budget::new(month, 0.0, 100.0).used(), None);
        assert_eq!(Budget::new(month, 0.0, 100.0).is_met(), Some(true));
        let nothing = Budget::default();
        assert_eq!((nothing.availability(), nothing.is_met(), nothing.used()), (None, None, None));
    }
}
