//! `backtest`: stored history under another policy. The database is only read.

use std::process::ExitCode;

use chrono::TimeDelta;
use serde_json::json;

use super::progress::Bar;
use super::{Failed, counted, say, tokio_free_now};
use crate::app::store_options;
use crate::config::{Config, policy_of_text};
use crate::domain::Timestamp;
use crate::domain::selector::Selectors;
use crate::domain::simulation::{Comparison, Difference};
use crate::service::backtest::{self, BacktestError, Query, Tested};
use crate::store::Beside;

/// Replays the last `days` of the endpoints that are meant.
pub(super) async fn backtest(
    config: &Config,
    policy: &str,
    days: u32,
    selectors: Vec<String>,
    as_json: bool,
) -> Result<ExitCode, Failed> {
    let now = tokio_free_now();
    let from = now.checked_sub_signed(TimeDelta::days(days.into())).unwrap_or(Timestamp::MIN_UTC);
    let policy = policy_of_text(policy).map_err(|error| Failed::cannot_start(format!("--policy: {error}")))?;
    let query = Query { policy, from, to: now, selectors: Selectors(selectors) };
    let source = Beside::open(&store_options(config)).await.map_err(Failed::cannot_start)?;
    let bar = Bar::new("backtest");
    let tested = backtest::backtest(&source, config, &query, now, &mut |done, total| bar.rows(done, total)).await;
    drop(bar);
    source.close().await.map_err(Failed::running)?;
    let tested = tested.map_err(|error| match error {
        BacktestError::Query(_) => Failed::cannot_start(error),
        BacktestError::Store(_) => Failed::running(error),
    })?;
    if as_json {
        say(&serde_json::to_string_pretty(&value(&query, &tested)).map_err(Failed::running)?);
    } else {
        say(&text(config.timezone, &tested));
    }
    Ok(ExitCode::SUCCESS)
}

fn word(difference: Difference) -> &'static str {
    match difference {
        Difference::Later => "later",
        Difference::Sooner => "sooner",
        Difference::NotAtAll => "not_told",
        Difference::Additionally => "additionally",
    }
}

fn sentence(one: &Comparison, timezone: chrono_tz::Tz) -> String {
    let clock = |at: Timestamp| at.with_timezone(&timezone).format("%F %T").to_string();
    let event = one.event;
    match (one.before, one.after) {
        (Some(before), Some(after)) => {
            let seconds = (after - before).num_seconds();
            let (by, how) = if seconds < 0 { (-seconds, "sooner") } else { (seconds, "later") };
            format!("{}  {event} {by} s {how}, at {}", clock(before), clock(after))
        }
        (Some(before), None) => format!("{}  {event} not told", clock(before)),
        (None, after) => format!("{}  {event} additionally", after.map(clock).unwrap_or_default()),
    }
}

fn text(timezone: chrono_tz::Tz, tested: &[Tested]) -> String {
    let sum = |of: fn(&Tested) -> u64| tested.iter().map(of).sum::<u64>();
    let mut lines = Vec::new();
    for one in tested.iter().filter(|one| one.before != one.after || !one.differences.is_empty()) {
        lines.push(format!("{}: {} → {}", one.name, one.before, one.after));
        lines.extend(one.differences.iter().map(|difference| format!("  {}", sentence(difference, timezone))));
        if one.unlisted > 0 {
            lines.push(format!("  and {} more", one.unlisted));
        }
    }
    lines.push(format!(
        "{}, {}: {} before, {} after",
        counted(tested.len(), "endpoint"),
        counted(usize::try_from(sum(|one| one.results)).unwrap_or(usize::MAX), "result"),
        counted(usize::try_from(sum(|one| one.before)).unwrap_or(usize::MAX), "message"),
        sum(|one| one.after)
    ));
    lines.join("\n")
}

fn value(query: &Query, tested: &[Tested]) -> serde_json::Value {
    let difference = |one: &Comparison| {
        json!({"difference": word(one.difference), "event": one.event, "since": one.since, "before": one.before,
            "after": one.after})
    };
    let endpoint = |one: &Tested| {
        json!({"id": one.id, "name": one.name, "results": one.results, "messages_before": one.before,
            "messages_after": one.after, "unlisted": one.unlisted,
            "differences": one.differences.iter().map(difference).collect::<Vec<_>>()})
    };
    json!({
        "from": query.from,
        "to": query.to,
        "policy": query.policy,
        "messages_before": tested.iter().map(|one| one.before).sum::<u64>(),
        "messages_after": tested.iter().map(|one| one.after).sum::<u64>(),
        "endpoints": tested.iter().map(endpoint).collect::<Vec<_>>(),
    })
}
