//! The journal's file: opened by one server at a time, always made of whole lines. All of it may
//! block.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::durable::{self, problem};
use super::super::folder::DataFolder;
use super::Status;
use super::line::{self, Record};
use super::load::load;
use crate::counters::count;
use crate::options::Fsync;
use crate::refusal::Refusal;
use crate::rooms::hub::Hub;
use crate::rooms::id::EventId;

/// The journal itself.
pub(super) const FILE: &str = "messages.jsonl";
/// Its replacement, while that is being written.
pub(super) const NEXT_FILE: &str = "messages.jsonl.new";
/// How often the file is synced under [`Fsync::EverySecond`], and checked while nothing is stored. Both
/// are promised within a second: the rest is for the disk.
const SYNC_INTERVAL: Duration = Duration::from_millis(700);

/// How long the log is silent about a full disk after it has told of one. Short messages may fit where
/// long ones do not, so on a disk that is nearly full writes fit and do not fit many times a second.
const FULL_SILENCE: Duration = Duration::from_secs(60);

/// An open journal that ends with a whole line.
pub(super) struct JournalFile {
    pub(super) folder: DataFolder,
    pub(super) file: File,
    pub(super) bytes: u64,
    /// Whether there was none.
    pub(super) is_new: bool,
    /// When the oldest entry in the file was sent, once it has any, in milliseconds since the Unix epoch.
    pub(super) oldest: Option<u64>,
    /// Up to this size, the file has not outgrown the rooms.
    pub(super) next_check_bytes: u64,
    /// When it may be written anew.
    pub(super) not_before: Instant,
    /// Whether the log has told that there is no room, and not yet that there is again.
    told_full: bool,
    /// When it may tell so next.
    tell_full_after: Instant,
    is_synced: bool,
    /// When [`JournalFile::store`] has something to do even without lines.
    pub(super) due: Instant,
    pub(super) status: Arc<Status>,
    pub(super) hub: Arc<Hub>,
}

impl JournalFile {
    /// Opens the journal in `folder`, making it if it is missing, and gives every record to `visit` in
    /// order. A torn last line is cut off. A new journal says where the chat begins.
    ///
    /// # Errors
    /// Something else is wrong, and nothing on the disk was changed.
    pub(super) fn open(
        folder: DataFolder,
        mut visit: impl FnMut(Record),
        status: Arc<Status>,
        hub: Arc<Hub>,
    ) -> io::Result<JournalFile> {
        let path = folder.join(FILE);
        let mut file =
            durable::open(&path).map_err(|e| problem(&folder, "cannot open the journal", e))?;
        let mut oldest = None;
        let (mut bytes, lacks_break) = load(&path, &file, |record| {
            if let Record::Entry(_, entry, _) = &record {
                oldest = oldest.into_iter().chain([entry.sent_at]).min();
            }
            visit(record);
        })?;
        let torn = file.metadata()?.len() - bytes;
        if torn > 0 {
            let folder = folder.display();
            hub.options.log.error(format_args!(
                "journal in {folder}: cut off a torn last line of {torn} bytes"
            ));
            file.set_len(bytes)?;
        }
        if lacks_break {
            file.write_all(b"\n")?;
            bytes += 1;
        }
        let is_new = bytes == 0;
        if is_new {
            let (mut lines, begin) = (Vec::new(), hub.clock().unix_ms());
            let begin = EventId::start_of_run(begin, 0);
            line::mark(&mut lines, None, begin);
            file.write_all(&lines)?;
            bytes = lines.len() as u64;
            visit(Record::Mark(None, begin));
        }
        // Most often there is nothing to sync.
        file.sync_all()?;
        // Left by a server that was killed while it rewrote the journal.
        match fs::remove_file(folder.join(NEXT_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(problem(&folder, "cannot clear the data folder", error));
            }
            _ => durable::sync_folder(&folder)?,
        }
        let counters = &hub.counters;
        counters.journal_bytes.store(bytes, Ordering::Relaxed);
        Ok(JournalFile {
            folder,
            file,
            bytes,
            is_new,
            oldest,
            next_check_bytes: 0,
            not_before: Instant::now(),
            told_full: false,
            tell_full_after: Instant::now(),
            is_synced: true,
            due: Instant::now() + SYNC_INTERVAL,
            status,
            hub,
        })
    }

    /// Checks the file and adds whole lines to it, all or none; `oldest` is when the first of them was
    /// sent. Syncs it where that is due.
    pub(super) fn store(&mut self, lines: &[u8], oldest: Option<u64>) -> Result<(), Refusal> {
        let is_due = self.due <= Instant::now();
        if is_due {
            self.due = Instant::now() + SYNC_INTERVAL;
        }
        self.check()?;
        if is_due && !self.is_synced {
            self.sync()?;
        }
        if lines.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(lines) {
            self.roll_back()?;
            return Err(self.refusal(&error));
        }
        self.status.full.store(false, Ordering::Relaxed);
        if mem::take(&mut self.told_full) {
            self.hub.options.log.info(format_args!(
                "journal: there is room again, messages are stored"
            ));
        }
        match self.hub.options.fsync {
            Fsync::Always => self.sync().inspect_err(|_| {
                // The posters are told that nothing was stored, so nothing may return at the next
                // start. If this fails too, it has been reported.
                let _ = self.roll_back();
            })?,
            Fsync::EverySecond => self.is_synced = false,
            Fsync::No => {}
        }
        self.oldest = self.oldest.into_iter().chain(oldest).min();
        self.grown_to(self.bytes + lines.len() as u64);
        Ok(())
    }

    /// Checks that the journal's name still means this file, and that it has its length.
    pub(super) fn check(&mut self) -> Result<(), Refusal> {
        if self.status.has_failed() {
            return Err(Refusal::StorageFailed);
        }
        let path = self.folder.join(FILE);
        let found = self
            .file
            .metadata()
            .and_then(|ours| Ok((ours, fs::metadata(&path)?)));
        let is_same = found.is_ok_and(|(ours, named)| {
            (named.dev(), named.ino(), named.len()) == (ours.dev(), ours.ino(), self.bytes)
        });
        if is_same {
            Ok(())
        } else {
            let path = path.display();
            Err(self.fail(format_args!("{path} was deleted, truncated or replaced")))
        }
    }

    /// Removes what follows the last line that was stored.
    fn roll_back(&mut self) -> Result<(), Refusal> {
        self.file
            .set_len(self.bytes)
            .map_err(|error| self.fail(format_args!("cannot roll back: {error}")))
    }

    fn sync(&mut self) -> Result<(), Refusal> {
        self.is_synced = true;
        let began = Instant::now();
        self.file
            .sync_data()
            .map_err(|error| self.fail(format_args!("cannot sync: {error}")))?;
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        count(&self.hub.counters.journal_syncs);
        let total = &self.hub.counters.journal_sync_nanoseconds;
        total.fetch_add(took, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn grown_to(&mut self, bytes: u64) {
        self.bytes = bytes;
        self.hub
            .counters
            .journal_bytes
            .store(bytes, Ordering::Relaxed);
    }

    /// Reports a failed write that was rolled back, and returns the refusal.
    fn refusal(&mut self, error: &io::Error) -> Refusal {
        let refusal = durable::refusal(error);
        if refusal != Refusal::StorageFull {
            self.hub.options.log.error(format_args!(
                "journal: cannot write, a message was refused: {error}"
            ));
            return refusal;
        }
        self.status.full.store(true, Ordering::Relaxed);
        let now = Instant::now();
        if !self.told_full && self.tell_full_after <= now {
            (self.told_full, self.tell_full_after) = (true, now + FULL_SILENCE);
            self.hub.options.log.error(format_args!(
                "journal: no room, messages are refused until there is: {error}"
            ));
        }
        refusal
    }

    /// Notes that the state of the file is unknown. Another attempt may succeed and hide
    /// that data is lost.
    fn fail(&self, problem: fmt::Arguments<'_>) -> Refusal {
        if !self.status.failed.swap(true, Ordering::Relaxed) {
            self.hub.options.log.error(format_args!(
                "journal: {problem}; every message is refused from now on: check the disk, then start the server again"
            ));
        }
        Refusal::StorageFailed
    }

    /// Makes durable what was stored, and closes the file. What must leave it leaves, if that can be done.
    pub(super) fn close(mut self) {
        if self.status.rewrite_requested.load(Ordering::Relaxed) {
            self.not_before = Instant::now();
            self.rewrite_where_due();
        }
        if !self.status.has_failed() {
            // A failure is reported, and there is nobody left to refuse.
            let _ = self.sync();
        }
    }
}
