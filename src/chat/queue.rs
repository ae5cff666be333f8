//! A client's queue: a bounded mpsc channel of shared frames, from the room to the client's body.
//!
//! A room with a thousand clients walks through a thousand of these for each message, so what
//! counts is how much memory one touches: a lock, a ring of pointers and a waker lie together in
//! some hundred bytes. Memory for frames is taken as they wait, and given back after a burst.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::frame::Frame;
use super::lock;

/// Frames that wait for one client at most. More than the posts that some dozens of posters can
/// have under way at once, so that a burst alone makes no healthy client catch up.
pub(crate) const CLIENT_QUEUE_FRAMES: usize = 128;
/// Frames that an empty queue keeps room for: no allocation where few wait, and few bytes.
const KEPT_FRAMES: usize = 4;

/// A new queue, empty.
pub(super) fn channel() -> (Sender, Receiver) {
    let queue = Arc::new(Mutex::new(Queue::default()));
    (Sender(queue.clone()), Receiver(queue))
}

/// The client's end of a queue to which nothing comes.
pub(super) fn ended() -> Receiver {
    channel().1
}

/// The room's end. When it is dropped, the client gets what is queued and then the end.
pub(super) struct Sender(Arc<Mutex<Queue>>);

/// The client's end.
pub(crate) struct Receiver(Arc<Mutex<Queue>>);

/// The queue holds as many frames as it may, or nobody takes them any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Full;

#[derive(Default)]
struct Queue {
    frames: VecDeque<Arc<Frame>>,
    /// Whom to wake: the task that found the queue empty last.
    waker: Option<Waker>,
    closed: bool,
}

impl Sender {
    /// Queues a frame, without waiting.
    pub(super) fn try_send(&self, frame: Arc<Frame>) -> Result<(), Full> {
        let queue = &mut *lock(&self.0);
        if queue.closed || queue.frames.len() >= CLIENT_QUEUE_FRAMES {
            return Err(Full);
        }
        queue.frames.push_back(frame);
        // Who leaves frames behind comes back for them without a wake.
        if queue.frames.len() == 1 {
            queue.wake();
        }
        Ok(())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let queue = &mut *lock(&self.0);
        queue.closed = true;
        queue.wake();
    }
}

impl Receiver {
    /// Takes the oldest frame; `None` when the room's end is gone and nothing is queued.
    pub(super) fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Option<Arc<Frame>>> {
        let queue = &mut *lock(&self.0);
        if let Some(frame) = queue.frames.pop_front() {
            if queue.frames.is_empty() && queue.frames.capacity() > KEPT_FRAMES {
                queue.frames.shrink_to(KEPT_FRAMES);
            }
            return Poll::Ready(Some(frame));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            unknown => *unknown = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let closed = Queue {
            closed: true,
            ..Queue::default()
        };
        // What was left is dropped behind the lock.
        let _left = mem::replace(&mut *lock(&self.0), closed);
    }
}

impl Queue {
    /// The waker stays: a task has one for life, and need not leave it again each time.
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Wakes>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        (wakes.clone(), wakes.into())
    }

    fn frame() -> Arc<Frame> {
        Arc::new(Frame::heartbeat(1))
    }

    fn take(receiver: &mut Receiver, waker: &Waker) -> Poll<Option<Arc<Frame>>> {
        receiver.poll_recv(&Context::from_waker(waker))
    }

    #[test]
    fn frames_come_in_order_and_one_wake_brings_all_that_wait() {
        let (sender, mut receiver) = channel();
        let (wakes, waker) = count();
        assert!(take(&mut receiver, &waker).is_pending());
        for _ in 0..3 {
            let sent: Vec<_> = (0..5).map(Frame::heartbeat).map(Arc::new).collect();
            let before = wakes.0.load(Ordering::Relaxed);
            for frame in &sent {
                sender.try_send(frame.clone()).expect("room for it");
                assert_eq!(wakes.0.load(Ordering::Relaxed), before + 1);
            }
            for frame in sent {
                let Poll::Ready(Some(taken)) = take(&mut receiver, &waker) else {
                    panic!("a frame is missing");
                };
                assert!(Arc::ptr_eq(&taken, &frame));
            }
            assert!(take(&mut receiver, &waker).is_pending());
        }
    }

    #[test]
    fn the_bound_holds_and_what_is_queued_outlives_the_sender() {
        let (sender, mut receiver) = channel();
        let (wakes, waker) = count();
        for _ in 0..CLIENT_QUEUE_FRAMES {
            assert_eq!(sender.try_send(frame()), Ok(()));
        }
        assert_eq!(sender.try_send(frame()), Err(Full));
        drop(sender);
        for _ in 0..CLIENT_QUEUE_FRAMES {
            assert!(matches!(take(&mut receiver, &waker), Poll::Ready(Some(_))));
        }
        assert!(matches!(take(&mut receiver, &waker), Poll::Ready(None)));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        let kept = lock(&receiver.0).frames.capacity();
        assert!(kept <= KEPT_FRAMES, "room for {kept} frames after a burst");
    }

    #[test]
    fn the_end_wakes_the_task_that_asked_last() {
        let (sender, mut receiver) = channel();
        let ((first_wakes, first), (wakes, waker)) = (count(), count());
        assert!(take(&mut receiver, &first).is_pending());
        assert!(take(&mut receiver, &waker).is_pending());
        drop(sender);
        assert_eq!(first_wakes.0.load(Ordering::Relaxed), 0);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(matches!(take(&mut receiver, &waker), Poll::Ready(None)));
    }

    #[test]
    fn nothing_is_kept_for_a_client_that_left() {
        let (sender, receiver) = channel();
        let frame = frame();
        sender.try_send(frame.clone()).expect("room for it");
        drop(receiver);
        assert_eq!(Arc::strong_count(&frame), 1);
        assert_eq!(sender.try_send(frame), Err(Full));
    }
}
