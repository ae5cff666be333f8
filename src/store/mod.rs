//! The one seam between a post and its rooms: the store commits an entry, gives it its id, and
//! hands it to the hub in commit order.
//!
//! Each kind says when an entry counts as stored: memory at once, the [`journal`] when it is in the
//! file (and synced, where that is asked for). Only then does anybody see it, so nobody ever sees a
//! message that was then refused.

pub(crate) mod bans;
pub(crate) mod journal;
pub(crate) mod secret;

mod durable;
mod sealed;
#[cfg(test)]
mod test_folder;

use std::sync::Arc;

use crate::refusal::Refusal;
use crate::rooms::entries::Committed;
use crate::rooms::hub::Hub;
use crate::rooms::message::Draft;
use crate::rooms::names::RoomName;

/// Where entries are stored.
pub(crate) enum Store {
    Memory(Arc<Hub>),
    Journal(journal::Journal),
}

impl Store {
    /// Commits a draft. When this returns, the entry has its id and is in every client's queue.
    pub(crate) async fn append(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        match self {
            Store::Memory(hub) => hub.commit(room, draft),
            Store::Journal(journal) => journal.append(room, draft).await,
        }
    }

    /// Notes that less is retained than is stored: evicted entries must leave the store too.
    pub(crate) fn shorten(&self) {
        if let Store::Journal(journal) = self {
            journal.shorten();
        }
    }

    /// Commits what is in flight, makes it durable, and takes nothing more.
    pub(crate) async fn close(&self) {
        if let Store::Journal(journal) = self {
            journal.close().await;
        }
    }

    pub(crate) fn is_journal(&self) -> bool {
        matches!(self, Store::Journal(_))
    }

    /// Whether the store can take nothing more until its owner has looked after it.
    pub(crate) fn has_failed(&self) -> bool {
        match self {
            Store::Memory(_) => false,
            Store::Journal(journal) => journal.has_failed(),
        }
    }
}
