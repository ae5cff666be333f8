//! The open connections: bounded in number, in all and by address, and told when to end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use hyper::server::conn::http1;
use tokio::sync::Notify;

use super::connection;
use crate::chat::{Chat, ServerLimits};
use crate::http::address::ClientAddress;
use crate::lock::lock;
use crate::slab::Slab;

/// All open connections of a chat.
pub(super) struct Connections {
    pub(super) chat: Chat,
    pub(super) limits: ServerLimits,
    pub(super) http: http1::Builder,
    phase: AtomicU8,
    table: Mutex<Table>,
    /// Wakes whoever waits for connections to end.
    ended: Notify,
}

#[derive(Default)]
struct Table {
    /// The waker of each connection, once it is known.
    wakers: Slab<Option<Waker>>,
    by_address: HashMap<ClientAddress, usize>,
    /// How many were accepted after shutdown began: nobody waits for those.
    late: usize,
}

/// What connections are to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Serve requests.
    Serving,
    /// End after the current answer.
    Ending,
    /// End at once.
    Cut,
}

/// A connection's place in the table, given up on drop. Its task, its socket and its service share it.
pub(super) struct Registration {
    pub(super) connections: Arc<Connections>,
    pub(super) peer: SocketAddr,
    /// Whether it counts towards its address.
    counted: bool,
    /// Whether it was accepted after shutdown began.
    pub(super) late: bool,
    place: usize,
}

impl Connections {
    pub(super) fn new(chat: Chat) -> Connections {
        Connections {
            limits: chat.limits(),
            chat,
            http: connection::protocol(),
            phase: AtomicU8::new(Phase::Serving as u8),
            table: Mutex::default(),
            ended: Notify::new(),
        }
    }

    /// Registers a connection from this peer; `None` if its address has too many. A trusted proxy
    /// speaks for many clients and may have any number.
    pub(super) fn register(self: &Arc<Connections>, peer: SocketAddr) -> Option<Arc<Registration>> {
        let counted = self.limits.connections_of_address < usize::MAX
            && !self.chat.is_trusted_proxy(peer.ip());
        let late = self.phase() != Phase::Serving;
        let table = &mut *lock(&self.table);
        if counted {
            let address = ClientAddress::from(peer.ip());
            let count = table.by_address.entry(address).or_default();
            if *count >= self.limits.connections_of_address {
                return None;
            }
            *count += 1;
        }
        table.late += usize::from(late);
        Some(Arc::new(Registration {
            connections: self.clone(),
            peer,
            counted,
            late,
            place: table.wakers.insert(None),
        }))
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.table).wakers.len()
    }

    /// Waits until there may be one more.
    pub(super) async fn vacancy(&self) {
        self.until(|table| table.wakers.len() < self.limits.connections)
            .await;
    }

    /// Waits until all have ended but those that were accepted after shutdown began.
    pub(super) async fn ended(&self) {
        self.until(|table| table.wakers.len() == table.late).await;
    }

    /// Waits until there are none.
    pub(super) async fn gone(&self) {
        self.until(|table| table.wakers.is_empty()).await;
    }

    async fn until(&self, done: impl Fn(&Table) -> bool) {
        loop {
            let ended = self.ended.notified();
            if done(&lock(&self.table)) {
                return;
            }
            ended.await;
        }
    }

    pub(super) fn end_gracefully(&self) {
        self.enter(Phase::Ending);
    }

    pub(super) fn cut(&self) {
        self.enter(Phase::Cut);
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        let wakers: Vec<Waker> = lock(&self.table).wakers.iter().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Ending,
            _ => Phase::Cut,
        }
    }
}

impl Registration {
    pub(super) fn phase(&self) -> Phase {
        self.connections.phase()
    }

    /// Has a task woken when the phase changes. A task has one waker for life, so it is stored once
    /// and costs nothing per message.
    pub(super) fn wake_on_change(&self, cx: &Context<'_>) {
        if let Some(waker) = lock(&self.connections.table).wakers.get_mut(self.place) {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        {
            let table = &mut *lock(&self.connections.table);
            table.wakers.remove(self.place);
            table.late -= usize::from(self.late);
            let address = ClientAddress::from(self.peer.ip());
            if self.counted
                && let Some(count) = table.by_address.get_mut(&address)
            {
                *count -= 1;
                if *count == 0 {
                    table.by_address.remove(&address);
                }
            }
        }
        self.connections.ended.notify_waiters();
    }
}
