//! The task that owns the journal's file: group commit.
//!
//! A round takes all posts that wait. One that repeats an entry is answered with that; each of the
//! others is given its id and encoded, in order. All lines are written and synced at once, on a
//! thread that may block. Then the entries are published and the posts answered. So between two
//! rounds the rooms have all that the file has, and nothing else.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, JoinError};
use tokio::time::timeout_at;

use super::disk::Disk;
use super::rewrite::Rewrite;
use super::{Post, QUEUED_POSTS, Request, line};
use crate::chat::answers::Committed;
use crate::chat::hub::Hub;
use crate::chat::id::EventId;
use crate::chat::message::Stamp;
use crate::chat::names::{IdempotencyKey, RoomName};
use crate::report::Reporter;

/// The writer, between two rounds.
pub(super) struct Writer {
    hub: Arc<Hub>,
    last: EventId,
    rewrite: Rewrite,
    /// Posts that may repeat another one of their round: the next round finds that in its room.
    deferred: Vec<Post>,
    /// Whom to tell when everything is stored and the file is closed.
    closing: Vec<oneshot::Sender<()>>,
}

impl Writer {
    /// A writer that goes on after `last`.
    pub(super) fn new(
        hub: Arc<Hub>,
        last: EventId,
        must_shorten: Arc<AtomicBool>,
        report: Reporter,
    ) -> Writer {
        Writer {
            hub,
            last,
            rewrite: Rewrite::new(must_shorten, report),
            deferred: Vec::new(),
            closing: Vec::new(),
        }
    }

    /// Serves the queue until it is closed. What was taken is durable at the end.
    pub(super) async fn run(mut self, queue: mpsc::Receiver<Request>, disk: Disk) {
        // An error means that the work on the file has panicked or the runtime is shutting down.
        // The queue is dropped then, and posts are refused.
        let _ = self.serve(queue, disk).await;
        for closed in self.closing {
            // Nobody needs to wait for it.
            let _ = closed.send(());
        }
    }

    async fn serve(
        &mut self,
        mut queue: mpsc::Receiver<Request>,
        mut disk: Disk,
    ) -> Result<(), JoinError> {
        loop {
            let (posts, over) = self.gather(&mut queue, &disk).await;
            if over {
                break;
            }
            disk = self.commit(posts, disk).await?;
            disk = self.rewrite.advance(disk, &self.hub).await?;
            if disk.due() <= Instant::now() {
                disk = on_thread(disk, Disk::maintain).await?.0;
            }
        }
        disk = self.rewrite.finish(disk, &self.hub).await?;
        // Who is told that this is over may open the folder again at once.
        on_thread(disk, Disk::sync).await.map(drop)
    }

    /// Takes all that waits; waits for something to do, if need be. Says whether it is over.
    async fn gather(
        &mut self,
        queue: &mut mpsc::Receiver<Request>,
        disk: &Disk,
    ) -> (Vec<Post>, bool) {
        let mut posts = mem::take(&mut self.deferred);
        if !posts.is_empty() {
            return (posts, false);
        }
        let mut requests = Vec::new();
        let received = queue.recv_many(&mut requests, QUEUED_POSTS);
        let over = timeout_at(disk.due().into(), received).await == Ok(0);
        for request in requests {
            match request {
                Request::Append(post) => posts.push(post),
                Request::Close(closed) => {
                    self.closing.push(closed);
                    queue.close();
                }
            }
        }
        (posts, over)
    }

    async fn commit(&mut self, posts: Vec<Post>, disk: Disk) -> Result<Disk, JoinError> {
        let mut lines = Vec::new();
        let mut batch: Vec<(Post, Stamp)> = Vec::with_capacity(posts.len());
        let mut newest: HashMap<RoomName, EventId> = HashMap::new();
        let mut keys: HashSet<(RoomName, IdempotencyKey)> = HashSet::new();
        for post in posts {
            let room = post.room.name().clone();
            if let Some(repeated) = post.room.repeat_of(&post.draft) {
                // A poster who has gone needs no answer.
                let _ = post
                    .answer
                    .send(repeated.map(Committed::Before).map_err(Into::into));
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
            let data = post.draft.clone().stamped(&room, stamp).to_json();
            line::entry(&mut lines, data.as_bytes(), after, post.draft.key.as_ref());
            batch.push((post, stamp));
        }
        if batch.is_empty() {
            return Ok(disk);
        }
        let (disk, stored) = on_thread(disk, move |disk| disk.store(&lines)).await?;
        for (post, stamp) in batch {
            let Post {
                room,
                draft,
                answer,
            } = post;
            let committed = stored.and_then(|()| room.commit(draft, || stamp).map_err(Into::into));
            let _ = answer.send(committed);
        }
        Ok(disk)
    }

    fn stamp(&mut self) -> Stamp {
        let sent_at = self.hub.clock().unix_ms();
        self.last = self.last.next(sent_at);
        Stamp {
            id: self.last,
            sent_at,
        }
    }
}

/// Does work that may block.
pub(super) async fn on_thread<T: Send + 'static>(
    mut disk: Disk,
    work: impl FnOnce(&mut Disk) -> T + Send + 'static,
) -> Result<(Disk, T), JoinError> {
    task::spawn_blocking(move || {
        let result = work(&mut disk);
        (disk, result)
    })
    .await
}
