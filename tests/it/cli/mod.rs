//! The program as a user drives it: arguments, exit codes, what is printed, signals.

mod checking;
mod commands;
mod demo;
mod imagining;
mod keys;
mod logs;
mod logs_secrets;
pub(crate) mod process;
mod serving;
mod settings;

use std::path::Path;

/// Writes `config.yaml` with a database in the folder and any free port, and returns the folder.
fn configured(endpoints: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.yaml", &with_database(folder.path(), endpoints));
    folder
}

fn with_database(folder: &Path, endpoints: &str) -> String {
    let database = folder.join("monitor.db");
    format!("database: {{url: 'sqlite://{}'}}\napi: {{host: 127.0.0.1, port: 0}}\n{endpoints}", database.display())
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}
