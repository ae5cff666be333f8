//! One chat with everything that its requests need.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use tokio::sync::RwLock;
use tokio::task::spawn_blocking;

use super::guard::Guard;
use super::limits::{Allowance, Limits};
use super::session::Sessions;
use super::visitor::Visitor;
use crate::author::{Author, AuthorKey};
use crate::names::RoomName;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::rooms::entries::{Committed, Page, PageAt};
use crate::rooms::hub::Hub;
use crate::rooms::message::Draft;
use crate::store::Store;
use crate::store::codes::Codes;
use crate::store::standing::{Change, Standing};

/// A chat as its requests see it.
pub(crate) struct Site {
    pub(crate) hub: Arc<Hub>,
    pub(crate) options: Arc<Options>,
    pub(crate) guard: Guard,
    pub(crate) limits: Arc<Limits>,
    pub(crate) sessions: Sessions,
    pub(crate) standing: Arc<Standing>,
    pub(crate) store: Store,
    /// Posts hold it for reading from the check for a ban until they are committed.
    pub(super) sending: RwLock<()>,
    pub(crate) authors: AuthorKey,
    pub(super) codes: Codes,
    /// Whether the log has told that requests come without an address.
    pub(super) unaddressed: Once,
    draining: AtomicBool,
}

impl Site {
    pub(crate) fn new(
        hub: Arc<Hub>,
        store: Store,
        authors: AuthorKey,
        standing: Arc<Standing>,
    ) -> Site {
        let options = hub.options.clone();
        let limits = Arc::new(Limits::new(&options));
        Site {
            hub,
            guard: Guard::new(options.clone(), limits.clone()),
            limits,
            sessions: Sessions::new(&options.prefix),
            sending: RwLock::default(),
            standing,
            store,
            authors,
            codes: Codes::default(),
            unaddressed: Once::new(),
            draining: AtomicBool::new(false),
            options,
        }
    }

    /// Whose the idempotency keys of a visitor are: the author's, or the address's.
    pub(crate) fn owner(&self, visitor: &Visitor<'_>) -> Author {
        let address = || self.authors.of_address(visitor.address.ip());
        visitor.author.unwrap_or_else(address)
    }

    /// Spends one of the visitor's messages: its own or one that it shares with others, and one of its
    /// address.
    pub(crate) fn spend_message(
        &self,
        visitor: &Visitor<'_>,
        room: &RoomName,
    ) -> Result<(), Refusal> {
        let is_member = |author: &Author| self.hub.includes(room, *author);
        let own = match visitor.author.filter(is_member) {
            Some(author) => Allowance::Member(author),
            None => Allowance::Others(visitor.address),
        };
        let spend = |allowance| self.limits.spend(allowance, 1);
        spend(own)
            .and_then(|()| spend(Allowance::Address(visitor.address)))
            .map_err(|retry_after| Refusal::TooManyMessages { retry_after })
    }

    /// Commits a draft to a room. When this returns, every client's queue has the entry.
    pub(crate) async fn append(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        self.hub.open(room)?;
        self.store.append(room, draft).await
    }

    /// Commits what a visitor says, who may have been banned while it was on its way. From the check on,
    /// a ban that removes messages waits for it.
    pub(super) async fn append_unless_banned(
        &self,
        visitor: &Visitor<'_>,
        room: &RoomName,
        draft: Draft,
    ) -> Result<Committed, Refusal> {
        let _sending = self.sending.read().await;
        self.check_ban(visitor)?;
        if let Draft::Message {
            name,
            author: Some(author),
            ..
        } = &draft
        {
            let address = visitor.address.ip();
            self.standing.seen.note(*author, name.clone(), address);
        }
        self.append(room, draft).await
    }

    /// Carries out a change of bans or moderators, at other servers too.
    pub(crate) async fn change_standing(&self, change: Change) -> Result<(), Refusal> {
        let now = self.hub.clock().unix_ms();
        self.store.change(&self.standing, change, now).await
    }

    /// A page of a room's history, at a position that perhaps another server gave out.
    pub(crate) async fn page(
        &self,
        room: &RoomName,
        at: PageAt,
        limit: usize,
    ) -> Result<Page, Refusal> {
        if let PageAt::After(position) | PageAt::Before(position) = at {
            self.store.reach(position).await?;
        }
        Ok(self.hub.page(room, at, limit))
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes no new streams and messages, commits the messages in flight, then ends all streams with
    /// a goodbye.
    pub(crate) async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.store.close().await;
        self.hub.close();
    }

    /// The work of once a second.
    pub(crate) fn tick(&self) {
        if self.standing.take_changed() {
            // By another server.
            self.expel_banned();
        }
        if self.hub.tick() {
            self.store.request_rewrite();
        }
        if self.standing.is_unsaved() {
            let standing = self.standing.clone();
            spawn_blocking(move || standing.save());
        }
        self.limits.forget_idle();
    }
}
