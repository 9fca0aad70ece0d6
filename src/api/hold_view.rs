//! What keeps messages back, as it is shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::Timestamp;
use crate::domain::hold::Hold;
use crate::domain::suppression::Suppressor;

/// What keeps messages about an endpoint back, and until when.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldItem {
    by: Suppressor,
    /// Of the maintenance window, or the id of the silence.
    #[schema(example = "database upgrade")]
    name: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// As whoever made it wrote; may be empty.
    reason: String,
    /// Who made the silence; null for a window.
    made_by: Option<String>,
}

impl From<&Hold> for HoldItem {
    fn from(hold: &Hold) -> Self {
        Self {
            by: hold.by,
            name: hold.name.clone(),
            since: hold.since,
            until: hold.until,
            reason: hold.reason.clone(),
            made_by: hold.made_by.clone(),
        }
    }
}
