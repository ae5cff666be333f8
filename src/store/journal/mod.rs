//! The store that keeps entries in a file: `messages.jsonl` in the data folder, one line for each.
//!
//! One task owns the file ([`writer`]): posts queue to it, and it stores all that wait at once. A
//! file that has outgrown the rooms is written anew ([`rewrite`]).

mod file;
mod line;
mod load;
mod rewrite;
mod writer;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot, watch};

use super::folder::DataFolder;
use crate::lock::lock;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::rooms::entries::{Committed, Loaded};
use crate::rooms::hub::Hub;
use crate::rooms::id::EventId;
use crate::rooms::message::Draft;
use file::JournalFile;
use line::Record;
use writer::Writer;

/// Posts that wait for the writer at most; others wait to be queued. It bounds the memory of a
/// burst (each holds one text) and the size of one write.
const QUEUED_POSTS: usize = 1_024;

/// The journal, as posts see it.
pub(crate) struct Journal {
    /// The way to the writer, until the journal is closed.
    posts: Mutex<Option<mpsc::Sender<Post>>>,
    /// Ends with the writer.
    writer: watch::Receiver<()>,
    status: Arc<Status>,
}

/// What posts and the writer tell each other beside the queue.
#[derive(Default)]
struct Status {
    /// What is on the disk is not known: a sync failed, the file may end in a piece of a line, or it
    /// is gone. Every post is refused until the server is started again.
    failed: AtomicBool,
    /// The last write did not fit on the disk. The next one that fits clears this.
    full: AtomicBool,
    /// The file has texts that must leave it; see [`rewrite`].
    rewrite_requested: AtomicBool,
}

/// A draft on its way to its room.
type Post = (RoomName, Draft, Answer);

type Answer = oneshot::Sender<Result<Committed, Refusal>>;

impl Journal {
    /// Opens the journal in `folder` and restores the rooms of `hub` from it. Needs a runtime.
    ///
    /// # Errors
    /// The folder cannot be used, or the journal cannot be read; the error says what to do.
    pub(crate) fn open(folder: DataFolder, hub: Arc<Hub>) -> io::Result<Journal> {
        let status = Arc::<Status>::default();
        let (mut messages, mut loaded) = (0, Loaded::new(EventId::FIRST));
        let restore = |record| match record {
            Record::Entry(room, entry, after) => {
                match entry.removes {
                    None => messages += 1,
                    // The removed text may still be in the file.
                    Some(_) => status.request_rewrite(),
                }
                loaded.room(room, after).push(entry, &hub.options);
            }
            Record::Mark(Some(room), mark) => {
                loaded.room(room, mark);
            }
            Record::Mark(None, mark) => loaded.mark = loaded.mark.max(mark),
        };
        let file = JournalFile::open(folder, restore, status.clone(), hub.clone())?;
        hub.load(loaded);
        let (report, folder, bytes) = (&hub.options.log, file.folder.display(), file.bytes);
        match file.is_new {
            // Perhaps at a mistyped place.
            true => report.info(format_args!("new journal in {folder}")),
            false => report.info(format_args!(
                "journal in {folder}: {messages} messages, {bytes} bytes"
            )),
        }
        let (posts, queue) = mpsc::channel(QUEUED_POSTS);
        let (ends, writer) = watch::channel(());
        let task = Writer {
            hub,
            status: status.clone(),
            queue,
            deferred: Vec::new(),
            _ends: ends,
        };
        tokio::spawn(task.run(file));
        let posts = Mutex::new(Some(posts));
        Ok(Journal {
            posts,
            writer,
            status,
        })
    }

    /// Commits a draft. When this returns, the entry counts as stored.
    pub(crate) async fn append(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        let posts = lock(&self.posts).clone().ok_or(Refusal::Draining)?;
        let (answer, answered) = oneshot::channel();
        let sent = posts.send((room.clone(), draft, answer)).await;
        // The writer ends when nobody can send any more.
        drop(posts);
        // An error means that it has ended before its time.
        sent.map_err(|_| Refusal::StorageFailed)?;
        answered.await.unwrap_or(Err(Refusal::StorageFailed))
    }

    /// Why posts are refused at the moment, if they are.
    pub(crate) fn trouble(&self) -> Option<Refusal> {
        let posts = lock(&self.posts);
        if self.status.has_failed() || posts.as_ref().is_some_and(mpsc::Sender::is_closed) {
            return Some(Refusal::StorageFailed);
        }
        let is_full = self.status.full.load(Ordering::Relaxed);
        is_full.then_some(Refusal::StorageFull)
    }

    /// Removes from the file what the rooms have forgotten, soon.
    pub(crate) fn request_rewrite(&self) {
        self.status.request_rewrite();
    }

    /// Commits what is queued and makes it durable. Later posts are refused.
    pub(crate) async fn close(&self) {
        lock(&self.posts).take();
        // An error means that the writer has ended, which is what is waited for.
        let _ = self.writer.clone().changed().await;
    }
}

impl Status {
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn request_rewrite(&self) {
        self.rewrite_requested.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
