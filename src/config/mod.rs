//! The configuration: one YAML file or a folder of them, environment variables on top, checked as a whole.
//!
//! [`load`](fn@load) gives a [`Config`] in which every default is applied and every rule holds, or every mistake at once
//! with file, line, column and what would be right. This module alone reads the process's environment. It keeps
//! nothing and watches nothing: whoever wants to reload calls `load` again.
//!
//! The way of a value: [`files`] finds and merges, [`load`](mod@load) parses to a tree with places,
//! [`substitute`] fills in variables, [`overrides`] lays the environment over it, [`de`] gives it the type that
//! a section ([`raw`]) asks for, [`validate`], [`mod@api`], [`auth`], [`database`], [`channels`], [`telling`],
//! [`endpoints`] and [`layer`] check the rules.

mod api;
pub mod auth;
mod backup;
pub mod channels;
mod connectivity;
mod database;
mod de;
mod directory;
mod endpoints;
mod env;
mod errors;
mod fault;
mod files;
mod group_messages;
mod layer;
mod load;
mod logging;
mod maintenance;
mod original;
mod outbound;
mod overrides;
mod places;
mod policy_text;
mod prometheus;
mod raw;
mod report;
mod resolver;
mod routes;
mod running;
pub mod schemas;
mod secret;
mod section;
mod session;
mod set_by;
mod substitute;
mod telling;
mod templates;
mod tree;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::api::{ApiConfig, CorsConfig, MaxConnections, Origins, RateLimitConfig, TlsConfig, Workers};
pub use self::auth::{AuthConfig, ConfiguredKey};
pub use self::backup::BackupConfig;
pub use self::channels::ChannelConfig;
pub use self::connectivity::ConnectivityConfig;
pub use self::database::{PostgresConfig, TlsMode};
pub use self::directory::{Directory, Listing};
pub use self::env::Environment;
pub use self::errors::{ConfigError, ConfigErrors, ConfigWarning, SourceRef};
pub use self::logging::{LogAccess, LogFormat, LogLevel, LogRotation, LoggingConfig};
pub use self::maintenance::ConfiguredWindow;
pub use self::places::{EndpointPlaces, Places, SetAt, SettingLayer};
pub use self::policy_text::policy_of_text;
pub use self::prometheus::{DEFAULT_METRICS_PATH, PrometheusConfig};
use self::report::Report;
pub use self::running::{Adjustable, RunningSettings};
pub use self::secret::Secret;
pub use self::set_by::SetBy;
use self::substitute::Substitution;
pub use self::telling::{HeartbeatConfig, TellingConfig};
use self::tree::Trail;
use crate::domain::Timestamp;
use crate::domain::endpoint::{Endpoint, EndpointSettings, Layers};
use crate::domain::outbound::OutboundPolicy;
use crate::domain::route::Route;

/// Where a configuration is looked for when neither the command line nor `CONFIG_PATH` names one.
pub const DEFAULT_PATH: &str = "config/config.yaml";

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// `--config`: a file or a folder. Else `CONFIG_PATH`, else [`DEFAULT_PATH`].
    pub path: Option<PathBuf>,
    pub environment: Environment,
    /// An unset `${VAR}` is a warning and counts as a key that is not set. Only to validate where the secrets
    /// are not: a configuration made so is not one to run.
    pub allow_missing_env: bool,
}

/// A configuration with every default applied and every rule checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file or the folder, absolute.
    pub path: PathBuf,
    /// The files that were read, absolute, in their order.
    pub files: Vec<PathBuf>,
    /// Who set each key, by its path; keys that are not in it have their default.
    pub set: BTreeMap<String, SetBy>,
    pub database: DatabaseConfig,
    pub backup: BackupConfig,
    /// Of schedules without one of their own.
    pub timezone: chrono_tz::Tz,
    /// `defaults:`, which apply where group and endpoint say nothing.
    pub defaults: EndpointSettings,
    /// By name.
    pub groups: BTreeMap<String, GroupConfig>,
    /// Those of `endpoints:` in their order, then those of the groups.
    pub endpoints: Vec<ConfiguredEndpoint>,
    pub maintenance_windows: Vec<ConfiguredWindow>,
    /// The first that means an endpoint applies to it.
    pub routes: Vec<Route>,
    pub monitoring: MonitoringConfig,
    pub logging: LoggingConfig,
    pub api: ApiConfig,
    pub prometheus: PrometheusConfig,
    /// Those of `channels:` in their order, then those of `notifications:`; also those that are off.
    pub channels: Vec<ChannelConfig>,
    /// The names of `channels`.
    pub channel_names: Vec<String>,
    pub telling: TellingConfig,
    /// Whether our own network is there is asked of these. `None`: nobody is asked, and every failure counts.
    pub connectivity: Option<ConnectivityConfig>,
    /// The server that checks and channels ask for names. `None`: as every program of the machine does.
    pub resolver: Option<SocketAddr>,
    /// For endpoints and channels made through the API.
    pub outbound: OutboundPolicy,
    /// In the order of the files and their lines.
    pub warnings: Vec<ConfigWarning>,
}

impl Config {
    /// What applies to endpoints of `group` (empty: of none) where they say nothing.
    pub fn layers<'a>(&'a self, group: &str) -> Layers<'a> {
        Layers {
            defaults: &self.defaults,
            group: self.groups.get(group).map(|group| &group.settings),
            routes: &self.routes,
            timezone: self.timezone,
            channels: Some(&self.channel_names),
        }
    }
}

/// `database:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    pub target: DatabaseTarget,
    /// Readers (`SQLite`) or connections, at least 1.
    pub pool_size: u32,
    /// Connections beyond `pool_size` in times of need.
    pub max_overflow: u32,
    /// Whether a connection is tried before it is used.
    pub pool_pre_ping: bool,
    /// Whether SQL statements are logged.
    pub echo: bool,
}

/// Where the history is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseTarget {
    /// A file, absolute.
    Sqlite {
        path: PathBuf,
    },
    /// Gone when the process ends.
    SqliteMemory,
    Postgres(Box<PostgresConfig>),
}

/// A group of `groups:`.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupConfig {
    /// Of the group itself, not inherited.
    pub description: String,
    /// Inherited by its endpoints; without name, url, group and description.
    pub settings: EndpointSettings,
    pub source: SourceRef,
}

/// An endpoint of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredEndpoint {
    /// As set, with name, url and group filled in.
    pub settings: EndpointSettings,
    /// With everything inherited and all defaults applied.
    pub endpoint: Endpoint,
    pub source: SourceRef,
}

/// `monitoring:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitoringConfig {
    /// Days for which each check result is kept, at least 1.
    pub check_history_days: u32,
    /// Time between two runs of the retention.
    pub cleanup_interval: Duration,
    pub max_concurrent_checks: MaxConcurrent,
    /// Attempts in flight to one host and port, at least 1.
    pub max_checks_per_host: u32,
    /// Days for which hourly rollups are kept, at least 1.
    pub hourly_rollup_days: u32,
}

/// How many attempts may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxConcurrent {
    /// As fits endpoints, timeouts and file descriptors.
    Auto,
    /// At least 1.
    Fixed(u32),
}

/// Reads, merges and checks the configuration. `now` serves only to refuse schedules without a next date.
///
/// # Errors
/// Every mistake that could be found, in the order of the files and their lines.
pub fn load(options: &LoadOptions, now: Timestamp) -> Result<Config, ConfigErrors> {
    read(options, now, |_| ()).map(|(config, ())| config)
}

/// As [`load`](fn@load), with the places of everything that is written.
///
/// # Errors
/// As [`load`](fn@load).
pub fn load_with_places(options: &LoadOptions, now: Timestamp) -> Result<(Config, Places), ConfigErrors> {
    read(options, now, |root| Places::new(root.clone()))
}

/// `keep`: what to keep of the tree, which is taken apart in the reading.
fn read<T>(
    options: &LoadOptions,
    now: Timestamp,
    keep: impl FnOnce(&tree::Node) -> T,
) -> Result<(Config, T), ConfigErrors> {
    let named = options.path.as_deref();
    let path = named
        .or_else(|| options.environment.get_filled("CONFIG_PATH").map(Path::new))
        .unwrap_or_else(|| Path::new(DEFAULT_PATH));

    let mut report = Report::default();
    let files = files::read(path, &mut report);
    let Some(mut root) = files.root else {
        return Err(report.finish(&files.names).err().unwrap_or(ConfigErrors(Vec::new())));
    };
    original::without_meaningless(&mut root, &mut report);
    let environment = overrides::without_container_links(&options.environment, &mut report);
    let substitution = Substitution { environment: &environment, allow_missing: options.allow_missing_env };
    substitution.apply(&mut root, &Trail::Root, &mut report);
    original::move_aliases(&mut root, &mut report);
    overrides::apply(&mut root, &environment, &mut report);
    original::without_meaningless(&mut root, &mut report);

    let set = set_by::of(&root);
    let kept = keep(&root);
    let config = validate::config(root, now, &mut report);
    let warnings = report.finish(&files.names)?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok((Config { path, files: files.paths, set, warnings, ..config }, kept))
}
