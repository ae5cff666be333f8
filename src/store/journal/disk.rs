//! The journal's file and what the disk was last seen to do. All of it may block.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::file::{AppendError, JournalFile};
use super::{Figures, Fsync};
use crate::report::Reporter;
use crate::store::NotKept;

/// How long a stored entry may wait for its sync under [`Fsync::EverySecond`]: less than the second
/// that is promised, which leaves the rest to the disk.
const SYNC_INTERVAL: Duration = Duration::from_millis(800);
/// How often the file is checked while nothing is stored: it is to be noticed within a second that
/// somebody has deleted it.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The journal's file, in use.
pub(super) struct Disk {
    file: JournalFile,
    fsync: Fsync,
    figures: Arc<Figures>,
    report: Reporter,
    sync_due: Option<Instant>,
    check_due: Instant,
    storage: Storage,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Storage {
    Works,
    Full,
    /// What is on the disk is not known any more: a sync failed, the file may end in a piece of a
    /// line, or it is gone. Trying again would not tell.
    Failed,
}

impl Disk {
    pub(super) fn new(
        file: JournalFile,
        fsync: Fsync,
        figures: Arc<Figures>,
        report: Reporter,
    ) -> Disk {
        figures.bytes.store(file.bytes(), Ordering::Relaxed);
        Disk {
            file,
            fsync,
            figures,
            report,
            sync_due: None,
            check_due: Instant::now() + CHECK_INTERVAL,
            storage: Storage::Works,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        self.file.folder()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.storage == Storage::Failed
    }

    /// When [`Disk::maintain`] has something to do.
    pub(super) fn due(&self) -> Instant {
        self.sync_due
            .map_or(self.check_due, |due| due.min(self.check_due))
    }

    /// Syncs and checks the file where that is due.
    pub(super) fn maintain(&mut self) {
        let now = Instant::now();
        if self.sync_due.is_some_and(|due| due <= now) {
            self.sync();
        }
        if self.check_due <= now {
            self.check_due = now + CHECK_INTERVAL;
            if !self.has_failed()
                && let Err(error) = self.file.check()
            {
                self.fail("lost its file", &error);
            }
        }
    }

    /// Adds lines to the file, and syncs them where that is asked for: all or none.
    pub(super) fn store(&mut self, lines: &[u8]) -> Result<(), NotKept> {
        if self.has_failed() {
            return Err(NotKept::StorageFailed);
        }
        let before = self.file.bytes();
        self.file
            .append(lines)
            .map_err(|error| self.refuse(error))?;
        if self.storage == Storage::Full {
            self.storage = Storage::Works;
            self.report.info(format_args!(
                "journal: there is room again, messages are stored"
            ));
        }
        match self.fsync {
            Fsync::Always => self.sync(),
            Fsync::EverySecond => {
                let due = Instant::now() + SYNC_INTERVAL;
                self.sync_due.get_or_insert(due);
            }
            Fsync::No => {}
        }
        if self.has_failed() {
            // The posters are told that nothing was stored, so it is not to return at the next
            // start.
            let _ = self.file.roll_back(before);
            return Err(NotKept::StorageFailed);
        }
        self.figures.bytes.store(self.bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn refuse(&mut self, error: AppendError) -> NotKept {
        match error {
            AppendError::Full(error) => {
                if self.storage != Storage::Full {
                    self.report.error(format_args!(
                        "journal: no room, messages are refused until there is: {error}"
                    ));
                }
                self.storage = Storage::Full;
                NotKept::StorageFull
            }
            AppendError::Failed(error) => {
                self.report.error(format_args!(
                    "journal: cannot write, a message was refused: {error}"
                ));
                NotKept::StorageFailed
            }
            AppendError::Broken(error) => {
                self.fail("cannot use its file", &error);
                NotKept::StorageFailed
            }
        }
    }

    pub(super) fn sync(&mut self) {
        self.sync_due = None;
        if self.has_failed() {
            return;
        }
        let began = Instant::now();
        match self.file.sync() {
            Ok(()) => {
                let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                self.figures.syncs.fetch_add(1, Ordering::Relaxed);
                self.figures
                    .sync_nanoseconds
                    .fetch_add(took, Ordering::Relaxed);
            }
            Err(error) => self.fail("cannot sync", &error),
        }
    }

    fn fail(&mut self, what: &str, error: &io::Error) {
        self.storage = Storage::Failed;
        self.figures.failed.store(true, Ordering::Relaxed);
        self.report.error(format_args!(
            "journal: {what}: {error}; every message is refused from now on: check the disk, then start the server again"
        ));
    }

    /// Puts a successor in the file's place, and adds what was stored after `offset`.
    pub(super) fn replace(&mut self, successor: File, offset: u64) -> io::Result<()> {
        let (began, before) = (Instant::now(), self.bytes());
        self.file.replace(successor, offset)?;
        let (after, ms) = (self.bytes(), began.elapsed().as_millis());
        self.figures.bytes.store(after, Ordering::Relaxed);
        self.report.info(format_args!(
            "journal: rewritten from {before} to {after} bytes, posts held up for {ms} ms"
        ));
        Ok(())
    }
}
