//! The open connections: bounded in number, in all and by address, and told when to end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use hyper::server::conn::http1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::chat::Chat;
use crate::http::address::ClientAddress;
use crate::lock::lock;
use crate::slab::Slab;

/// Connections beyond those that streams may take: requests come and go on them.
const SPARE: usize = 1_024;
/// Connections of one address beyond those that its streams may take: page loads and posts.
const SPARE_OF_ADDRESS: usize = 32;
/// Connections at most where the owner sets no limit: more than any machine has files for.
const UNLIMITED: usize = 1 << 28;

/// All open connections of a chat.
pub(super) struct Connections {
    pub(super) chat: Chat,
    pub(super) http: http1::Builder,
    /// One for each connection that may be open.
    places: Arc<Semaphore>,
    most: u32,
    is_ending: AtomicBool,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// The waker of each connection, once it is known.
    wakers: Slab<Option<Waker>>,
    by_address: HashMap<ClientAddress, usize>,
}

/// A connection's place in the table, given up on drop. Its task, its socket and its service share it.
pub(super) struct Registration {
    pub(super) connections: Arc<Connections>,
    pub(super) peer: SocketAddr,
    /// Whether it counts towards its address.
    counted: bool,
    place: usize,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(chat: Chat, http: http1::Builder) -> Connections {
        let streams = chat.options().max_streams;
        let most = streams.saturating_add(SPARE).min(UNLIMITED);
        Connections {
            chat,
            http,
            places: Arc::new(Semaphore::new(most)),
            most: most as u32,
            is_ending: AtomicBool::new(false),
            table: Mutex::default(),
        }
    }

    /// Waits until there may be one more connection.
    pub(super) async fn place(&self) -> OwnedSemaphorePermit {
        let place = self.places.clone().acquire_owned().await;
        place.expect("the places are never closed")
    }

    /// Registers a connection from this peer; `None` if its address has too many. A trusted proxy
    /// speaks for many clients and may have any number.
    pub(super) fn register(
        self: &Arc<Connections>,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Option<Arc<Registration>> {
        let streams = self.chat.options().max_streams_per_ip;
        let counted = streams < usize::MAX && !self.chat.is_trusted_proxy(peer.ip());
        let table = &mut *lock(&self.table);
        if counted {
            let address = ClientAddress::from(peer.ip());
            let count = table.by_address.entry(address).or_default();
            if *count >= streams + SPARE_OF_ADDRESS {
                return None;
            }
            *count += 1;
        }
        Some(Arc::new(Registration {
            connections: self.clone(),
            peer,
            counted,
            place: table.wakers.insert(None),
            _place: place,
        }))
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.table).wakers.len()
    }

    /// Ends each connection after its current answer, and waits until there are none.
    pub(super) async fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        let wakers: Vec<Waker> = lock(&self.table).wakers.iter().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
        // It only fails if the places were closed.
        let _ = self.places.acquire_many(self.most).await;
    }
}

impl Registration {
    /// Whether the connection is to end after its current answer.
    pub(super) fn is_ending(&self) -> bool {
        self.connections.is_ending.load(Ordering::Acquire)
    }

    /// Has a task woken when the connection is to end. A task has one waker for life, so it is stored
    /// once and costs nothing per message.
    pub(super) fn wake_at_the_end(&self, cx: &Context<'_>) {
        if let Some(waker) = lock(&self.connections.table).wakers.get_mut(self.place) {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let table = &mut *lock(&self.connections.table);
        table.wakers.remove(self.place);
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
}
