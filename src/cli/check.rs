//! `check` and `healthcheck`: one examination now, told to a person or as JSON. Nothing is stored.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{FAILED, Failed, load, say, tokio_free_now};
use crate::checks::Checkers;
use crate::checks::attempts::{self, Attempted, AttemptsPlan};
use crate::clock::SystemClock;
use crate::config::{Config, LoadOptions};
use crate::domain::check::Answer;
use crate::domain::endpoint::{Endpoint, EndpointSettings, Kind, Layers, Origin, TlsSettings, resolve};
use crate::domain::outcome::Outcome;
use crate::domain::setting::DurationSetting;
use crate::outbound::Outbound;
use crate::service::redaction::redacted_url;

/// Examines a configured endpoint or a URL. The exit code is 0 when it is up and 1 when it is down.
pub(super) async fn check(
    options: &LoadOptions,
    target: &str,
    as_json: bool,
    use_retry: bool,
) -> Result<ExitCode, Failed> {
    let (endpoint, outbound) = find(options, target)?;
    let attempted = examine(&endpoint, outbound, use_retry).await?;
    let up = attempted.outcome.is_good();
    if as_json {
        say(&serde_json::to_string_pretty(&as_value(&endpoint, &attempted)).map_err(Failed::running)?);
    } else {
        say(&as_text(&endpoint, &attempted));
    }
    Ok(if up { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
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

fn milliseconds(micros: Option<u32>) -> Option<f64> {
    micros.map(|us| f64::from(us) / 1_000.0)
}

fn phases(attempted: &Attempted) -> [(&'static str, Option<f64>); 6] {
    let t = attempted.observation.timings;
    [
        ("dns", milliseconds(t.dns_us)),
        ("connect", milliseconds(t.connect_us)),
        ("tls", milliseconds(t.tls_us)),
        ("first_byte", milliseconds(t.first_byte_us)),
        ("transfer", milliseconds(t.transfer_us)),
        ("total", milliseconds(Some(t.total_us))),
    ]
}

fn as_value(endpoint: &Endpoint, attempted: &Attempted) -> serde_json::Value {
    let seen = &attempted.observation;
    let timings: serde_json::Map<_, _> =
        phases(attempted).iter().map(|(name, ms)| (format!("{name}_ms"), json!(ms))).collect();
    json!({
        "url": shown_url(endpoint),
        "kind": endpoint.kind,
        "method": (endpoint.kind == Kind::Http).then_some(&endpoint.check.method),
        "outcome": attempted.outcome.word(),
        "failure_kind": attempted.outcome.failure().map(|f| f.kind),
        "error": attempted.outcome.failure().or(seen.failure.as_ref()).map(|f| &f.message),
        "status_code": seen.status_code,
        "attempts": attempted.attempts,
        "timings": timings,
        "address": seen.remote_address,
        "http_version": seen.http_version,
        "answer": seen.answer.as_ref().map(Answer::to_json),
        "redirects": seen.redirects,
        "body_bytes": seen.body_bytes,
        "conditions": attempted.detail.conditions,
        "excerpt": attempted.detail.excerpt,
        "certificate": seen.certificate.as_ref().map(|c| json!({
            "subject": c.subject,
            "issuer": c.issuer,
            "not_before": c.not_before,
            "not_after": c.not_after,
            "sans": c.sans,
        })),
    })
}

fn shown_url(endpoint: &Endpoint) -> String {
    redacted_url(endpoint.check.url.as_str())
}

fn as_text(endpoint: &Endpoint, attempted: &Attempted) -> String {
    let seen = &attempted.observation;
    let mut lines: Vec<String> = Vec::new();
    let verdict = match &attempted.outcome {
        Outcome::Down(failure) => format!("down: {} ({})", failure.message, failure.kind),
        Outcome::Degraded => match attempted.detail.why_degraded() {
            Some(why) => format!("degraded: {why}"),
            None => "degraded".to_owned(),
        },
        Outcome::Missed(reason) => {
            let why = seen.failure.as_ref().map_or_else(String::new, |failure| format!(": {}", failure.message));
            format!("missed ({reason}){why}")
        }
        other @ Outcome::Up => other.word().to_string(),
    };
    let mut line = |label: &str, value: &str| lines.push(format!("{label:<12}{value}"));
    let what = if endpoint.kind == Kind::Http { endpoint.check.method.as_str() } else { endpoint.kind.as_str() };
    line("request", &format!("{what} {}", shown_url(endpoint)));
    line("result", &verdict);
    if let Some(code) = seen.status_code {
        let version = seen.http_version.as_deref().unwrap_or("HTTP");
        line("answer", &format!("{version} {code}, {} bytes of body", seen.body_bytes));
    }
    if let Some(answer) = seen.answer.as_ref().and_then(Answer::summary) {
        line("answer", &answer);
    }
    if let Some(address) = &seen.remote_address {
        line("address", address);
    }
    for hop in &seen.redirects {
        line("redirect", hop);
    }
    for condition in &attempted.detail.conditions {
        let verdict = match (condition.success, condition.degrades) {
            (true, _) => "holds",
            (false, true) => "does not hold: degraded",
            (false, false) => "does not hold",
        };
        line("condition", &format!("{}: {verdict}", condition.seen));
    }
    if let Some(certificate) = &seen.certificate {
        line(
            "certificate",
            &format!("{} by {}, until {}", certificate.subject, certificate.issuer, certificate.not_after.format("%F")),
        );
    }
    if attempted.attempts > 1 {
        line("attempts", &attempted.attempts.to_string());
    }
    for (name, ms) in phases(attempted) {
        if let Some(ms) = ms {
            line(&name.replace('_', " "), &format!("{ms:>9.2} ms"));
        }
    }
    lines.join("\n")
}
