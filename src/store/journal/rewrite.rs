//! Writing the journal anew with only what the rooms retain, while posts go on.
//!
//! Between two rounds of the writer the rooms have what the file has. That much is written to a new
//! file, beside the writer's further rounds; then the writer adds what was stored since, syncs, and
//! renames. A crash at any moment leaves one whole journal under the name.
//!
//! It happens when the file has outgrown the rooms, and when it has a text that must leave it: a
//! removed one, an expired one, or that of a forgotten room.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{self, JoinError, JoinHandle};

use super::disk::Disk;
use super::file::{create_successor, remove_successor};
use super::line;
use super::writer::on_thread;
use crate::chat::history::Held;
use crate::chat::hub::Hub;
use crate::chat::id::EventId;
use crate::report::Reporter;

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
    must_shorten: Arc<AtomicBool>,
    report: Reporter,
    look_again_at: u64,
    not_before: Instant,
    running: Option<Running>,
}

struct Running {
    /// How long the journal was when this began.
    offset: u64,
    is_forced: bool,
    file: JoinHandle<io::Result<File>>,
}

impl Rewrite {
    pub(super) fn new(must_shorten: Arc<AtomicBool>, report: Reporter) -> Rewrite {
        Rewrite {
            must_shorten,
            report,
            look_again_at: WORTH_REWRITING,
            not_before: Instant::now(),
            running: None,
        }
    }

    /// Begins a rewrite that is due, or completes one whose new file is written. To be called
    /// between two rounds.
    pub(super) async fn advance(&mut self, disk: Disk, hub: &Hub) -> Result<Disk, JoinError> {
        match &self.running {
            None if self.not_before <= Instant::now() => self.begin(&disk, hub),
            Some(running) if running.file.is_finished() => return self.complete(disk).await,
            _ => {}
        }
        Ok(disk)
    }

    /// Sees to it that nothing stays in the file that must leave it, if that can be done.
    pub(super) async fn finish(&mut self, mut disk: Disk, hub: &Hub) -> Result<Disk, JoinError> {
        disk = self.complete(disk).await?;
        if self.must_shorten.load(Ordering::Relaxed) {
            self.begin(&disk, hub);
        }
        self.complete(disk).await
    }

    fn begin(&mut self, disk: &Disk, hub: &Hub) {
        let offset = disk.bytes();
        let is_forced = self.must_shorten.load(Ordering::Relaxed);
        if disk.has_failed() || (offset <= self.look_again_at && !is_forced) {
            return;
        }
        // What is evicted from here on may still be among what is written: that is another rewrite.
        self.must_shorten.store(false, Ordering::Relaxed);
        let rooms: Vec<(EventId, Vec<Held>)> = hub.rooms().iter().map(|room| room.held()).collect();
        let needed: u64 = rooms
            .iter()
            .flat_map(|(_, held)| held)
            .map(|held| held.frame.bytes().len() as u64 + LINE_OVERHEAD)
            .sum();
        self.look_again_at = WORTH_REWRITING.max(needed * SLACK);
        if offset <= self.look_again_at && !is_forced {
            return;
        }
        let (folder, forgotten_up_to) = (disk.folder().to_owned(), hub.floor());
        self.running = Some(Running {
            offset,
            is_forced,
            file: task::spawn_blocking(move || write(&folder, forgotten_up_to, rooms)),
        });
    }

    /// Waits for the new file, if one is being written, and puts it in place.
    async fn complete(&mut self, disk: Disk) -> Result<Disk, JoinError> {
        let Some(Running {
            offset,
            is_forced,
            file,
        }) = self.running.take()
        else {
            return Ok(disk);
        };
        let file = file.await?;
        let (disk, replaced) = on_thread(disk, move |disk| {
            let replaced = file.and_then(|file| disk.replace(file, offset));
            if replaced.is_err() {
                remove_successor(disk.folder());
            }
            replaced
        })
        .await?;
        if replaced.is_err() && is_forced {
            self.must_shorten.store(true, Ordering::Relaxed);
        }
        if replaced.is_err() || is_forced {
            self.not_before = Instant::now() + PAUSE;
        }
        if let Err(error) = replaced {
            self.report.error(format_args!(
                "journal: cannot rewrite, it goes on growing for a while: {error}"
            ));
        }
        Ok(disk)
    }
}

/// Writes what the rooms retain, each with the position before it, in the order of the ids.
fn write(
    folder: &Path,
    forgotten_up_to: EventId,
    rooms: Vec<(EventId, Vec<Held>)>,
) -> io::Result<File> {
    let mut evicted_up_to = forgotten_up_to;
    let mut entries: Vec<(EventId, Held)> = Vec::new();
    for (mut after, held) in rooms {
        if held.is_empty() {
            evicted_up_to = evicted_up_to.max(after);
        }
        for held in held {
            let id = held.id;
            entries.push((after, held));
            after = id;
        }
    }
    entries.sort_unstable_by_key(|(_, held)| held.id);
    let mut file = create_successor(folder)?;
    let mut out = BufWriter::new(&mut file);
    let mut line = Vec::new();
    if evicted_up_to > EventId::ZERO {
        line::evicted_up_to(&mut line, evicted_up_to);
    }
    for (after, Held { frame, key, .. }) in entries {
        line::entry(&mut line, &frame.data(), after, key.as_ref());
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
