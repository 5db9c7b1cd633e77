//! What goes out: text on standard output, and files that appear whole or not at all, also when Ctrl-C ends the
//! process. Devices, pipes and the files of open descriptors are written through, never replaced; a symbolic link
//! stays, and the file that it names is written.

use std::fmt::Arguments;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// Temporary files that exist right now. The lock is held while one is created or renamed.
static PENDING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Writes to standard output; an error, not a panic, where that is full or closed.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::write_stdout(format_args!($($text)*))? };
}
pub(crate) use say;

/// See [`say!`].
pub fn write_stdout(text: Arguments<'_>) -> Result<()> {
    std::io::stdout().lock().write_fmt(text).context("standard output")
}

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

/// Where a file is to be written.
enum Place {
    /// Beside this path, which is then replaced: a regular file, or none yet.
    File(PathBuf),
    /// Into what is there: a device, a pipe, or an open descriptor's file, at its end.
    Through,
}

/// The place that a path names, links followed.
fn place(path: &Path) -> Result<Place> {
    /// As many as Linux follows.
    const MOST_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..=MOST_LINKS {
        // Links there name what is open, not files.
        if path.starts_with("/dev/fd") || (path.starts_with("/proc") && folder(&path).ends_with("fd")) {
            return Ok(Place::Through);
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => path = folder(&path).join(fs::read_link(&path)?),
            Ok(found) if !found.is_file() && !found.is_dir() => return Ok(Place::Through),
            _ => return Ok(Place::File(path)),
        }
    }
    bail!("{}: too many symbolic links", path.display())
}

/// Refuses early what [`write_atomically`] could not write at the end of a long run.
pub fn check_writable(path: &Path) -> Result<()> {
    let Place::File(path) = place(path)? else { return Ok(()) };
    let path = path.as_path();
    if path.is_dir() {
        bail!("{}: is a folder", path.display());
    }
    let folder = folder(path);
    if !folder.is_dir() {
        bail!("{}: there is no folder {}", path.display(), folder.display());
    }
    Ok(())
}

/// Lets `fill` write a temporary file beside `path`, then renames it to `path`; what is no regular file gets its
/// content instead.
///
/// `fill` gets the file and its path; after an error of its own `path` is as it was before.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut fs::File, &Path) -> Result<()>) -> Result<()> {
    check_writable(path)?;
    match place(path)? {
        Place::File(path) => replace(&path, fill),
        Place::Through => write_through(path, fill),
    }
}

fn write_through(path: &Path, fill: impl FnOnce(&mut fs::File, &Path) -> Result<()>) -> Result<()> {
    let suffix = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let temporary = folder.path().join(format!("content{suffix}"));
    fill(&mut fs::File::create(&temporary)?, &temporary).with_context(|| format!("writing {}", path.display()))?;
    let content = fs::read(&temporary)?;
    let cannot = || format!("{}: cannot be written", path.display());
    fs::File::options().append(true).open(path).and_then(|mut file| file.write_all(&content)).with_context(cannot)
}

fn replace(path: &Path, fill: impl FnOnce(&mut fs::File, &Path) -> Result<()>) -> Result<()> {
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
