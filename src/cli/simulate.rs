//! `simulate`: an imagined outage, and what would be told of it. Nothing is checked, sent or written.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{NaiveDateTime, TimeDelta};
use serde_json::{Value, json};

use super::{Failed, say, tokio_free_now};
use crate::app::store_options;
use crate::config::{Config, DatabaseTarget};
use crate::domain::Timestamp;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::maintenance::instant;
use crate::domain::setting::DurationSetting;
use crate::domain::simulation::{Outage, Said, What, imagine};
use crate::domain::suppression::Held;
use crate::service::imagined::{Imagined, label};
use crate::store::Beside;

/// The longest outage that is imagined.
const LONGEST: TimeDelta = TimeDelta::days(31);

/// What is imagined.
#[derive(Debug)]
pub(super) struct Imagining {
    pub target: String,
    pub also: Vec<String>,
    pub down: DurationSetting,
    /// As written.
    pub at: Option<String>,
    pub json: bool,
}

pub(super) async fn simulate(config: &Config, imagining: &Imagining) -> Result<ExitCode, Failed> {
    let now = tokio_free_now();
    let from = imagining.at.as_deref().map_or(Ok(now), |at| instant_of(at, config.timezone))?;
    let length = TimeDelta::from_std(imagining.down.0).ok().filter(|length| *length <= LONGEST);
    let Some(length) = length else { return Err(Failed::cannot_start("--down is at most 31 days")) };
    let to = from.checked_add_signed(length).ok_or_else(|| Failed::cannot_start("--at is too far away"))?;
    let imagined = load(config, now).await?;
    let find = |name: &String| imagined.find(name).map_err(Failed::cannot_start);
    let mut endpoints: Vec<Arc<KnownEndpoint>> = vec![find(&imagining.target)?.clone()];
    for name in &imagining.also {
        let also = find(name)?;
        if !endpoints.iter().any(|there| there.id == also.id) {
            endpoints.push(also.clone());
        }
    }
    if let Some(idle) = endpoints.iter().find(|known| !known.is_checked()) {
        let why = if idle.paused { "is paused" } else { "is not active" };
        return Err(Failed::cannot_start(format!(
            "{} {why}: it is not checked, so nothing is told of it",
            label(idle)
        )));
    }
    let failing: BTreeSet<_> = endpoints.iter().map(|known| known.id).collect();
    let routing = (**imagined.listing.routing()).clone();
    let said = imagine(&endpoints, imagined.holds(), routing, &Outage { from, to, failing });
    // What was held or said before the outage began is not of it.
    let said: Vec<Said> = said.into_iter().filter(|said| said.at >= from).collect();
    let shown = Shown { endpoints: &endpoints, timezone: config.timezone };
    if imagining.json {
        say(&serde_json::to_string_pretty(&shown.value(from, to, &said)).map_err(Failed::running)?);
    } else {
        say(&shown.text(from, to, &said));
    }
    Ok(ExitCode::SUCCESS)
}

/// With what is in the database, where there is one.
async fn load(config: &Config, now: Timestamp) -> Result<Imagined, Failed> {
    let is_there = match &config.database.target {
        DatabaseTarget::Sqlite { path } => path.exists(),
        DatabaseTarget::SqliteMemory => false,
        DatabaseTarget::Postgres(_) => true,
    };
    if !is_there {
        return Imagined::load(config, None, now).await.map_err(Failed::running);
    }
    let beside = Beside::open(&store_options(config)).await.map_err(Failed::cannot_start)?;
    beside.require_current().map_err(Failed::cannot_start)?;
    let loaded = Imagined::load(config, Some(&beside), now).await.map_err(Failed::running);
    beside.close().await.map_err(Failed::running)?;
    loaded
}

/// RFC 3339, or a date and a time by the clocks of the time zone.
fn instant_of(text: &str, timezone: chrono_tz::Tz) -> Result<Timestamp, Failed> {
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"];
    let local = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    local.and_then(|local| instant(local.date(), local.time(), timezone)).ok_or_else(|| {
        Failed::cannot_start(format!(
            "--at `{text}` is no instant: write 2026-11-29T03:00, by the clocks of {timezone}, or 2026-11-29T03:00:00Z"
        ))
    })
}

/// What is not imagined yet, by the keys that it is configured with; said with every answer.
const NOT_IMAGINED: [&str; 3] = ["depends_on", "connectivity", "group_messages"];

/// How it is shown.
struct Shown<'a> {
    endpoints: &'a [Arc<KnownEndpoint>],
    timezone: chrono_tz::Tz,
}

impl Shown<'_> {
    fn name(&self, said: &Said) -> String {
        self.endpoints.iter().find(|known| known.id == said.endpoint).map(|known| label(known)).unwrap_or_default()
    }

    fn clock(&self, at: Timestamp) -> String {
        at.with_timezone(&self.timezone).format("%F %T").to_string()
    }

    fn text(&self, from: Timestamp, to: Timestamp, said: &[Said]) -> String {
        let names: Vec<String> = self.endpoints.iter().map(|known| label(known)).collect();
        let mut lines = vec![format!(
            "{} down from {} to {} ({})",
            names.join(", "),
            self.clock(from),
            self.clock(to),
            self.timezone
        )];
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        for one in said {
            let name = if names.len() > 1 { format!("{:<width$}  ", self.name(one)) } else { String::new() };
            lines.push(format!("{}  {name}{}", self.clock(one.at), self.sentence(&one.what)));
        }
        let messages = said.iter().filter(|one| is_told(&one.what)).count();
        lines.push(format!("told: {}", super::counted(messages, "message")));
        lines.push(format!("not imagined: {}", NOT_IMAGINED.join(", ")));
        lines.join("\n")
    }

    fn sentence(&self, what: &What) -> String {
        match what {
            What::Status { from, to, since } => format!("status    {from} → {to}, since {}", self.clock(*since)),
            What::Message { event, to, held_by: None, ordinal, .. } => {
                let number = if *ordinal > 0 { format!(" {ordinal}") } else { String::new() };
                let to = if to.is_empty() { "nobody".to_owned() } else { to.join(", ") };
                format!("told      {event}{number} → {to}")
            }
            What::Message { event, held_by: Some(by), .. } => format!("not told  {event}: {by}"),
            What::KeptBack { matter, held } => format!("kept back {matter}: {}", self.reason(held)),
            What::LetGo { matter } => format!("let go    {matter}"),
            What::Opened { started_at } => format!("incident  opens, started {}", self.clock(*started_at)),
            What::Reopened { started_at } => format!("incident  opens again, started {}", self.clock(*started_at)),
            What::Closed { at, .. } => format!("incident  ends, as of {}", self.clock(*at)),
        }
    }

    fn reason(&self, held: &Held) -> String {
        let name = if held.name.is_empty() { String::new() } else { format!(" ({})", held.name) };
        let until = held.until.map_or_else(|| "it ends".to_owned(), |until| self.clock(until));
        format!("{}{name} until {until}, then {}", held.by, held.at_end.as_str().replace('_', " "))
    }

    fn value(&self, from: Timestamp, to: Timestamp, said: &[Said]) -> Value {
        let event = |one: &Said| {
            let mut value = of(&one.what);
            value["at"] = json!(one.at);
            value["endpoint"] = json!(self.name(one));
            value
        };
        json!({
            "timezone": self.timezone.name(),
            "from": from,
            "to": to,
            "endpoints": self.endpoints.iter().map(|known| label(known)).collect::<Vec<_>>(),
            "messages": said.iter().filter(|one| is_told(&one.what)).count(),
            "events": said.iter().map(event).collect::<Vec<_>>(),
            "not_imagined": NOT_IMAGINED,
        })
    }
}

fn is_told(what: &What) -> bool {
    matches!(what, What::Message { to, held_by: None, .. } if !to.is_empty())
}

fn of(what: &What) -> Value {
    match what {
        What::Status { from, to, since } => json!({"what": "status", "from": from, "to": to, "since": since}),
        What::Message { event, span, ordinal, id, to, held_by } => json!({
            "what": if held_by.is_none() { "told" } else { "not_told" },
            "event": event, "since": span, "ordinal": ordinal, "id": id, "channels": to, "held_by": held_by,
        }),
        What::KeptBack { matter, held } => json!({
            "what": "kept_back", "matter": matter, "held_by": held.by, "name": held.name, "until": held.until,
            "at_end": held.at_end,
        }),
        What::LetGo { matter } => json!({"what": "let_go", "matter": matter}),
        What::Opened { started_at } => json!({"what": "incident_opened", "started_at": started_at}),
        What::Reopened { started_at } => json!({"what": "incident_reopened", "started_at": started_at}),
        What::Closed { started_at, at } => {
            json!({"what": "incident_closed", "started_at": started_at, "resolved_at": at})
        }
    }
}
