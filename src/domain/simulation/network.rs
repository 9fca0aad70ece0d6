//! Our own network, as it is imagined: the machine that the monitor itself uses, with targets that answer or do not.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::connectivity::{
    Change, Connectivity, Damping, FailedCheck, LONGEST_WAIT, Moment, Probe, Reach, Reaches, Rules, ToTell, Verdict,
};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::outcome::{MissedReason, Outcome};
use crate::domain::suppression::Hold;

/// How long asking takes when the targets answer, and when they do not.
const ANSWER: Duration = Duration::from_millis(50);
const NO_ANSWER: Duration = Duration::from_secs(3);

/// The targets, and what is known by them.
#[derive(Debug, Clone)]
pub struct Network {
    reaches: Reaches,
    targets: u32,
    machine: Connectivity,
    damping: Damping,
    /// When that began of which was told last, by both clocks.
    span: Option<(Duration, Timestamp)>,
    /// An asking under way: when it ends, and what it brings.
    asking: Option<(Duration, Probe)>,
    /// No target answers until then.
    silent_until: Option<Duration>,
}

/// Where an endpoint is, or a target. A name counts as one of the Internet, as one does that cannot be looked up.
pub fn reaches_of(host: Option<url::Host<&str>>) -> Reaches {
    match host {
        Some(url::Host::Ipv4(address)) => Reaches::of([address.into()]),
        Some(url::Host::Ipv6(address)) => Reaches::of([address.into()]),
        Some(url::Host::Domain(name)) if name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost") => {
            Reaches::of([core::net::Ipv4Addr::LOCALHOST.into()])
        }
        // Where the scheme is none of the web's, an address is read as a name.
        Some(url::Host::Domain(name)) => name.parse().map_or(Reaches::UNRESOLVED, |address| Reaches::of([address])),
        None => Reaches::UNRESOLVED,
    }
}

fn reaches(known: &KnownEndpoint) -> Reaches {
    reaches_of(known.endpoint.check.url.host())
}

impl Network {
    /// Targets that are there, `targets` of them, and answer.
    pub fn new(rules: Rules, reaches: Reaches, targets: u32) -> Self {
        Self {
            reaches,
            targets,
            machine: Connectivity::new(rules),
            damping: Damping::default(),
            span: None,
            asking: None,
            silent_until: None,
        }
    }

    /// The process begins anew, and knows nothing.
    pub(super) fn begin(&mut self) {
        self.machine = Connectivity::new(self.machine.rules());
        (self.damping, self.span, self.asking) = (Damping::default(), None, None);
    }

    /// From now on no target answers, until then by the time that really goes by.
    pub fn fall_silent(&mut self, until: Duration) {
        self.silent_until = Some(until);
    }

    /// Whether an endpoint is cut off with our own network: what is on this machine is not.
    pub fn concerns(&self, known: &KnownEndpoint) -> bool {
        !reaches(known).contains(Reach::Loopback)
    }

    /// What a check that ended `ended` is worth: `None` where the targets must be asked first.
    pub(super) fn examine(
        &mut self,
        known: &KnownEndpoint,
        result: &CheckResult,
        ended: Duration,
        now: Duration,
    ) -> Option<CheckResult> {
        let began = ended.saturating_sub(Duration::from_micros(result.timings.total_us.into()));
        match &result.outcome {
            Outcome::Up | Outcome::Degraded => {
                self.machine.succeeded(known.id, reaches(known), began, ended);
                Some(result.clone())
            }
            Outcome::Missed(_) => Some(result.clone()),
            Outcome::Down(_) => {
                let failed = FailedCheck { endpoint: known.id, reaches: reaches(known), began, ended };
                match self.machine.judge(failed, now) {
                    Verdict::Counts => Some(result.clone()),
                    Verdict::OwnNetwork { .. } => Some(CheckResult {
                        started_at: result.started_at,
                        trigger: result.trigger,
                        ..CheckResult::missed(known.id, result.scheduled_at, result.slots, MissedReason::OwnNetwork)
                    }),
                    Verdict::Ask if now >= ended + LONGEST_WAIT => Some(result.clone()),
                    Verdict::Ask => None,
                }
            }
        }
    }

    /// When it has something to do.
    pub(super) fn due_at(&self) -> Option<Duration> {
        let asking = self.asking.map(|(ends, _)| ends);
        let ask = self.machine.ask_at().filter(|_| asking.is_none());
        [asking, ask, self.machine.release_at(), self.damping.due_at()].into_iter().flatten().min()
    }

    /// Does what is due: the endpoints to be checked at once, and what is to be told.
    pub(super) fn work(&mut self, now: Duration) -> (Vec<EndpointId>, Option<ToTell>) {
        let (mut check, mut told) = (Vec::new(), None);
        if let Some((_, probe)) = self.asking.take_if(|(ends, _)| *ends <= now)
            && let Some(change) = self.machine.probed(probe)
        {
            if let Change::Over { check: all, .. } | Change::Ignored { check: all, .. } = &change {
                check.clone_from(all);
            }
            told = self.damping.take(change, now);
        }
        check.extend(self.machine.released(now));
        if told.is_none() {
            told = self.damping.due(now);
        }
        if self.asking.is_none() && self.machine.ask_at().is_some_and(|at| at <= now) {
            self.machine.ask(now);
            let is_silent = self.silent_until.is_some_and(|until| now < until);
            let answered = if is_silent { 0 } else { self.targets };
            let probe = Probe { began: now, answered, reaches: self.reaches };
            self.asking = Some((now + if is_silent { NO_ANSWER } else { ANSWER }, probe));
        }
        (check, told)
    }

    /// When that began of which is told, by the clock on the wall: of all that is told of it the same.
    pub(super) fn span(&mut self, told: &ToTell, now: Moment) -> Timestamp {
        match self.span {
            Some((began, at)) if began == told.began => at,
            _ => self.span.insert((told.began, now.wall(told.began))).1,
        }
    }

    /// What keeps messages about an endpoint back, while its failures are suppressed.
    pub(super) fn hold(&self, endpoint: EndpointId, now: Moment) -> Option<Hold> {
        let until = self.machine.suppressed_until(endpoint, now.running)?;
        Some(Hold { name: String::new(), until: Some(now.wall(until)) })
    }
}
