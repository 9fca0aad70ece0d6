//! `check` and `healthcheck`: one examination now, told to a person or as JSON. Nothing is stored.

mod report;
mod text;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use self::report::Report;
use super::style::Paint;
use super::{CANNOT_START, FAILED, Failed, load, say, tokio_free_now};
use crate::checks::Checkers;
use crate::checks::attempts::{self, Attempted, AttemptsPlan};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, LoadOptions};
use crate::domain::condition::Conditions;
use crate::domain::endpoint::{Endpoint, EndpointSettings, Layers, Origin, TlsSettings, resolve};
use crate::domain::outcome::Outcome;
use crate::domain::setting::DurationSetting;
use crate::outbound::Outbound;

/// What to examine, and how to tell of it.
#[derive(Debug, Args)]
pub(super) struct Examination {
    /// A URL, or the name (`name` or `group/name`) of a configured endpoint
    target: String,
    // No doc comment: it would be read as a link.
    #[arg(
        long = "condition",
        value_name = "CONDITION",
        help = "What must hold, beside what is configured: '[STATUS] == 200'; may be given again"
    )]
    conditions: Vec<String>,
    /// What must hold for it not to be degraded; may be given again
    #[arg(long, value_name = "CONDITION")]
    degraded_unless: Vec<String>,
    /// Print JSON (docs/check.schema.json)
    #[arg(long)]
    json: bool,
    /// Make one attempt only
    #[arg(long)]
    no_retry: bool,
}

/// Examines a configured endpoint or a URL. The exit code is 0 when it is up or degraded, 1 when it is down, and 2 when
/// it could not be examined.
pub(super) async fn check(options: &LoadOptions, asked: &Examination) -> Result<ExitCode, Failed> {
    let (mut endpoint, outbound) = find(options, &asked.target)?;
    if endpoint.check.push().is_some() {
        let why = "nothing is asked of it: it reports by itself. What is known of it: `api-monitor explain`";
        return Err(Failed::cannot_start(format!("`{}` is of the kind push: {why}", asked.target)));
    }
    add_conditions(&mut endpoint.check.conditions, asked)?;
    let attempted = examine(&endpoint, outbound, !asked.no_retry).await?;
    let report = Report::of(&endpoint, &attempted, SystemClock::new().now());
    if asked.json {
        say(&serde_json::to_string_pretty(&report).map_err(Failed::running)?);
    } else {
        say(&text::of(&report, Paint::of(&options.environment)));
    }
    Ok(match attempted.outcome {
        Outcome::Up | Outcome::Degraded => ExitCode::SUCCESS,
        Outcome::Down(_) => ExitCode::from(FAILED),
        Outcome::Missed(_) => ExitCode::from(CANNOT_START),
    })
}

/// Those of the command line, after those of the endpoint.
fn add_conditions(known: &mut Conditions, asked: &Examination) -> Result<(), Failed> {
    for (key, texts, list) in [
        ("--condition", &asked.conditions, &mut known.required),
        ("--degraded-unless", &asked.degraded_unless, &mut known.degraded_unless),
    ] {
        let (conditions, mistakes) = Conditions::read(texts, known.dialect);
        if let Some((i, _, why)) = mistakes.into_iter().next() {
            let which = i.and_then(|i| texts.get(i)).map_or_else(String::new, |text| format!(" '{text}'"));
            return Err(Failed::cannot_start(format!("{key}{which}: {why}")));
        }
        list.extend(conditions);
    }
    Ok(())
}

/// Asks a monitor on this machine for its liveness.
pub(super) async fn healthcheck(options: &LoadOptions, url: Option<String>) -> Result<ExitCode, Failed> {
    let (url, verify) = match url {
        Some(url) => (url, true),
        None => {
            let config = load(options)?;
            let host = own_host(&config.api.host);
            let scheme = if config.api.tls.is_some() { "https" } else { "http" };
            // Its certificate is for the name by which others know it. This machine asks itself, by an address.
            (format!("{scheme}://{host}:{}/health/live", config.api.port), false)
        }
    };
    let settings = EndpointSettings {
        timeout: Some(DurationSetting(Duration::from_secs(3))),
        tls: Some(TlsSettings { verify: Some(verify), ..TlsSettings::default() }),
        ..settings_of_url(&url)
    };
    let endpoint = resolve_alone(&settings, &EndpointSettings::default())?;
    let attempted = examine(&endpoint, Arc::default(), false).await?;
    match attempted.outcome.failure() {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => Err(Failed::running(&failure.message)),
    }
}

/// By which address this machine reaches what listens at `host`.
pub(super) fn own_host(host: &str) -> String {
    match host {
        "0.0.0.0" | "localhost" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    }
}

async fn examine(endpoint: &Endpoint, outbound: Arc<Outbound>, use_retry: bool) -> Result<Attempted, Failed> {
    let checker = Checkers::new(outbound).map_err(Failed::cannot_start)?;
    let max_attempts = if use_retry { endpoint.retry.max_attempts } else { 1 };
    // Whoever has the command line may go anywhere.
    let plan = AttemptsPlan { max_attempts, next_slot_in: None, origin: Origin::Config };
    let clock = SystemClock::new();
    let no_limit = || std::future::ready(());
    Ok(attempts::run(&checker, &clock, &endpoint.check, &endpoint.retry, plan, no_limit, fastrand::f64).await)
}

/// With the way in which its name is looked up.
fn find(options: &LoadOptions, target: &str) -> Result<(Endpoint, Arc<Outbound>), Failed> {
    let outbound = |config: &Config| crate::app::outbound(config).map_err(|e| Failed::cannot_start(format!("{e:#}")));
    if target.contains("://") {
        // The defaults of a configuration apply when there is one; a URL can be examined without any.
        return Ok(match crate::config::load(options, tokio_free_now()) {
            Ok(config) => (resolve_alone(&settings_of_url(target), &config.defaults)?, outbound(&config)?),
            Err(_) => (resolve_alone(&settings_of_url(target), &EndpointSettings::default())?, Arc::default()),
        });
    }
    let config = load(options)?;
    Ok((select(&config, target)?.clone(), outbound(&config)?))
}

fn select<'a>(config: &'a Config, target: &str) -> Result<&'a Endpoint, Failed> {
    let label = |e: &Endpoint| if e.group.is_empty() { e.name.clone() } else { format!("{}/{}", e.group, e.name) };
    let all = || config.endpoints.iter().map(|c| &c.endpoint);
    if let Some(found) = all().find(|e| label(e) == target) {
        return Ok(found);
    }
    let named: Vec<_> = all().filter(|e| e.name == target).collect();
    match named.as_slice() {
        [one] => Ok(one),
        [] => {
            let labels: Vec<_> = all().map(label).collect();
            let near = labels
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, target).total_cmp(&strsim::jaro_winkler(b, target)));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Err(Failed::cannot_start(format!(
                "`{target}` is neither a URL (with http:// or https://) nor an endpoint of {}{hint}",
                config.path.display()
            )))
        }
        many => {
            let labels: Vec<_> = many.iter().map(|e| label(e)).collect();
            Err(Failed::cannot_start(format!("`{target}` is in several groups: say {}", labels.join(" or "))))
        }
    }
}

fn settings_of_url(url: &str) -> EndpointSettings {
    EndpointSettings { name: Some("url".to_owned()), url: Some(url.to_owned()), ..EndpointSettings::default() }
}

fn resolve_alone(settings: &EndpointSettings, defaults: &EndpointSettings) -> Result<Endpoint, Failed> {
    let layers = Layers { defaults, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
    resolve(settings, layers, tokio_free_now()).map_err(|errors| {
        let all: Vec<_> =
            errors.iter().map(|e| format!("{} {}", e.pointer.trim_start_matches('/'), e.detail)).collect();
        Failed::cannot_start(all.join("; "))
    })
}
