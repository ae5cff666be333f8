//! The journal's file: opened by one server at a time, read back on opening, always made of whole
//! lines.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::line::{self, BadLine, Record};
use crate::chat::id::EventId;

/// The journal itself.
pub(super) const FILE: &str = "messages.jsonl";
/// The journal's next shape, while it is being written.
const NEXT_FILE: &str = "messages.jsonl.new";
/// Held by the server that uses the folder.
const LOCK_FILE: &str = "lock";
/// Bytes read at once while a journal is loaded.
const READ_BYTES: usize = 256 * 1024;

/// An open journal that ends with a whole line.
#[derive(Debug)]
pub(super) struct JournalFile {
    folder: PathBuf,
    file: File,
    bytes: u64,
    lock: File,
}

/// Why lines were not added. The file is as it was.
#[derive(Debug)]
pub(super) enum AppendError {
    /// There is no room; later there may be.
    Full(io::Error),
    /// Something else went wrong.
    Failed(io::Error),
    /// The file could not be set back: it may end in a piece of a line.
    Torn(io::Error),
}

/// What was found on opening.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) messages: usize,
    /// The greatest id on record.
    pub(super) last: EventId,
    /// Bytes of a torn last line that were cut off.
    pub(super) torn_bytes: u64,
}

impl JournalFile {
    /// Opens the journal in `folder`, making both where they are missing, and gives every record to
    /// `visit` in order. A torn last line is cut off; for anything else that is wrong, nothing on
    /// the disk is changed.
    pub(super) fn open(
        folder: &Path,
        visit: impl FnMut(Record),
    ) -> io::Result<(JournalFile, Found)> {
        let problem = |what: &str, error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("{}: {what}: {error}", folder.display()),
            )
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|e| problem("cannot make the data folder", e))?;
        let lock = writable(&folder.join(LOCK_FILE))
            .map_err(|e| problem("cannot write to the data folder", e))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other(format!(
                "{}: another server uses this data folder",
                folder.display()
            )),
            TryLockError::Error(error) => problem("cannot lock the data folder", error),
        })?;
        let path = folder.join(FILE);
        let file = writable(&path).map_err(|e| problem("cannot open the journal", e))?;
        let (whole_bytes, mut found) = load(&path, &file, visit)?;
        let bytes = file.metadata()?.len();
        if bytes > whole_bytes {
            found.torn_bytes = bytes - whole_bytes;
            file.set_len(whole_bytes)?;
            file.sync_all()?;
        }
        // Left over where the server was killed while it rewrote the journal.
        match fs::remove_file(folder.join(NEXT_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(problem("cannot clear the data folder", error));
            }
            _ => sync_folder(folder)?,
        }
        Ok((
            JournalFile {
                folder: folder.to_owned(),
                file,
                bytes: whole_bytes,
                lock,
            },
            found,
        ))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds whole lines, all or none.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), AppendError> {
        let Err(error) = self.file.write_all(lines) else {
            self.bytes += lines.len() as u64;
            return Ok(());
        };
        self.set_back()?;
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge | WriteZero => Err(AppendError::Full(error)),
            _ => Err(AppendError::Failed(error)),
        }
    }

    /// Takes the last lines away again, which nobody has seen.
    pub(super) fn take_back(&mut self, lines: &[u8]) -> Result<(), AppendError> {
        self.bytes -= lines.len() as u64;
        self.set_back()
    }

    fn set_back(&mut self) -> Result<(), AppendError> {
        self.file.set_len(self.bytes).map_err(AppendError::Torn)
    }

    /// Makes what was added durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Begins a file that is to take this one's place.
    pub(super) fn successor(&self) -> io::Result<File> {
        let path = self.folder.join(NEXT_FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => writable(&path),
        }
    }

    /// Puts a successor in this file's place: with what was added here behind `offset` copied to
    /// its end, synced, renamed, and the folder synced. If it fails, this file stays in use.
    pub(super) fn replace(&mut self, mut successor: File, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        io::copy(&mut (&self.file).take(self.bytes - offset), &mut successor)?;
        successor.sync_all()?;
        let bytes = successor.metadata()?.len();
        fs::rename(self.folder.join(NEXT_FILE), self.folder.join(FILE))?;
        // From here on the name means the new file, so it is the one to write to, come what may.
        self.file = successor;
        self.bytes = bytes;
        sync_folder(&self.folder)
    }

    /// Drops a successor that could not be finished.
    pub(super) fn abandon_successor(&self) {
        // If it stays, the next start clears it away.
        let _ = fs::remove_file(self.folder.join(NEXT_FILE));
    }
}

impl Drop for JournalFile {
    fn drop(&mut self) {
        // Closing would do, were there not the moment in which a child that this process starts
        // still shares its files.
        let _ = self.lock.unlock();
    }
}

/// Opens for reading and for writing at the end, for the owner alone.
fn writable(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// A new name in a folder is durable only when the folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Reads all whole lines, and says how many bytes they are.
fn load(path: &Path, file: &File, mut visit: impl FnMut(Record)) -> io::Result<(u64, Found)> {
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let mut found = Found::default();
    let (mut line, mut number, mut offset) = (Vec::new(), 0_u64, 0_u64);
    let mut previous = EventId::ZERO;
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line)? as u64;
        number += 1;
        let refused = |bad| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                describe(path, number, offset, bad),
            )
        };
        let Some(whole) = line.strip_suffix(b"\n") else {
            // The last line was never finished, so its poster was never answered.
            let torn = line::read(&line) != Err(BadLine::Foreign);
            return if torn {
                Ok((offset, found))
            } else {
                Err(refused(BadLine::Foreign))
            };
        };
        let record = line::read(whole).map_err(refused)?;
        match &record {
            Record::Message { message, .. } if message.id <= previous => {
                return Err(refused(BadLine::Damaged));
            }
            Record::Message { message, .. } => {
                found.messages += 1;
                previous = message.id;
                found.last = found.last.max(message.id);
            }
            Record::Floor(id) => found.last = found.last.max(*id),
        }
        visit(record);
        offset += bytes;
    }
}

fn describe(path: &Path, number: u64, offset: u64, bad: BadLine) -> String {
    let path = path.display();
    match bad {
        BadLine::Foreign => format!(
            "{path}: line {number}, byte offset {offset}, was not written by this version of chatroom; \
             nothing was changed: use another data folder, or the version that wrote it"
        ),
        BadLine::Damaged => format!(
            "{path}: line {number}, byte offset {offset}, is damaged; nothing was changed: restore the file from a \
             backup, or delete that line (sed -i '{number}d' {path}) and with it that one message"
        ),
    }
}
