//! What keeps messages back, in sentences.

use std::time::Duration;

use chrono::SecondsFormat;

use super::Holding;
use crate::board::Entry;
use crate::domain::Timestamp;
use crate::domain::promise::Promise;
use crate::domain::suppression::{AtEnd, Held, Matter, Suppressor};
use crate::service::context::ServiceContext;
use crate::store::outbox::WaitsForDigest;

/// Why something holds, without its end.
pub(super) fn reason(ctx: &ServiceContext, entry: &Entry, held: &Held) -> String {
    let name = held.name.as_str();
    match held.by {
        Suppressor::NotificationsDisabled => "`notifications.enabled` is false: nothing is told at all".to_owned(),
        Suppressor::NobodyToTell => nobody(ctx, entry),
        Suppressor::NobodyWasTold => "Nobody was told that it had begun".to_owned(),
        Suppressor::Paused if entry.known.paused => "It is paused by hand: it is not checked".to_owned(),
        Suppressor::Paused => "`is_active` is false: it is not checked".to_owned(),
        Suppressor::StartGrace => {
            "This monitor has just started, and its network may not be up: that a name is not found or nothing can be \
             connected to does not count yet"
                .to_owned()
        }
        Suppressor::OwnNetwork => {
            let why = entry.live.in_doubt.as_ref().map(|hold| hold.reason.as_str());
            with(why.unwrap_or_default(), "Our own network is in doubt")
        }
        Suppressor::MaintenanceWindow => {
            let window = ctx.quiet.window(name);
            let why = window.as_ref().and_then(|known| known.window.as_ref()).map(|window| window.reason.as_str());
            with(why.unwrap_or_default(), &format!("The maintenance window `{name}` is open"))
        }
        Suppressor::Silence => {
            let silence = name.parse().ok().and_then(|id| ctx.quiet.silence(id));
            let by = silence.as_ref().map(|silence| format!(" by `{}`", silence.created_by)).unwrap_or_default();
            let why = silence.as_ref().and_then(|silence| silence.settings.comment.as_deref());
            with(why.unwrap_or_default(), &format!("The silence {name}{by} is on"))
        }
        Suppressor::ParentDown if held.until.is_some() => {
            format!("It depends on `{name}`: whether that is down, or it alone, is being checked")
        }
        Suppressor::ParentDown => {
            let why = entry.parent_down.as_ref().map(|hold| hold.reason.as_str());
            with(why.unwrap_or_default(), &format!("It depends on `{name}`, which is down"))
        }
        Suppressor::Acknowledged => format!("`{name}` looks after it"),
        Suppressor::Flapping => "It goes up and down, which is told once; then it must be steady".to_owned(),
        Suppressor::Cooldown => "It was down again soon after a recovery, and must stay up for a while".to_owned(),
        Suppressor::Grouping => "Many messages came at once: what is left goes into one".to_owned(),
    }
}

/// What grouping keeps back, without its end.
pub(super) fn waits(waits: &WaitsForDigest) -> String {
    let WaitsForDigest { event, channel, others, .. } = waits;
    let with = match others {
        0 => String::new(),
        1 => ", with 1 other endpoint".to_owned(),
        others => format!(", with {others} other endpoints"),
    };
    format!("Many messages to {channel} came at once: `{event}` waits for the digest{with}")
}

fn with(detail: &str, sentence: &str) -> String {
    if detail.is_empty() { sentence.to_owned() } else { format!("{sentence}: {detail}") }
}

/// Why the route leads nowhere.
fn nobody(ctx: &ServiceContext, entry: &Entry) -> String {
    let listing = ctx.directory.get();
    let routing = listing.routing();
    let endpoint = &entry.known.endpoint;
    let wanted = endpoint.notify.as_deref();
    if wanted.is_some_and(<[String]>::is_empty) {
        return "`notify: []`: nobody is to be told of it".to_owned();
    }
    if routing.channels.is_empty() {
        return "There is no channel".to_owned();
    }
    if wanted.is_none() && routing.default_route.as_ref().is_some_and(Vec::is_empty) {
        return "The default route is `notify: []`: nobody is to be told".to_owned();
    }
    format!("No channel of its route is on and takes what is `{}`", endpoint.severity)
}

/// What the sentences are about.
pub(super) struct Seen<'a> {
    pub(super) entry: &'a Entry,
    pub(super) holds: &'a [Holding],
    /// Who would be told.
    pub(super) channels: &'a [String],
    /// Of an open incident: whether anybody was, and who, if that is known.
    pub(super) is_told: bool,
    pub(super) told: Option<&'a [String]>,
    /// Of these, who is about to be, by a digest.
    pub(super) to_come: &'a [&'a WaitsForDigest],
    pub(super) promise: Promise,
    pub(super) now: Timestamp,
}

/// The whole truth in a few sentences.
pub(super) fn sentence(seen: &Seen<'_>) -> String {
    let Seen { entry, holds, channels, is_told, told, to_come, promise, now } = *seen;
    // A digest keeps back what is on its way, and nothing that is to come.
    let grouped = holds.iter().find(|holding| holding.held.by == Suppressor::Grouping);
    let of = |matter| {
        let holds = holds.iter().filter(|holding| holding.held.by != Suppressor::Grouping);
        holds.into_iter().find(move |holding| holding.holds_back.contains(&matter))
    };
    let to = listed(channels);
    if let Some(open) = &entry.live.state.incident {
        let since = instant(open.started_at);
        let whom = told_to(told.unwrap_or_default(), to_come);
        return match (open.held, is_told) {
            (Some(held), true) => {
                let until = instant(held.release_at);
                format!(
                    "It was down from {since}, which was {whom}. It is good again, which is told at {until} if it stays so"
                )
            }
            (Some(_), false) => format!("It was down from {since}, of which nobody was told, and is good again"),
            (None, false) => {
                let why = of(Matter::Opening).or(grouped);
                let why = why.map_or_else(|| "it is told in a moment".to_owned(), held_back);
                format!("It is down since {since}, and nobody was told. {why}")
            }
            (None, true) => {
                let again = match (of(Matter::Reminder), open.remind_at) {
                    (Some(holding), _) => format!("Reminders are held back: {}", held_back(holding)),
                    (None, Some(at)) => format!("The next reminder is due at {}", instant(at.max(now))),
                    (None, None) => "There are no reminders".to_owned(),
                };
                format!("It is down since {since}, which was {whom}. {again}")
            }
        };
    }
    let threshold = entry.known.endpoint.alert_policy.failure_threshold;
    let failing = match entry.live.state.failures {
        0 => String::new(),
        failures if threshold.is_in_a_row() => format!("{failures} of {} failed checks. ", threshold.failures),
        failures => format!("{failures} of {} failed checks among {}. ", threshold.failures, threshold.of),
    };
    let soon = match in_words(promise.usually) {
        _ if promise.usually.is_zero() => "at the first failed check".to_owned(),
        usually => format!("about {usually} after the first failed check"),
    };
    let at_most = in_words(promise.at_most);
    let on_its_way = grouped.map(|holding| format!(". {}", held_back(holding))).unwrap_or_default();
    let outage = match of(Matter::Opening) {
        None => format!("{failing}Nothing holds messages back: {to} would be told {soon}, at most {at_most}"),
        Some(holding) if holding.held.by == Suppressor::StartGrace => {
            let others = holds.iter().skip_while(|other| other.held.by != Suppressor::StartGrace).skip(1);
            let mut others = others.filter(|other| other.holds_back.contains(&Matter::Opening));
            let rest = others.next().map_or_else(
                || format!("Of anything else {to} would be told {soon}, at most {at_most}"),
                |other| format!("Nor would anything else be told: {}", held_back(other)),
            );
            format!("{failing}{}. {rest}", held_back(holding))
        }
        Some(holding) => format!("{failing}An outage would not be told: {}", held_back(holding)),
    };
    outage + &on_its_way
}

/// `told to ops and mail`, `told to ops; sms is told at …, in one message with others`
fn told_to(told: &[String], to_come: &[&WaitsForDigest]) -> String {
    let to_come = |channel: &String| to_come.iter().find(|waits| waits.channel == *channel);
    let (later, told): (Vec<_>, Vec<_>) = told.iter().cloned().partition(|channel| to_come(channel).is_some());
    let mut parts = vec![if told.is_empty() { "told".to_owned() } else { format!("told to {}", listed(&told)) }];
    parts.extend(
        later
            .iter()
            .filter_map(to_come)
            .map(|waits| format!("{} is told at {}, in one message with others", waits.channel, instant(waits.until))),
    );
    parts.join("; ")
}

/// The reason with its end, and what is done then.
fn held_back(holding: &Holding) -> String {
    let then = match holding.held.at_end {
        AtEnd::Nothing => "",
        AtEnd::Digest => "; then one message tells all of it",
        AtEnd::Counts => "; then it counts",
        AtEnd::CheckedThenTold => "; then it is checked at once, and told if it is still down",
        AtEnd::Told => "; then it is told, if it is still so",
        AtEnd::GoesOn => "; then they go on",
    };
    match holding.held.until {
        Some(until) => format!("{}, until {}{then}", holding.reason, instant(until)),
        None => format!("{}{then}", holding.reason),
    }
}

/// `ops`, `ops and mail`, `ops, mail and sms`
fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

fn instant(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// To the second, upwards: `1m 6s`.
fn in_words(length: Duration) -> String {
    let whole = Duration::from_secs(length.as_secs() + u64::from(length.subsec_nanos() > 0));
    humantime::format_duration(whole).to_string().replace("days", "d").replace("day", "d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lengths_read_well() {
        let names = |names: &[&str]| listed(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(names(&[]), "nobody");
        assert_eq!(names(&["ops"]), "ops");
        assert_eq!(names(&["ops", "mail"]), "ops and mail");
        assert_eq!(names(&["ops", "mail", "sms"]), "ops, mail and sms");
        assert_eq!(in_words(Duration::from_millis(65_200)), "1m 6s");
    }
}
