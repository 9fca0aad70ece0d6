//! The command line → library → exit code: 0 done, 1 it failed while running or was refused, 2 it could not start, 3 the
//! monitor that was to be asked cannot be reached.

mod backtest;
mod backup;
mod banner;
mod check;
mod demo;
mod explain;
mod export;
mod logs;
mod notify;
mod operate;
mod progress;
mod remote;
mod serve;
mod simulate;
mod style;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};

use crate::api::pagination::Moment;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Environment, LoadOptions, Workers};
use crate::domain::setting::DurationSetting;
use crate::service::export::{ExportQuery, Format, What};
use crate::store::backup::Form;
use crate::telemetry::logging::TOLD_OTHERWISE;

/// It could not start: wrong command line, configuration, database, port.
const CANNOT_START: u8 = 2;
/// It failed while running, or what was examined is down.
const FAILED: u8 = 1;
/// The running monitor that was asked would not do it, or knows nothing of it.
const REFUSED: u8 = FAILED;
/// There is no running monitor where it was looked for.
const UNREACHABLE: u8 = 3;

/// How long the end waits for threads that block.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  api-monitor                          monitor what config/config.yaml names
  api-monitor --config /etc/monitor/   … what the files of a folder name
  api-monitor validate                 print every mistake of the configuration
  api-monitor check https://example.com/health
                                       examine a URL now, and say what was seen
  api-monitor notify test slack        try how people are told
  api-monitor explain core/api         where each setting comes from, and who is told
  api-monitor ack core/api             look after an outage of a running monitor
  api-monitor backup monitor.backup    save everything, while the monitor runs
  api-monitor export -o checks.csv     every check as a table
  api-monitor simulate core/api --down 2h
                                       who would be told what, and when
  api-monitor demo                     see targets fail and recover, offline";

/// Watches endpoints and keeps exact uptime.
#[derive(Debug, Parser)]
#[command(name = "api-monitor", version, after_help = EXAMPLES)]
struct Cli {
    /// The configuration file, or a folder of them [default: $CONFIG_PATH, else config/config.yaml]
    #[arg(long, short, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Monitor and serve the API (the default)
    Serve,
    /// Check the configuration, print every mistake, and exit with 2 if there is one
    Validate {
        /// Accept variables that are not set here
        #[arg(long)]
        allow_missing_env: bool,
    },
    /// Create the database or bring its schema up to date, and exit
    Migrate,
    /// Save everything in one file, also while the monitor runs; it holds the secrets of the endpoints
    #[command(after_help = "Example:\n  api-monitor backup /backups/monitor-$(date +%F).db\n\n\
                            Restore it with `api-monitor restore`.")]
    Backup {
        /// The file to write; it appears whole or not at all [default: a new one in the folder `backup.folder`, where
        /// the oldest beyond `backup.keep` are removed]
        file: Option<PathBuf>,
        /// native: a database file of SQLite; portable: also to move from SQLite to PostgreSQL and back
        /// [default: native for SQLite, portable for PostgreSQL]
        #[arg(long, value_enum)]
        format: Option<BackupForm>,
        /// Overwrite a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Put a backup in the place of the database, while no monitor runs
    #[command(after_help = "Example:\n  api-monitor restore /backups/monitor-2026-11-21.db")]
    Restore {
        /// A backup of either form
        file: PathBuf,
        /// Also when the database has data
        #[arg(long)]
        force: bool,
    },
    /// Print what is kept as a table for other programs, also while the monitor runs
    #[command(after_help = "Examples:\n  api-monitor export --from 2026-11-01 --to 2026-11-30 -o november.csv\n  \
                            api-monitor export --what incidents --endpoint core/api --format json\n  \
                            api-monitor export --format jsonl | jq -c 'select(.outcome == \"down\")'")]
    Export {
        /// What: single checks, the hours or UTC days that are over, incidents, or the endpoints and their settings
        #[arg(long, default_value = "checks", value_parser = word::<What>(What::ALL, What::as_str))]
        what: What,
        /// csv; json: one array; jsonl: an object a line
        #[arg(long, default_value = "csv", value_parser = word::<Format>(Format::ALL, Format::as_str))]
        format: Format,
        /// Only this endpoint: `name`, `group/name`, `group/*` or an id; may be given again [default: all]
        #[arg(long, value_name = "ENDPOINT")]
        endpoint: Vec<String>,
        /// From this date or instant (RFC 3339, UTC unless it says otherwise) [default: the oldest kept]
        #[arg(long)]
        from: Option<Moment>,
        /// Up to this date, which is included whole, or before this instant [default: now]
        #[arg(long)]
        to: Option<Moment>,
        /// The file to write [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Overwrite a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Examine one endpoint now and say what was seen; nothing is stored
    #[command(
        after_help = "Examples:\n  api-monitor check https://example.com/health\n  api-monitor check core/api --json\n  \
                      api-monitor check tcp://db.example:5432\n  api-monitor check https://example.com \\\n    \
                      --condition '[BODY].status == ok' --degraded-unless '[RESPONSE_TIME] < 800ms'\n\n\
                      Exit codes: 0 up or degraded, 1 down, 2 it could not be examined."
    )]
    Check(check::Examination),
    /// Imagine an outage and say who would be told what and when, and what would keep it back; nothing is checked or sent
    #[command(after_help = "Examples:\n  api-monitor simulate core/api --down 2h\n  \
                            api-monitor simulate core/api --down 2h --at '2026-11-29T03:00' --also core/db\n  \
                            api-monitor simulate core/api --down 5m --own-network-down 20m\n\n\
                            It goes by the configuration, and by what was made through the API where the database is \
                            there.")]
    Simulate {
        /// The endpoint that fails: `group/name`, or a name that only one has
        target: String,
        /// For how long: 90s, 2h, 1d
        #[arg(long, value_parser = duration)]
        down: DurationSetting,
        /// From when: by the clocks of the configured time zone, or RFC 3339 [default: now]
        #[arg(long)]
        at: Option<String>,
        /// A further endpoint that fails in the same time; may be given again
        #[arg(long, value_name = "ENDPOINT")]
        also: Vec<String>,
        /// For so long, from the same time on, our own network is cut off: everything fails that is not on this machine,
        /// and the targets of `connectivity` do not answer
        #[arg(long, value_name = "TIME", value_parser = duration)]
        own_network_down: Option<DurationSetting>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Replay stored checks under another alert policy: what would have been told later, or not at all
    #[command(after_help = "Examples:\n  api-monitor backtest --policy '{failure_threshold: 3}' --days 30\n  \
                            api-monitor backtest --policy '{cooldown_seconds: 15m}' --match group:core --json\n\n\
                            Confirming checks are in the history only as they were made then. Acknowledgements and \
                            silences of that time are not in it.")]
    Backtest {
        /// Keys of the alert policy to replace, as in the configuration
        #[arg(long)]
        policy: String,
        /// How far back
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Only these endpoints: `*`, group:core, tag:prod, id:12, group/name; may be given again [default: all]
        #[arg(long = "match", value_name = "SELECTOR")]
        selectors: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Watch built-in targets that are fine, slow, flaky and broken, on this machine only
    Demo {
        /// The port of the API; 0: any free one
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// Ask a running monitor on this machine whether it serves; for container health checks
    Healthcheck {
        /// Another address to ask [default: the configured port on 127.0.0.1]
        #[arg(long)]
        url: Option<String>,
    },
    /// Print the OpenAPI document
    Openapi {
        /// In version 2.0 (Swagger) instead of 3.1
        #[arg(long)]
        swagger: bool,
    },
    /// Explain an endpoint: each setting with where it comes from, who is told, and what keeps messages back now
    #[command(after_help = "Example:\n  api-monitor explain core/api")]
    Explain {
        /// `name`, or `group/name`
        endpoint: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: remote::Where,
    },
    #[command(flatten)]
    Operate(operate::Operate),
    /// Try how people are told
    Notify {
        #[command(subcommand)]
        what: NotifyCommand,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BackupForm {
    Native,
    Portable,
}

impl From<BackupForm> for Form {
    fn from(form: BackupForm) -> Self {
        match form {
            BackupForm::Native => Self::Native,
            BackupForm::Portable => Self::Portable,
        }
    }
}

/// Reads a length of time.
fn duration(text: &str) -> Result<DurationSetting, String> {
    DurationSetting::parse(text)
}

/// Reads one of our words.
fn word<T>(all: &'static [T], text: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().copied().map(text)).try_map(|word| word.parse::<T>())
}

#[derive(Debug, Subcommand)]
enum NotifyCommand {
    /// Send a marked test message through a channel, and say what the other side answered
    #[command(after_help = "Example:\n  api-monitor notify test slack")]
    Test {
        /// A configured channel that is on
        channel: String,
    },
}

/// A sentence for standard error, and the exit code that goes with it.
#[derive(Debug)]
struct Failed {
    code: u8,
    message: String,
}

impl Failed {
    fn cannot_start(error: impl std::fmt::Display) -> Self {
        Self { code: CANNOT_START, message: error.to_string() }
    }

    fn running(error: impl std::fmt::Display) -> Self {
        Self { code: FAILED, message: error.to_string() }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    // clap prints help, version and mistakes itself and ends the process: 0 for help, 2 for mistakes.
    let cli = Cli::parse();
    // Two crypto providers may be compiled in by dependencies; this one is meant wherever none is named. It fails
    // only if one was installed before, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    match run(cli) {
        Ok(code) => code,
        Err(Failed { code, message }) => {
            drop(writeln!(std::io::stderr(), "api-monitor: {message}"));
            ExitCode::from(code)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failed> {
    let environment = Environment::from_process().map_err(Failed::cannot_start)?;
    let options = LoadOptions { path: cli.config, environment, allow_missing_env: false };
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let config = load(&options)?;
            // Ends after the runtime, so that the last lines of every task are in the file.
            let logging = logs::start(&config)?;
            let end = runtime(config.api.workers).and_then(|runtime| {
                let end = runtime.block_on(serve::serve(config, &logging.level));
                // Nothing is waited for any more: a resolver that does not answer would hold up the end.
                runtime.shutdown_timeout(LAST_WORDS);
                end
            });
            if let Err(Failed { message, .. }) = &end {
                tracing::error!(target: TOLD_OTHERWISE, "{message}");
            }
            end
        }
        Command::Validate { allow_missing_env } => validate(&LoadOptions { allow_missing_env, ..options }),
        Command::Migrate => {
            let config = load(&options)?;
            runtime(Workers::Fixed(1))?.block_on(migrate(&config))
        }
        Command::Backup { file, format, force } => {
            let config = load(&options)?;
            let (file, form) = (file.as_deref(), format.map(Into::into));
            runtime(Workers::Fixed(1))?.block_on(backup::backup(&config, file, form, force))
        }
        Command::Restore { file, force } => {
            let config = load(&options)?;
            runtime(Workers::Fixed(1))?.block_on(backup::restore(&config, &file, force))
        }
        Command::Export { what, format, endpoint, from, to, output, force } => {
            let config = load(&options)?;
            let (from, to) = (from.map(|moment| moment.at), to.map(Moment::as_end));
            let query = ExportQuery { what, format, endpoints: endpoint, from, to };
            runtime(Workers::Fixed(1))?.block_on(export::export(&config, &query, output.as_deref(), force))
        }
        Command::Check(asked) => runtime(Workers::Fixed(1))?.block_on(check::check(&options, &asked)),
        Command::Notify { what: NotifyCommand::Test { channel } } => {
            let config = load(&options)?;
            runtime(Workers::Fixed(1))?.block_on(notify::test(&config, &channel))
        }
        Command::Simulate { target, down, at, also, own_network_down, json } => {
            let config = load(&options)?;
            let imagining = simulate::Imagining { target, also, down, at, own_network_down, json };
            runtime(Workers::Fixed(1))?.block_on(simulate::simulate(&config, &imagining))
        }
        Command::Backtest { policy, days, selectors, json } => {
            let config = load(&options)?;
            runtime(Workers::Fixed(1))?.block_on(backtest::backtest(&config, &policy, days, selectors, json))
        }
        Command::Explain { endpoint, json, at } => {
            runtime(Workers::Fixed(1))?.block_on(explain::explain(&options, &endpoint, json, &at))
        }
        Command::Operate(what) => runtime(Workers::Fixed(1))?.block_on(operate::operate(what, &options)),
        Command::Demo { port } => {
            let logging = logs::start_on_terminal()?;
            runtime(Workers::Auto)?.block_on(demo::demo(port, &logging.level))
        }
        Command::Healthcheck { url } => runtime(Workers::Fixed(1))?.block_on(check::healthcheck(&options, url)),
        Command::Openapi { swagger } => {
            let header = load(&options).map_or_else(|_| "X-API-Key".to_owned(), |c| c.api.auth.header_name);
            let document = serde_json::to_value(crate::api::document(&header)).map_err(Failed::running)?;
            let document = if swagger { crate::api::swagger::of(&document) } else { document };
            say(&serde_json::to_string_pretty(&document).map_err(Failed::running)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn load(options: &LoadOptions) -> Result<Config, Failed> {
    let now = tokio_free_now();
    crate::config::load(options, now)
        .map_err(|errors| Failed { code: CANNOT_START, message: format!("the configuration has mistakes\n\n{errors}") })
}

fn tokio_free_now() -> crate::domain::Timestamp {
    SystemClock::new().now()
}

fn runtime(workers: Workers) -> Result<tokio::runtime::Runtime, Failed> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Workers::Fixed(threads) = workers {
        builder.worker_threads(threads as usize);
    }
    builder
        .enable_all()
        .build()
        .map_err(|error| Failed::cannot_start(format!("the threads of the runtime cannot be started: {error}")))
}

fn validate(options: &LoadOptions) -> Result<ExitCode, Failed> {
    let config = load(options)?;
    for warning in &config.warnings {
        say(&format!("warning: {warning}"));
    }
    // What a channel is built from (options of presets, certificates in files) is tried as well.
    let clock = std::sync::Arc::new(SystemClock::new());
    runtime(Workers::Fixed(1))?
        .block_on(async { crate::app::build_channels(&config, clock, crate::app::outbound(&config)?) })
        .map_err(|error| Failed::cannot_start(format!("the configuration has a mistake\n\n{error:#}")))?;
    let (_, warnings) = crate::app::open_tls(&config, tokio_free_now())
        .map_err(|error| Failed::cannot_start(format!("the configuration has a mistake\n\n{error:#}")))?;
    for warning in &warnings {
        say(&format!("warning: {warning}"));
    }
    let files: Vec<_> = config.files.iter().map(|file| file.display().to_string()).collect();
    say(&format!(
        "valid: {} · {} · {}",
        files.join(", "),
        counted(config.endpoints.len(), "endpoint"),
        counted(config.warnings.len() + warnings.len(), "warning")
    ));
    Ok(ExitCode::SUCCESS)
}

async fn migrate(config: &Config) -> Result<ExitCode, Failed> {
    let store = crate::store::Store::open(&crate::app::store_options(config)).await.map_err(Failed::cannot_start)?;
    let what = if store.was_created() { "created" } else { "up to date" };
    say(&format!("database {}: {what}", store.place()));
    store.close().await.map_err(Failed::running)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a line to standard output. A reader that has gone away is no failure of ours.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// `1 endpoint`, `2 endpoints`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
