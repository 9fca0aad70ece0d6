//! Measures the product beside the least that the same work can cost on the same machine in the same run.
//! Prints figures; people judge them.

mod api;
mod arrivals;
mod attempts;
mod floor;
mod history;
mod load;
mod monitor;
mod process;
mod session;
mod show;
mod target;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures api-monitor beside the least that the same work can cost.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// CPU, memory, bytes written and punctuality while endpoints are checked
    Load(load::Load),
    /// What one attempt of an HTTP check costs
    Attempts(attempts::Attempts),
    /// Latency of the reads over a long history, and the time of a start on it
    History(history::History),
    /// The HTTP server that is checked; ends with its standard input
    #[command(hide = true)]
    Target {
        #[arg(long)]
        endpoints: usize,
        #[arg(long)]
        interval: u64,
    },
    /// The least that makes the same checks; ends with its standard input
    #[command(hide = true)]
    Floor {
        #[arg(long)]
        endpoints: usize,
        #[arg(long)]
        interval: u64,
        #[arg(long, value_delimiter = ',')]
        addresses: Vec<SocketAddr>,
    },
}

/// What both measurements are told.
#[derive(Debug, clap::Args)]
struct Common {
    /// The monitor's release binary
    #[arg(long, default_value = "target/release/api-monitor")]
    binary: PathBuf,
    /// Where databases are made; they are removed at the end [default: the system's folder for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    // Fails only if a provider was installed before, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let done = match Cli::parse().command {
        Command::Load(load) => load.run(),
        Command::Attempts(attempts) => attempts.run(),
        Command::History(history) => history.run(),
        Command::Target { endpoints, interval } => target::run(endpoints, interval),
        Command::Floor { endpoints, interval, addresses } => floor::run(endpoints, interval, &addresses),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            session::complain(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
