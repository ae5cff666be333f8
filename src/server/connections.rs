//! The connections that are open: bounded in number, and told when it is time to end.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use tokio::sync::Notify;

use crate::rooms::lock;
use crate::slab::Slab;

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
    /// How to wake each of them, once it is known.
    wakers: Slab<Option<Waker>>,
    /// How many came when the end had begun: nobody waits for those.
    late: usize,
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
    place: usize,
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
        open.late += usize::from(late);
        Registration {
            connections: self.clone(),
            place: open.wakers.insert(None),
            known: false,
            late,
        }
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.open).wakers.len()
    }

    /// Waits until there may be one more.
    pub(super) async fn vacancy(&self) {
        self.until(|open| open.wakers.len() < self.most).await;
    }

    /// Waits until all those have ended that were open when the end began.
    pub(super) async fn ended(&self) {
        self.until(|open| open.wakers.len() == open.late).await;
    }

    /// Waits until there are none.
    pub(super) async fn gone(&self) {
        self.until(|open| open.wakers.is_empty()).await;
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
        let wakers: Vec<Waker> = lock(&self.open).wakers.iter().flatten().cloned().collect();
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
            if let Some(waker) = lock(&self.connections.open).wakers.get_mut(self.place) {
                *waker = Some(cx.waker().clone());
            }
        }
        self.connections.phase()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        {
            let open = &mut *lock(&self.connections.open);
            open.wakers.remove(self.place);
            open.late -= usize::from(self.late);
        }
        self.connections.ended.notify_waiters();
    }
}
