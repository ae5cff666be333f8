//! Hands what is kept to the rooms, in order.

use std::sync::mpsc as std_mpsc;

use tokio::sync::mpsc;

use super::Post;
use crate::chat::message::Stamp;

/// The writer's end: gives batches away, and knows when the last has reached its rooms.
pub(super) struct Publisher {
    batches: mpsc::Sender<Vec<(Post, Stamp)>>,
    done: std_mpsc::Receiver<()>,
    under_way: bool,
}

/// The runtime that published is gone.
#[derive(Debug)]
pub(super) struct RuntimeGone;

/// Starts the task that publishes. It ends when the [`Publisher`] is dropped.
pub(super) fn spawn() -> Publisher {
    // One batch is under way at a time: the writer waits before it hands over the next.
    let (batches, mut handed_over) = mpsc::channel::<Vec<(Post, Stamp)>>(1);
    let (published, done) = std_mpsc::channel();
    tokio::spawn(async move {
        while let Some(batch) = handed_over.recv().await {
            for (post, stamp) in batch {
                let Post {
                    room,
                    draft,
                    answer,
                    _slot,
                } = post;
                let committed = room.commit(draft, || stamp).map_err(Into::into);
                // A poster who has gone needs no answer.
                let _ = answer.send(committed);
            }
            if published.send(()).is_err() {
                return;
            }
        }
    });
    Publisher {
        batches,
        done,
        under_way: false,
    }
}

impl Publisher {
    /// Waits until all that was handed over is in its rooms.
    pub(super) fn wait(&mut self) -> Result<(), RuntimeGone> {
        if std::mem::take(&mut self.under_way) {
            self.done.recv().map_err(|_| RuntimeGone)?;
        }
        Ok(())
    }

    /// Hands a batch over, once the one before it is in its rooms.
    pub(super) fn publish(&mut self, batch: Vec<(Post, Stamp)>) -> Result<(), RuntimeGone> {
        self.wait()?;
        self.under_way = true;
        self.batches.blocking_send(batch).map_err(|_| RuntimeGone)
    }
}
