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
    /// Of the maintenance window, the id of the silence, or `group/name` of the parent that is down (`group:core` of a
    /// group as a whole).
    #[schema(example = "database upgrade")]
    name: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Null: not by time, but when the parent answers again.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// As whoever made it wrote, or why the parent is down; may be empty.
    reason: String,
    /// The parent that the maintenance window is about; null: it is about the endpoint itself.
    through: Option<String>,
    /// Who made the silence; null otherwise.
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
            through: hold.through.clone(),
            made_by: hold.made_by.clone(),
        }
    }
}
