//! The journal's file: opened by one server at a time, always made of whole lines.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::durable;
use super::line::Record;
use super::load::{Loaded, load};

/// The journal itself.
const FILE: &str = "messages.jsonl";
/// Its replacement, while that is being written.
const NEXT_FILE: &str = "messages.jsonl.new";
/// Locked by the server that uses the folder.
const LOCK_FILE: &str = "lock";

/// An open journal that ends with a whole line.
#[derive(Debug)]
pub(super) struct JournalFile {
    folder: PathBuf,
    file: File,
    bytes: u64,
    _lock: FolderLock,
}

/// Why lines were not added.
#[derive(Debug)]
pub(super) enum AppendError {
    /// The disk is full, and may have space later. The file is as it was.
    Full(io::Error),
    /// Something else went wrong. The file is as it was.
    Failed(io::Error),
    /// The file is lost, or may end in a piece of a line.
    Broken(io::Error),
}

impl JournalFile {
    /// Opens the journal in `folder`, making both where they are missing, and gives every record to
    /// `visit` in order. A torn last line is cut off; returns how many bytes that were.
    ///
    /// # Errors
    /// Something else is wrong, and nothing on the disk was changed.
    pub(super) fn open(
        folder: &Path,
        visit: impl FnMut(Record),
    ) -> io::Result<(JournalFile, Loaded, u64)> {
        let problem = |what: &str, error: io::Error| {
            let place = folder.display();
            io::Error::new(error.kind(), format!("{place}: {what}: {error}"))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|e| problem("cannot make the data folder", e))?;
        let lock = durable::open(&folder.join(LOCK_FILE))
            .map_err(|e| problem("cannot write to the data folder", e))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                let place = folder.display();
                io::Error::other(format!("{place}: another server uses this data folder"))
            }
            TryLockError::Error(error) => problem("cannot lock the data folder", error),
        })?;
        let lock = FolderLock(lock);
        let path = folder.join(FILE);
        let mut file = durable::open(&path).map_err(|e| problem("cannot open the journal", e))?;
        let loaded = load(&path, &file, visit)?;
        let mut bytes = loaded.complete_bytes;
        let torn = file.metadata()?.len() - bytes;
        if torn > 0 {
            file.set_len(bytes)?;
        }
        if loaded.lacks_break {
            file.write_all(b"\n")?;
            bytes += 1;
        }
        if torn > 0 || loaded.lacks_break {
            file.sync_all()?;
        }
        // Left by a server that was killed while it rewrote the journal.
        match fs::remove_file(folder.join(NEXT_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(problem("cannot clear the data folder", error));
            }
            _ => durable::sync_folder(folder)?,
        }
        let folder = folder.to_owned();
        let journal = JournalFile {
            folder,
            file,
            bytes,
            _lock: lock,
        };
        Ok((journal, loaded, torn))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Checks that the journal's name still means this file, and that it has its length.
    pub(super) fn check(&self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let named = fs::metadata(self.folder.join(FILE));
        let same = named.is_ok_and(|named| {
            (named.dev(), named.ino(), named.len()) == (ours.dev(), ours.ino(), self.bytes)
        });
        if same {
            Ok(())
        } else {
            let path = self.folder.join(FILE);
            let problem = "was deleted, truncated or replaced";
            Err(io::Error::other(format!("{} {problem}", path.display())))
        }
    }

    /// Adds whole lines, all or none.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), AppendError> {
        self.check().map_err(AppendError::Broken)?;
        let Err(error) = self.file.write_all(lines) else {
            self.bytes += lines.len() as u64;
            return Ok(());
        };
        self.roll_back(self.bytes)?;
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge | WriteZero => Err(AppendError::Full(error)),
            _ => Err(AppendError::Failed(error)),
        }
    }

    /// Removes the lines after `bytes`, which nobody has seen.
    pub(super) fn roll_back(&mut self, bytes: u64) -> Result<(), AppendError> {
        self.file.set_len(bytes).map_err(AppendError::Broken)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Makes what was added durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Puts a successor in this file's place, and adds what was added here after `offset`. If it
    /// fails, this file stays in use.
    pub(super) fn replace(&mut self, mut successor: File, offset: u64) -> io::Result<()> {
        self.check()?;
        self.file.seek(SeekFrom::Start(offset))?;
        io::copy(&mut (&self.file).take(self.bytes - offset), &mut successor)?;
        successor.sync_all()?;
        let bytes = successor.metadata()?.len();
        fs::rename(self.folder.join(NEXT_FILE), self.folder.join(FILE))?;
        // From here on the name means the new file, so it is the one to write to, come what may.
        self.file = successor;
        self.bytes = bytes;
        durable::sync_folder(&self.folder)
    }
}

/// Creates the file that is to replace the journal in `folder`.
pub(super) fn create_successor(folder: &Path) -> io::Result<File> {
    durable::create(&folder.join(NEXT_FILE))
}

/// Removes a successor that could not be finished.
pub(super) fn remove_successor(folder: &Path) {
    // If it stays, the next rewrite or the next start removes it.
    let _ = fs::remove_file(folder.join(NEXT_FILE));
}

/// Keeps other servers out of a data folder.
#[derive(Debug)]
struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file is not enough: until a child that this process has just started executes
        // its program, it shares the lock.
        let _ = self.0.unlock();
    }
}
