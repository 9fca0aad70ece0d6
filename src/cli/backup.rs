//! `backup` and `restore`: one file that holds everything, and back.

use std::path::Path;
use std::process::ExitCode;

use super::progress::Bar;
use super::{Failed, say, tokio_free_now};
use crate::app::store_options;
use crate::config::Config;
use crate::store::backup::{self, BackupFolder, BackupOptions, Form};
use crate::store::{Beside, StoreError};

/// Into `file`; without one into the folder of those that are made through the API.
pub(super) async fn backup(
    config: &Config,
    file: Option<&Path>,
    form: Option<Form>,
    overwrite: bool,
) -> Result<ExitCode, Failed> {
    let now = tokio_free_now();
    let source = Beside::open(&store_options(config)).await.map_err(Failed::cannot_start)?;
    let folder = BackupFolder::new(config.backup.folder.clone(), config.backup.keep as usize);
    // Held until the end: it keeps the monitor from writing there at the same time.
    let (made, file) = match file {
        Some(file) => (None, file.to_owned()),
        None => {
            let claim = folder.claim().map_err(refused_or_failed)?;
            let native = source.path().is_some();
            let form = form.unwrap_or(if native { Form::Native } else { Form::Portable });
            let (id, file) = folder.name(form, now).map_err(refused_or_failed)?;
            (Some((claim, id)), file)
        }
    };
    let bar = Bar::new("backup");
    let options = BackupOptions { form, overwrite, now };
    let written = backup::create(&source, &file, options, &mut |progress| bar.backup(progress)).await;
    source.close().await.map_err(Failed::running)?;
    let written = written.map_err(refused_or_failed)?;
    say(&format!("{}: {}", file.display(), bar.done(written.rows, written.bytes)));
    if let Some((_, made)) = &made {
        for id in folder.remove_old(made).map_err(Failed::running)? {
            say(&format!("removed {id}, as backup.keep says"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(config: &Config, file: &Path, replace: bool) -> Result<ExitCode, Failed> {
    let bar = Bar::new("restore");
    let options = store_options(config);
    let mut told = |progress| bar.backup(progress);
    let restored = backup::restore(&options, file, replace, tokio_free_now(), &mut told).await;
    let restored = restored.map_err(refused_or_failed)?;
    say(&format!("restored {}: {}", file.display(), bar.done(restored.rows, restored.bytes)));
    if let Some(kept) = restored.kept {
        say(&format!("the database that was there is kept as {}", kept.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn refused_or_failed(error: StoreError) -> Failed {
    match error {
        StoreError::Conflict(_) | StoreError::Unavailable(_) => Failed::cannot_start(error),
        other => Failed::running(other),
    }
}
