//! The task that owns the journal's file: group commit.
//!
//! A round takes all posts that wait. A post that repeats an entry is answered with that entry; each
//! of the others is given its id and encoded, in order. All lines are written and synced at once, on
//! a thread that may block. Then the entries are published and the posts answered, here, where
//! waking a client is cheap. So between two rounds the rooms have all that the file has, and nothing
//! else.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::file::JournalFile;
use super::{Answer, Post, QUEUED_POSTS, Status, line};
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::rooms::entries::Committed;
use crate::rooms::hub::Hub;
use crate::rooms::message::{Draft, Entry};

/// The writer's state. The file itself is with the blocking thread.
pub(super) struct Writer {
    pub(super) hub: Arc<Hub>,
    pub(super) status: Arc<Status>,
    pub(super) queue: mpsc::Receiver<Post>,
    /// Posts that repeat the key or the removal of an earlier post in the same round. They wait for the next
    /// round, when the earlier one is published and they are recognized as duplicates.
    pub(super) deferred: Vec<Post>,
    /// Dropped when everything is stored and the file is closed.
    pub(super) _ends: watch::Sender<()>,
}

/// What a post that is about to be stored becomes.
type Pending = (RoomName, Entry, Answer);

impl Writer {
    /// Serves the queue until it is closed. What was taken is durable at the end.
    pub(super) async fn run(mut self, mut file: JournalFile) {
        while let Some(posts) = self.gather(file.due).await {
            let (lines, batch) = self.encode(posts);
            let oldest = batch.iter().map(|(_, entry, _)| entry.sent_at).min();
            let round = spawn_blocking(move || {
                file.rewrite_where_due();
                let stored = file.store(&lines, oldest);
                (file, stored)
            });
            let stored;
            (file, stored) = match round.await {
                Ok(round) => round,
                // The round has panicked, or the runtime is shutting down. With the queue and the
                // batch dropped, posts are refused.
                Err(_) => return,
            };
            self.publish(batch, &stored);
        }
        let end = spawn_blocking(move || file.close());
        // An error means what it means above.
        let _ = end.await;
    }

    /// Takes all that waits; waits for something to do, at most until `due`. `None` is the end.
    async fn gather(&mut self, due: Instant) -> Option<Vec<Post>> {
        let mut posts = mem::take(&mut self.deferred);
        if !posts.is_empty() {
            return Some(posts);
        }
        let received = self.queue.recv_many(&mut posts, QUEUED_POSTS);
        let is_end = timeout_at(due.into(), received).await == Ok(0);
        (!is_end).then_some(posts)
    }

    /// Makes entries of posts, with their lines. Answers and defers those that are repeats.
    fn encode(&mut self, posts: Vec<Post>) -> (Vec<u8>, Vec<Pending>) {
        let mut lines = Vec::new();
        let mut batch = Vec::with_capacity(posts.len());
        let mut last = self.hub.newest();
        let mut keys = HashSet::new();
        let mut removals = HashSet::new();
        for (room, draft, answer) in posts {
            match self.hub.duplicate_of(&room, &draft) {
                Ok(None) => {}
                settled => {
                    let settled = settled.map(|first| first.map(Committed::Duplicate));
                    // If the client left, nobody waits for the answer.
                    let _ = settled.transpose().map(|settled| answer.send(settled));
                    continue;
                }
            }
            let is_first = match &draft {
                Draft::Message { key: None, .. } => true,
                Draft::Message { key: Some(key), .. } => keys.insert((room.clone(), key.clone())),
                Draft::Removal { removed, .. } => removals.insert(*removed),
            };
            if !is_first {
                self.deferred.push((room, draft, answer));
                continue;
            }
            let sent_at = self.hub.clock().unix_ms();
            last = last.next(sent_at);
            let entry = draft.into_entry(&room, last, sent_at);
            line::entry(&mut lines, &entry);
            batch.push((room, entry, answer));
        }
        (lines, batch)
    }

    fn publish(&self, batch: Vec<Pending>, stored: &Result<(), Refusal>) {
        for (room, entry, answer) in batch {
            // A removal takes effect even when the disk is full; the next rewrite stores it.
            let holds_unstored = entry.removes.is_some() && stored == &Err(Refusal::StorageFull);
            if holds_unstored {
                self.hub.options.log.error(format_args!(
                    "journal: no room for the removal {}: its text is back after a restart, unless there is room before",
                    entry.id
                ));
            }
            let stored = if holds_unstored { &Ok(()) } else { stored };
            let committed = stored.clone().map(|()| {
                if entry.removes.is_some() {
                    self.status.request_rewrite();
                }
                let frame = entry.frame.clone();
                self.hub.publish(&room, entry);
                Committed::New(frame)
            });
            let _ = answer.send(committed);
        }
    }
}
