//! The open connections: bounded in number, in all and by address, and told when to end.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use hyper::server::conn::http1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::chat::Chat;
use crate::counters::count;
use crate::http::address::ClientAddress;
use crate::http::limits::{Holding, ONE_CONNECTION};
use crate::lock::lock;
use crate::slab::Slab;

/// Connections beyond those that streams may take: requests come and go on them.
const SPARE: usize = 1_024;
/// File descriptors that connections leave to the store, the listener and the runtime.
const OTHER_FILES: usize = 64;
/// Connections at most where the owner sets no limit: more than any machine has files for.
const UNLIMITED: usize = 1 << 28;

/// All open connections of a chat.
pub(super) struct Connections {
    pub(super) chat: Chat,
    pub(super) http: http1::Builder,
    /// One for each connection that may be open.
    slots: Arc<Semaphore>,
    most: u32,
    is_ending: AtomicBool,
    /// The waker of each connection, once it is known.
    wakers: Mutex<Slab<Option<Waker>>>,
}

/// A connection that counts, until this is dropped. Its task, its socket and its service share it.
pub(super) struct Registration {
    pub(super) connections: Arc<Connections>,
    pub(super) peer: SocketAddr,
    /// Whether it counts towards its address.
    counted: bool,
    /// Whether it comes in at a loopback address.
    pub(super) over_loopback: bool,
    /// Where its waker is.
    place: usize,
    _slot: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(chat: Chat, http: http1::Builder) -> Connections {
        let streams = chat.site.options.max_streams;
        let wanted = streams.saturating_add(SPARE).min(UNLIMITED);
        let most = match open_files_limit() {
            // Of a very low limit, connections get half.
            Some(files) => wanted.min(files.saturating_sub(OTHER_FILES).max(files / 2)),
            None => wanted,
        };
        if most < wanted {
            chat.site.options.log.info(format_args!(
                "at most {most} connections instead of {wanted}: raise the limit of open files"
            ));
        }
        Connections {
            chat,
            http,
            slots: Arc::new(Semaphore::new(most)),
            most: most as u32,
            is_ending: AtomicBool::new(false),
            wakers: Mutex::default(),
        }
    }

    /// Waits until there may be one more connection.
    pub(super) async fn slot(&self) -> OwnedSemaphorePermit {
        let slot = self.slots.clone().acquire_owned().await;
        slot.expect("the semaphore is never closed")
    }

    /// Registers a connection from this peer; `None` if its address has too many. A trusted proxy
    /// speaks for many clients and may have any number.
    pub(super) fn register(
        self: &Arc<Connections>,
        peer: SocketAddr,
        over_loopback: bool,
        slot: OwnedSemaphorePermit,
    ) -> Option<Arc<Registration>> {
        let counted = !self.chat.site.options.trusts(peer.ip());
        if counted {
            let limits = &self.chat.site.limits;
            limits
                .take(peer.ip().into(), Holding::Connections, 1)
                .ok()?;
        }
        Some(Arc::new(Registration {
            connections: self.clone(),
            peer,
            counted,
            over_loopback,
            place: lock(&self.wakers).insert(None),
            _slot: slot,
        }))
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.wakers).len()
    }

    /// Ends each connection after its current answer, and waits until there are none.
    pub(super) async fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        let wakers: Vec<Waker> = lock(&self.wakers).iter().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
        // It only fails if the semaphore were closed.
        let _ = self.slots.acquire_many(self.most).await;
    }
}

/// How many files this process may have open, where the system tells.
fn open_files_limit() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    files.split_whitespace().next()?.parse().ok()
}

impl Registration {
    /// Whether the connection is to end after its current answer.
    pub(super) fn is_ending(&self) -> bool {
        self.connections.is_ending.load(Ordering::Acquire)
    }

    /// Notes that the client was cut because it took nothing.
    pub(super) fn note_cut(&self) {
        let chat = &self.connections.chat;
        count(&chat.site.hub.counters.stalled_writes);
        chat.site.options.log.info(format_args!(
            "cut {}: it took nothing for too long",
            ClientAddress::from(self.peer.ip())
        ));
    }

    /// Has a task woken when the connection is to end. A task has one waker for life, so it is stored
    /// once and costs nothing per message.
    pub(super) fn wake_at_the_end(&self, cx: &Context<'_>) {
        if let Some(waker) = lock(&self.connections.wakers).get_mut(self.place) {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.connections.wakers).remove(self.place);
        if self.counted {
            let limits = &self.connections.chat.site.limits;
            limits.give_back(self.peer.ip().into(), ONE_CONNECTION);
        }
    }
}
