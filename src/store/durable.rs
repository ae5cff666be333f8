//! Files that outlast a power cut, readable by their owner alone.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::refusal::Refusal;

/// Opens a file for reading and for writing at its end; makes it if it is missing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Makes an empty file in place of whatever has its name.
pub(super) fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => open(path),
    }
}

/// Replaces the content of a small file: a crash at any moment leaves the old or the new one whole.
pub(super) fn replace(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let next = folder.join(format!("{name}.new"));
    let mut file = create(&next)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(next, folder.join(name))?;
    sync_folder(folder)
}

/// Reads a small file; `None` if there is none.
///
/// # Errors
/// The file cannot be read, or it cannot be parsed: then the error says what is lost by deleting it.
pub(super) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Option<T>,
    loss: &str,
) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(content) => parse(&content).map(Some).ok_or_else(|| {
            let advice = "nothing was changed: restore the file from a backup, or delete it";
            let place = path.display();
            let problem =
                format!("{place}: is damaged, or not of this version of chatroom; {advice}{loss}");
            io::Error::new(io::ErrorKind::InvalidData, problem)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(problem(path, "cannot be read", error)),
    }
}

/// An error that says where it happened. The system's own, with its number, is its source.
pub(super) fn problem(path: &Path, what: &str, error: io::Error) -> io::Error {
    let text = format!("{}: {what}: {error}", path.display());
    io::Error::new(error.kind(), Problem(text, error))
}

#[derive(Debug)]
struct Problem(String, io::Error);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

/// How a write that failed is refused.
pub(super) fn refusal(error: &io::Error) -> Refusal {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge | WriteZero => Refusal::StorageFull,
        _ => Refusal::StorageFailed,
    }
}

/// Makes new names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
