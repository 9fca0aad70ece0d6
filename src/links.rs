//! Links that act by themselves: whoever has one may do the one thing it is for, until it ends, without a key.
//!
//! A link is signed (HMAC-SHA256) with a key that this monitor made for itself and keeps in its database. What is signed
//! is the purpose, the incident, the end and the channel that the link was told through, so that none of them can be
//! exchanged. It is put into a message when that is sent, and is stored nowhere.
//!
//! The addresses that push endpoints are reported to are made with the same key: who has one may report, as long as the
//! endpoint is there.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::endpoint::EndpointId;
use crate::domain::notification::{Event, Notification};
use crate::domain::{Timestamp, from_micros};

/// How long an outage can be acknowledged by the link of a message, from what it tells.
const ENDS_AFTER: TimeDelta = TimeDelta::days(7);

/// Bytes of the signature in a link: beyond guessing, and a link stays short.
const SIGNATURE_BYTES: usize = 16;

/// The longest text that is looked at.
const LONGEST: usize = 1_024;

/// Makes and reads links.
pub struct Links {
    /// Where this monitor is for people, without a slash at its end. `None`: nobody said, so there are no links.
    base: Option<String>,
    key: [u8; 32],
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("base", &self.base).finish_non_exhaustive()
    }
}

/// What somebody with a link may do: acknowledge this incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgeLink {
    pub incident: i64,
    /// The channel it was told through.
    pub channel: String,
}

/// Why a link is good for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is none of ours, or was changed.
    Unknown,
    /// It was good until then.
    Ended(Timestamp),
}

impl Links {
    pub fn new(base: Option<String>, key: [u8; 32]) -> Self {
        Self { base, key }
    }

    /// The link by which whoever gets this message through this channel acknowledges the outage. `None`: there is nothing
    /// to acknowledge, or nobody said where this monitor is.
    pub fn acknowledge(&self, notification: &Notification, channel: &str) -> Option<String> {
        let base = self.base.as_ref()?;
        let tells_of_it = matches!(
            notification.event,
            Event::Down | Event::DownAgain | Event::Flapping | Event::Reminder | Event::Escalated
        );
        let incident =
            notification.incident.as_ref().filter(|incident| tells_of_it && incident.resolved_at.is_none())?;
        // By the message, so that a second attempt says the same.
        let ends = notification.occurred_at.checked_add_signed(ENDS_AFTER)?.timestamp();
        let claim = format!("{}.{ends}.{}", incident.id, URL_SAFE_NO_PAD.encode(channel));
        let signature = URL_SAFE_NO_PAD.encode(&self.sign(&claim).finalize().into_bytes()[..SIGNATURE_BYTES]);
        Some(format!("{base}/acknowledge/{claim}.{signature}"))
    }

    /// What the last segment of such a link says.
    ///
    /// # Errors
    /// Why it is good for nothing.
    pub fn read_acknowledge(&self, token: &str, now: Timestamp) -> Result<AcknowledgeLink, Refused> {
        let (claim, signature) = token.rsplit_once('.').filter(|_| token.len() <= LONGEST).ok_or(Refused::Unknown)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Unknown)?;
        // A shorter one would be easier to guess.
        if signature.len() != SIGNATURE_BYTES || self.sign(claim).verify_truncated_left(&signature).is_err() {
            return Err(Refused::Unknown);
        }
        let mut parts = claim.split('.');
        let read = (|| {
            let incident = parts.next()?.parse().ok()?;
            let ends: i64 = parts.next()?.parse().ok()?;
            let channel = String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
            Some((AcknowledgeLink { incident, channel }, from_micros(ends.checked_mul(1_000_000)?)))
        })();
        match read {
            Some((_, ends)) if now >= ends => Err(Refused::Ended(ends)),
            Some((link, _)) => Ok(link),
            None => Err(Refused::Unknown),
        }
    }

    /// The token of a push endpoint that was given none: the same as long as there is the endpoint and this database. In the
    /// form of a UUID, which is what clients of others expect.
    pub fn push_token(&self, id: EndpointId) -> String {
        let mut mac = self.mac(b"api-monitor push 1\0");
        mac.update(&id.0.to_be_bytes());
        let mut bits = [0; 16];
        bits.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        uuid::Builder::from_custom_bytes(bits).into_uuid().to_string()
    }

    /// Where a token is reported to; without knowing where this monitor is for others, the path alone.
    pub fn push_address(&self, token: &str) -> String {
        format!("{}/api/v1/push/{token}", self.base.as_deref().unwrap_or_default())
    }

    fn sign(&self, claim: &str) -> Hmac<Sha256> {
        let mut mac = self.mac(b"api-monitor acknowledge 1\0");
        mac.update(claim.as_bytes());
        mac
    }

    /// What is signed for one purpose is worth nothing for another.
    fn mac(&self, purpose: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length");
        mac.update(purpose);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(key: u8) -> Links {
        Links::new(Some("https://monitor.example/m".to_owned()), [key; 32])
    }

    fn told(event: Event) -> Notification {
        let at = "2026-11-21T07:00:00Z";
        serde_json::from_value(serde_json::json!({
            "version": 1, "id": "ntf_1", "event": event, "occurred_at": at, "told_late": false,
            "endpoint": {"id": 1, "name": "a", "group": "", "tags": [], "url": "http://a/", "kind": "http"},
            "endpoint_name": "a", "url": "http://a/", "timestamp": at, "status": "down", "previous_status": "up",
            "severity": "critical", "runbook": null, "failure_kind": null, "error": null,
            "incident": {"id": 42, "started_at": at, "opened_at": at, "resolved_at": null, "duration_seconds": 0, "url": null},
            "check": null
        }))
        .unwrap()
    }

    fn now(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_link_is_good_for_one_incident_until_its_end_and_no_longer() {
        let link = links(1).acknowledge(&told(Event::Down), "on call/ä").unwrap();
        let token = link.strip_prefix("https://monitor.example/m/acknowledge/").unwrap();
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{token}");
        let read = |token: &str, at| links(1).read_acknowledge(token, now(at));
        let good = AcknowledgeLink { incident: 42, channel: "on call/ä".to_owned() };
        assert_eq!(read(token, "2026-11-28T06:59:59Z"), Ok(good));
        let end = now("2026-11-28T07:00:00Z");
        assert_eq!(read(token, "2026-11-28T07:00:00Z"), Err(Refused::Ended(end)));
        assert_eq!(links(2).read_acknowledge(token, now("2026-11-22T00:00:00Z")), Err(Refused::Unknown), "another key");
    }

    #[test]
    fn whatever_is_changed_makes_it_worthless() {
        let link = links(1).acknowledge(&told(Event::Reminder), "ops").unwrap();
        let token = link.rsplit('/').next().unwrap();
        let at = now("2026-11-22T00:00:00Z");
        for (i, c) in token.char_indices() {
            for other in ['0', '1', 'A', '.', '~'] {
                if c != other {
                    let mut changed = token.to_owned();
                    changed.replace_range(i..=i, &other.to_string());
                    assert_eq!(links(1).read_acknowledge(&changed, at), Err(Refused::Unknown), "{changed}");
                }
            }
            assert_eq!(links(1).read_acknowledge(&token[..i], at), Err(Refused::Unknown), "{}", &token[..i]);
        }
        for junk in ["", ".", "...", "42.1.b3Bz.", &format!("{token}A"), &"9".repeat(5_000)] {
            assert_eq!(links(1).read_acknowledge(junk, at), Err(Refused::Unknown), "{junk}");
        }
    }

    #[test]
    fn only_what_is_open_can_be_acknowledged() {
        for event in Event::ALL {
            let has = links(1).acknowledge(&told(*event), "ops").is_some();
            let expected =
                matches!(event, Event::Down | Event::DownAgain | Event::Flapping | Event::Reminder | Event::Escalated);
            assert_eq!(has, expected, "{event}");
        }
        let mut late = told(Event::Down);
        late.incident.as_mut().unwrap().resolved_at = Some(late.occurred_at);
        assert_eq!(links(1).acknowledge(&late, "ops"), None);
        assert_eq!(Links::new(None, [1; 32]).acknowledge(&told(Event::Down), "ops"), None, "nobody knows where");
    }
}
