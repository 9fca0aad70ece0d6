//! Our own sentences: what a person reads where no template of theirs says it.
//!
//! Text without any markup; how it looks in a channel is the channel's matter.

mod digest;

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::domain::notification::{AlertEnding, Event, Notification, network_status};

/// One message in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// What happened, in a line.
    pub(super) headline: Headline,
    /// What else is to be said, a line each.
    pub(super) lines: Vec<String>,
    /// How many of the lines, from the first, are each about an endpoint of a digest.
    many: usize,
    /// Where all of them are listed.
    all_at: String,
}

/// A line with a name in it, in pieces, so that a channel can set the name apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Headline {
    mark: &'static str,
    /// What kind of message it is, for a list of subjects; a chat sees it by the mark.
    lead: &'static str,
    before: &'static str,
    name: String,
    after: String,
}

impl Headline {
    /// The line with the name as `set_apart` writes it and the rest as `escape` does.
    pub(super) fn written(&self, escape: impl Fn(&str) -> String, set_apart: impl Fn(&str) -> String) -> String {
        let before = escape(&format!("{} {}", self.mark, self.before));
        format!("{before}{}{}", set_apart(&self.name), escape(&self.after))
    }
}

impl Words {
    pub(super) fn of(notification: &Notification, timezone: Tz) -> Self {
        if notification.event == Event::Digest {
            return digest::words(notification, timezone);
        }
        let said = Said { n: notification, timezone };
        Self { headline: said.headline(), lines: said.lines(), many: 0, all_at: String::new() }
    }

    /// The subject of a mail.
    pub(super) fn subject(&self) -> String {
        let Headline { mark, lead, before, name, after } = &self.headline;
        format!("{mark} {lead}{before}{name}{after}")
    }

    /// The headline alone.
    pub(super) fn title(&self) -> String {
        self.headline.written(str::to_owned, str::to_owned)
    }

    /// The whole text.
    pub(super) fn text(&self) -> String {
        let mut text = self.title();
        for line in &self.lines {
            text.push('\n');
            text.push_str(line);
        }
        text
    }
}

/// A notification that was an outage, told only after its end.
pub(super) fn is_late(notification: &Notification) -> bool {
    let incident = notification.incident.as_ref().and_then(|incident| incident.resolved_at);
    let alert = notification.alert.as_ref().and_then(|alert| alert.resolved_at);
    notification.told_late && incident.or(alert).is_some()
}

struct Said<'a> {
    n: &'a Notification,
    timezone: Tz,
}

impl Said<'_> {
    fn headline(&self) -> Headline {
        let (mark, lead, before, after) = match self.n.event {
            _ if is_late(self.n) => ("🕓", "", "Told late: ", format!(" was {}{}", self.trouble(), self.span())),
            Event::Down => ("🚨", "Alert: ", "", " is DOWN".to_owned()),
            Event::DownAgain => ("🚨", "Alert: ", "", " is DOWN again".to_owned()),
            Event::Reminder => ("🔁", "Reminder: ", "", format!(" is still DOWN{}", self.lasting())),
            Event::Up if self.n.incident.is_none() => {
                ("✅", "Recovery: ", "", " is being checked again, and is up".to_owned())
            }
            Event::Up => ("✅", "Recovery: ", "", " is back online".to_owned()),
            Event::Flapping => ("〰️", "Alert: ", "", " goes up and down".to_owned()),
            Event::Escalated => ("📣", "Escalation: ", "", format!(" is still DOWN{}", self.lasting())),
            Event::Acknowledged => ("👀", "", "Somebody looks after ", String::new()),
            Event::NoData => ("❔", "Alert: ", "", " is not being checked".to_owned()),
            Event::NoLongerMonitored => ("⏹️", "", "", " is no longer monitored".to_owned()),
            Event::ChannelFailing => ("⚠️", "", "The channel ", " does not deliver".to_owned()),
            Event::Blind => self.network(),
            Event::CertificateExpiring => ("⏳", "Warning: ", "The certificate of ", " expires soon".to_owned()),
            Event::AlertFiring => ("🚨", "Alert: ", "", format!(" is {}", self.trouble())),
            Event::AlertResolved if self.is_cleared() => {
                ("✅", "Recovery: ", "", format!(" is no longer {}", self.trouble()))
            }
            Event::AlertResolved => ("⏹️", "", "", " is no longer watched as it was".to_owned()),
            Event::Test => ("🔔", "Test: ", "A test message of api-monitor for ", String::new()),
            // In words of its own.
            Event::Digest => ("", "", "", String::new()),
        };
        Headline { mark, lead, before, name: one_line(&self.n.endpoint_name), after }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = match self.n.event {
            _ if is_late(self.n) => {
                let mut lines = vec!["It could not be told while it lasted; it is over.".to_owned()];
                lines.extend(self.cause("Error"));
                lines
            }
            Event::Down | Event::DownAgain | Event::Reminder | Event::Escalated => {
                let mut lines: Vec<String> = self.cause("Error").into_iter().collect();
                lines.extend(self.since());
                lines
            }
            Event::Up => {
                let mut lines = vec![format!("Recovered at: {}", self.instant(self.recovered_at()))];
                lines.extend(self.outage());
                lines.extend(self.cause("It was"));
                lines
            }
            Event::Flapping => {
                let mut lines = vec![format!(
                    "It is {} at this moment; what follows is told once it has been steady.",
                    one_line(&self.n.status)
                )];
                lines.extend(self.cause("Last error"));
                lines
            }
            Event::Acknowledged => {
                let mut lines: Vec<String> = self.acknowledgement();
                lines.extend(self.cause("Error"));
                lines
            }
            Event::NoData => {
                vec![
                    "No check of it could be made for some time: this monitor is overloaded. Nothing is known of it."
                        .to_owned(),
                ]
            }
            Event::NoLongerMonitored if self.n.incident.is_none() => Vec::new(),
            Event::NoLongerMonitored => {
                let mut lines = vec!["Its incident is closed; nothing more will be told about it.".to_owned()];
                lines.extend(self.left_open());
                lines
            }
            Event::ChannelFailing => self.cause("Error").into_iter().collect(),
            Event::Blind => self.cause("Why").into_iter().collect(),
            Event::CertificateExpiring => self.n.error.iter().map(|when| one_line(when)).collect(),
            Event::AlertFiring => {
                let mut lines: Vec<String> = self.cause("Why").into_iter().collect();
                lines.extend(self.n.alert.as_ref().map(|alert| format!("Since {}", self.instant(alert.crossed_at))));
                lines
            }
            Event::AlertResolved => {
                let mut lines = vec![self.ended()];
                lines.extend(self.alert());
                lines.extend(self.cause("It was"));
                lines
            }
            Event::Test => vec!["Nothing has happened: somebody tries whether this channel works.".to_owned()],
            Event::Digest => Vec::new(),
        };
        if !self.n.url.is_empty() && !matches!(self.n.event, Event::ChannelFailing | Event::Test) {
            lines.push(format!("URL: {}", one_line(&self.n.url)));
        }
        lines.extend(self.n.remarks.iter().map(|remark| one_line(remark)));
        if let Some(runbook) = &self.n.runbook {
            lines.push(format!("Runbook: {}", one_line(runbook)));
        }
        if let Some(url) = self.n.incident.as_ref().and_then(|incident| incident.url.as_ref()) {
            lines.push(format!("Incident: {}", one_line(url)));
        }
        if let Some(url) = self.n.incident.as_ref().and_then(|incident| incident.acknowledge_url.as_ref()) {
            lines.push(format!("Acknowledge: {}", one_line(url)));
        }
        lines
    }

    fn network(&self) -> (&'static str, &'static str, &'static str, String) {
        match self.n.status.as_str() {
            network_status::IGNORED => ("⚠️", "Alert: ", "The check of our ", " is broken, and ignored".to_owned()),
            network_status::REACHABLE => ("✅", "Recovery: ", "Our ", " is there again".to_owned()),
            _ => ("🕶️", "Alert: ", "Blind: our ", " is in doubt".to_owned()),
        }
    }

    fn cause(&self, lead: &str) -> Option<String> {
        self.n.error.as_ref().map(|error| format!("{lead}: {}", one_line(error)))
    }

    /// By whom, until when.
    fn acknowledgement(&self) -> Vec<String> {
        let Some(a) = self.n.incident.as_ref().and_then(|incident| incident.acknowledgement.as_ref()) else {
            return Vec::new();
        };
        let until = self.instant(a.until);
        let mut lines = vec![format!("Acknowledged by {}; nobody is reminded until {until}", one_line(&a.by))];
        lines.extend(a.note.as_ref().map(|note| format!("Note: {}", one_line(note))));
        lines
    }

    /// Since when, and how it was noticed.
    fn since(&self) -> Option<String> {
        let incident = self.n.incident.as_ref()?;
        let noticed = between(incident.started_at, incident.opened_at);
        let attempts = self.n.check.as_ref().map_or(String::new(), |check| match check.attempts {
            0 | 1 => String::new(),
            attempts => format!(", the last check tried {attempts} times"),
        });
        Some(if noticed.is_zero() {
            format!("Since {}, noticed by the first failed check{attempts}", self.instant(incident.started_at))
        } else {
            format!(
                "Since {}, confirmed {} after the first failed check{attempts}",
                self.instant(incident.started_at),
                in_words(noticed)
            )
        })
    }

    /// How long an outage that is over has lasted.
    fn outage(&self) -> Option<String> {
        let began = self.instant(self.n.incident.as_ref()?.started_at);
        Some(format!("The outage began {began} and lasted {}", self.length()?))
    }

    /// `down`, or what is wrong with the metric: `above 80%`.
    fn trouble(&self) -> String {
        match &self.n.alert {
            Some(alert) => format!("{} {}", alert.comparison.in_words(), one_line(&alert.threshold)),
            None => "down".to_owned(),
        }
    }

    fn is_cleared(&self) -> bool {
        self.n.alert.as_ref().is_none_or(|alert| alert.ending.is_none_or(|ending| ending == AlertEnding::Cleared))
    }

    /// How an alert ended.
    fn ended(&self) -> String {
        let at = self.instant(self.n.occurred_at);
        match self.n.alert.as_ref().and_then(|alert| alert.ending) {
            None | Some(AlertEnding::Cleared) => format!("Recovered at: {at}"),
            Some(AlertEnding::RuleChanged) => format!("Its rule was changed at {at}, and is looked at anew"),
            Some(AlertEnding::RuleDeleted) => format!("Its rule was deleted at {at}"),
        }
    }

    /// How long an alert lasted.
    fn alert(&self) -> Option<String> {
        let alert = self.n.alert.as_ref()?;
        let length = in_words(Duration::from_secs(alert.duration_seconds.try_into().unwrap_or(0)));
        Some(format!("It began {} and lasted {length}", self.instant(alert.crossed_at)))
    }

    /// How long nobody saw the end of the outage.
    fn left_open(&self) -> Option<String> {
        let began = self.instant(self.n.incident.as_ref()?.started_at);
        Some(format!("The outage began {began}; its end had not been seen after {}", self.length()?))
    }

    fn length(&self) -> Option<String> {
        let seconds = self.n.incident.as_ref()?.duration_seconds;
        Some(in_words(Duration::from_secs(seconds.try_into().unwrap_or(0))))
    }

    fn recovered_at(&self) -> DateTime<Utc> {
        self.n.incident.as_ref().and_then(|incident| incident.resolved_at).unwrap_or(self.n.occurred_at)
    }

    /// ` (2 h 5 min)`
    fn lasting(&self) -> String {
        self.length().map_or_else(String::new, |length| format!(" ({length})"))
    }

    /// ` 03:10–03:25`, with the days when they are not the same.
    fn span(&self) -> String {
        let incident = self.n.incident.as_ref().map(|incident| (incident.started_at, incident.resolved_at));
        let alert = self.n.alert.as_ref().map(|alert| (alert.crossed_at, alert.resolved_at));
        let Some((from, to)) = incident.or(alert) else { return String::new() };
        let from = from.with_timezone(&self.timezone);
        let to = to.unwrap_or(self.n.occurred_at).with_timezone(&self.timezone);
        if from.date_naive() == to.date_naive() {
            format!(" {}–{} on {}", from.format("%H:%M"), to.format("%H:%M %Z"), from.format("%Y-%m-%d"))
        } else {
            format!(" {}–{}", from.format("%Y-%m-%d %H:%M"), to.format("%Y-%m-%d %H:%M %Z"))
        }
    }

    fn instant(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.timezone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
    }
}

/// A text that came from outside, on one line and without control characters.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        let blank = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if !blank && !is_bidi_control(c) {
            line.push(c);
        } else if blank && !line.ends_with(' ') {
            line.push(' ');
        }
    }
    line.trim().to_owned()
}

/// Characters that turn the reading direction, by which a text can be made to read as another.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    Duration::from_secs((to - from).num_seconds().try_into().unwrap_or(0))
}

/// `12 s`, `4 min 5 s`, `2 h 10 min`, `3 d 4 h`: the two largest units.
pub(super) fn in_words(length: Duration) -> String {
    let seconds = length.as_secs();
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")];
    let Some(first) = units.iter().position(|(n, _)| *n > 0) else { return "0 s".to_owned() };
    let shown = units[first..].iter().take(2).filter(|(n, _)| *n > 0);
    shown.map(|(n, unit)| format!("{n} {unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{down, with_event};

    fn told(notification: &Notification, timezone: Tz) -> String {
        let words = Words::of(notification, timezone);
        format!("Subject: {}\n\n{}", words.subject(), words.text())
    }

    #[test]
    fn our_own_network_is_in_doubt_over_or_what_says_so_is_broken() {
        let of = |status: &str| {
            let mut notification = with_event(Event::Blind);
            status.clone_into(&mut notification.status);
            Words::of(&notification, Tz::UTC).title()
        };
        assert_eq!(of("blind"), "🕶️ Blind: our own network is in doubt");
        assert_eq!(of("ignored"), "⚠️ The check of our own network is broken, and ignored");
        assert_eq!(of("reachable"), "✅ Our own network is there again");
    }

    #[test]
    fn every_event_has_its_words() {
        for event in Event::ALL {
            insta::assert_snapshot!(event.as_str(), told(&with_event(*event), chrono_tz::Europe::Berlin));
        }
    }

    #[test]
    fn an_outage_told_late_says_when_it_was() {
        let mut late = with_event(Event::Up);
        late.event = Event::Down;
        late.told_late = true;
        insta::assert_snapshot!("told_late", told(&late, chrono_tz::Europe::Berlin));
        late.incident.as_mut().unwrap().started_at -= chrono::TimeDelta::days(1);
        insta::assert_snapshot!("told_late_over_midnight", told(&late, chrono_tz::UTC));
        let mut alert = with_event(Event::AlertResolved);
        alert.told_late = true;
        insta::assert_snapshot!("alert_told_late", told(&alert, chrono_tz::UTC));
    }

    #[test]
    fn an_alert_that_ended_by_its_rule_is_no_recovery() {
        let mut ended = with_event(Event::AlertResolved);
        for (ending, name) in
            [(AlertEnding::RuleChanged, "alert_rule_changed"), (AlertEnding::RuleDeleted, "alert_rule_deleted")]
        {
            ended.alert.as_mut().unwrap().ending = Some(ending);
            insta::assert_snapshot!(name, told(&ended, chrono_tz::UTC));
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut bare = down();
        (bare.error, bare.check, bare.runbook, bare.incident) = (None, None, None, None);
        insta::assert_snapshot!("bare", told(&bare, chrono_tz::UTC));
    }

    #[test]
    fn a_recovery_never_says_down() {
        let text = told(&with_event(Event::Up), chrono_tz::UTC).to_lowercase();
        assert!(!text.contains("down"), "{text}");
    }

    #[test]
    fn lengths_have_two_units() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (245, "4 min 5 s"),
            (3605, "1 h"),
            (7800, "2 h 10 min"),
            (183_600, "2 d 3 h"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
