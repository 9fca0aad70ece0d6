//! Which endpoint a token is of, and how often it may be used.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::token_of;
use crate::board::Board;
use crate::domain::endpoint::{EndpointId, Origin};
use crate::links::Links;

/// Reports of one endpoint at once. A report comes a second at most from a job; a loop run wild does not fill the disk.
const BURST: u32 = 30;

/// And then one in this time.
const EACH: Duration = Duration::from_secs(1);

type TokenDigest = [u8; 32];

/// The tokens of the push endpoints that there are.
#[derive(Debug, Default)]
pub struct PushDoor {
    known: RwLock<Known>,
    /// By endpoint, as many as have reported lately: until when what they reported counts.
    busy: Mutex<HashMap<EndpointId, Duration>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of the board that this was made from; `None`: not yet.
    version: Option<u64>,
    by_digest: HashMap<TokenDigest, EndpointId>,
}

impl PushDoor {
    /// Whose token this is. What is compared is digests, and takes the same time whatever is shown.
    pub fn find(&self, board: &Board, links: &Links, token: &str) -> Option<EndpointId> {
        let version = board.push_version();
        if self.known.read().unwrap_or_else(PoisonError::into_inner).version != Some(version) {
            self.learn(board, links, version);
        }
        let digest: TokenDigest = Sha256::digest(token.as_bytes()).into();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (found, id) = known.by_digest.get_key_value(&digest)?;
        bool::from(found.ct_eq(&digest)).then_some(*id)
    }

    fn learn(&self, board: &Board, links: &Links, version: u64) {
        let mut pushed: Vec<_> =
            board.knowns().into_iter().filter(|known| known.endpoint.check.push().is_some()).collect();
        // What the file says counts more; then who was there first.
        pushed.sort_by_key(|known| (known.origin != Origin::Config, known.id));
        let mut by_digest = HashMap::with_capacity(pushed.len());
        for known in &pushed {
            match by_digest.entry(Sha256::digest(token_of(links, known).as_bytes()).into()) {
                Entry::Vacant(free) => {
                    free.insert(known.id);
                }
                Entry::Occupied(taken) => {
                    let (endpoint, id) = (known.endpoint.name.as_str(), known.id.0);
                    let other: &EndpointId = taken.get();
                    tracing::warn!(
                        endpoint,
                        endpoint_id = id,
                        other = other.0,
                        "two push endpoints have the same token: what is reported by it counts for the other one"
                    );
                }
            }
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { version: Some(version), by_digest };
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|id, _| pushed.iter().any(|known| known.id == *id));
    }

    /// Counts a report. `now` is monotonic.
    ///
    /// # Errors
    /// How long to wait until there is room for another one.
    pub fn admit(&self, id: EndpointId, now: Duration) -> Result<(), Duration> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let until = busy.entry(id).or_insert(now);
        let next = (*until).max(now) + EACH;
        let most = now + EACH * BURST;
        let over = next.saturating_sub(most);
        if !over.is_zero() {
            return Err(over);
        }
        *until = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_may_report_in_bursts_and_then_once_a_second() {
        let door = PushDoor::default();
        let at = |ms: u64| Duration::from_secs(1_000) + Duration::from_millis(ms);
        for _ in 0..BURST {
            assert_eq!(door.admit(EndpointId(1), at(0)), Ok(()));
        }
        assert_eq!(door.admit(EndpointId(1), at(0)), Err(EACH));
        assert_eq!(door.admit(EndpointId(2), at(0)), Ok(()), "another one is not concerned");
        assert_eq!(door.admit(EndpointId(1), at(400)), Err(Duration::from_millis(600)));
        assert_eq!(door.admit(EndpointId(1), at(1_000)), Ok(()));
        assert!(door.admit(EndpointId(1), at(1_000)).is_err());
        for second in 100..200 {
            assert_eq!(door.admit(EndpointId(1), at(second * 1_000)), Ok(()), "one a second, for ever");
        }
    }
}
