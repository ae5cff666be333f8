//! A client's queue: a bounded mpsc channel of shared frames, from its rooms to its body.
//!
//! A room with a thousand clients walks through a thousand of these for each message, so what
//! counts is how much memory one touches: a lock, a ring of pointers and a waker lie together in
//! about a hundred bytes. tokio's channel took 800 bytes more per client and a tenth more user time
//! per delivery. The lock is held for a few instructions, and every state change happens under it,
//! so there is no interleaving of atomics to reason about, and none for a model checker to try: a task
//! leaves its waker under the lock under which it found the queue empty, and whoever queues a frame or
//! ends the stream does that and wakes under the same lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::clock::Moment;
use super::frame::Frame;
use super::limits::{QUEUE_BYTES, QUEUE_FRAMES};
use crate::lock::lock;

/// Frames for which an empty queue keeps its memory: no allocation while few wait, and few bytes.
const KEPT_FRAMES: usize = 4;

/// A client's queue. Each of its rooms holds a reference for sending, its body one for receiving.
pub(super) struct Queue(Mutex<State>);

struct State {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    mode: Mode,
    /// An event that is not in the history was dropped while the client was behind.
    lost_roster: bool,
    /// The store lost entries that the client may have.
    lost_entries: bool,
    /// When a frame was last queued.
    sent_at: Moment,
    /// The task that found the queue empty. A task has one waker for life, so it stays here.
    waker: Option<Waker>,
}

/// What happens to a new frame, and what the client does once it has taken all frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// New frames are queued, and the client waits for them.
    Live,
    /// New frames are dropped, and the client catches up from the histories of its rooms.
    Behind,
    /// New frames are dropped, and the client's stream ends.
    Ended,
}

/// What a client finds in its queue.
pub(super) enum Next {
    Frame(Arc<Frame>),
    /// Nothing, and nothing will come: it has to catch up.
    CatchUp,
    End,
}

impl Queue {
    /// A queue of a client that has yet to catch up.
    pub(super) fn new(now: Moment) -> Queue {
        Queue(Mutex::new(State {
            frames: VecDeque::new(),
            bytes: 0,
            mode: Mode::Behind,
            lost_roster: false,
            lost_entries: false,
            sent_at: now,
            waker: None,
        }))
    }

    /// Queues a frame, without waiting, and says whether it did. A full queue drops the frame and
    /// all that follow: its client will take what is queued and then catch up.
    pub(super) fn send(&self, frame: &Arc<Frame>, now: Moment) -> bool {
        let queue = &mut *lock(&self.0);
        if queue.mode == Mode::Live && queue.is_full_for(frame) {
            queue.mode = Mode::Behind;
        }
        if queue.mode != Mode::Live {
            queue.lost_roster |= frame.event() == "members-changed";
            return false;
        }
        queue.push(frame.clone(), now);
        // A client that leaves frames in the queue comes back for them without being woken.
        if queue.frames.len() == 1 {
            queue.wake();
        }
        true
    }

    /// Takes the oldest frame.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Next> {
        let queue = &mut *lock(&self.0);
        if let Some(frame) = queue.pop(usize::MAX) {
            return Poll::Ready(Next::Frame(frame));
        }
        match queue.mode {
            Mode::Behind => Poll::Ready(Next::CatchUp),
            Mode::Ended => Poll::Ready(Next::End),
            Mode::Live => {
                match &mut queue.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    unknown => *unknown = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// Takes the oldest frame if there is one, and if it has at most `most` bytes.
    pub(super) fn pop(&self, most: usize) -> Option<Arc<Frame>> {
        lock(&self.0).pop(most)
    }

    /// Queues what a client that catches up gets next, until the queue is full; once `next` is
    /// exhausted, the client is live, unless it was ended. Says whether `next` is.
    pub(super) fn refill(&self, now: Moment, mut next: impl FnMut() -> Option<Arc<Frame>>) -> bool {
        let queue = &mut *lock(&self.0);
        while !queue.is_full() {
            match next() {
                Some(frame) => queue.push(frame, now),
                None => {
                    // It may have been ended since it found that it is behind.
                    if queue.mode == Mode::Behind {
                        queue.mode = Mode::Live;
                    }
                    return true;
                }
            }
        }
        false
    }

    /// Whether an event that is not in the history was dropped since this was last called.
    pub(super) fn take_lost_roster(&self) -> bool {
        std::mem::take(&mut lock(&self.0).lost_roster)
    }

    /// Whether the store lost entries since this was last called.
    pub(super) fn take_lost_entries(&self) -> bool {
        std::mem::take(&mut lock(&self.0).lost_entries)
    }

    /// Notes that the store lost entries that the client may have.
    #[cfg(feature = "redis")]
    pub(super) fn lose_entries(&self) {
        lock(&self.0).lost_entries = true;
    }

    /// Makes the client catch up once it has taken what is queued.
    pub(super) fn interrupt(&self) {
        lock(&self.0).leave_live(Mode::Behind);
    }

    /// Ends the client's stream once it has taken what is queued and this `last` frame.
    pub(super) fn end(&self, last: Option<Arc<Frame>>, now: Moment) {
        let queue = &mut *lock(&self.0);
        if let Some(last) = last.filter(|_| queue.mode != Mode::Ended) {
            queue.push(last, now);
        }
        queue.leave_live(Mode::Ended);
    }

    /// When a frame was last queued.
    pub(super) fn sent_at(&self) -> Moment {
        lock(&self.0).sent_at
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.frames.len() >= QUEUE_FRAMES || self.bytes >= QUEUE_BYTES
    }

    fn is_full_for(&self, frame: &Frame) -> bool {
        self.is_full()
            || (!self.frames.is_empty() && self.bytes + frame.bytes().len() > QUEUE_BYTES)
    }

    fn push(&mut self, frame: Arc<Frame>, now: Moment) {
        self.bytes += frame.bytes().len();
        self.frames.push_back(frame);
        self.sent_at = now;
    }

    fn pop(&mut self, most: usize) -> Option<Arc<Frame>> {
        self.frames
            .front()
            .filter(|frame| frame.bytes().len() <= most)?;
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes().len();
        if self.frames.is_empty() && self.frames.capacity() > KEPT_FRAMES {
            self.frames.shrink_to(KEPT_FRAMES);
        }
        Some(frame)
    }

    fn leave_live(&mut self, mode: Mode) {
        if self.mode != Mode::Ended {
            self.mode = mode;
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
