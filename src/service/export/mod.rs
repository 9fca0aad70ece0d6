//! What is kept, as a table for other programs: read page by page, beside a running monitor, and written as it is
//! read. Secrets of endpoints are hidden as the API hides them.

pub(in crate::service) mod form;
mod records;

use std::io::Write;
use std::ops::{ControlFlow, Range};

pub use form::Format;
use form::Sheet;

use super::redaction::{applying, redacted};
use crate::config::{Config, Listing};
use crate::domain::endpoint::EndpointSettings;
use crate::domain::outcome::words;
use crate::domain::suggest::closest;
use crate::domain::uptime::DAY_US;
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::endpoints::StoredEndpoint;
use crate::store::history;
use crate::store::incidents::{self, IncidentQuery};
use crate::store::rollups::{self, Grain};
use crate::store::{Beside, StoreError, endpoints};

words! {
    /// What is exported.
    pub enum What {
        /// Every single check.
        Checks = "checks",
        /// The hours that are over, counted.
        Hours = "hours",
        /// The UTC days that are over, counted.
        Days = "days",
        Incidents = "incidents",
        /// What is watched, and how.
        Endpoints = "endpoints",
    }
}

/// Rows between two words of progress.
const STEP: u64 = 500;

/// Incidents read at a time.
const PAGE: u64 = 500;

/// The length of the span of which the hours are read at a time.
const SPAN_US: i64 = 30 * DAY_US;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct ExportQuery {
    pub what: What,
    pub format: Format,
    /// `name`, `group/name`, `group/*` or an id. Empty: all endpoints, archived ones as well.
    pub endpoints: Vec<String>,
    /// From this instant, checks by their slot.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
}

/// Why there is no export, or only a part of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The words of the query are wrong.
    #[error("{0}")]
    Query(String),
    /// What was to receive it does not take it.
    #[error("the export cannot be written: {0}")]
    Write(std::io::Error),
}

/// Writes what is wanted into `out` and returns the number of rows. `told` hears of rows done and of all of them.
///
/// # Errors
/// See [`ExportError`].
pub async fn export(
    source: &Beside,
    config: &Config,
    query: &ExportQuery,
    out: impl Write + Send,
    told: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<u64, ExportError> {
    source.require_current()?;
    let chosen = choose(endpoints::list_all(source.readers()).await?, &query.endpoints)?;
    let mut sheet = Sheet::new(query.format, records::columns(query.what), out);
    sheet.begin().map_err(ExportError::Write)?;
    match query.what {
        What::Checks => checks(source, query, &chosen, &mut sheet, told).await?,
        What::Hours => rollups(source, query, &chosen, Grain::Hour, &mut sheet, told).await?,
        What::Days => rollups(source, query, &chosen, Grain::Day, &mut sheet, told).await?,
        What::Incidents => all_incidents(source, query, &chosen, &mut sheet, told).await?,
        What::Endpoints => {
            let total = chosen.len() as u64;
            let listing = super::groups::listing(source.readers(), config).await?;
            for endpoint in &chosen {
                sheet.row(records::endpoint(endpoint, shown(endpoint, &listing))).map_err(ExportError::Write)?;
                told(sheet.rows(), total);
            }
        }
    }
    sheet.end().map_err(ExportError::Write)
}

async fn checks<W: Write + Send>(
    source: &Beside,
    query: &ExportQuery,
    chosen: &[StoredEndpoint],
    sheet: &mut Sheet<W>,
    told: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<(), ExportError> {
    let db = source.readers();
    let mut total = 0;
    for endpoint in chosen {
        total += history::count(db, endpoint.id, query.from, query.to).await?;
    }
    for endpoint in chosen {
        let mut failed = None;
        history::for_each_until(db, endpoint.id, span(query), |result| {
            match sheet.row(records::check(endpoint, result)) {
                Ok(()) => {
                    if sheet.rows().is_multiple_of(STEP) {
                        told(sheet.rows(), total.max(sheet.rows()));
                    }
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
        .await?;
        if let Some(error) = failed {
            return Err(ExportError::Write(error));
        }
    }
    Ok(())
}

async fn rollups<W: Write + Send>(
    source: &Beside,
    query: &ExportQuery,
    chosen: &[StoredEndpoint],
    grain: Grain,
    sheet: &mut Sheet<W>,
    told: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<(), ExportError> {
    let db = source.readers();
    let wanted = span(query);
    for (done, endpoint) in (1..).zip(chosen) {
        let oldest = rollups::oldest_start(db, endpoint.id, grain).await?;
        let newest = rollups::newest_start(db, endpoint.id, grain, wanted.end).await?;
        if let (Some(oldest), Some(newest)) = (oldest, newest) {
            let end = from_micros(micros(newest) + 1);
            let mut start = oldest.max(wanted.start);
            while start < end {
                let next = from_micros(micros(start).saturating_add(SPAN_US)).min(end);
                for (at, rollup) in rollups::list(db, endpoint.id, grain, start..next).await? {
                    sheet.row(records::rollup(endpoint, at, &rollup.bucket)).map_err(ExportError::Write)?;
                }
                start = next;
            }
        }
        told(done, chosen.len() as u64);
    }
    Ok(())
}

async fn all_incidents<W: Write + Send>(
    source: &Beside,
    query: &ExportQuery,
    chosen: &[StoredEndpoint],
    sheet: &mut Sheet<W>,
    told: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<(), ExportError> {
    // One state, so that no incident moves from a page to the next.
    let db = source.snapshot().await?;
    for (done, endpoint) in (1..).zip(chosen) {
        let mut page = IncidentQuery {
            endpoint: Some(endpoint.id),
            from: query.from,
            to: query.to,
            limit: PAGE,
            ..IncidentQuery::default()
        };
        loop {
            let found = incidents::list(&db, &page).await?;
            for incident in &found {
                sheet.row(records::incident(endpoint, incident)).map_err(ExportError::Write)?;
            }
            if (found.len() as u64) < PAGE {
                break;
            }
            page.offset += PAGE;
        }
        told(done, chosen.len() as u64);
    }
    Ok(())
}

fn span(query: &ExportQuery) -> Range<Timestamp> {
    query.from.unwrap_or(Timestamp::MIN_UTC)..query.to.unwrap_or(Timestamp::MAX_UTC)
}

fn shown(endpoint: &StoredEndpoint, listing: &Listing) -> EndpointSettings {
    let group = endpoint.settings.group.as_deref().unwrap_or_default();
    redacted(&endpoint.settings, &applying(&endpoint.settings, listing.layers_of(endpoint.origin, group)))
}

/// The endpoints that any of the words names, each once, by id.
fn choose(all: Vec<StoredEndpoint>, words: &[String]) -> Result<Vec<StoredEndpoint>, ExportError> {
    if words.is_empty() {
        return Ok(all);
    }
    let mut chosen = vec![false; all.len()];
    for word in words {
        let by_name: Vec<usize> = (0..all.len()).filter(|&n| is_named(&all[n], word)).collect();
        let id = word.parse::<i64>().ok().and_then(|id| all.iter().position(|endpoint| endpoint.id.0 == id));
        let found = if by_name.is_empty() { id.into_iter().collect() } else { by_name };
        if found.is_empty() {
            let labels: Vec<String> = all.iter().map(label).collect();
            let near = closest(word, labels.iter().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            return Err(ExportError::Query(format!("there is no endpoint `{word}` in the database{hint}")));
        }
        for n in found {
            chosen[n] = true;
        }
    }
    Ok(all.into_iter().zip(chosen).filter_map(|(endpoint, chosen)| chosen.then_some(endpoint)).collect())
}

fn is_named(endpoint: &StoredEndpoint, word: &str) -> bool {
    let (group, name) = names(endpoint);
    name == word || label(endpoint) == word || word.strip_suffix("/*").is_some_and(|wanted| wanted == group)
}

fn label(endpoint: &StoredEndpoint) -> String {
    let (group, name) = names(endpoint);
    if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") }
}

/// Group and name; no group is empty.
fn names(endpoint: &StoredEndpoint) -> (&str, &str) {
    let settings = &endpoint.settings;
    (settings.group.as_deref().unwrap_or_default(), settings.name.as_deref().unwrap_or_default())
}
