//! What became of deliveries, recorded as the deliverers record it: by how a delivery stands afterwards.

use api_monitor::domain::Timestamp;
use api_monitor::store::ConnectionTrait;
use api_monitor::store::outbox::{self, Delivery, DeliveryState, Standing};

/// What an attempt brought.
#[derive(Debug, Clone)]
pub(crate) enum AttemptResult {
    Delivered { answer: String },
    Retry { error: String, next_attempt_at: Timestamp, may_have_arrived: bool },
    Dead { error: String, may_have_arrived: bool },
}

/// Records an attempt at a pending delivery.
pub(crate) async fn record_attempt(
    db: &impl ConnectionTrait,
    delivery: &Delivery,
    result: &AttemptResult,
    now: Timestamp,
) {
    let before = standing(db, delivery).await;
    let after = Standing { attempts: before.attempts + 1, last_attempt_at: Some(now), ..before };
    let ended = Standing { next_attempt_at: None, finished_at: Some(now), ..after.clone() };
    let standing = match result.clone() {
        AttemptResult::Delivered { answer } => {
            Standing { state: DeliveryState::Delivered, answer: Some(answer), last_error: None, ..ended }
        }
        AttemptResult::Retry { error, next_attempt_at, may_have_arrived } => Standing {
            last_error: Some(error),
            next_attempt_at: Some(next_attempt_at),
            may_have_arrived: after.may_have_arrived || may_have_arrived,
            ..after
        },
        AttemptResult::Dead { error, may_have_arrived } => Standing {
            state: DeliveryState::Dead,
            last_error: Some(error),
            may_have_arrived: ended.may_have_arrived || may_have_arrived,
            ..ended
        },
    };
    record(db, delivery, &standing).await;
}

/// Marks a pending delivery as told by a later message.
pub(crate) async fn merge(db: &impl ConnectionTrait, delivery: &Delivery, now: Timestamp) {
    let before = standing(db, delivery).await;
    let merged = Standing { state: DeliveryState::Merged, next_attempt_at: None, finished_at: Some(now), ..before };
    record(db, delivery, &merged).await;
}

async fn record(db: &impl ConnectionTrait, delivery: &Delivery, standing: &Standing) {
    assert!(outbox::record(db, &delivery.notification_id, &delivery.channel, standing).await.unwrap(), "{delivery:?}");
}

/// How it stands now.
async fn standing(db: &impl ConnectionTrait, delivery: &Delivery) -> Standing {
    let stored = outbox::find(db, &delivery.notification_id).await.unwrap().unwrap();
    let now = stored.deliveries.into_iter().find(|other| other.id == delivery.id).unwrap();
    Standing {
        state: now.state,
        attempts: now.attempts,
        may_have_arrived: now.may_have_arrived,
        next_attempt_at: now.next_attempt_at,
        last_attempt_at: now.last_attempt_at,
        last_error: now.last_error,
        answer: now.answer,
        finished_at: now.finished_at,
        held_until: now.held_until,
        digest: now.digest,
    }
}
