//! `simulate`: an imagined outage, and what would be told of it. Nothing is checked, sent or written.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{NaiveDateTime, TimeDelta};
use serde_json::{Value, json};

use super::{Failed, say, tokio_free_now};
use crate::app::store_options;
use crate::config::{Config, DatabaseTarget};
use crate::domain::Timestamp;
use crate::domain::connectivity::Reaches;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::maintenance::instant;
use crate::domain::notification::{Event, network_status};
use crate::domain::setting::DurationSetting;
use crate::domain::simulation::{Network, Outage, Said, Together, What, imagine, reaches_of, together};
use crate::domain::suppression::{Held, Suppressor};
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
    pub own_network_down: Option<DurationSetting>,
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
    let network = network(config, imagining.own_network_down, from)?;
    let routing = (**imagined.listing.routing()).clone();
    let watched = imagined.with_parents(&endpoints);
    let said = imagine(&watched, imagined.holds(), routing, Outage { from, to, failing, network });
    // What was held or said before the outage began is not of it.
    let said: Vec<Said> = said.into_iter().filter(|said| said.at >= from).collect();
    let may_group = |name: &str| {
        let channel = imagined.listing.channels.iter().find(|channel| channel.name == name);
        channel.is_none_or(|channel| !channel.transport.has_life_cycle())
    };
    let policy = config.telling.group_messages;
    let together = policy.map(|policy| together(&said, &policy, may_group)).unwrap_or_default();
    let shown = Shown { endpoints: &endpoints, watched: &watched, together: &together, timezone: config.timezone };
    if imagining.json {
        say(&serde_json::to_string_pretty(&shown.value(from, to, &said)).map_err(Failed::running)?);
    } else {
        say(&shown.text(from, to, &said));
    }
    Ok(ExitCode::SUCCESS)
}

/// The targets of our own network, and until when it is cut off.
fn network(
    config: &Config,
    down: Option<DurationSetting>,
    from: Timestamp,
) -> Result<Option<(Network, Option<Timestamp>)>, Failed> {
    let Some(connectivity) = &config.connectivity else {
        let why = "--own-network-down needs `connectivity` with targets: without them every failure counts";
        return if down.is_some() { Err(Failed::cannot_start(why)) } else { Ok(None) };
    };
    let until = |down: DurationSetting| {
        let length = TimeDelta::from_std(down.0).ok().filter(|length| *length <= LONGEST);
        let until = length.and_then(|length| from.checked_add_signed(length));
        until.ok_or_else(|| Failed::cannot_start("--own-network-down is at most 31 days"))
    };
    let reaches = connectivity.targets.iter().map(|target| reaches_of(target.host()));
    let reaches = reaches.reduce(Reaches::and).unwrap_or_default();
    let targets = u32::try_from(connectivity.targets.len()).unwrap_or(u32::MAX);
    Ok(Some((Network::new(connectivity.rules, reaches, targets), down.map(until).transpose()?)))
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

/// How it is shown.
struct Shown<'a> {
    endpoints: &'a [Arc<KnownEndpoint>],
    /// With those on which they depend.
    watched: &'a [Arc<KnownEndpoint>],
    /// By their places in what was said.
    together: &'a [Together],
    timezone: chrono_tz::Tz,
}

impl Shown<'_> {
    fn name(&self, said: &Said) -> String {
        let found = self.watched.iter().find(|known| known.id == said.endpoint);
        found.map_or_else(|| "own network".to_owned(), |known| label(known))
    }

    /// The channels that get a message later, with others, and when.
    fn later(&self, message: usize) -> BTreeMap<&str, Timestamp> {
        let of_it = self.together.iter().filter(|together| together.messages.contains(&message));
        of_it.map(|together| (together.channel.as_str(), together.at)).collect()
    }

    fn digests(&self) -> impl Iterator<Item = &Together> {
        self.together.iter().filter(|together| together.messages.len() > 1)
    }

    /// What is shown of what was said, by its places: of checks that are not counted the first of a row.
    fn events(said: &[Said]) -> Vec<(usize, &Said)> {
        let mut uncounted = BTreeSet::new();
        let is_shown = |(_, one): &(usize, &Said)| {
            if one.what == What::NotCounted {
                return uncounted.insert(one.endpoint);
            }
            if one.endpoint.0 == 0 {
                uncounted.clear();
            }
            true
        };
        said.iter().enumerate().filter(is_shown).collect()
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
        let shown: Vec<_> = Self::events(said).into_iter().map(|(n, one)| (n, one, self.name(one))).collect();
        let all = shown.iter().map(|(_, _, name)| name);
        let width = all.clone().chain(&names).map(|name| name.chars().count()).max().unwrap_or(0);
        let is_one = all.chain(&names).all(|name| *name == names[0]);
        let line = |at: Timestamp, name: &str, sentence: &str| {
            let name = if is_one { String::new() } else { format!("{name:<width$}  ") };
            (at, format!("{}  {name}{sentence}", self.clock(at)))
        };
        let told = shown.iter().map(|(n, one, name)| line(one.at, name, &self.sentence(*n, &one.what)));
        let digest = |digest: &Together| {
            let messages = super::counted(digest.messages.len(), "message");
            line(digest.at, "", &format!("told      digest of {messages} → {}", digest.channel))
        };
        let mut told: Vec<_> = told.chain(self.digests().map(digest)).collect();
        told.sort_by_key(|(at, _)| *at);
        lines.extend(told.into_iter().map(|(_, line)| line));
        let messages = said.iter().filter(|one| is_told(&one.what)).count();
        let digests = match self.digests().count() {
            0 => String::new(),
            digests => format!(", partly in {}", super::counted(digests, "digest")),
        };
        lines.push(format!("told: {}{digests}", super::counted(messages, "message")));
        lines.join("\n")
    }

    fn sentence(&self, n: usize, what: &What) -> String {
        match what {
            What::NotCounted => "unknown   its check failed and is not counted: our own network is in doubt".to_owned(),
            What::Status { from, to, since } => format!("status    {from} → {to}, since {}", self.clock(*since)),
            What::Message { event, to, held_by: None, ordinal, .. } => {
                let number = match (event, ordinal) {
                    (Event::Blind, 0) => format!(" ({})", network_status::BLIND),
                    (Event::Blind, 1) => format!(" ({})", network_status::IGNORED),
                    (Event::Blind, _) => format!(" ({})", network_status::REACHABLE),
                    (_, 0) => String::new(),
                    (_, ordinal) => format!(" {ordinal}"),
                };
                let later = self.later(n);
                let mut all: Vec<String> =
                    to.iter().filter(|channel| !later.contains_key(channel.as_str())).cloned().collect();
                for (channel, at) in later {
                    let at = at.with_timezone(&self.timezone).format("%T");
                    all.push(format!("{channel} at {at} (grouping)"));
                }
                let to = if all.is_empty() { "nobody".to_owned() } else { all.join(", ") };
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
        let event = |(n, one): &(usize, &Said)| {
            let mut value = of(&one.what);
            value["at"] = json!(one.at);
            value["endpoint"] = json!(self.name(one));
            let later = self.later(*n);
            if !later.is_empty() {
                value["grouped_until"] = json!(later);
            }
            (one.at, value)
        };
        let digest = |digest: &Together| {
            let ids = digest.messages.iter().filter_map(|n| match &said[*n].what {
                What::Message { id, .. } => Some(id.as_str()),
                _ => None,
            });
            let names: BTreeSet<String> = digest.messages.iter().map(|n| self.name(&said[*n])).collect();
            let value = json!({"what": "digest", "at": digest.at, "channels": [digest.channel],
                "ids": ids.collect::<Vec<_>>(), "endpoints": names});
            (digest.at, value)
        };
        let mut events: Vec<(Timestamp, Value)> = Self::events(said).iter().map(event).collect();
        events.extend(self.digests().map(digest));
        events.sort_by_key(|(at, _)| *at);
        json!({
            "timezone": self.timezone.name(),
            "from": from,
            "to": to,
            "endpoints": self.endpoints.iter().map(|known| label(known)).collect::<Vec<_>>(),
            "messages": said.iter().filter(|one| is_told(&one.what)).count(),
            "digests": self.digests().count(),
            "events": events.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
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
        What::NotCounted => json!({"what": "not_counted", "held_by": Suppressor::OwnNetwork}),
        What::LetGo { matter } => json!({"what": "let_go", "matter": matter}),
        What::Opened { started_at } => json!({"what": "incident_opened", "started_at": started_at}),
        What::Reopened { started_at } => json!({"what": "incident_reopened", "started_at": started_at}),
        What::Closed { started_at, at } => {
            json!({"what": "incident_closed", "started_at": started_at, "resolved_at": at})
        }
    }
}
