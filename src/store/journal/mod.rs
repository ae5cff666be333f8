//! The log that keeps messages in a file: `messages.jsonl` in the data folder, a line a message.
//!
//! One thread owns the file ([`writer`]). Posts queue to it; it takes all that wait, writes them
//! at once, syncs once, and hands them to the [`publisher`], a task of the runtime, which gives
//! them to their rooms and answers the posts. (Waking a thousand clients from a foreign thread
//! costs more than waking them from a task.)

mod compaction;
mod file;
mod line;
mod publisher;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::NotKept;
use crate::chat::answers::Committed;
use crate::chat::hub::Hub;
use crate::chat::message::Draft;
use crate::chat::room::Room;
use crate::report::Reporter;
use file::{Found, JournalFile};
use line::Record;

/// Posts that wait for the writer at most; more wait at the door. It bounds the memory of a burst
/// (each holds one text) and the size of one write.
const QUEUED_POSTS: usize = 1_024;

/// When a message counts as kept.
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

/// Where and how messages are kept.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) folder: PathBuf,
    pub(crate) fsync: Fsync,
}

/// The journal, as posts see it.
pub(crate) struct Journal {
    requests: mpsc::Sender<Request>,
    slots: Arc<Semaphore>,
    figures: Arc<Figures>,
}

/// What the writer is asked.
enum Request {
    Append(Post),
    /// Some rooms are forgotten: write the journal anew without them.
    Forget,
    /// The successor that was begun at an earlier length is written.
    Rewritten(compaction::Rewritten),
    Close(oneshot::Sender<()>),
}

/// A post on its way to its room.
struct Post {
    room: Arc<Room>,
    draft: Draft,
    answer: oneshot::Sender<Result<Committed, NotKept>>,
    _slot: OwnedSemaphorePermit,
}

impl Post {
    fn answer(self, answer: Result<Committed, NotKept>) {
        // A poster who has gone needs no answer.
        let _ = self.answer.send(answer);
    }
}

/// The journal in numbers.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    bytes: AtomicU64,
    syncs: AtomicU64,
    sync_nanoseconds: AtomicU64,
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

    fn synced(&self, took: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_nanoseconds.fetch_add(
            u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }
}

impl Journal {
    /// Opens the journal and puts what it holds back into the rooms of `hub`. Needs a runtime.
    ///
    /// # Errors
    /// The folder cannot be used, or the journal cannot be read; the error says what to do.
    pub(crate) fn open(
        settings: &Settings,
        hub: Arc<Hub>,
        report: Reporter,
    ) -> io::Result<Journal> {
        let (file, found) = JournalFile::open(&settings.folder, |record| match record {
            Record::Message {
                message,
                after,
                key,
            } => hub.restore(&message.room).restore(&message, after, key),
            Record::Floor(id) => hub.begin_after(id),
        })?;
        let Found {
            messages,
            last,
            torn_bytes,
        } = found;
        let folder = settings.folder.display();
        report.info(format_args!(
            "journal in {folder}: {messages} messages, {} bytes",
            file.bytes()
        ));
        if torn_bytes > 0 {
            report.error(format_args!(
                "journal in {folder}: cut off a torn last line of {torn_bytes} bytes"
            ));
        }
        let (requests, queue) = mpsc::channel();
        let figures = Arc::new(Figures::default());
        let writer = writer::Writer::new(
            file,
            last,
            settings.fsync,
            hub,
            figures.clone(),
            report,
            requests.clone(),
        );
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run(&queue))?;
        Ok(Journal {
            requests,
            slots: Arc::new(Semaphore::new(QUEUED_POSTS)),
            figures,
        })
    }

    pub(super) async fn append(&self, room: Arc<Room>, draft: Draft) -> Result<Committed, NotKept> {
        let slot = self
            .slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| NotKept::Closing)?;
        let (answer, answered) = oneshot::channel();
        let post = Post {
            room,
            draft,
            answer,
            _slot: slot,
        };
        self.requests
            .send(Request::Append(post))
            .map_err(|_| NotKept::Closing)?;
        answered.await.map_err(|_| NotKept::Closing)?
    }

    pub(super) fn forget(&self) {
        // Where the writer has ended, there is nothing to shorten.
        let _ = self.requests.send(Request::Forget);
    }

    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(done)).is_ok() {
            // An error means that the writer has ended, which is what was asked for.
            let _ = closed.await;
        }
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Ends the writer, who syncs last.
        let _ = self.requests.send(Request::Close(oneshot::channel().0));
    }
}
