//! Writing the journal anew with only what the rooms retain.
//!
//! Between two rounds of the writer the rooms have what the file has. That much is written to a new
//! file, which then gets the name. Posts wait meanwhile. A crash at any moment leaves one whole journal
//! under the name.
//!
//! It happens when the file has outgrown the rooms, and when it has a text that must leave it: a
//! removed one, an expired one, or that of a forgotten room.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::durable;
use super::file::{FILE, JournalFile, NEXT_FILE};
use super::line;
use crate::rooms::entries::Retained;
use crate::rooms::id::EventId;

/// A smaller journal is not worth rewriting for its size, in bytes.
const WORTH_REWRITING: u64 = 1024 * 1024;
/// The journal may be this many times what the rooms retain.
const SLACK: u64 = 2;
/// What a line has beyond its entry's frame, roughly, in bytes.
const LINE_OVERHEAD: u64 = 20;
/// The shortest and the longest pause after a rewrite that was forced: with the longest, a text still leaves
/// within 60 s if one rewrite fails.
const PAUSE: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(40)];
/// Bytes a second that a stream of removals may have the disk write, as long as the longest pause
/// allows it.
const REWRITTEN_A_SECOND: u64 = 3 * 1024 * 1024 / 2;
/// How long to wait after a rewrite that failed.
const RETRY: Duration = Duration::from_secs(15);

impl JournalFile {
    /// Rewrites the file if that is due. To be called between two rounds; it may block.
    pub(super) fn rewrite_where_due(&mut self) {
        if self.not_before > Instant::now() || self.status.has_failed() {
            return;
        }
        let expired = self.hub.expired_before().unwrap_or(0);
        let has_expired = self.oldest.is_some_and(|oldest| oldest < expired);
        let is_requested =
            self.status.rewrite_requested.swap(false, Ordering::Relaxed) || has_expired;
        if self.bytes <= self.next_check_bytes && !is_requested {
            return;
        }
        let (mark, rooms) = self.hub.retained();
        let entries = rooms.iter().flat_map(|(.., entries)| entries);
        let bytes = entries.map(|entry| entry.frame.bytes().len() as u64 + LINE_OVERHEAD);
        self.next_check_bytes = WORTH_REWRITING.max(bytes.sum::<u64>() * SLACK);
        if self.bytes <= self.next_check_bytes && !is_requested {
            return;
        }
        let rewritten = self.rewrite(mark, rooms, expired);
        if is_requested {
            self.not_before = Instant::now() + pause(self.bytes);
        }
        if let Err(error) = rewritten {
            self.not_before = Instant::now() + RETRY;
            self.status.request_rewrite();
            // If it stays, the next rewrite or the next start removes it.
            let _ = fs::remove_file(self.folder.join(NEXT_FILE));
            self.hub.options.log.error(format_args!(
                "journal: cannot rewrite, it goes on growing for a while: {error}"
            ));
        }
    }

    /// If this fails before the new file has its name, the old one stays in use. Entries that were sent before
    /// `expired` do not count as its oldest: their rooms are about to evict them, which requests the next
    /// rewrite.
    fn rewrite(&mut self, mark: EventId, rooms: Vec<Retained>, expired: u64) -> io::Result<()> {
        let (began, before) = (Instant::now(), self.bytes);
        self.check().map_err(io::Error::other)?;
        let mut successor = durable::create(&self.folder.join(NEXT_FILE))?;
        let mut out = BufWriter::new(&mut successor);
        let mut lines = Vec::new();
        let mut entries = Vec::new();
        for (room, mark, retained) in rooms {
            line::mark(&mut lines, Some(&room), mark);
            entries.extend(retained);
        }
        entries.sort_unstable_by_key(|entry| entry.id);
        for entry in &entries {
            out.write_all(&lines)?;
            lines.clear();
            line::entry(&mut lines, entry);
        }
        line::mark(&mut lines, None, mark);
        out.write_all(&lines)?;
        out.flush()?;
        drop(out);
        successor.sync_all()?;
        let after = successor.metadata()?.len();
        fs::rename(self.folder.join(NEXT_FILE), self.folder.join(FILE))?;
        // From here on the name means the new file, so it is the one to write to, come what may.
        self.file = successor;
        let times = entries.iter().map(|entry| entry.sent_at);
        self.oldest = times.filter(|time| *time >= expired).min();
        self.grown_to(after);
        durable::sync_folder(&self.folder)?;
        let ms = began.elapsed().as_millis();
        self.hub.options.log.info(format_args!(
            "journal: rewritten from {before} to {after} bytes, posts held up for {ms} ms"
        ));
        Ok(())
    }
}

/// How long to wait after a forced rewrite of this many bytes.
fn pause(bytes: u64) -> Duration {
    Duration::from_secs(bytes / REWRITTEN_A_SECOND).clamp(PAUSE[0], PAUSE[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_what_is_rewritten_and_a_text_still_leaves_in_time() {
        let mib = |mib: u64| pause(mib * 1024 * 1024).as_secs();
        assert_eq!([0, 15, 45, 63, 1_024].map(mib), [20, 20, 30, 40, 40]);
        assert!(PAUSE[1] + RETRY < Duration::from_secs(60));
    }
}
