//! The thread that owns the journal's file: group commit.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::compaction::{Compaction, Rewritten};
use super::file::{AppendError, JournalFile};
use super::publisher::{self, Publisher, RuntimeGone};
use super::{Figures, Fsync, Post, QUEUED_POSTS, Request, line};
use crate::chat::answers::Committed;
use crate::chat::hub::Hub;
use crate::chat::id::EventId;
use crate::chat::message::Stamp;
use crate::chat::names::{IdempotencyKey, RoomName};
use crate::store::NotKept;
use crate::report::Reporter;

/// How long a kept message may wait for its sync under [`Fsync::EverySecond`]: less than the second
/// that is promised, which leaves the rest to the disk.
const SYNC_INTERVAL: Duration = Duration::from_millis(800);

/// The writer, between two rounds.
pub(super) struct Writer {
    file: JournalFile,
    last: EventId,
    fsync: Fsync,
    hub: Arc<Hub>,
    figures: Arc<Figures>,
    report: Reporter,
    publisher: Publisher,
    compaction: Compaction,
    /// Posts whose key stood on another post of the same batch: the next round finds that one in
    /// its room.
    deferred: Vec<Post>,
    forget: bool,
    sync_due: Option<Instant>,
    storage: Storage,
}

/// What the disk was last seen to do.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Storage {
    Works,
    Full,
    /// A sync failed, or the file ends in a piece of a line: what is on the disk is not known any
    /// more, and trying again would not tell.
    Failed,
}

/// What a round is about.
#[derive(Default)]
struct Round {
    posts: Vec<Post>,
    rewritten: Option<Rewritten>,
    closing: Option<oneshot::Sender<()>>,
}

impl Writer {
    /// A writer that goes on after `last`. Needs a runtime; `requests` lets the thread that rewrites report back.
    pub(super) fn new(
        file: JournalFile,
        last: EventId,
        fsync: Fsync,
        hub: Arc<Hub>,
        figures: Arc<Figures>,
        report: Reporter,
        requests: Sender<Request>,
    ) -> Writer {
        figures.bytes.store(file.bytes(), Ordering::Relaxed);
        Writer {
            file,
            last,
            fsync,
            hub,
            figures,
            report,
            publisher: publisher::spawn(),
            compaction: Compaction::new(requests),
            deferred: Vec::new(),
            forget: false,
            sync_due: None,
            storage: Storage::Works,
        }
    }

    /// Serves the queue until it is asked to close. What was taken is durable at the end.
    pub(super) fn run(mut self, queue: &Receiver<Request>) {
        loop {
            let round = self.gather(queue);
            let closing = round.closing.is_some() && self.deferred.is_empty();
            let went = self.serve(round.posts, round.rewritten);
            if closing || went.is_err() {
                let _ = self.publisher.wait();
                self.sync();
                // Who is told that this is over may open the folder again at once.
                drop(self);
                if let Some(done) = round.closing {
                    // Nobody needs to wait for it.
                    let _ = done.send(());
                }
                return;
            }
        }
    }

    /// Waits for something to do, and takes all there is.
    fn gather(&mut self, queue: &Receiver<Request>) -> Round {
        let mut round = Round {
            posts: std::mem::take(&mut self.deferred),
            ..Round::default()
        };
        let first = match self.sync_due {
            _ if !round.posts.is_empty() => None,
            Some(due) => queue
                .recv_timeout(due.saturating_duration_since(Instant::now()))
                .ok(),
            None => queue.recv().ok(),
        };
        for request in first.into_iter().chain(queue.try_iter()).take(QUEUED_POSTS) {
            match request {
                Request::Append(post) => round.posts.push(post),
                Request::Forget => self.forget = true,
                Request::Rewritten(rewritten) => round.rewritten = Some(rewritten),
                Request::Close(done) => {
                    round.closing = Some(done);
                    break;
                }
            }
        }
        round
    }

    fn serve(&mut self, posts: Vec<Post>, rewritten: Option<Rewritten>) -> Result<(), RuntimeGone> {
        // Behind this line all that is in the file is in the rooms too: keys are looked up there.
        self.publisher.wait()?;
        self.compact(rewritten);
        self.commit(posts)?;
        if self.sync_due.is_some_and(|due| due <= Instant::now()) {
            self.sync();
        }
        Ok(())
    }

    fn commit(&mut self, posts: Vec<Post>) -> Result<(), RuntimeGone> {
        let mut lines = Vec::new();
        let mut batch: Vec<(Post, Stamp)> = Vec::with_capacity(posts.len());
        let mut newest: HashMap<RoomName, EventId> = HashMap::new();
        let mut keys: HashSet<(RoomName, IdempotencyKey)> = HashSet::new();
        for post in posts {
            let room = post.room.name().clone();
            if let Some(repeated) = post.room.repeat_of(&post.draft) {
                post.answer(repeated.map(Committed::Before).map_err(Into::into));
                continue;
            }
            if let Some(key) = post.draft.key.clone()
                && !keys.insert((room.clone(), key))
            {
                self.deferred.push(post);
                continue;
            }
            let stamp = self.stamp();
            let after = newest
                .insert(room.clone(), stamp.id)
                .unwrap_or_else(|| post.room.newest());
            let members = post.draft.clone().stamped(&room, stamp).json_members();
            lines.extend_from_slice(
                line::message(stamp.id, after, &members, post.draft.key.as_ref()).as_bytes(),
            );
            batch.push((post, stamp));
        }
        if batch.is_empty() {
            return Ok(());
        }
        match self.keep(&lines) {
            Ok(()) => self.publisher.publish(batch),
            Err(refused) => {
                batch
                    .into_iter()
                    .for_each(|(post, _)| post.answer(Err(refused)));
                Ok(())
            }
        }
    }

    fn stamp(&mut self) -> Stamp {
        let sent_at = self.hub.clock().unix_ms();
        self.last = self.last.next(sent_at);
        Stamp {
            id: self.last,
            sent_at,
        }
    }

    /// Adds lines to the file, and syncs them where that is asked for.
    fn keep(&mut self, lines: &[u8]) -> Result<(), NotKept> {
        if self.storage == Storage::Failed {
            return Err(NotKept::StorageFailed);
        }
        self.file
            .append(lines)
            .map_err(|error| self.not_kept(error))?;
        if self.storage == Storage::Full {
            self.storage = Storage::Works;
            self.report.info(format_args!(
                "journal: there is room again, messages are kept"
            ));
        }
        match self.fsync {
            Fsync::Always => self.sync(),
            Fsync::EverySecond => drop(
                self.sync_due
                    .get_or_insert_with(|| Instant::now() + SYNC_INTERVAL),
            ),
            Fsync::No => {}
        }
        if self.storage == Storage::Failed {
            // Its poster is told that it was not kept, so it is not to return at the next start.
            let _ = self.file.take_back(lines);
            return Err(NotKept::StorageFailed);
        }
        self.figures
            .bytes
            .store(self.file.bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn not_kept(&mut self, error: AppendError) -> NotKept {
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
            AppendError::Torn(error) => {
                self.fail("cannot take a piece of a line back", &error);
                NotKept::StorageFailed
            }
        }
    }

    fn sync(&mut self) {
        self.sync_due = None;
        if self.storage == Storage::Failed {
            return;
        }
        let began = Instant::now();
        match self.file.sync() {
            Ok(()) => self.figures.synced(began.elapsed()),
            Err(error) => self.fail("cannot sync", &error),
        }
    }

    fn fail(&mut self, what: &str, error: &io::Error) {
        self.storage = Storage::Failed;
        self.report.error(format_args!(
            "journal: {what}: {error}; every message is refused from now on: check the disk, then start the server again"
        ));
    }

    fn compact(&mut self, rewritten: Option<Rewritten>) {
        if self.storage == Storage::Failed {
            return;
        }
        let began = Instant::now();
        let before = self.file.bytes();
        let finished = rewritten.map(|rewritten| self.compaction.finish(&mut self.file, rewritten));
        if let Some(Ok(())) = finished {
            let (after, ms) = (self.file.bytes(), began.elapsed().as_millis());
            self.report.info(format_args!(
                "journal: rewritten from {before} to {after} bytes, posts held up for {ms} ms"
            ));
            self.figures.bytes.store(after, Ordering::Relaxed);
        }
        let begun = self
            .compaction
            .consider(&self.file, &self.hub, &mut self.forget);
        if let Err(error) = finished.unwrap_or(Ok(())).and(begun) {
            self.report.error(format_args!(
                "journal: cannot rewrite, it goes on growing for a while: {error}"
            ));
        }
    }
}
