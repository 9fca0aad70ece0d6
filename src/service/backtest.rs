//! Stored history under another policy: what would have been told, and what not.

use std::sync::Arc;

use crate::config::Config;
use crate::domain::Timestamp;
use crate::domain::endpoint::{AlertPolicySettings, EndpointId, EndpointSettings, KnownEndpoint, overlay, resolve};
use crate::domain::selector::Selectors;
use crate::domain::simulation::{Comparison, Replay};
use crate::store::{Beside, StoreError, history};

use super::imagined::{Imagined, label};

/// The most differences that are listed of one endpoint; further ones are counted.
const MOST_LISTED: usize = 1_000;

/// How many results are replayed between two words about how far it is.
const STEP: u64 = 1_000;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Query {
    /// The keys that are replaced.
    pub policy: AlertPolicySettings,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Empty: all endpoints.
    pub selectors: Selectors,
}

/// Of one endpoint.
#[derive(Debug, Clone)]
pub struct Tested {
    pub id: EndpointId,
    /// `group/name`.
    pub name: String,
    /// Recorded checks and slots without one.
    pub results: u64,
    /// Messages, of every kind.
    pub before: u64,
    pub after: u64,
    pub differences: Vec<Comparison>,
    /// Differences beyond those that are listed.
    pub unlisted: u64,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The question is wrong.
    #[error("{0}")]
    Query(String),
}

/// Replays the history of each endpoint twice. `told` hears of results done and of all of them. Results are read in pages;
/// what is kept is a message's instant each.
///
/// # Errors
/// See [`BacktestError`].
pub async fn backtest(
    source: &Beside,
    config: &Config,
    query: &Query,
    now: Timestamp,
    told: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Vec<Tested>, BacktestError> {
    source.require_current()?;
    let db = source.readers();
    let imagined = Imagined::load(config, Some(source), now).await?;
    let chosen = imagined.select(&query.selectors).map_err(BacktestError::Query)?;
    let mut total = 0;
    let mut pairs = Vec::new();
    for known in chosen {
        total += history::count(db, known.id, Some(query.from), Some(query.to)).await?;
        let changed = with_policy(&known, &imagined, &query.policy, now)?;
        pairs.push((known, changed));
    }
    let routing = imagined.listing.routing();
    let (mut done, mut all) = (0, Vec::new());
    for (known, changed) in pairs {
        let (id, name) = (known.id, label(&known));
        let mut before = Replay::new(known, (**routing).clone());
        let mut after = Replay::new(changed, (**routing).clone());
        let first = done;
        history::for_each(db, id, query.from..query.to, |result| {
            before.take(result);
            after.take(result);
            done += 1;
            if done % STEP == 0 {
                told(done, total.max(done));
            }
        })
        .await?;
        before.pass_until(query.to);
        after.pass_until(query.to);
        let mut differences = Comparison::all(before.told(), after.told());
        let unlisted = differences.len().saturating_sub(MOST_LISTED) as u64;
        differences.truncate(MOST_LISTED);
        let (before, after) = (before.told().len() as u64, after.told().len() as u64);
        all.push(Tested { id, name, results: done - first, before, after, differences, unlisted });
    }
    Ok(all)
}

/// The endpoint with keys of its policy replaced.
fn with_policy(
    known: &Arc<KnownEndpoint>,
    imagined: &Imagined,
    policy: &AlertPolicySettings,
    now: Timestamp,
) -> Result<Arc<KnownEndpoint>, BacktestError> {
    let over = EndpointSettings { alert_policy: Some(policy.clone()), ..EndpointSettings::default() };
    let settings = overlay(&known.settings, &over);
    let group = known.endpoint.group.as_str();
    let layers = imagined.listing.layers_of(known.origin, group).of_any_channel();
    let endpoint = resolve(&settings, layers, now).map_err(|errors| {
        let all: Vec<String> =
            errors.iter().map(|e| format!("{} {}", e.pointer.trim_start_matches('/'), e.detail)).collect();
        BacktestError::Query(format!("the policy does not fit {}: {}", label(known), all.join("; ")))
    })?;
    Ok(Arc::new(KnownEndpoint { settings, endpoint, ..(**known).clone() }))
}
