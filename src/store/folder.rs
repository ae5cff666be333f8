//! The data folder.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::durable::{self, problem};

/// Locked by the server that uses the folder.
const LOCK_FILE: &str = "lock";

/// The path of a data folder that no other server uses as long as this is held.
pub(crate) struct DataFolder {
    path: PathBuf,
    lock: File,
}

impl DataFolder {
    /// Makes the folder if it is missing, and locks it.
    ///
    /// # Errors
    /// It cannot be used, or another server uses it; the error says which.
    pub(crate) fn open(path: &Path) -> io::Result<DataFolder> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| problem(path, "cannot make the data folder", e))?;
        let lock = durable::open(&path.join(LOCK_FILE))
            .map_err(|e| problem(path, "cannot write to the data folder", e))?;
        match lock.try_lock() {
            Ok(()) => Ok(DataFolder {
                path: path.to_owned(),
                lock,
            }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other(format!(
                "{}: another server uses this data folder",
                path.display()
            ))),
            Err(TryLockError::Error(e)) => Err(problem(path, "cannot lock the data folder", e)),
        }
    }
}

impl Deref for DataFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // A child process shares the lock until it executes its program, so to close the file would not
        // release it.
        let _ = self.lock.unlock();
    }
}
