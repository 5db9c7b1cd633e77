//! Files that appear whole or not at all, also when Ctrl-C ends the process.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// Temporary files that exist right now. The lock is held while one is created or renamed.
static PENDING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Makes Ctrl-C (and termination) remove unfinished files and end the process with status 130.
pub fn install_interrupt_handler() -> Result<()> {
    ctrlc::set_handler(|| {
        let pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        for path in pending.iter() {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(path);
        }
        eprintln!("interrupted");
        std::process::exit(130);
    })
    .context("installing the Ctrl-C handler")
}

/// The folder that `path` lies in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Refuses early what [`write_atomically`] could not write at the end of a long run.
pub fn check_writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        bail!("{}: is a folder", path.display());
    }
    let folder = folder(path);
    if !folder.is_dir() {
        bail!("{}: there is no folder {}", path.display(), folder.display());
    }
    Ok(())
}

/// Lets `fill` write a temporary file beside `path`, then renames it to `path`.
///
/// `fill` gets the file and its path; after an error `path` is as it was before.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut fs::File, &Path) -> Result<()>) -> Result<()> {
    check_writable(path)?;
    let suffix = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file: NamedTempFile = with_usual_permissions(tempfile::Builder::new().prefix(".gemmill-").suffix(&suffix))
        .tempfile_in(folder(path))
        .with_context(|| format!("{}: cannot be written", path.display()))?;
    let temporary = file.path().to_owned();
    pending.push(temporary.clone());
    drop(pending);
    let filled = fill(file.as_file_mut(), &temporary)
        .and_then(|()| Ok(file.as_file_mut().flush()?))
        .with_context(|| format!("writing {}", path.display()));
    let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    pending.retain(|p| *p != temporary);
    filled?;
    file.persist(path).map_err(|e| e.error).with_context(|| format!("{}: cannot be written", path.display()))?;
    Ok(())
}

/// Temporary files are private by default; a result is as readable as any other file of the user.
fn with_usual_permissions<'a, 'b>(builder: &'a mut tempfile::Builder<'b, 'b>) -> &'a mut tempfile::Builder<'b, 'b> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666))
    }
    #[cfg(not(unix))]
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("out.txt");
        fs::write(&path, "old")?;
        let failed = write_atomically(&path, |file, _| {
            file.write_all(b"half")?;
            bail!("no more")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path)?, "old");
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        write_atomically(&path, |file, _| Ok(file.write_all(b"new")?))?;
        assert_eq!(fs::read_to_string(&path)?, "new");
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        Ok(())
    }
}
