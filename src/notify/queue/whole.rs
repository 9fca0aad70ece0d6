//! What the imagined monitor tells, delivered: through channels that refuse, that take and do not say so, and that give
//! up, by a process that is killed at any moment. Whatever happens, each message arrives under one id, by itself, in a
//! digest, or with the end of its outage, as soon as the channel lets it, in the order of its endpoint; and a channel
//! that does not deliver is told of.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::domain::endpoint::EndpointId;
use crate::domain::notification::{Event, Notification};
use crate::domain::simulation::properties::{CHANNELS, Message, Move, Setting, moves, run_cases, settings, told_in};
use crate::domain::{from_micros, micros};
use crate::notify::channel::{Receipt, SendError};
use crate::notify::deliver::attempts::{standing_after, take_standing};
use crate::notify::failing;
use crate::notify::testing::with_event;

const POLICY: GroupingPolicy = GroupingPolicy { after: 3, window: Duration::from_secs(30) };

/// The longest pause between two attempts, with a window after it.
const LONGEST_DELAY: u64 = 375 + 30 + 5;

/// How long a channel may fail before that is told.
const PATIENCE: u64 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It says that it does not take them.
    Refuses,
    /// It takes them, and does not say so.
    Silent,
    /// It says that it never will.
    GivesUp,
}

/// What goes wrong, in seconds.
#[derive(Debug, Clone)]
struct Trouble {
    faults: Vec<(usize, u64, u64, Fault)>,
    /// When the process is killed: before what it did in that second is recorded, or after.
    kills: Vec<(u64, bool)>,
}

fn troubles() -> impl Strategy<Value = Trouble> {
    let kind = prop_oneof![5 => Just(Fault::Refuses), 2 => Just(Fault::Silent), 1 => Just(Fault::GivesUp)];
    let fault = (0..CHANNELS.len(), 0_u64..4_000, 1_u64..900, kind);
    let faults = prop::collection::vec(fault, 0..5);
    let kills = prop::collection::vec((0_u64..5_000, any::<bool>()), 0..6);
    (faults, kills).prop_map(|(faults, kills)| Trouble { faults, kills })
}

#[derive(Debug)]
struct Received {
    at: u64,
    /// The message that was sent.
    id: String,
    /// Everything that it tells.
    tells: Vec<String>,
    is_digest: bool,
}

#[derive(Debug, Default)]
struct Line {
    name: String,
    queue: Queue,
    watch: failing::Watch,
    rows: Vec<Delivery>,
    received: Vec<Received>,
    /// An attempt at these may have arrived without anybody knowing.
    in_doubt: BTreeSet<String>,
    given_up: BTreeSet<String>,
}

struct Outbox {
    lines: Vec<Line>,
    told: HashMap<String, Arc<Told>>,
    trouble: Trouble,
    next_id: i64,
}

fn wall(second: u64) -> Timestamp {
    let start: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    start + TimeDelta::seconds(i64::try_from(second).unwrap())
}

fn told(message: &Message) -> Arc<Told> {
    let mut facts = with_event(message.event);
    facts.id.clone_from(&message.id);
    facts.endpoint.id = message.endpoint;
    facts.endpoint.name = format!("e{}", message.endpoint);
    facts.occurred_at = wall(message.at.as_secs());
    let incident = message.incident.map(micros);
    if let (Some(of_it), Some(id)) = (&mut facts.incident, incident) {
        (of_it.id, of_it.started_at) = (id, from_micros(id));
    }
    let facts = Notification { endpoint_name: facts.endpoint.name.clone(), ..facts };
    Arc::new(Told { facts, endpoint: Some(EndpointId(message.endpoint)), incident, first_of_incident: None })
}

impl Outbox {
    fn new(trouble: Trouble) -> Self {
        let line = |name: &&str| Line { name: (*name).to_owned(), ..Line::default() };
        Self { lines: CHANNELS.iter().map(line).collect(), told: HashMap::new(), trouble, next_id: 1 }
    }

    /// Its row, once.
    fn write(&mut self, channel: usize, told: &Arc<Told>, created_at: Timestamp) {
        let id = told.facts.id.clone();
        let line = &mut self.lines[channel];
        if line.rows.iter().any(|row| row.notification_id == id) {
            return;
        }
        let (notification_id, channel, endpoint) = (id.clone(), line.name.clone(), told.endpoint);
        let base = super::tests::row(&id);
        line.rows.push(Delivery { id: self.next_id, notification_id, channel, endpoint, created_at, ..base });
        self.next_id += 1;
        self.told.insert(id, told.clone());
    }

    fn fault(&self, channel: usize, second: u64) -> Option<Fault> {
        let of_it = |(n, from, length, _): &&(usize, u64, u64, Fault)| {
            *n == channel && *from <= second && second < from + length
        };
        self.trouble.faults.iter().find(of_it).map(|(.., fault)| *fault)
    }

    fn is_idle(&self) -> bool {
        self.lines
            .iter()
            .all(|line| line.queue.unrecorded() == 0 && line.rows.iter().all(|row| row.state != DeliveryState::Pending))
    }

    /// Everything that a deliverer does in a second.
    fn work(&mut self, channel: usize, second: u64, is_killed: bool) {
        let now = wall(second);
        self.read(channel, now);
        let fault = self.fault(channel, second);
        let Line { name, queue, .. } = &mut self.lines[channel];
        queue.admit(Some(&POLICY), &HashSet::new(), now);
        let due = queue.due_digests(name, now);
        for grouped in due {
            let digest = grouped.digest.told.clone();
            self.write(channel, &digest, now);
            self.record(channel, &grouped.standings);
            self.lines[channel].queue.grouped(&grouped);
        }
        let (attempts, _) = self.lines[channel].queue.next(&HashSet::new(), 4, now);
        let mut failing = Vec::new();
        for attempt in attempts {
            let line = &mut self.lines[channel];
            let tells = tells(&attempt);
            if !matches!(fault, Some(Fault::Refuses | Fault::GivesUp)) {
                let (id, is_digest) = (attempt.item.id().to_owned(), attempt.item.is_digest());
                line.received.push(Received { at: second, id, tells: tells.clone(), is_digest });
            }
            let sent = match fault {
                None => Ok(Receipt { answer: String::new() }),
                Some(Fault::Refuses) => Err(SendError::not_taken("no")),
                Some(Fault::Silent) => Err(SendError::passing("?")),
                Some(Fault::GivesUp) => Err(SendError::GiveUp { reason: "never".to_owned() }),
            };
            if matches!(fault, Some(Fault::Silent)) || is_killed {
                line.in_doubt.extend(tells.iter().cloned().chain([attempt.item.id().to_owned()]));
            }
            let standing = standing_after(&attempt.item, sent, now, 0.5);
            let lost = standing.state == DeliveryState::Dead;
            if standing.state == DeliveryState::Delivered {
                line.watch.succeeded();
            } else {
                line.watch.failed(attempt.item.created_at, "no");
            }
            if lost {
                line.given_up.extend(tells);
            }
            take_standing(&mut line.queue, &attempt, standing, now);
            failing.extend(self.tell_failure(channel, lost.then_some(&attempt.notification), now));
        }
        failing.extend(self.tell_failure(channel, None, now));
        for told in failing {
            for other in (0..CHANNELS.len()).filter(|other| *other != channel) {
                self.write(other, &told, now);
            }
        }
        if is_killed {
            return;
        }
        let done = self.lines[channel].queue.to_record();
        self.record(channel, &done);
        self.lines[channel].queue.recorded(done);
    }

    fn tell_failure(&mut self, channel: usize, lost: Option<&Notification>, now: Timestamp) -> Option<Arc<Told>> {
        let line = &mut self.lines[channel];
        let since = line.watch.to_be_told(lost.is_some(), now)?;
        let waiting = line.queue.items();
        let waiting = waiting.iter().map(|item| &item.told.facts);
        let told = failing::message(&line.name, since, "no", lost, waiting, Vec::new(), now).told;
        line.watch.told();
        Some(told)
    }

    fn read(&mut self, channel: usize, now: Timestamp) {
        let line = &mut self.lines[channel];
        let deliveries: Vec<Delivery> =
            line.rows.iter().filter(|row| row.state == DeliveryState::Pending).cloned().collect();
        let known = line.queue.known();
        let told = deliveries.iter().map(|row| &row.notification_id).filter(|id| !known.contains(*id));
        let told = told.map(|id| self.told[id].clone()).collect();
        let since = now - TimeDelta::from_std(POLICY.window).unwrap();
        let lately = line.rows.iter().filter(|row| row.endpoint.is_some() && row.created_at >= since);
        let lately = lately.map(|row| Lately {
            notification_id: row.notification_id.clone(),
            created_at: row.created_at,
            held_until: row.held_until,
        });
        let lately = (!line.queue.is_resumed()).then(|| lately.collect());
        let reading = line.queue.begin_reading();
        line.queue.take_rows(reading, Rows { deliveries, told, complete: true, lately }, &POLICY, now);
    }

    fn record(&mut self, channel: usize, standings: &[(String, Standing)]) {
        for (id, standing) in standings {
            let row = self.lines[channel].rows.iter_mut().find(|row| row.notification_id == *id).unwrap();
            let standing = standing.clone();
            row.state = standing.state;
            (row.attempts, row.may_have_arrived) = (standing.attempts, standing.may_have_arrived);
            (row.next_attempt_at, row.last_attempt_at) = (standing.next_attempt_at, standing.last_attempt_at);
            (row.held_until, row.digest) = (standing.held_until, standing.digest);
        }
    }

    fn run(&mut self, messages: &[Message], length: u64) {
        let ends = self.trouble.faults.iter().map(|(_, from, length, _)| from + length);
        let end = ends.chain([length]).max().unwrap_or_default() + LONGEST_DELAY + 60;
        let mut messages = messages.iter().peekable();
        for second in 0..=end {
            while let Some(message) = messages.next_if(|message| message.at.as_secs() <= second) {
                let told = told(message);
                for name in &message.to {
                    let channel = CHANNELS.iter().position(|there| there == name).unwrap();
                    self.write(channel, &told, wall(second));
                }
            }
            let kill = self.trouble.kills.iter().find(|(at, _)| *at == second).copied();
            if kill.is_none() && self.is_idle() {
                continue;
            }
            for channel in 0..CHANNELS.len() {
                self.work(channel, second, kill.is_some_and(|(_, before)| before));
            }
            if kill.is_some() {
                for line in &mut self.lines {
                    (line.queue, line.watch) = (Queue::default(), failing::Watch::default());
                }
            }
        }
    }

    /// Whether a channel took everything all that time, and the process lived.
    fn is_fine(&self, channel: usize, from: u64, to: u64) -> bool {
        let overlaps = |begins: u64, ends: u64| begins <= to && from < ends;
        let failed =
            |(n, begins, length, _): &(usize, u64, u64, Fault)| *n == channel && overlaps(*begins, begins + length);
        !self.trouble.faults.iter().any(failed) && !self.trouble.kills.iter().any(|(at, _)| overlaps(*at, at + 1))
    }
}

/// Everything that an attempt tells: itself, or what is in a digest, and what goes with it.
fn tells(attempt: &Attempt) -> Vec<String> {
    let mut all: Vec<String> = attempt.notification.items.iter().flat_map(|item| item.ids.clone()).collect();
    if all.is_empty() {
        all.extend(attempt.merged.iter().map(|merged| merged.id().to_owned()));
        all.push(attempt.item.id().to_owned());
    }
    all
}

fn hold(outbox: &Outbox, messages: &[Message]) {
    for (channel, line) in outbox.lines.iter().enumerate() {
        let name = &line.name;
        let mut times: BTreeMap<&str, Vec<&Received>> = BTreeMap::new();
        for received in &line.received {
            for id in &received.tells {
                times.entry(id).or_default().push(received);
            }
        }
        let mut last: BTreeMap<i64, usize> = BTreeMap::new();
        let meant: Vec<(usize, &Message)> =
            messages.iter().enumerate().filter(|(_, message)| message.to.contains(name)).collect();
        for (n, message) in &meant {
            let id = message.id.as_str();
            let Some(all) = times.get(id) else {
                assert!(line.given_up.contains(id), "{id} never came through {name}");
                continue;
            };
            let under: BTreeSet<&str> = all.iter().map(|received| received.id.as_str()).collect();
            assert!(
                under.len() == 1 || line.in_doubt.contains(id),
                "{id} came through {name} under several ids: {under:?}"
            );
            assert!(all.len() == 1 || line.in_doubt.contains(id), "{id} came through {name} {} times", all.len());
            let at = message.at.as_secs();
            let came = all[0].at;
            assert!(at <= came, "{id} came before it was told");
            if outbox.is_fine(channel, at.saturating_sub(1_500), at + 35) {
                assert!(came <= at + 32, "{id} came through {name} after {} s", came - at);
            }
            // What went with a later one, or in a digest, has its place; the rest come one after the other.
            let first = line.received.iter().position(|received| received.tells.iter().any(|told| told == id));
            let place = first.unwrap_or_default();
            let before = last.insert(message.endpoint, place);
            assert!(
                before.is_none_or(|before| before <= place),
                "{id} ({n}) came through {name} before what came earlier"
            );
        }
        // By themselves at most so many in a window, and one that would be alone in its digest; two windows may touch.
        let alone = |received: &&Received| {
            let of_endpoint = meant.iter().any(|(_, message)| message.id == received.id);
            of_endpoint && !received.is_digest && !line.in_doubt.contains(&received.id)
        };
        let alone: Vec<u64> = line.received.iter().filter(alone).map(|received| received.at).collect();
        for (n, at) in alone.iter().enumerate() {
            let many = alone[n..].iter().take_while(|other| **other < at + POLICY.window.as_secs()).count();
            assert!(
                many <= 2 * (POLICY.after as usize + 1),
                "{many} messages through {name} within {:?}",
                POLICY.window
            );
        }
        tells_of_failures(outbox, channel, &meant);
    }
}

/// A channel that did not deliver for long enough, or gave up, is told of through the others, which are told once.
fn tells_of_failures(outbox: &Outbox, channel: usize, meant: &[(usize, &Message)]) {
    let line = &outbox.lines[channel];
    let told: BTreeSet<&String> = outbox
        .told
        .values()
        .filter(|told| told.facts.event == Event::ChannelFailing && told.facts.endpoint_name == line.name)
        .map(|told| &told.facts.id)
        .collect();
    let must = |(_, message): &&(usize, &Message)| {
        let at = message.at.as_secs();
        // One fault without an end in between, from the message on, and nobody was killed meanwhile.
        outbox.trouble.faults.iter().any(|(n, from, length, fault)| {
            let end = from + length;
            let lives = !outbox.trouble.kills.iter().any(|(kill, _)| (at..at + PATIENCE + 40).contains(kill));
            *n == channel && *fault == Fault::Refuses && *from <= at && at + PATIENCE + 40 < end && lives
        })
    };
    if meant.iter().any(|message| must(&message)) || !line.given_up.is_empty() {
        assert!(!told.is_empty(), "nobody was told that {} fails", line.name);
    }
    if !outbox.trouble.faults.iter().any(|(n, ..)| *n == channel) {
        assert!(told.is_empty(), "{} works, and is told to be failing", line.name);
    }
}

fn is_delivered(setting: &Setting, moves: &[Move], trouble: &Trouble) {
    let (messages, length) = told_in(setting, moves);
    let mut outbox = Outbox::new(trouble.clone());
    outbox.run(&messages, length.as_secs() + 1);
    hold(&outbox, &messages);
}

#[test]
fn what_is_told_is_delivered() {
    run_cases(&(settings(), moves(), troubles()), |(setting, moves, trouble)| is_delivered(&setting, &moves, &trouble));
}
