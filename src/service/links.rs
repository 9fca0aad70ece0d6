//! The key of the links that act by themselves, and what their pages do.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::context::{Actor, ServiceContext};
use super::error::ServiceError;
use super::incidents::{self, IncidentDetail};
use super::random;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::domain::role::Role;
use crate::links::{AcknowledgeLink, Links};
use crate::store::{Store, settings};

/// The row of the key. With another key every link that was told is worthless.
const KEY: &str = "link_key";

/// The links of this monitor; its key is made at the first start. A row that holds no key is replaced.
///
/// # Errors
/// `Store`; `Unavailable` when the system gives no random numbers.
pub async fn load(store: &Store, config: &Config, now: Timestamp) -> Result<Links, ServiceError> {
    let stored = settings::get(store.readers(), KEY).await.map_err(ServiceError::Store)?;
    let read = |stored: &serde_json::Value| STANDARD.decode(stored["key"].as_str()?).ok()?.try_into().ok();
    let key: [u8; 32] = match stored.as_ref().and_then(read) {
        Some(key) => key,
        None => {
            let key = random::bits()?;
            let value = json!({"key": STANDARD.encode(key)});
            settings::put(store.writer(), KEY, value, now).await.map_err(ServiceError::Store)?;
            key
        }
    };
    let base = config.telling.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    Ok(Links::new(base, key))
}

/// Acknowledges by a link that was read: as somebody at an unknown desk, who has the message.
///
/// # Errors
/// As [`incidents::acknowledge`].
pub async fn acknowledge(
    ctx: &Arc<ServiceContext>,
    link: &AcknowledgeLink,
    address: Option<std::net::IpAddr>,
) -> Result<IncidentDetail, ServiceError> {
    let actor = Actor { name: format!("link ({})", link.channel), address, role: Role::Operator };
    incidents::acknowledge(ctx, &actor, link.incident, None, None).await
}
