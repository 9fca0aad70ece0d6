//! The verbs of people on call, against a running monitor.

use std::process::ExitCode;

use chrono::{SecondsFormat, TimeDelta};
use reqwest::Method;
use serde_json::{Value, json};

use super::remote::{Remote, Where, encoded, label, labelled};
use super::{Failed, REFUSED, say, tokio_free_now};
use crate::config::LoadOptions;
use crate::domain::Timestamp;
use crate::domain::setting::DurationSetting;

/// Incidents shown at a time, the newest.
const SHOWN: u64 = 100;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Operate {
    /// Stop checking an endpoint of a running monitor, until it is resumed
    #[command(after_help = "Example:\n  api-monitor pause core/api")]
    Pause {
        /// `name`, or `group/name`
        endpoint: String,
        #[command(flatten)]
        at: Where,
    },
    /// Check a paused endpoint again
    Resume {
        /// `name`, or `group/name`
        endpoint: String,
        #[command(flatten)]
        at: Where,
    },
    /// Tell nobody of these endpoints for some time; they are checked and their outages count
    #[command(
        after_help = "Example:\n  api-monitor silence --match group:core --for 2h --reason 'known, being mended'"
    )]
    Silence {
        /// `name`, `group/name`, `group:core`, `tag:prod` or `*`; may be given again
        #[arg(long = "match", required = true, value_name = "SELECTOR")]
        selectors: Vec<String>,
        /// For how long: `30m`, `2h`
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        length: DurationSetting,
        /// Why, for people
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        at: Where,
    },
    /// End a silence
    Unsilence {
        /// Its number
        id: u64,
        #[command(flatten)]
        at: Where,
    },
    /// Say that work is being done: what fails meanwhile counts as no outage
    Maintenance {
        #[command(subcommand)]
        what: MaintenanceCommand,
    },
    /// Say that you look after an outage: whoever was told is told so, and nobody is reminded for a time
    #[command(
        after_help = "Examples:\n  api-monitor ack core/api --note 'disk is being swapped'\n  api-monitor ack 42 --for 8h"
    )]
    Ack {
        /// The number of an incident, or the endpoint that is down: `name`, or `group/name`
        incident: String,
        /// What is to be known of it
        #[arg(long)]
        note: Option<String>,
        /// For how long nobody is reminded [default: `acknowledge_for` of the endpoint]
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        length: Option<DurationSetting>,
        #[command(flatten)]
        at: Where,
    },
    /// List outages, the newest first
    Incidents {
        /// Only those that are not over
        #[arg(long)]
        open: bool,
        /// Print JSON, as the API answers
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Where,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum MaintenanceCommand {
    /// Open a window from now
    #[command(
        after_help = "Example:\n  api-monitor maintenance start --match group:core --for 20m --reason deployment"
    )]
    Start {
        /// `name`, `group/name`, `group:core`, `tag:prod` or `*`; may be given again
        #[arg(long = "match", required = true, value_name = "SELECTOR")]
        selectors: Vec<String>,
        /// For how long: `20m`, `2h`
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        length: DurationSetting,
        /// Why, for people
        #[arg(long)]
        reason: Option<String>,
        /// What it is called [default: `by hand` and the time]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        at: Where,
    },
    /// End a window that was opened by hand
    End {
        name: String,
        #[command(flatten)]
        at: Where,
    },
    /// List the windows
    List {
        /// Print JSON, as the API answers
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Where,
    },
}

fn duration(text: &str) -> Result<DurationSetting, String> {
    let setting: DurationSetting = serde_json::from_value(json!(text)).map_err(|error| error.to_string())?;
    if setting.0.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(setting) }
}

/// Asks the monitor to do it, and says what was done.
pub(super) async fn operate(command: Operate, options: &LoadOptions) -> Result<ExitCode, Failed> {
    match command {
        Operate::Pause { endpoint, at } => {
            let remote = Remote::find(&at, options)?;
            let found = remote.endpoint(&endpoint).await?;
            if found["paused"] == true {
                say(&format!("{} is paused already", label(&found)));
                return Ok(ExitCode::SUCCESS);
            }
            remote.send(Method::POST, &format!("/api/v1/endpoints/{}/pause", found["id"]), None).await?;
            say(&format!("{} is paused: it is not checked until it is resumed", label(&found)));
        }
        Operate::Resume { endpoint, at } => {
            let remote = Remote::find(&at, options)?;
            let found = remote.endpoint(&endpoint).await?;
            remote.send(Method::POST, &format!("/api/v1/endpoints/{}/resume", found["id"]), None).await?;
            say(&format!("{} is checked again", label(&found)));
        }
        Operate::Silence { selectors, length, reason, at } => {
            let remote = Remote::find(&at, options)?;
            let until = in_the_future(length)?;
            let mut body = json!({"match": selectors, "until": until});
            put(&mut body, "comment", reason);
            let made = remote.send(Method::POST, "/api/v1/silences", Some(&body)).await?;
            say(&format!(
                "silence {}: nobody is told of {} until {} ({})",
                made["id"],
                counted(&made["endpoints"]),
                text(&made["until"]),
                selectors.join(", ")
            ));
        }
        Operate::Unsilence { id, at } => {
            let remote = Remote::find(&at, options)?;
            remote.send(Method::DELETE, &format!("/api/v1/silences/{id}"), None).await?;
            say(&format!("silence {id} has ended"));
        }
        Operate::Maintenance { what } => maintenance(what, options).await?,
        Operate::Ack { incident, note, length, at } => acknowledge(&incident, note, length, &at, options).await?,
        Operate::Incidents { open, json, at } => {
            let remote = Remote::find(&at, options)?;
            let open = if open { "&open=true" } else { "" };
            let list = remote.get(&format!("/api/v1/incidents?limit={SHOWN}{open}")).await?;
            say_list(&list, "incidents", json, incident_line, "no incidents")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn maintenance(what: MaintenanceCommand, options: &LoadOptions) -> Result<(), Failed> {
    const WINDOWS: &str = "/api/v1/maintenance-windows";
    match what {
        MaintenanceCommand::Start { selectors, length, reason, name, at } => {
            let remote = Remote::find(&at, options)?;
            let now = tokio_free_now();
            let name = name.unwrap_or_else(|| format!("by hand {}", now.format("%Y-%m-%d %H:%M:%S")));
            let mut body = json!({"name": name, "start": instant(now), "for": length, "match": selectors});
            put(&mut body, "reason", reason);
            let made = remote.send(Method::POST, WINDOWS, Some(&body)).await?;
            say(&format!(
                "the window `{name}` is open for {} until {} ({}); end it with: api-monitor maintenance end '{name}'",
                counted(&made["endpoints"]),
                in_the_future(length)?,
                selectors.join(", ")
            ));
        }
        MaintenanceCommand::End { name, at } => {
            let remote = Remote::find(&at, options)?;
            let path = format!("{WINDOWS}/{}", encoded(&name));
            let window = remote.get(&path).await?;
            if window["start"].is_null() && window["origin"] == "api" {
                let message = format!(
                    "the window `{name}` opens again and again; to be rid of it, delete it: DELETE {path} of the API"
                );
                return Err(Failed { code: REFUSED, message });
            }
            remote.send(Method::DELETE, &path, None).await?;
            say(&format!("the window `{name}` has ended"));
        }
        MaintenanceCommand::List { json, at } => {
            let remote = Remote::find(&at, options)?;
            let list = remote.get(&format!("{WINDOWS}?limit=1000")).await?;
            say_list(&list, "maintenance_windows", json, window_line, "no maintenance windows")?;
        }
    }
    Ok(())
}

async fn acknowledge(
    incident: &str,
    note: Option<String>,
    length: Option<DurationSetting>,
    at: &Where,
    options: &LoadOptions,
) -> Result<(), Failed> {
    let remote = Remote::find(at, options)?;
    let id = if !incident.is_empty() && incident.bytes().all(|b| b.is_ascii_digit()) {
        incident.to_owned()
    } else {
        let found = remote.endpoint(incident).await?;
        let open = remote.get(&format!("/api/v1/incidents?endpoint={}&open=true&limit=1", found["id"])).await?;
        let Some(id) = open["incidents"][0]["id"].as_i64() else {
            return Err(Failed { code: REFUSED, message: format!("{} has no open incident", label(&found)) });
        };
        id.to_string()
    };
    let mut body = json!({});
    put(&mut body, "note", note);
    if let Some(length) = length {
        body["for"] = json!(length);
    }
    let done = remote.send(Method::POST, &format!("/api/v1/incidents/{id}/acknowledge"), Some(&body)).await?;
    let name = labelled(text(&done["group"]), text(&done["endpoint_name"]));
    let acknowledgement = &done["acknowledgement"];
    say(&format!(
        "incident {id} of {name} is acknowledged by {}: nobody is reminded until {}",
        text(&acknowledgement["by"]),
        text(&acknowledgement["until"])
    ));
    Ok(())
}

fn put(body: &mut Value, field: &str, value: Option<String>) {
    if let Some(value) = value {
        body[field] = value.into();
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// `3 endpoints`
fn counted(endpoints: &Value) -> String {
    super::counted(usize::try_from(endpoints.as_u64().unwrap_or(0)).unwrap_or(usize::MAX), "endpoint")
}

fn instant(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn in_the_future(length: DurationSetting) -> Result<String, Failed> {
    let length = TimeDelta::from_std(length.0).ok();
    let at = length.and_then(|length| tokio_free_now().checked_add_signed(length));
    at.map(instant).ok_or_else(|| Failed::cannot_start("--for is longer than any time"))
}

fn say_list(list: &Value, of: &str, as_json: bool, line: fn(&Value) -> String, none: &str) -> Result<(), Failed> {
    if as_json {
        say(&serde_json::to_string_pretty(list).map_err(Failed::running)?);
        return Ok(());
    }
    let items = list[of].as_array().map(Vec::as_slice).unwrap_or_default();
    for item in items {
        say(&line(item));
    }
    let (shown, total) = (items.len() as u64, list["total"].as_u64().unwrap_or(0));
    if total == 0 {
        say(none);
    } else if shown < total {
        say(&format!("… and {} older", total - shown));
    }
    Ok(())
}

/// `42  open      core/api  since 2026-11-21T07:00:00Z  1h 5m  GET returned 502, expected 200  (acknowledged by ops)`
fn incident_line(incident: &Value) -> String {
    let seconds = incident["duration_seconds"].as_u64().unwrap_or(0);
    let length = humantime::format_duration(std::time::Duration::from_secs(seconds));
    let acknowledged = incident["acknowledgement"]["by"].as_str().filter(|_| incident["status"] == "open");
    let by = acknowledged.map_or_else(String::new, |by| format!("  (acknowledged by {by})"));
    format!(
        "{:<6}{:<10}{}  since {}  {length}  {}{by}",
        incident["id"].to_string(),
        text(&incident["status"]),
        labelled(text(&incident["group"]), text(&incident["endpoint_name"])),
        text(&incident["started_at"]),
        one_line(text(&incident["error_message"]))
    )
}

fn window_line(window: &Value) -> String {
    let reason = window["reason"].as_str().filter(|reason| !reason.is_empty());
    let reason = reason.map_or_else(String::new, |reason| format!("  {}", one_line(reason)));
    format!("{:<12}{}  {}{reason}", text(&window["state"]), text(&window["name"]), counted(&window["endpoints"]))
}

/// What came from outside writes no control characters to a terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
