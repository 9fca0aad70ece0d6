//! What a verb can answer instead of its result. It knows nothing of HTTP: `api::error` alone turns it into a
//! problem document.

use crate::domain::endpoint::RuleError;
use crate::store::StoreError;

/// Why a verb did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The thing named does not exist (or no longer). The text names it.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Every mistake in the input at once.
    #[error("the input breaks {} rule(s)", .0.len())]
    Invalid(Vec<FieldError>),
    #[error("{0}")]
    Conflict(Conflict),
    /// The actor may not do this. The text says what would help.
    #[error("{0}")]
    Forbidden(String),
    /// The resource has changed since the revision the caller knows.
    #[error("the resource is at revision {revision}, not at the one that was asked for")]
    Stale { revision: i64 },
    /// The resource was to be there.
    #[error("the resource was to be there, and is not")]
    NotThere,
    /// The resource was not to be there.
    #[error("the resource was not to be there, and is")]
    IsThere,
    /// A part of the monitor that is needed cannot answer at this moment. The text names it.
    #[error("{0}")]
    Unavailable(String),
    #[error(transparent)]
    Store(StoreError),
}

/// What must hold of a resource for a change of it to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    Nothing,
    /// It is there, whatever it is.
    IsThere,
    NotThere,
    Revision(i64),
}

impl From<Option<i64>> for Precondition {
    /// The revision that it must have, if any.
    fn from(revision: Option<i64>) -> Self {
        revision.map_or(Self::Nothing, Self::Revision)
    }
}

impl Precondition {
    /// Compares it with the revision that there is; `None`: there is nothing.
    ///
    /// # Errors
    /// `Stale`, `NotThere`, `IsThere`.
    pub(super) fn require(self, present: Option<i64>) -> Result<(), ServiceError> {
        match (self, present) {
            (Self::IsThere | Self::Revision(_), None) => Err(ServiceError::NotThere),
            (Self::NotThere, Some(_)) => Err(ServiceError::IsThere),
            (Self::Revision(wanted), Some(revision)) if wanted != revision => Err(ServiceError::Stale { revision }),
            _ => Ok(()),
        }
    }
}

/// Why a change contradicts what there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("{} is already the name of an endpoint: choose another name or group", key_text(.group, .name))]
    NameTaken { group: String, name: String },
    /// The entry belongs to the configuration file.
    #[error("this {what} is managed by the configuration: change it in {source_line}")]
    ManagedByConfig { what: &'static str, source_line: String },
    #[error("the group `{name}` exists already: change it with PUT or PATCH")]
    GroupNameTaken { name: String },
    /// There is nothing of it but its endpoints.
    #[error(
        "nobody has declared the group `{name}`: it is there because {endpoints} endpoint(s) bear its name, and goes \
         when they do"
    )]
    ImplicitGroup { name: String, endpoints: usize },
    #[error("`{name}` is already the name of a key: choose another name")]
    KeyNameTaken { name: String },
    /// Nobody would be left who may manage keys.
    #[error(
        "`{name}` is the only key that can manage keys: make another one with the role admin first, or set \
         api.auth.api_key"
    )]
    LastAdmin { name: String },
    /// Backups are made one at a time.
    #[error("{sentence}")]
    BackupRunning { sentence: String },
    #[error("there are {most} collections already, and there can be no more: delete one first")]
    TooManyCollections { most: usize },
    #[error("a run of the task `{name}` is under way: ask again when it is over")]
    TaskRunning { name: String },
    #[error("{name} is a push endpoint: it reports by itself, and there is nothing to check")]
    NothingToCheck { name: String },
    #[error("nothing of this notification can be sent again: {reason}")]
    NothingToRetry { reason: String },
    #[error("incident {id} is over already: there is nothing to acknowledge or to resolve")]
    IncidentOver { id: i64 },
    #[error(
        "the checks of incident {id} fail: resolved now it would open again at once. Acknowledge it to have no reminders, \
         or silence the endpoint"
    )]
    ChecksFail { id: i64 },
    #[error("incident {id} has {most} notes already, and there can be no more")]
    TooManyNotes { id: i64, most: u64 },
    #[error("the channel `{name}` is off: set its `enabled` to true{where_to}")]
    ChannelOff {
        name: String,
        /// Empty for one made through the API.
        where_to: &'static str,
    },
    #[error("`{name}` is already the name of a channel: choose another name")]
    ChannelNameTaken { name: String },
    /// Something would lose the channel that it names.
    #[error("the channel `{name}` is named by {users}: change that first, or delete it all the same with ?force=true")]
    ChannelInUse { name: String, users: String },
    #[error("`{name}` is already the name of a maintenance window: choose another name")]
    WindowNameTaken { name: String },
    #[error("at most {most} channels are made through the API: delete one first")]
    TooManyChannels { most: usize },
    #[error("at most {most} groups are made through the API: delete one first")]
    TooManyGroups { most: usize },
}

/// How an endpoint is named in sentences: `group/name`, or the name alone.
pub(super) fn key_text(group: &str, name: &str) -> String {
    if group.is_empty() { format!("`{name}`") } else { format!("`{group}/{name}`") }
}

/// One mistake in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub place: Place,
    /// The rule that is broken: `required`, `invalid`, `out_of_range`, `conflict`, `unknown`.
    pub rule: &'static str,
    /// What is wrong and what would be right. Never repeats a secret.
    pub detail: String,
}

/// Where a mistake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// JSON pointer into the body.
    Pointer(String),
    /// A parameter of the query or the path.
    Parameter(String),
    Header(&'static str),
}

impl FieldError {
    pub fn at(pointer: impl Into<String>, rule: &'static str, detail: impl Into<String>) -> Self {
        Self { place: Place::Pointer(pointer.into()), rule, detail: detail.into() }
    }

    pub fn parameter(name: impl Into<String>, rule: &'static str, detail: impl Into<String>) -> Self {
        Self { place: Place::Parameter(name.into()), rule, detail: detail.into() }
    }
}

impl From<RuleError> for FieldError {
    fn from(error: RuleError) -> Self {
        Self::at(error.pointer, error.code, error.detail)
    }
}

impl ServiceError {
    /// The input broke these rules.
    pub fn rules(errors: Vec<RuleError>) -> Self {
        Self::Invalid(errors.into_iter().map(FieldError::from).collect())
    }

    /// A single mistake.
    pub fn invalid(error: FieldError) -> Self {
        Self::Invalid(vec![error])
    }
}
