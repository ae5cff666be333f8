//! The connections that are open: bounded in number, and told when it is time to end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use tokio::sync::Notify;

use crate::chat::lock;

/// All open connections of a server.
pub(super) struct Connections {
    most: usize,
    phase: AtomicU8,
    open: Mutex<Open>,
    /// Wakes who waits for connections to end.
    ended: Notify,
}

#[derive(Default)]
struct Open {
    connections: HashMap<u64, Connection>,
    ever: u64,
}

struct Connection {
    waker: Option<Waker>,
    /// It came when the end had begun, so nobody waits for it.
    late: bool,
}

/// What is expected of connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// To live.
    Serving,
    /// To end with the answer under way.
    Ending,
    /// To end at once.
    Cut,
}

/// One connection's place among the open ones; it is given up when this is dropped.
pub(super) struct Registration {
    connections: Arc<Connections>,
    id: u64,
    known: bool,
    pub(super) late: bool,
}

impl Connections {
    pub(super) fn new(most: usize) -> Connections {
        let serving = AtomicU8::new(Phase::Serving as u8);
        Connections {
            most,
            phase: serving,
            open: Mutex::default(),
            ended: Notify::new(),
        }
    }

    pub(super) fn register(self: &Arc<Connections>) -> Registration {
        let late = self.phase() != Phase::Serving;
        let open = &mut *lock(&self.open);
        open.ever += 1;
        open.connections
            .insert(open.ever, Connection { waker: None, late });
        Registration {
            connections: self.clone(),
            id: open.ever,
            known: false,
            late,
        }
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.open).connections.len()
    }

    /// Waits until there may be one more.
    pub(super) async fn vacancy(&self) {
        self.until(|open| open.connections.len() < self.most).await;
    }

    /// Waits until all those have ended that were open when the end began.
    pub(super) async fn ended(&self) {
        self.until(|open| open.connections.values().all(|connection| connection.late))
            .await;
    }

    /// Waits until there are none.
    pub(super) async fn gone(&self) {
        self.until(|open| open.connections.is_empty()).await;
    }

    async fn until(&self, done: impl Fn(&Open) -> bool) {
        loop {
            let ended = self.ended.notified();
            if done(&lock(&self.open)) {
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
        let wakers: Vec<Waker> = lock(&self.open)
            .connections
            .values()
            .filter_map(|open| open.waker.clone())
            .collect();
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
    /// What is expected; the task of `cx` is woken when that changes. A task has one waker for
    /// life, so it is taken down once and costs nothing per message.
    pub(super) fn phase(&mut self, cx: &Context<'_>) -> Phase {
        if !self.known {
            self.known = true;
            if let Some(connection) = lock(&self.connections.open).connections.get_mut(&self.id) {
                connection.waker = Some(cx.waker().clone());
            }
        }
        self.connections.phase()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.connections.open).connections.remove(&self.id);
        self.connections.ended.notify_waiters();
    }
}
