//! Files that outlast a power cut, readable by their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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

/// Makes new names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
