//! The store that keeps entries in a file: `messages.jsonl` in the data folder, one line for each.
//!
//! One task owns the file ([`writer`]): posts queue to it, and it stores all that wait at once. A
//! file that has outgrown the rooms is written anew while posts go on ([`rewrite`]).

mod file;
mod line;
mod load;
mod rewrite;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::folder::DataFolder;
use crate::counters::Counters;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::report::Reporter;
use crate::rooms::entries::{Committed, Loaded};
use crate::rooms::hub::Hub;
use crate::rooms::message::Draft;
use file::JournalFile;
use line::Record;
use rewrite::Rewrite;
use writer::Writer;

/// Posts that wait for the writer at most; others wait to be queued. It bounds the memory of a
/// burst (each holds one text) and the size of one write.
const QUEUED_POSTS: usize = 1_024;

/// When a message counts as stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fsync {
    /// When it is on the disk: it survives a power cut.
    Always,
    /// When the system has it: it survives a crash of the server, and after a second a power cut.
    #[default]
    EverySecond,
    /// When the system has it, which writes it in its own time.
    No,
}

/// The journal, as posts see it.
pub(crate) struct Journal {
    requests: mpsc::Sender<Request>,
    status: Arc<Status>,
}

/// What posts and the writer tell each other beside the queue.
#[derive(Default)]
struct Status {
    closing: AtomicBool,
    /// What is on the disk is not known: a sync failed, the file may end in a piece of a line, or it
    /// is gone. Every post is refused until the server is started again.
    failed: AtomicBool,
    /// The file has texts that must leave it; see [`rewrite`].
    must_shorten: AtomicBool,
}

/// What the writer is asked.
enum Request {
    Append(Post),
    /// Store what is queued, and end; the sender is dropped then.
    Close(oneshot::Sender<()>),
}

/// A draft on its way to its room.
type Post = (RoomName, Draft, Answer);

type Answer = oneshot::Sender<Result<Committed, Refusal>>;

impl Journal {
    /// Opens the journal in `folder` and restores the rooms of `hub` from it. Needs a runtime.
    ///
    /// # Errors
    /// The folder cannot be used, or the journal cannot be read; the error says what to do.
    pub(crate) fn open(
        folder: DataFolder,
        fsync: Fsync,
        hub: Arc<Hub>,
        counters: Arc<Counters>,
        report: Reporter,
    ) -> io::Result<Journal> {
        let status = Arc::new(Status::default());
        let (mut messages, mut oldest, mut loaded) = (0, None, Loaded::default());
        let restore = |record| match record {
            Record::Entry { room, entry, after } => {
                oldest.get_or_insert(entry.id);
                match entry.removes {
                    None => messages += 1,
                    // The removed text may still be in the file.
                    Some(_) => status.force_rewrite(),
                }
                loaded.room(room, after).push(entry, hub.limits());
            }
            Record::EvictedUpTo(id) => loaded.forgotten_up_to = loaded.forgotten_up_to.max(id),
        };
        let file = JournalFile::open(
            folder,
            restore,
            fsync,
            status.clone(),
            counters,
            report.clone(),
        )?;
        hub.load(loaded);
        let (folder, bytes) = (file.folder.display(), file.bytes);
        report.info(format_args!(
            "journal in {folder}: {messages} messages, {bytes} bytes"
        ));
        let rewrite = Rewrite::new(hub.clone(), status.clone(), report, oldest);
        let (requests, queue) = mpsc::channel(QUEUED_POSTS);
        let writer = Writer {
            hub,
            status: status.clone(),
            queue,
            deferred: Vec::new(),
            closing: Vec::new(),
        };
        tokio::spawn(writer.run(file, rewrite));
        Ok(Journal { requests, status })
    }

    /// Commits a draft. When this returns, the entry counts as stored.
    pub(crate) async fn append(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        let (answer, answered) = oneshot::channel();
        let post = Request::Append((room.clone(), draft, answer));
        // An error means that the writer has ended.
        if self.requests.send(post).await.is_ok()
            && let Ok(committed) = answered.await
        {
            return committed;
        }
        Err(if self.is_closing() {
            Refusal::Draining
        } else {
            Refusal::StorageFailed
        })
    }

    /// Whether every post is refused until the server is started again.
    pub(crate) fn has_failed(&self) -> bool {
        self.status.has_failed() || (self.requests.is_closed() && !self.is_closing())
    }

    /// Removes from the file what the rooms have forgotten, soon.
    pub(crate) fn shorten(&self) {
        self.status.force_rewrite();
    }

    /// Commits what is queued and makes it durable. Later posts are refused.
    pub(crate) async fn close(&self) {
        self.status.closing.store(true, Ordering::Relaxed);
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            // An error means that the writer has ended, which is what was asked for.
            let _ = closed.await;
        }
    }

    fn is_closing(&self) -> bool {
        self.status.closing.load(Ordering::Relaxed)
    }
}

impl Status {
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn force_rewrite(&self) {
        self.must_shorten.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
