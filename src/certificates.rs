//! Watches the certificates that endpoints serve: keeps which one each served last, and tells ahead of the end of each.
//!
//! When it is told is the rule of [`domain::certificate`](crate::domain::certificate).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Entry};
use crate::clock::Clock;
use crate::config::Directory;
use crate::domain::Timestamp;
use crate::domain::certificate::{ServedChain, due, place};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::notification::{Event, Notification, Routing, Severity, Subject, notification_id};
use crate::handover::Told;
use crate::store::certificates::{self, Served};
use crate::store::{Outgoing, Store, StoreError, within};

/// How often it is looked. What is told is told days ahead; an endpoint that serves another certificate each time costs
/// no more than a row in this time.
const TURN: Duration = Duration::from_secs(5);

/// How long the database has.
const LIMIT: Duration = Duration::from_secs(10);

/// A certificate that nobody serves any longer is forgotten after this long.
const KEPT: TimeDelta = TimeDelta::days(90);

/// How often those are looked for.
const TIDY: TimeDelta = TimeDelta::days(1);

/// Endpoints that a message names; the rest is counted.
const NAMED: usize = 50;

/// What it is given.
#[derive(Debug)]
pub struct CertificateParts {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    pub clock: Arc<dyn Clock>,
    pub directory: Arc<Directory>,
    /// To the teller. While it is full nothing further is told.
    pub messages: mpsc::Sender<Outgoing>,
}

/// The part that looks.
#[derive(Debug)]
pub struct CertificateWatch {
    parts: CertificateParts,
    /// As it is stored: fingerprint and place.
    stored: HashMap<EndpointId, (String, String)>,
    /// As it was when it was last seen to be stored: while both are the same nothing has to be compared.
    seen: HashMap<EndpointId, (Arc<KnownEndpoint>, Arc<ServedChain>)>,
    /// Up to which instant each certificate was told of, by its fingerprint.
    told: HashMap<String, Timestamp>,
    /// It was said that they cannot be written.
    complained: bool,
    tidied_at: Option<Timestamp>,
}

impl CertificateWatch {
    /// Goes on from what is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(parts: CertificateParts) -> Result<Self, StoreError> {
        let stored = certificates::list(parts.store.readers()).await?;
        let stored = stored.into_iter().map(|(id, of)| (id, (of.chain.leaf.fingerprint.clone(), of.place))).collect();
        let told = certificates::told(parts.store.readers()).await?;
        Ok(Self { parts, stored, seen: HashMap::new(), told, complained: false, tidied_at: None })
    }

    /// Looks until the stop.
    pub async fn run(mut self, stopping: CancellationToken) {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&mut self) {
        loop {
            let (entries, now) = (self.parts.board.entries(), self.parts.clock.now());
            // What is told of a certificate is noted in its row.
            if self.keep(&entries, now).await {
                self.tell(&entries, now).await;
            }
            tokio::time::sleep(TURN).await;
        }
    }

    /// Writes what has changed. Whether all of it is written.
    async fn keep(&mut self, entries: &[Entry], now: Timestamp) -> bool {
        let mut changes: Vec<(EndpointId, Option<Served>)> = Vec::new();
        for entry in entries {
            let before = self.stored.get(&entry.known.id);
            match &entry.live.certificate {
                Some(chain) if self.is_seen(entry, chain) => {}
                Some(chain) => {
                    let place = place(&entry.known.endpoint.check.url);
                    let is_stored =
                        |(fingerprint, at): &(String, String)| *fingerprint == chain.leaf.fingerprint && *at == place;
                    if before.is_some_and(is_stored) {
                        self.seen.insert(entry.known.id, (entry.known.clone(), chain.clone()));
                    } else {
                        changes.push((entry.known.id, Some(Served { chain: chain.clone(), place })));
                    }
                }
                None if before.is_some() => {
                    self.seen.remove(&entry.known.id);
                    changes.push((entry.known.id, None));
                }
                None => {}
            }
        }
        let is_untidy = self.tidied_at.is_none_or(|at| now < at || at + TIDY <= now);
        if changes.is_empty() && !is_untidy {
            return true;
        }
        match within(LIMIT, write(&self.parts.store, &changes, is_untidy.then(|| now - KEPT), now)).await {
            Ok(()) => self.complained = false,
            Err(error) => {
                if !self.complained {
                    tracing::warn!(%error, "the certificates of endpoints cannot be written; tried again");
                }
                self.complained = true;
                return false;
            }
        }
        self.tidied_at = if is_untidy { Some(now) } else { self.tidied_at };
        for (id, served) in changes {
            match served {
                Some(Served { chain, place }) => _ = self.stored.insert(id, (chain.leaf.fingerprint.clone(), place)),
                None => _ = self.stored.remove(&id),
            }
        }
        true
    }

    fn is_seen(&self, entry: &Entry, chain: &Arc<ServedChain>) -> bool {
        let seen = self.seen.get(&entry.known.id);
        seen.is_some_and(|(known, before)| Arc::ptr_eq(known, &entry.known) && Arc::ptr_eq(before, chain))
    }

    /// Tells of each certificate that has come to one of the instants which its endpoints want.
    async fn tell(&mut self, entries: &[Entry], now: Timestamp) {
        let mut served: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.known.is_checked()) {
            if let Some(chain) = &entry.live.certificate
                && !entry.known.endpoint.certificate.warn.is_empty()
            {
                served.entry(&chain.leaf.fingerprint).or_default().push(entry);
            }
        }
        for (fingerprint, entries) in served {
            let Some(chain) = entries[0].live.certificate.as_ref() else { continue };
            let warn = entries.iter().flat_map(|entry| entry.known.endpoint.certificate.warn.iter().copied());
            let Some(instant) = due(&chain.leaf, warn, self.told.get(fingerprint).copied(), now) else { continue };
            let outgoing = message(chain, &entries, instant, now, self.parts.directory.get().routing());
            tracing::warn!(
                certificate = chain.leaf.subject,
                expires_at = %chain.leaf.not_after,
                endpoints = entries.len(),
                "a certificate expires soon"
            );
            if self.parts.messages.send(outgoing.of_certificate(fingerprint.to_owned(), instant)).await.is_err() {
                // The stop has begun.
                return;
            }
            self.told.insert(fingerprint.to_owned(), instant);
        }
    }
}

async fn write(
    store: &Store,
    changes: &[(EndpointId, Option<Served>)],
    forget_before: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let transaction = store.begin().await?;
    certificates::serve(&transaction, changes, now).await?;
    if let Some(before) = forget_before {
        certificates::delete_unserved(&transaction, before).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// What is told, to whoever is told of one of the endpoints.
fn message(chain: &ServedChain, entries: &[&Entry], instant: Timestamp, now: Timestamp, routing: &Routing) -> Outgoing {
    let leaf = &chain.leaf;
    let id = notification_id(Subject::Certificate(&leaf.fingerprint), instant, Event::CertificateExpiring, 0);
    let days = (leaf.not_after - now).num_days();
    let left = match days {
        0 => "in less than a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    };
    let mut names: Vec<String> = entries.iter().map(|entry| key(entry)).collect();
    names.sort_unstable();
    let others = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let mut remarks = vec![format!("Served by {}", names.join(", "))];
    if others > 0 {
        remarks.push(format!("and by {others} more"));
    }
    remarks.push(format!("Issued by {}", leaf.issuer));
    let facts = Notification {
        status: "expiring".to_owned(),
        previous_status: "valid".to_owned(),
        severity: Severity::Warning,
        error: Some(format!("It expires {left}, at {}", leaf.not_after.format("%Y-%m-%d %H:%M:%S UTC"))),
        remarks,
        ..Notification::about("certificate", name(chain), id, Event::CertificateExpiring, now)
    };
    let mut channels: Vec<String> = Vec::new();
    for entry in entries {
        for channel in routing.channels_for(entry.known.endpoint.notify.as_deref(), Severity::Warning) {
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
    }
    let told = Told { facts, endpoint: None, incident: None, first_of_incident: None };
    Outgoing::new(told, channels, routing, now)
}

/// The first of the names for which it is, or what it calls itself.
fn name(chain: &ServedChain) -> String {
    chain.leaf.sans.first().unwrap_or(&chain.leaf.subject).clone()
}

fn key(entry: &Entry) -> String {
    let (group, name) = (&entry.known.endpoint.group, &entry.known.endpoint.name);
    if group.is_empty() { name.clone() } else { format!("{group}/{name}") }
}
