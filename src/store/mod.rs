//! The one seam between a post and its room: the log commits a message, gives it its id, and hands
//! it to the room in commit order.
//!
//! Each kind says when a message counts as kept: [`memory`] at once, [`journal`] when it is in the
//! file (and synced, where asked). Only then does anybody see it, so nobody ever sees a message
//! that was refused.

pub(crate) mod journal;
pub(crate) mod memory;

pub(crate) mod bans;
pub(crate) mod secret;

mod durable;
mod sealed;
#[cfg(test)]
mod test_folder;

use std::sync::Arc;

use crate::chat::answers::{CannotCommit, Committed, KeyReused};
use crate::chat::message::Draft;
use crate::chat::room::Room;

/// Where messages are kept.
pub(crate) enum Log {
    Memory(memory::Memory),
    Journal(journal::Journal),
}

/// Why a draft did not become a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotKept {
    /// Its key stands on a message with another text or name.
    KeyReused,
    /// There is no room on the disk; later there may be.
    StorageFull,
    /// The disk has failed.
    StorageFailed,
    /// The log is closed.
    Closing,
}

impl From<KeyReused> for NotKept {
    fn from(KeyReused: KeyReused) -> NotKept {
        NotKept::KeyReused
    }
}

impl From<CannotCommit> for NotKept {
    fn from(refused: CannotCommit) -> NotKept {
        match refused {
            CannotCommit::KeyReused => NotKept::KeyReused,
            CannotCommit::Closing => NotKept::Closing,
        }
    }
}

impl Log {
    /// Commits a draft. When this answers, the message has its id and is in every client's queue.
    pub(crate) async fn append(&self, room: Arc<Room>, draft: Draft) -> Result<Committed, NotKept> {
        match self {
            Log::Memory(memory) => memory.append(&room, draft),
            Log::Journal(journal) => journal.append(room, draft).await,
        }
    }

    /// Says that rooms with messages have been forgotten, so that they do not return.
    pub(crate) fn forget(&self) {
        if let Log::Journal(journal) = self {
            journal.shorten();
        }
    }

    /// Commits what is under way, makes it durable, and takes nothing more.
    pub(crate) async fn close(&self) {
        if let Log::Journal(journal) = self {
            journal.close().await;
        }
    }

    pub(crate) fn journal(&self) -> Option<&journal::Journal> {
        match self {
            Log::Memory(_) => None,
            Log::Journal(journal) => Some(journal),
        }
    }
}
