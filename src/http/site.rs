//! One chat with everything that its requests need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::header::HeaderValue;

use super::address::ClientAddress;
use super::guard::{Guard, Visitor};
use super::limits::{Shares, TokenBuckets};
use super::session::{self, Sessions};
use super::settings::Settings;
use crate::counters::Counters;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::report::Reporter;
use crate::rooms::author::{Author, AuthorKey, SessionId};
use crate::rooms::entries::Committed;
use crate::rooms::hub::Hub;
use crate::rooms::message::Draft;
use crate::store::Store;
use crate::store::standing::{Change, Standing};

/// Messages that a sender may post at once, as a multiple of its rate for one second.
const MESSAGE_BURST: f64 = 10.0;
/// What all senders of one address may post together, as a multiple of one sender's rate.
const SENDERS_OF_ADDRESS: f64 = 10.0;

/// A chat as its requests see it.
pub(crate) struct Site {
    pub(crate) hub: Arc<Hub>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) guard: Guard,
    pub(crate) shares: Arc<Shares>,
    pub(crate) sessions: Sessions,
    pub(crate) standing: Arc<Standing>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) report: Reporter,
    pub(crate) store: Store,
    authors: AuthorKey,
    senders: Option<Senders>,
    draining: AtomicBool,
}

/// Who pays for a message: a session that is in the room pays for itself, everybody else of an
/// address pays together; and the address pays for all of them.
///
/// A session alone would not do, since anybody can make up a new one for every message.
struct Senders {
    members: TokenBuckets<Author>,
    others: TokenBuckets<ClientAddress>,
    addresses: TokenBuckets<ClientAddress>,
}

impl Site {
    pub(crate) fn new(
        hub: Arc<Hub>,
        store: Store,
        authors: AuthorKey,
        standing: Arc<Standing>,
        settings: Settings,
        counters: Arc<Counters>,
        report: Reporter,
    ) -> Site {
        let rate = settings.message_rate;
        let count = |streams: usize| u32::try_from(streams).unwrap_or(u32::MAX);
        let (streams, per_ip) = (settings.max_streams, settings.max_streams_per_ip);
        let shares = Shares::new(count(streams), count(per_ip));
        let settings = Arc::new(settings);
        Site {
            hub,
            guard: Guard::new(settings.clone(), report.clone()),
            shares: Arc::new(shares),
            sessions: Sessions::new(),
            standing,
            counters,
            report,
            store,
            authors,
            senders: (rate > 0.0).then(|| Senders::new(rate)),
            draining: AtomicBool::new(false),
            settings,
        }
    }

    /// Checks that the room is on offer.
    pub(crate) fn offered(&self, room: RoomName) -> Result<RoomName, Refusal> {
        let rooms = &self.settings.offered_rooms;
        if rooms.is_empty() || rooms.contains(&room) {
            Ok(room)
        } else {
            Err(Refusal::RoomNotOffered)
        }
    }

    /// Who a session is to others.
    pub(crate) fn author(&self, session: SessionId) -> Author {
        self.authors.author(session)
    }

    /// Who a visitor is to others. One without a session gets one, with the cookie returned.
    pub(crate) fn identify(&self, visitor: Visitor) -> (Author, Option<HeaderValue>) {
        if let Some(author) = visitor.author {
            return (author, None);
        }
        let session = self.sessions.issue();
        let cookie = session::set_cookie(session, &self.settings.prefix, visitor.https);
        (self.author(session), cookie)
    }

    /// Spends one of the visitor's messages.
    pub(crate) fn spend_message(&self, visitor: Visitor, room: &RoomName) -> Result<(), Refusal> {
        let Some(senders) = &self.senders else {
            return Ok(());
        };
        let now = self.hub.clock().now();
        let member = visitor
            .author
            .filter(|author| self.hub.includes(room, *author));
        let own = match member {
            Some(author) => senders.members.take(author, now),
            None => senders.others.take(visitor.address, now),
        };
        own.and_then(|()| senders.addresses.take(visitor.address, now))
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

    /// Carries out a change of bans or moderators, at other servers too.
    pub(crate) async fn change_standing(&self, change: Change) -> Result<(), Refusal> {
        let now = self.hub.clock().unix_ms();
        self.store.change(&self.standing, change, now).await
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
            self.store.shorten();
        }
        let now = self.hub.clock().now();
        self.guard.forget_idle(now);
        self.shares.forget_idle(now);
        if let Some(senders) = &self.senders {
            senders.members.forget_idle(now);
            senders.others.forget_idle(now);
            senders.addresses.forget_idle(now);
        }
    }
}

impl Senders {
    fn new(rate: f64) -> Senders {
        let of_address = rate * SENDERS_OF_ADDRESS;
        Senders {
            members: TokenBuckets::new(rate, rate * MESSAGE_BURST),
            others: TokenBuckets::new(rate, rate * MESSAGE_BURST),
            addresses: TokenBuckets::new(of_address, of_address * MESSAGE_BURST),
        }
    }
}
