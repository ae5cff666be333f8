//! The store that keeps entries in a file: `messages.jsonl` in the data folder, a line for each.
//!
//! One task owns the file ([`writer`]): posts queue to it, and it stores all that wait at once.
//! Beside it, a file that has outgrown the rooms is written anew ([`rewrite`]).

mod disk;
mod file;
mod line;
mod load;
mod rewrite;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::NotKept;
use crate::chat::answers::Committed;
use crate::chat::hub::Hub;
use crate::chat::message::Draft;
use crate::chat::room::Room;
use crate::report::Reporter;
use disk::Disk;
use file::JournalFile;
use line::Record;
use writer::Writer;

/// Posts that wait for the writer at most; others wait to be queued. It bounds the memory of a
/// burst (each holds one text) and the size of one write.
const QUEUED_POSTS: usize = 1_024;

/// When a message counts as stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fsync {
    /// When it is on the disk: it survives a power cut.
    Always,
    /// When the system has it: it survives a crash of the server, and after a second a power cut.
    #[default]
    EverySecond,
    /// When the system has it, which writes it in its own time.
    No,
}

/// Where and how entries are stored.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) folder: PathBuf,
    pub(crate) fsync: Fsync,
}

/// The journal, as posts see it.
pub(crate) struct Journal {
    requests: mpsc::Sender<Request>,
    /// Whether the file has texts that must leave it; see [`rewrite`].
    must_shorten: Arc<AtomicBool>,
    closing: AtomicBool,
    figures: Arc<Figures>,
}

/// What the writer is asked.
enum Request {
    Append(Post),
    /// Store what is queued, and end.
    Close(oneshot::Sender<()>),
}

/// A draft on its way to its room.
struct Post {
    room: Arc<Room>,
    draft: Draft,
    answer: oneshot::Sender<Result<Committed, NotKept>>,
}

/// The journal in numbers.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    bytes: AtomicU64,
    syncs: AtomicU64,
    sync_nanoseconds: AtomicU64,
    failed: AtomicBool,
}

impl Journal {
    /// Opens the journal and restores the rooms of `hub` from it. Needs a runtime.
    ///
    /// # Errors
    /// The folder cannot be used, or the journal cannot be read; the error says what to do.
    pub(crate) fn open(
        settings: &Settings,
        hub: Arc<Hub>,
        report: Reporter,
    ) -> io::Result<Journal> {
        let (file, loaded, torn_bytes) =
            JournalFile::open(&settings.folder, |record| match record {
                Record::Message {
                    message,
                    after,
                    key,
                } => hub.restore(&message.room).restore(&message, after, key),
                Record::Removal { .. } => {}
                Record::EvictedUpTo(id) => hub.begin_after(id),
            })?;
        let folder = settings.folder.display();
        let (messages, bytes) = (loaded.messages, file.bytes());
        report.info(format_args!(
            "journal in {folder}: {messages} messages, {bytes} bytes"
        ));
        if torn_bytes > 0 {
            report.error(format_args!(
                "journal in {folder}: cut off a torn last line of {torn_bytes} bytes"
            ));
        }
        let must_shorten = Arc::new(AtomicBool::new(loaded.has_removed_texts));
        let figures = Arc::new(Figures::default());
        let disk = Disk::new(file, settings.fsync, figures.clone(), report);
        let writer = Writer::new(hub, loaded.last, must_shorten.clone(), report);
        let (requests, queue) = mpsc::channel(QUEUED_POSTS);
        tokio::spawn(writer.run(queue, disk));
        Ok(Journal {
            requests,
            must_shorten,
            closing: AtomicBool::new(false),
            figures,
        })
    }

    pub(super) async fn append(&self, room: Arc<Room>, draft: Draft) -> Result<Committed, NotKept> {
        let (answer, answered) = oneshot::channel();
        let post = Post {
            room,
            draft,
            answer,
        };
        match self.requests.send(Request::Append(post)).await {
            Ok(()) => answered.await.unwrap_or(Err(self.ended())),
            Err(_) => Err(self.ended()),
        }
    }

    /// Why there is no writer any more.
    fn ended(&self) -> NotKept {
        if self.closing.load(Ordering::Relaxed) {
            NotKept::Closing
        } else {
            NotKept::StorageFailed
        }
    }

    /// Whether every post is refused until the server is started again.
    pub(crate) fn has_failed(&self) -> bool {
        let ended = self.requests.is_closed() && !self.closing.load(Ordering::Relaxed);
        ended || self.figures.failed.load(Ordering::Relaxed)
    }

    /// Removes what the rooms have evicted from the file too, soon.
    pub(super) fn shorten(&self) {
        self.must_shorten.store(true, Ordering::Relaxed);
    }

    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            // An error means that the writer has ended, which is what was asked for.
            let _ = closed.await;
        }
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }
}

impl Figures {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    pub(crate) fn sync_time(&self) -> Duration {
        Duration::from_nanos(self.sync_nanoseconds.load(Ordering::Relaxed))
    }
}
