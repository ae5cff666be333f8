//! One chat with all that its requests need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::address::ClientAddress;
use super::error::Refusal;
use super::guard::{Guard, Policy, Visitor};
use super::limits::{Streams, TokenBuckets};
use super::metrics::Metrics;
use super::session::Sessions;
use crate::chat::answers::Committed;
use crate::chat::hub::Hub;
use crate::chat::members::SessionId;
use crate::chat::message::Draft;
use crate::chat::names::RoomName;
use crate::log::Log;
use crate::report::Reporter;

/// Messages that a sender may post at once, as a multiple of its rate for one second.
const MESSAGE_BURST: f64 = 10.0;

/// The limits and ways of the interface. `usize::MAX` is no limit.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The rooms on offer; none given means any.
    pub(crate) rooms: Vec<RoomName>,
    /// The room that a path without one means.
    pub(crate) default_room: RoomName,
    pub(crate) max_streams: usize,
    pub(crate) max_streams_of_address: usize,
    /// Bytes of a message's text at most.
    pub(crate) max_message: usize,
    /// Messages a second that a sender may keep up; 0 is no limit.
    pub(crate) message_rate: f64,
}

/// A chat as its requests see it.
pub(crate) struct Site {
    pub(crate) hub: Arc<Hub>,
    pub(crate) settings: Settings,
    pub(crate) guard: Guard,
    pub(crate) streams: Arc<Streams>,
    pub(crate) sessions: Sessions,
    pub(crate) metrics: Metrics,
    pub(crate) report: Reporter,
    log: Log,
    senders: Option<TokenBuckets<Sender>>,
    draining: AtomicBool,
}

/// Who pays for a message: the session that is in the room, else the address.
///
/// A session alone would not do, for anybody can make up a new one for every message; one that is
/// in a room holds a stream there, and those are limited by address.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Sender {
    Session(SessionId),
    Address(ClientAddress),
}

impl Site {
    pub(crate) fn new(
        hub: Arc<Hub>,
        log: Log,
        settings: Settings,
        policy: Policy,
        report: Reporter,
    ) -> Site {
        let rate = settings.message_rate;
        Site {
            streams: Arc::new(Streams::new(
                settings.max_streams,
                settings.max_streams_of_address,
            )),
            senders: (rate > 0.0).then(|| TokenBuckets::new(rate, rate * MESSAGE_BURST)),
            guard: Guard::new(policy, report.clone()),
            sessions: Sessions::new(),
            metrics: Metrics::default(),
            draining: AtomicBool::new(false),
            hub,
            settings,
            log,
            report,
        }
    }

    /// Checks that the room is on offer.
    pub(crate) fn offered(&self, room: RoomName) -> Result<RoomName, Refusal> {
        let rooms = &self.settings.rooms;
        if rooms.is_empty() || rooms.contains(&room) {
            Ok(room)
        } else {
            Err(Refusal::RoomNotOffered)
        }
    }

    /// Spends one of the visitor's messages.
    pub(crate) fn spend_message(&self, visitor: Visitor, room: &RoomName) -> Result<(), Refusal> {
        let Some(senders) = &self.senders else {
            return Ok(());
        };
        let member = visitor
            .session
            .filter(|session| self.hub.look(room).includes(*session));
        let sender = member.map_or(Sender::Address(visitor.address), Sender::Session);
        senders
            .take(sender, self.hub.clock().now())
            .map_err(|retry_after| Refusal::TooManyMessages { retry_after })
    }

    /// Commits a draft to a room. When this answers, every client's queue has the message.
    pub(crate) async fn append(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        let room = self.hub.enter(room)?;
        let committed = self.log.append(room, draft).await?;
        if let Committed::Now(_) = committed {
            self.metrics.accepted();
        }
        Ok(committed)
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes no new streams and messages, commits the messages under way, then ends all streams
    /// with a goodbye.
    pub(crate) async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.log.close().await;
        self.hub.close();
    }

    /// Sends heartbeats where they are due.
    pub(crate) fn beat(&self) {
        self.hub.beat();
    }

    /// What is done once a second.
    pub(crate) fn tick(&self) {
        if self.hub.tick() {
            self.log.forget();
        }
        let now = self.hub.clock().now();
        self.guard.tick(now);
        if let Some(senders) = &self.senders {
            senders.forget_idle(now);
        }
    }
}
