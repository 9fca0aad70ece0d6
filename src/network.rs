//! Watches our own network: asks the targets of `connectivity` when checks fail, says when they do not answer and when
//! they do again, and has the endpoints checked whose failures were not counted.
//!
//! What a failure is worth is the rule of [`domain::connectivity`](crate::domain::connectivity), asked by each check
//! itself. Nothing of it is stored but what is told, and without targets this part is not there.

mod telling;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::checks::connectivity::Prober;
use crate::clock::Clock;
use crate::config::Directory;
use crate::connectivity::OwnNetwork;
use crate::domain::Timestamp;
use crate::domain::connectivity::{Change, Damping, Moment, Probe, ToTell};
use crate::domain::endpoint::EndpointId;
use crate::events::ConfirmRequest;
use crate::feed::{Event, Feed, TroubleCode};
use crate::store::Outgoing;

/// What its troubles are about.
const NETWORK: &str = "own network";

/// What it is given.
#[derive(Debug)]
pub struct NetworkParts {
    pub own: Arc<OwnNetwork>,
    pub clock: Arc<dyn Clock>,
    pub board: Arc<Board>,
    pub directory: Arc<Directory>,
    pub feed: Arc<Feed>,
    /// To the scheduler; waited for while it is full.
    pub confirmations: mpsc::Sender<ConfirmRequest>,
}

/// The part that asks.
#[derive(Debug)]
pub struct NetworkWatch {
    parts: NetworkParts,
    prober: Arc<Prober>,
    messages: mpsc::Sender<Outgoing>,
    damping: Damping,
    /// When that began of which was told last, by both clocks: all that is told of it has an id of that instant.
    span: Option<(Duration, Timestamp)>,
}

impl NetworkWatch {
    /// `messages`: to the teller. While it is full nobody is asked.
    pub fn new(parts: NetworkParts, prober: Prober, messages: mpsc::Sender<Outgoing>) -> Self {
        Self { parts, prober: Arc::new(prober), messages, damping: Damping::default(), span: None }
    }

    /// Asks whenever something calls for it, until the stop.
    pub async fn run(mut self, stopping: CancellationToken) {
        let own = self.parts.own.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.watch() => {}
        }
        own.close();
    }

    fn moment(&self) -> Moment {
        Moment { at: self.parts.clock.now(), running: self.parts.clock.monotonic() }
    }

    async fn watch(&mut self) {
        let (own, prober) = (self.parts.own.clone(), self.prober.clone());
        let mut asking: Option<BoxFuture<'_, Probe>> = None;
        loop {
            let now = self.moment();
            if asking.is_none() && own.ask_in(now).is_some_and(|left| left.is_zero()) {
                own.ask(now);
                asking = Some(Box::pin(prober.probe(now.running)));
            }
            let ask_in = own.ask_in(now).filter(|_| asking.is_none());
            let held = self.damping.due_at().map(|at| at.saturating_sub(now.running));
            let next = [ask_in, own.release_in(now), held].into_iter().flatten().min();
            tokio::select! {
                probe = ended(&mut asking) => {
                    if let Some(change) = own.probed(probe) {
                        self.follow(change).await;
                    }
                }
                () = own.wanted.notified() => {}
                () = sleep(next) => {}
            }
            let now = self.moment();
            if let Some(told) = self.damping.due(now.running) {
                self.tell(&told, now).await;
            }
            self.check_at_once(own.released(now)).await;
        }
    }

    /// Does what a change calls for.
    async fn follow(&mut self, change: Change) {
        let now = self.moment();
        let wall = |instant| now.wall(instant);
        let shown = self.parts.own.view(now).map_or((0, 0), |view| (view.answered, view.targets));
        let (answered, targets) = shown;
        let (code, message, check) = match &change {
            Change::Blind { .. } => {
                tracing::warn!(answered, targets, "our own network is in doubt: checks that fail are not counted");
                let message = "our own network is in doubt: checks that fail are not counted";
                (TroubleCode::NetworkInDoubt, message, Vec::new())
            }
            Change::Over { since, check } => {
                let since = wall(*since);
                tracing::info!(%since, endpoints = check.len(), "our own network is there again");
                (TroubleCode::NetworkBack, "our own network is there again", check.clone())
            }
            Change::Ignored { by, check, .. } => {
                let by = self.parts.board.get(*by).map_or_else(String::new, |entry| entry.known.endpoint.name.clone());
                tracing::warn!(
                    reached = by,
                    "the connectivity targets do not answer, but an endpoint does: they are ignored"
                );
                let message =
                    "the connectivity targets do not answer, but endpoints do: they are ignored until they answer";
                (TroubleCode::ConnectivityIgnored, message, check.clone())
            }
            Change::Heeded { since } => {
                let since = wall(*since);
                tracing::info!(%since, "the connectivity targets answer again and are heeded");
                (TroubleCode::NetworkBack, "the connectivity targets answer again and are heeded", Vec::new())
            }
        };
        self.parts.feed.publish(Event::trouble(now.at, code, NETWORK, message));
        if let Some(told) = self.damping.take(change, now.running) {
            self.tell(&told, now).await;
        }
        let board = &self.parts.board;
        self.parts.own.forget(|id| board.get(id).is_some());
        self.check_at_once(check).await;
    }

    async fn tell(&mut self, told: &ToTell, now: Moment) {
        let (_, since) = *match self.span.filter(|(began, _)| *began == told.began) {
            Some(span) => self.span.insert(span),
            None => self.span.insert((told.began, now.wall(told.began))),
        };
        let shown = self.parts.own.view(now).map_or((0, 0), |view| (view.answered, view.targets));
        let directory = self.parts.directory.get();
        let outgoing = telling::message(
            &told.change,
            (since, now.wall(told.at)),
            shown,
            now.at,
            &self.parts.board,
            directory.routing(),
        );
        if self.messages.send(outgoing).await.is_err() {
            tracing::error!("nobody is there to tell of our own network");
        }
    }

    async fn check_at_once(&self, endpoints: Vec<EndpointId>) {
        for endpoint_id in endpoints {
            if self.parts.confirmations.send(ConfirmRequest::now(endpoint_id)).await.is_err() {
                tracing::debug!("the scheduler is gone: nothing is checked any more");
                return;
            }
        }
    }
}

/// The end of an asking under way; never, without one.
async fn ended(asking: &mut Option<BoxFuture<'_, Probe>>) -> Probe {
    let Some(under_way) = asking else { return pending().await };
    let probe = under_way.await;
    *asking = None;
    probe
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => pending().await,
    }
}
