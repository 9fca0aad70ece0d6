//! `export`: what is kept, as a table, on standard output or in a file.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use super::Failed;
use super::progress::Bar;
use crate::app::store_options;
use crate::config::Config;
use crate::service::export::{self, ExportError, ExportQuery};
use crate::store::Beside;

/// Exports to a file, which appears whole or not at all, or to standard output.
pub(super) async fn export(
    config: &Config,
    query: &ExportQuery,
    output: Option<&Path>,
    overwrite: bool,
) -> Result<ExitCode, Failed> {
    if let (Some(from), Some(to)) = (query.from, query.to)
        && from >= to
    {
        return Err(Failed::cannot_start("--from must be before --to"));
    }
    if let Some(path) = output.filter(|path| !overwrite && path.exists()) {
        return Err(there_is(path));
    }
    let source = Beside::open(&store_options(config)).await.map_err(Failed::cannot_start)?;
    let result = match output {
        Some(path) => to_file(&source, config, query, path, overwrite).await,
        None => to_standard_output(&source, config, query).await,
    };
    source.close().await.map_err(Failed::running)?;
    result.map(|()| ExitCode::SUCCESS)
}

async fn to_standard_output(source: &Beside, config: &Config, query: &ExportQuery) -> Result<(), Failed> {
    let bar = Bar::new("export");
    let mut out = Counting { out: BufWriter::new(std::io::stdout()), written: 0 };
    let rows = export::export(source, config, query, &mut out, &mut |done, total| bar.rows(done, total)).await;
    match rows {
        Ok(rows) => tell(&bar.done(Some(rows), out.written)),
        // Whoever read it has had enough.
        Err(ExportError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(())
}

async fn to_file(
    source: &Beside,
    config: &Config,
    query: &ExportQuery,
    path: &Path,
    overwrite: bool,
) -> Result<(), Failed> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = |error: std::io::Error| Failed::running(format!("{} cannot be written: {error}", path.display()));
    let partial = new_file(folder).map_err(cannot)?;
    let bar = Bar::new("export");
    let mut out = Counting { out: BufWriter::new(partial.as_file()), written: 0 };
    let rows = export::export(source, config, query, &mut out, &mut |done, total| bar.rows(done, total))
        .await
        .map_err(failed)?;
    let written = out.written;
    out.flush().and_then(|()| partial.as_file().sync_all()).map_err(cannot)?;
    drop(out);
    if overwrite {
        partial.persist(path).map_err(|e| cannot(e.error))?;
    } else {
        partial.persist_noclobber(path).map_err(|e| match e.error.kind() {
            ErrorKind::AlreadyExists => there_is(path),
            _ => cannot(e.error),
        })?;
    }
    tell(&format!("{}: {}", path.display(), bar.done(Some(rows), written)));
    Ok(())
}

/// A file as any other program would make it: there is no secret in an export.
fn new_file(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".export.").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

fn there_is(path: &Path) -> Failed {
    Failed::cannot_start(format!("{} exists: choose another name, or overwrite it with --force", path.display()))
}

fn failed(error: ExportError) -> Failed {
    match error {
        ExportError::Query(_) => Failed::cannot_start(error),
        other => Failed::running(other),
    }
}

/// To standard error: standard output may be the export.
fn tell(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Counts what is written.
struct Counting<W> {
    out: W,
    written: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
