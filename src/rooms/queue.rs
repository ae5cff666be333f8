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
use std::mem;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::frame::{Event, Frame};
use super::id::EventId;
use super::limits::{BEATS_PER_PERIOD, QUEUE_BYTES, QUEUE_FRAMES};
use crate::counters::{Counters, count};
use crate::lock::lock;

/// Frames for which an empty queue keeps its memory: no allocation while few wait, and few bytes.
const KEPT_FRAMES: usize = 4;

/// A client's queue. Each of its rooms holds a reference for sending, its body one for receiving.
pub(super) struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// Where the client will be when it has taken all frames.
    position: EventId,
    mode: Mode,
    /// Parts of a heartbeat's period in which nothing was queued.
    quiet_beats: u32,
    /// The task that found the queue empty. A task has one waker for life, so it stays here.
    waker: Option<Waker>,
}

/// What happens to a new frame, and what the client does once it has taken all frames.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Mode {
    /// New frames are queued, and the client waits for them.
    Live,
    /// New frames are dropped, and the client catches up from the histories of its rooms.
    #[default]
    Behind,
    /// New frames are dropped, and the client's stream ends.
    Ended,
}

impl Queue {
    /// A queue of a client that has yet to catch up.
    pub(super) fn new(position: EventId) -> Queue {
        Queue(Mutex::new(State {
            position,
            ..State::default()
        }))
    }

    /// Queues a frame, without waiting, and says whether it did. A full queue drops the frame and
    /// all that follow: its client will take what is queued and then catch up.
    pub(super) fn send(&self, frame: &Arc<Frame>) -> bool {
        let queue = &mut *lock(&self.0);
        if queue.mode == Mode::Live && queue.is_full_for(frame) {
            queue.mode = Mode::Behind;
        }
        if queue.mode != Mode::Live {
            return false;
        }
        queue.push(frame.clone());
        // Where frames wait already, the task has been woken for them.
        if queue.frames.len() == 1 {
            queue.wake();
        }
        true
    }

    /// Takes the oldest frame; the mode, where none is left and none will come.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Result<Arc<Frame>, Mode>> {
        let queue = &mut *lock(&self.0);
        if let Some(frame) = queue.pop(usize::MAX) {
            return Poll::Ready(Ok(frame));
        }
        if queue.mode != Mode::Live {
            return Poll::Ready(Err(queue.mode));
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            unknown => *unknown = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Takes the oldest frame if there is one, and if it has at most `most` bytes.
    pub(super) fn pop(&self, most: usize) -> Option<Arc<Frame>> {
        lock(&self.0).pop(most)
    }

    /// Where the client will be when it has taken what is queued.
    pub(super) fn position(&self) -> EventId {
        lock(&self.0).position
    }

    /// Queues what a client that is behind gets next, until the queue is full. Says whether that was
    /// all of it. It takes a frame only to queue it, so what it leaves is not lost.
    pub(super) fn fill(
        &self,
        mut frames: impl Iterator<Item = Arc<Frame>>,
        counters: &Counters,
    ) -> bool {
        let queue = &mut *lock(&self.0);
        // It may have been ended since it found that it is behind.
        while queue.mode == Mode::Behind && !queue.is_full() {
            let Some(frame) = frames.next() else {
                return true;
            };
            if frame.event() == Event::Missed {
                count(&counters.gaps_told);
            }
            queue.push(frame);
            count(&counters.deliveries);
        }
        false
    }

    /// Notes that so many parts of the heartbeat's period have passed, and queues the heartbeat if
    /// nothing was queued in all of them, and nothing waits. Says whether it did.
    pub(super) fn beat(&self, passed: u32, heartbeat: &Arc<Frame>) -> bool {
        let queue = &mut *lock(&self.0);
        queue.quiet_beats = queue.quiet_beats.saturating_add(passed);
        let is_silent = queue.quiet_beats >= BEATS_PER_PERIOD && queue.frames.is_empty();
        let is_due = is_silent && queue.mode == Mode::Live;
        if is_due {
            queue.push(heartbeat.clone());
            queue.wake();
        }
        is_due
    }

    /// Changes the mode, after a `last` frame if there is one. A stream that has ended stays so.
    pub(super) fn enter(&self, mode: Mode, last: Option<Frame>) {
        let queue = &mut *lock(&self.0);
        if queue.mode == Mode::Ended {
            return;
        }
        last.into_iter().for_each(|last| queue.push(Arc::new(last)));
        // Only the task of a live client may be waiting.
        if mem::replace(&mut queue.mode, mode) == Mode::Live {
            queue.wake();
        }
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

    fn push(&mut self, frame: Arc<Frame>) {
        self.bytes += frame.bytes().len();
        self.position = frame.id().unwrap_or(self.position);
        self.quiet_beats = 0;
        self.frames.push_back(frame);
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

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
