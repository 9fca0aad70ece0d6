//! A digest in words: a line for each endpoint, and what is said where a service does not take them all.

use chrono_tz::Tz;

use super::{Headline, Words, in_words, one_line};
use crate::domain::grouping::digest::DigestItem;
use crate::domain::notification::{Event, Notification};
use crate::domain::outcome::Status;

/// The longest cause in a line, in characters: there are many.
const MAX_CAUSE: usize = 160;

impl Words {
    /// As many of the endpoints of a digest as there is room for, and how many more there are. Every other message, and
    /// a digest that fits, is left as it is.
    pub(in crate::notify) fn fitting(self, fits: impl Fn(&Self) -> bool) -> Self {
        if self.many == 0 || fits(&self) {
            return self;
        }
        // The most with which it fits: `good` always does, or nothing does.
        let (mut good, mut bad) = (0, self.many);
        while bad - good > 1 {
            let middle = usize::midpoint(good, bad);
            if fits(&self.first(middle)) { good = middle } else { bad = middle }
        }
        self.first(good)
    }

    fn first(&self, count: usize) -> Self {
        let mut lines: Vec<String> = self.lines.iter().take(count).cloned().collect();
        lines.push(format!("… and {} more: GET {}", self.many - count, self.all_at));
        lines.extend(self.lines.iter().skip(self.many).cloned());
        Self { headline: self.headline.clone(), lines, many: count, all_at: self.all_at.clone() }
    }
}

pub(super) fn words(n: &Notification, timezone: Tz) -> Words {
    let mut lines: Vec<String> = n.items.iter().map(|item| line(item, timezone)).collect();
    let many = lines.len();
    lines.extend(n.remarks.iter().map(|remark| one_line(remark)));
    Words { headline: headline(n), lines, many, all_at: address(n) }
}

fn headline(n: &Notification) -> Headline {
    let all = n.items.len();
    let count = |is: &dyn Fn(&&DigestItem) -> bool| n.items.iter().filter(is).count();
    let down = count(&|item| !item.is_over() && item.status == "down");
    let up = count(&|item| item.event == Event::Up);
    let is = if all == 1 || down == 1 { "is" } else { "are" };
    let of = |some: usize| if some == all { n.endpoint_name.clone() } else { format!("{some} of {}", n.endpoint_name) };
    let (mark, lead, name, after) = match () {
        () if down > 0 => ("🚨", "Alert: ", of(down), format!(" {is} DOWN")),
        () if up == all => ("✅", "Recovery: ", of(up), format!(" {is} back online")),
        () if n.items.iter().all(DigestItem::is_over) => {
            ("⏹️", "", of(all), format!(" {is} up again or no longer monitored"))
        }
        () => ("⚠️", "Alert: ", of(all), " have changed".to_owned()),
    };
    Headline { mark, lead, before: "", name: one_line(&name), after }
}

fn line(item: &DigestItem, timezone: Tz) -> String {
    let name = match item.endpoint.group.as_str() {
        "" => one_line(&item.endpoint.name),
        group => format!("{}/{}", one_line(group), one_line(&item.endpoint.name)),
    };
    let said = match item.event {
        Event::Up if item.was_down() => format!("was down{}, and is back online", span(item, timezone)),
        Event::Up if item.incident.is_none() && item.previous_status == Status::Degraded.as_str() => {
            "is no longer degraded".to_owned()
        }
        Event::Degraded => format!("is degraded{}", cause(item)),
        Event::Up if item.incident.is_none() => "is being checked again, and is up".to_owned(),
        Event::Up => format!("is back online{}", lasting(item)),
        Event::DownAgain => format!("is DOWN again{}", cause(item)),
        Event::Reminder | Event::Escalated => format!("is still DOWN{}{}", lasting(item), cause(item)),
        Event::Flapping => format!("goes up and down{}", cause(item)),
        Event::Acknowledged => match item.incident.as_ref().and_then(|incident| incident.acknowledgement.as_ref()) {
            Some(acknowledgement) => format!("is looked after by {}", one_line(&acknowledgement.by)),
            None => "is looked after".to_owned(),
        },
        Event::NoData => "is not being checked".to_owned(),
        Event::NoLongerMonitored => "is no longer monitored".to_owned(),
        _ => format!("is DOWN{}", cause(item)),
    };
    format!("{name} {said}")
}

fn cause(item: &DigestItem) -> String {
    let Some(error) = item.error.as_deref().map(one_line) else { return String::new() };
    let short: String = match error.char_indices().nth(MAX_CAUSE) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error,
    };
    format!(": {short}")
}

/// ` (2 h 5 min)`
fn lasting(item: &DigestItem) -> String {
    let Some(incident) = &item.incident else { return String::new() };
    let length = in_words(std::time::Duration::from_secs(incident.duration_seconds.try_into().unwrap_or(0)));
    format!(" ({length})")
}

fn span(item: &DigestItem, timezone: Tz) -> String {
    let Some(incident) = &item.incident else { return String::new() };
    let from = incident.started_at.with_timezone(&timezone);
    let to = incident.resolved_at.unwrap_or(item.occurred_at).with_timezone(&timezone);
    if from.date_naive() == to.date_naive() {
        format!(" {}–{}", from.format("%H:%M:%S"), to.format("%H:%M:%S %Z"))
    } else {
        format!(" {}–{}", from.format("%Y-%m-%d %H:%M"), to.format("%Y-%m-%d %H:%M %Z"))
    }
}

/// Where all of them are listed. The incidents' links say at which address people open this monitor, if it is known.
fn address(n: &Notification) -> String {
    let links = n.items.iter().filter_map(|item| item.incident.as_ref()?.url.as_deref());
    let base = links.filter_map(|url| url.rsplit_once("/api/v1/incidents/")).map(|(base, _)| base).next();
    format!("{}/api/v1/notifications/{}", base.unwrap_or_default(), n.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grouping::digest::digest;
    use crate::notify::testing::with_event;

    fn about(number: i64, event: Event) -> Notification {
        let mut n = with_event(event);
        n.id = format!("{}_{number}", n.id);
        n.endpoint.id = number;
        n.endpoint.name = format!("Shop {number:04}");
        n.endpoint_name.clone_from(&n.endpoint.name);
        n
    }

    fn words_of(messages: &[Notification]) -> Words {
        words(&digest(&messages.iter().collect::<Vec<_>>()).unwrap(), chrono_tz::Europe::Berlin)
    }

    #[test]
    fn a_mixed_digest_says_each_endpoint_once() {
        let messages = [
            about(3, Event::Down),
            about(1, Event::Up),
            about(2, Event::Down),
            about(2, Event::Up),
            about(4, Event::Reminder),
            about(5, Event::NoLongerMonitored),
            about(6, Event::Acknowledged),
            about(7, Event::DownAgain),
            about(7, Event::Flapping),
            about(8, Event::NoData),
        ];
        let words = words_of(&messages);
        insta::assert_snapshot!("digest_mixed", words.text());
        for number in 1..=8 {
            assert_eq!(words.text().matches(&format!("Shop {number:04}")).count(), 1);
        }
    }

    #[test]
    fn a_digest_of_recoveries_never_says_down() {
        let words = words_of(&[about(1, Event::Up), about(2, Event::Up)]);
        insta::assert_snapshot!("digest_recovery", words.text());
        assert!(!words.text().to_lowercase().contains("down"));
    }

    #[test]
    fn where_there_is_no_room_it_says_how_many_more() {
        let messages: Vec<_> = (0..1_000).map(|number| about(number, Event::Down)).collect();
        let words = words_of(&messages);
        assert_eq!(words.lines.len(), 1_000);
        for room in [300, 2_000, 4_096] {
            let fitted = words.clone().fitting(|words| words.text().chars().count() <= room);
            let text = fitted.text();
            assert!(text.chars().count() <= room, "{text}");
            let named = text.matches("Shop ").count();
            assert!(named > 0 && text.contains(&format!("and {} more: GET ", 1_000 - named)), "{text}");
        }
        assert_eq!(words.clone().fitting(|_| true), words);
    }
}
