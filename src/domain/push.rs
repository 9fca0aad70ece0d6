//! Heartbeats: what the other side of a push endpoint may say, and what is said of it, or of its silence. Pure.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::outcome::{Failure, FailureKind, Outcome, shown};
use crate::domain::schedule::Schedule;

/// What a push endpoint needs beside its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushSpec {
    /// How much later than expected a heartbeat may come.
    pub grace: Duration,
}

/// What the other side reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A job has begun: how long it takes is measured from here. No heartbeat.
    Start,
    /// Something was written, which says neither that all is well nor that it is not. No heartbeat.
    Log,
    Heartbeat(Heartbeat),
}

/// That the other side lives, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    pub outcome: Outcome,
    /// How long the job took, where the other side says so itself.
    pub duration: Option<Duration>,
}

impl Heartbeat {
    pub fn up(duration: Option<Duration>) -> Self {
        Self { outcome: Outcome::Up, duration }
    }

    /// `said`: what the other side says of it; it may be empty.
    pub fn down(said: &str, duration: Option<Duration>) -> Self {
        Self { outcome: failed("Reported as failed", said), duration }
    }

    /// A job that has ended with an exit code: 0 is good.
    pub fn exited(code: u8, said: &str, duration: Option<Duration>) -> Self {
        match code {
            0 => Self::up(duration),
            code => Self { outcome: failed(&format!("Ended with exit code {code}"), said), duration },
        }
    }
}

fn failed(what: &str, said: &str) -> Outcome {
    let said = excerpt(said);
    let message = if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") };
    Outcome::Down(Failure::new(FailureKind::PushFailed, message))
}

/// Characters of a log that go into a sentence.
const EXCERPT: usize = 200;

/// The end of a text, which in a log says most, on one line.
fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let length = line.chars().count();
    if length <= EXCERPT {
        return shown(&line);
    }
    let end: String = line.chars().skip(length - (EXCERPT - 1)).collect();
    format!("…{}", shown(&end))
}

/// Since when nothing was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    pub since: Timestamp,
    /// There was a heartbeat then. Else it is only known that none came since: the endpoint is new, was resumed, or the
    /// monitor itself was away.
    pub after_heartbeat: bool,
}

/// Why an endpoint is down of which nothing was heard. `expected`: when the heartbeat was that did not come.
pub fn overdue(silence: Silence, schedule: &Schedule, spec: PushSpec, expected: Timestamp, now: Timestamp) -> Failure {
    let lasting = in_words((now - silence.since).to_std().unwrap_or_default());
    let silent = if silence.after_heartbeat {
        format!("No heartbeat for {lasting}")
    } else {
        format!("No heartbeat in {lasting} of watching")
    };
    let due = match schedule {
        Schedule::Interval(every) => format!("expected every {}", in_words(*every)),
        Schedule::Cron(cron) => {
            let at = expected.with_timezone(&cron.timezone());
            format!("expected at {}", at.format("%Y-%m-%d %H:%M:%S %Z"))
        }
    };
    let grace = if spec.grace.is_zero() { String::new() } else { format!(" with {} of grace", in_words(spec.grace)) };
    Failure::new(FailureKind::PushOverdue, format!("{silent}, {due}{grace}"))
}

/// `5 min 3 s`; the two largest units.
fn in_words(length: Duration) -> String {
    let seconds = length.as_secs();
    let units = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let Some(first) = units.iter().position(|(n, _)| *n > 0) else {
        return format!("{} ms", length.as_millis());
    };
    let parts = units.iter().skip(first).take(2).filter(|(n, _)| *n > 0);
    parts.map(|(n, unit)| format!("{n} {unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schedule::{CronSchedule, parse_timezone};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn told(outcome: &Outcome) -> &str {
        outcome.failure().map_or("", |failure| &failure.message)
    }

    #[test]
    fn a_failure_says_what_the_other_side_says() {
        assert_eq!(told(&Heartbeat::down("", None).outcome), "Reported as failed");
        assert_eq!(told(&Heartbeat::down("disk\n full\t!", None).outcome), "Reported as failed: disk full !");
        assert_eq!(told(&Heartbeat::exited(3, "", None).outcome), "Ended with exit code 3");
        assert_eq!(Heartbeat::exited(0, "all is well", None).outcome, Outcome::Up);
        let log = format!("{}the end", "line\n".repeat(1_000));
        let exited = Heartbeat::exited(255, &log, None);
        let message = told(&exited.outcome);
        assert!(message.starts_with("Ended with exit code 255: …") && message.ends_with(" line the end"), "{message}");
        assert_eq!(message.chars().count(), "Ended with exit code 255: ".len() + EXCERPT);
        assert!(!told(&Heartbeat::down("a\u{1b}[31mb\0", None).outcome).contains(char::is_control));
    }

    #[test]
    fn silence_is_told_in_a_sentence() {
        let silence = Silence { since: at("2026-11-22T03:00:00Z"), after_heartbeat: true };
        let every = Schedule::Interval(Duration::from_mins(5));
        let tell = |silence, schedule: &Schedule, grace, now: &str| {
            overdue(silence, schedule, PushSpec { grace }, at("2026-11-22T03:05:00Z"), at(now)).message
        };
        assert_eq!(
            tell(silence, &every, Duration::ZERO, "2026-11-22T03:05:03Z"),
            "No heartbeat for 5 min 3 s, expected every 5 min"
        );
        assert_eq!(
            tell(silence, &every, Duration::from_mins(1), "2026-11-22T03:06:00Z"),
            "No heartbeat for 6 min, expected every 5 min with 1 min of grace"
        );
        let never = Silence { after_heartbeat: false, ..silence };
        assert_eq!(
            tell(never, &every, Duration::ZERO, "2026-11-24T03:05:00Z"),
            "No heartbeat in 2 d of watching, expected every 5 min"
        );
        let zone = parse_timezone("Europe/Berlin").unwrap();
        let nightly = Schedule::Cron(CronSchedule::parse("5 4 * * *", zone, at("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(
            tell(silence, &nightly, Duration::ZERO, "2026-11-22T03:05:00Z"),
            "No heartbeat for 5 min, expected at 2026-11-22 04:05:00 CET"
        );
    }
}
