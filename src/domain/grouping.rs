//! Many messages to one channel at once: the first few go out by themselves, the rest of the window as one digest.
//!
//! A window begins with a message that no window covers, and lasts for a fixed time. The first `after` messages in it
//! go at once; those that follow wait for its end and are told together. So no message waits longer than a window, and
//! a channel gets at most `after` messages and a digest in each. Openings, recoveries and all else that is told of
//! endpoints count alike and share the digest.

pub mod digest;

use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::notification::Event;

/// How many messages go out by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupingPolicy {
    /// At least 1.
    pub after: u32,
    /// 1 s to 10 min.
    pub window: Duration,
}

impl Default for GroupingPolicy {
    fn default() -> Self {
        Self { after: 3, window: Duration::from_secs(30) }
    }
}

/// The most endpoints in one digest; what more there are is in further ones, sent at the same time. So a digest stays
/// under what web servers take as a body.
pub const MOST_IN_A_DIGEST: usize = 1_000;

/// By so much may an instant be older than the one that began the window, and be of that window all the same: what is
/// tried again counts from when it is, what is new from when it was written.
const SLACK: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// Whether messages of this event count and are grouped: those that are about an endpoint.
pub fn is_grouped(event: Event) -> bool {
    match event {
        Event::Down
        | Event::Up
        | Event::DownAgain
        | Event::Reminder
        | Event::Flapping
        | Event::Escalated
        | Event::Acknowledged
        | Event::Degraded
        | Event::NoData
        | Event::NoLongerMonitored => true,
        Event::ChannelFailing
        | Event::AlertFiring
        | Event::AlertResolved
        | Event::Blind
        | Event::CertificateExpiring
        | Event::Test
        | Event::Digest => false,
    }
}

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    AtOnce,
    /// It waits for the end of the window, and is told then, with the others.
    Held {
        until: Timestamp,
    },
}

/// The window of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Windows {
    /// When the newest one ends, and how many messages of it went at once.
    newest: Option<(Timestamp, u32)>,
}

impl Windows {
    /// Takes the next message, of the instant `at`. What comes late counts in the newest window; where the clock was set
    /// back, a new one begins.
    pub fn admit(&mut self, policy: &GroupingPolicy, at: Timestamp, now: Timestamp) -> Admission {
        let window = chrono::TimeDelta::from_std(policy.window).unwrap_or_default();
        let begin = self.newest.map(|(until, _)| until - window).filter(|begin| *begin <= now + SLACK);
        let at = begin.map_or(at, |begin| begin.max(at));
        match &mut self.newest {
            Some((until, gone)) if begin.is_some() && at < *until => {
                if *gone < policy.after {
                    *gone += 1;
                    return Admission::AtOnce;
                }
                Admission::Held { until: *until }
            }
            newest => {
                *newest = Some((at + window, 1));
                Admission::AtOnce
            }
        }
    }

    /// Takes what was decided of a message before, by another process perhaps: it is held until then.
    pub fn resume(&mut self, until: Timestamp) {
        if self.newest.is_none_or(|(newest, _)| newest <= until) {
            self.newest = Some((until, u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::from_micros;

    fn at(second: i64) -> Timestamp {
        from_micros(second * 1_000_000)
    }

    fn admitted(windows: &mut Windows, seconds: &[i64]) -> Vec<Option<i64>> {
        let policy = GroupingPolicy::default();
        let until = |second: &i64| match windows.admit(&policy, at(*second), at(*second)) {
            Admission::AtOnce => None,
            Admission::Held { until } => Some(until.timestamp()),
        };
        seconds.iter().map(until).collect()
    }

    #[test]
    fn three_go_at_once_and_the_rest_wait_for_the_end_of_the_window() {
        let mut windows = Windows::default();
        assert_eq!(admitted(&mut windows, &[0, 0, 10, 10, 29]), [None, None, None, Some(30), Some(30)]);
        assert_eq!(admitted(&mut windows, &[30, 45, 59, 59]), [None, None, None, Some(60)], "the next begins with it");
        assert_eq!(admitted(&mut windows, &[1_000, 1_029, 1_030]), [None; 3], "few messages are never held");
    }

    #[test]
    fn nothing_waits_longer_than_a_window_and_no_window_has_more_than_its_share() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let policy = GroupingPolicy { after: random.u32(1..5), window: Duration::from_secs(random.u64(1..60)) };
            let (mut windows, mut now, mut alone) = (Windows::default(), 0, Vec::new());
            for _ in 0..300 {
                // Now and then the clock is set back.
                now += if random.u32(0..50) == 0 { -random.i64(0..100) } else { random.i64(0..10) };
                match windows.admit(&policy, at(now), at(now)) {
                    Admission::AtOnce => alone.push(now),
                    Admission::Held { until } => {
                        let wait = (until - at(now)).to_std().unwrap();
                        assert!(
                            !wait.is_zero() && wait <= policy.window + SLACK.to_std().unwrap(),
                            "{wait:?} of {policy:?}"
                        );
                        assert!(alone.len() >= policy.after as usize);
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_held_before_a_restart_says_how_long_its_window_lasts() {
        let mut windows = Windows::default();
        windows.resume(at(30));
        assert_eq!(admitted(&mut windows, &[12, 29, 30]), [Some(30), Some(30), None]);
        windows.resume(at(20));
        assert_eq!(admitted(&mut windows, &[31, 31, 31]), [None, None, Some(60)], "an older one changes nothing");
    }
}
