//! The clients of a room: the room's end of each one's queue, and when each was last sent anything.

use std::sync::Arc;
use std::time::Duration;

use super::answers::ClientId;
use super::clock::Moment;
use super::frame::Frame;
use super::queue::{self, Receiver, Sender};
use crate::slab::Slab;

/// All clients of a room.
pub(super) struct Clients {
    clients: Slab<Client>,
    /// When all of them were last given anything.
    delivered_at: Moment,
}

/// A client, as its room knows it.
struct Client {
    /// Gone when the queue was full: the client is catching up.
    sender: Option<Sender>,
    /// When it joined or was last sent a heartbeat.
    quiet_since: Moment,
}

impl Clients {
    pub(super) fn new(now: Moment) -> Clients {
        Clients {
            clients: Slab::default(),
            delivered_at: now,
        }
    }

    /// Adds a client, with an empty queue.
    pub(super) fn add(&mut self, now: Moment) -> (ClientId, Receiver) {
        let (sender, live) = queue::channel();
        let client = Client {
            sender: Some(sender),
            quiet_since: now,
        };
        (ClientId(self.clients.insert(client)), live)
    }

    /// Gives a client whose queue was full a new one.
    pub(super) fn renew(&mut self, client: ClientId) -> Receiver {
        let (sender, live) = queue::channel();
        if let Some(client) = self.clients.get_mut(client.0) {
            client.sender = Some(sender);
        }
        live
    }

    pub(super) fn remove(&mut self, client: ClientId) {
        self.clients.remove(client.0);
    }

    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Queues a frame for every client.
    pub(super) fn deliver(&mut self, frame: &Arc<Frame>, now: Moment) {
        self.delivered_at = now;
        for client in self.clients.iter_mut() {
            client.give(frame);
        }
    }

    /// Queues a heartbeat, made where one is due, for the clients that were sent nothing for
    /// `period`.
    pub(super) fn beat(&mut self, period: Duration, now: Moment, heartbeat: impl Fn() -> Frame) {
        let due = |since: Moment| now.saturating_sub(since) >= period;
        if !due(self.delivered_at) {
            return;
        }
        let mut shared = None;
        for client in self.clients.iter_mut() {
            if due(client.quiet_since) {
                client.quiet_since = now;
                client.give(shared.get_or_insert_with(|| Arc::new(heartbeat())));
            }
        }
    }

    /// Lets go of every client: each gets what is queued, and then the end.
    pub(super) fn let_go(&mut self) {
        for client in self.clients.iter_mut() {
            client.sender = None;
        }
    }
}

impl Client {
    /// Queues a frame. A client whose queue is full loses its sender: it finds out when it has
    /// taken what is queued, and joins again by itself.
    fn give(&mut self, frame: &Arc<Frame>) {
        let queued = match &self.sender {
            Some(sender) => sender.try_send(frame.clone()),
            None => return,
        };
        if queued.is_err() {
            self.sender = None;
        }
    }
}
