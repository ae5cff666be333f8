//! Writing the journal anew with only what the rooms retain, while posts go on.
//!
//! Between two rounds of the writer the rooms have what the file has. That much is written to a new
//! file by a thread of its own, beside the writer's further rounds; then a round adds what was
//! stored since, syncs, and renames. A crash at any moment leaves one whole journal under the name.
//!
//! It happens when the file has outgrown the rooms, and when it has a text that must leave it: a
//! removed one, an expired one, or that of a forgotten room.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::durable;
use super::file::{JournalFile, NEXT_FILE};
use super::{Status, line};
use crate::report::Reporter;
use crate::rooms::hub::Hub;
use crate::rooms::id::EventId;
use crate::rooms::message::Entry;

/// A smaller journal is not worth rewriting for its size, in bytes.
const WORTH_REWRITING: u64 = 1024 * 1024;
/// The journal may be this many times what the rooms retain.
const SLACK: u64 = 2;
/// What a line has beyond its entry's frame, roughly, in bytes.
const LINE_OVERHEAD: u64 = 48;
/// How long to wait after a rewrite that failed or was forced: so a stream of removals does not
/// keep the disk busy, and a text still leaves within 60 s if one rewrite fails.
const PAUSE: Duration = Duration::from_secs(20);

/// Decides when the journal is written anew.
pub(super) struct Rewrite {
    hub: Arc<Hub>,
    status: Arc<Status>,
    report: Reporter,
    /// The oldest entry in the file, once it has any.
    pub(super) oldest: Option<EventId>,
    next_check_bytes: u64,
    not_before: Instant,
    running: Option<Running>,
}

struct Running {
    /// How long the journal was when this began.
    offset: u64,
    is_forced: bool,
    thread: io::Result<JoinHandle<io::Result<File>>>,
}

impl Rewrite {
    pub(super) fn new(
        hub: Arc<Hub>,
        status: Arc<Status>,
        report: Reporter,
        oldest: Option<EventId>,
    ) -> Rewrite {
        Rewrite {
            hub,
            status,
            report,
            oldest,
            next_check_bytes: WORTH_REWRITING,
            not_before: Instant::now(),
            running: None,
        }
    }

    /// Begins a rewrite that is due, or completes one whose new file is written. To be called
    /// between two rounds, with the id of what is stored `next`; it may block.
    pub(super) fn advance(&mut self, file: &mut JournalFile, next: Option<EventId>) {
        let writes =
            |running: &Running| matches!(&running.thread, Ok(thread) if !thread.is_finished());
        match &self.running {
            None if self.not_before <= Instant::now() => self.begin(file),
            Some(running) if !writes(running) => self.complete(file),
            _ => {}
        }
        // A rewrite that has just begun knows only what is published.
        self.oldest = self.oldest.or(next);
    }

    /// Makes sure that nothing stays in the file that must leave it, if that can be done.
    pub(super) fn finish(&mut self, file: &mut JournalFile) {
        self.complete(file);
        if self.status.must_shorten.load(Ordering::Relaxed) {
            self.begin(file);
            self.complete(file);
        }
    }

    fn begin(&mut self, file: &JournalFile) {
        let limits = self.hub.expired_before().zip(self.oldest);
        let has_expired = limits.is_some_and(|(limit, oldest)| oldest.milliseconds < limit);
        // What is evicted from here on may still be among what is written: that is another rewrite.
        let is_forced = self.status.must_shorten.swap(false, Ordering::Relaxed) || has_expired;
        let offset = file.bytes;
        if self.status.has_failed() || (offset <= self.next_check_bytes && !is_forced) {
            return;
        }
        let (evicted_up_to, entries) = self.hub.retained();
        let bytes = entries
            .iter()
            .map(|(_, entry)| entry.frame.bytes().len() as u64 + LINE_OVERHEAD);
        self.next_check_bytes = WORTH_REWRITING.max(bytes.sum::<u64>() * SLACK);
        if offset <= self.next_check_bytes && !is_forced {
            return;
        }
        self.oldest = entries.first().map(|(_, oldest)| oldest.id);
        let folder = file.folder.to_path_buf();
        let thread = thread::Builder::new().name("journal-rewrite".to_owned());
        self.running = Some(Running {
            offset,
            is_forced,
            thread: thread.spawn(move || write(&folder, evicted_up_to, entries)),
        });
    }

    /// Waits for the new file, if one is being written, and puts it in place.
    fn complete(&mut self, file: &mut JournalFile) {
        let Some(running) = self.running.take() else {
            return;
        };
        let panicked = |_| Err(io::Error::other("its thread panicked"));
        let written = running.thread;
        let written = written.and_then(|thread| thread.join().unwrap_or_else(panicked));
        let replaced = written.and_then(|successor| file.replace(successor, running.offset));
        if running.is_forced || replaced.is_err() {
            self.not_before = Instant::now() + PAUSE;
        }
        if let Err(error) = replaced {
            self.status.force_rewrite();
            // If it stays, the next rewrite or the next start removes it.
            let _ = fs::remove_file(file.folder.join(NEXT_FILE));
            self.report.error(format_args!(
                "journal: cannot rewrite, it goes on growing for a while: {error}"
            ));
        }
    }
}

/// Writes what the rooms retain.
fn write(
    folder: &Path,
    evicted_up_to: EventId,
    entries: Vec<(EventId, Entry)>,
) -> io::Result<File> {
    let mut file = durable::create(&folder.join(NEXT_FILE))?;
    let mut out = BufWriter::new(&mut file);
    let mut line = Vec::new();
    if evicted_up_to > EventId::ZERO {
        line::evicted_up_to(&mut line, evicted_up_to);
    }
    for (after, entry) in entries {
        line::entry(&mut line, &entry, after);
        out.write_all(&line)?;
        line.clear();
    }
    // The mark alone, if there are no entries.
    out.write_all(&line)?;
    out.flush()?;
    drop(out);
    file.sync_all()?;
    Ok(file)
}
