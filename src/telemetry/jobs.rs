//! How the housekeeping does: each job says when a run of it begins, and how it ended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::schedule::CronSchedule;
use crate::domain::{Timestamp, from_micros, micros};

/// When a job is nudged.
#[derive(Debug, Clone)]
pub enum When {
    Cron(CronSchedule),
    /// From the start on, each time this has passed. At least a second.
    Every(Duration),
    /// Soon after the start, if it is needed then.
    AtStart,
}

/// A job, and its runs since the start of the process.
#[derive(Debug)]
pub struct JobStatus {
    pub name: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    pub when: When,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody has asked for a run that has not begun.
    asked: bool,
    running: bool,
    runs: u64,
    last: Option<Run>,
    /// When a repeated one was nudged last, or began to be.
    nudged: Option<Timestamp>,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub at: Timestamp,
    pub took: Duration,
    /// What it did, or why it could not.
    pub result: Result<String, String>,
}

/// How a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReport {
    /// Under way, or asked for and about to begin.
    pub running: bool,
    /// Those that are over.
    pub runs: u64,
    pub last: Option<Run>,
    /// `None`: it has no schedule.
    pub next_run_at: Option<Timestamp>,
}

impl JobStatus {
    pub fn new(name: &'static str, description: &'static str, when: When) -> Self {
        Self { name, description, when, state: Mutex::default() }
    }

    /// Notes that a run is asked for, so that it is seen before it begins.
    pub fn ask(&self) {
        self.state().asked = true;
    }

    /// It was nudged by its schedule, or its schedule begins.
    pub fn nudged(&self, now: Timestamp) {
        self.state().nudged = Some(now);
    }

    pub fn begin(&self) {
        let mut state = self.state();
        (state.asked, state.running) = (false, true);
    }

    pub fn end(&self, run: Run) {
        let mut state = self.state();
        state.running = false;
        state.runs += 1;
        state.last = Some(run);
    }

    pub fn report(&self, now: Timestamp) -> JobReport {
        let state = self.state();
        let next_run_at = match &self.when {
            When::Cron(schedule) => schedule.next_after(now),
            When::Every(period) => state.nudged.map(|at| {
                let period = i64::try_from(period.as_micros()).unwrap_or(i64::MAX);
                from_micros(micros(at).saturating_add(period))
            }),
            When::AtStart => None,
        };
        JobReport { running: state.asked || state.running, runs: state.runs, last: state.last.clone(), next_run_at }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_run_is_seen_from_when_it_is_asked_for_to_its_end() {
        let job = JobStatus::new("sweep", "Sweeps", When::AtStart);
        let now = at("2026-03-01T12:00:00Z");
        assert!(!job.report(now).running);
        job.ask();
        assert!(job.report(now).running, "it is about to begin");
        job.begin();
        assert!(job.report(now).running);
        let run = Run { at: now, took: Duration::from_secs(2), result: Ok("3 rooms".to_owned()) };
        job.end(run.clone());
        assert_eq!(job.report(now), JobReport { running: false, runs: 1, last: Some(run), next_run_at: None });
    }

    #[test]
    fn the_next_run_is_that_of_the_schedule() {
        let (start, now) = (at("2026-03-01T12:00:00Z"), at("2026-03-01T12:30:00Z"));
        let cron = CronSchedule::parse("0 20 * * * *", chrono_tz::UTC, start).unwrap();
        let hourly = JobStatus::new("hourly", "", When::Cron(cron));
        assert_eq!(hourly.report(now).next_run_at, Some(at("2026-03-01T13:20:00Z")));
        let repeated = JobStatus::new("repeated", "", When::Every(Duration::from_secs(3600)));
        assert_eq!(repeated.report(now).next_run_at, None, "nothing nudges it");
        repeated.nudged(start);
        assert_eq!(repeated.report(now).next_run_at, Some(at("2026-03-01T13:00:00Z")));
    }
}
