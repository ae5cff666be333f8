use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::super::id::EventId;
use super::*;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Wakes>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn so_far(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn count() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (wakes.clone(), wakes.into())
}

fn frame(data: &str) -> Arc<Frame> {
    Arc::new(Frame::new(Some(EventId::ZERO), Event::Message, data))
}

fn live() -> Queue {
    let queue = Queue::new(EventId::ZERO);
    queue.enter(Mode::Live, Some(Frame::caught_up(EventId::ZERO)));
    assert!(queue.pop(usize::MAX).is_some());
    queue
}

fn take(queue: &Queue, waker: &Waker) -> Poll<Result<Arc<Frame>, Mode>> {
    queue.poll_next(&Context::from_waker(waker))
}

#[test]
fn frames_come_in_order_and_one_wake_brings_all_that_wait() {
    let queue = live();
    let (wakes, waker) = count();
    assert!(take(&queue, &waker).is_pending());
    for _ in 0..3 {
        let sent: Vec<_> = (0..5).map(|n| frame(&n.to_string())).collect();
        let before = wakes.so_far();
        for frame in &sent {
            assert!(queue.send(frame));
            assert_eq!(wakes.so_far(), before + 1);
        }
        for frame in sent {
            let Poll::Ready(Ok(taken)) = take(&queue, &waker) else {
                panic!("a frame is missing");
            };
            assert!(Arc::ptr_eq(&taken, &frame));
        }
        assert!(take(&queue, &waker).is_pending());
    }
}

#[test]
fn a_frame_that_is_larger_than_there_is_room_for_stays_in_its_place() {
    let queue = live();
    let (small, large) = (frame("{}"), frame(&"x".repeat(500)));
    for frame in [&small, &large, &small] {
        assert!(queue.send(frame));
    }
    let most = small.bytes().len();
    assert!(
        queue
            .pop(most)
            .is_some_and(|frame| Arc::ptr_eq(&frame, &small))
    );
    assert!(queue.pop(most).is_none());
    assert!(
        queue
            .pop(usize::MAX)
            .is_some_and(|frame| Arc::ptr_eq(&frame, &large))
    );
}

#[test]
fn a_full_queue_drops_what_follows_until_its_client_has_caught_up() {
    for (data, fits) in [
        ("{}".to_owned(), QUEUE_FRAMES),
        ("x".repeat(QUEUE_BYTES / 4), 3),
        ("x".repeat(QUEUE_BYTES * 2), 1),
    ] {
        let queue = live();
        let (wakes, waker) = count();
        let frame = frame(&data);
        for n in 0..fits {
            assert!(queue.send(&frame), "frame {n} of {}", data.len());
        }
        assert!(!queue.send(&frame));
        for _ in 0..fits {
            assert!(matches!(take(&queue, &waker), Poll::Ready(Ok(_))));
        }
        assert!(!queue.send(&frame), "there is room, but a gap");
        assert!(matches!(
            take(&queue, &waker),
            Poll::Ready(Err(Mode::Behind))
        ));
        assert_eq!(wakes.so_far(), 0);
        let kept = lock(&queue.0).frames.capacity();
        assert!(kept <= KEPT_FRAMES, "room for {kept} frames after a burst");
        queue.enter(Mode::Live, Some(Frame::caught_up(EventId::ZERO)));
        assert!(queue.pop(usize::MAX).is_some());
        assert!(queue.send(&frame));
    }
}

#[test]
fn catching_up_stops_at_a_full_queue_and_goes_on() {
    let queue = Queue::new(EventId::ZERO);
    let (_, waker) = count();
    let mut given = 0;
    let total = QUEUE_FRAMES * 2 + 1;
    let mut left = total;
    loop {
        let frames = std::iter::from_fn(|| {
            left = left.checked_sub(1)?;
            Some(frame("{}"))
        });
        let is_all = queue.fill(frames, &Counters::default());
        while let Poll::Ready(Ok(_)) = take(&queue, &waker) {
            given += 1;
        }
        if is_all {
            queue.enter(Mode::Live, Some(Frame::caught_up(EventId::ZERO)));
            assert!(queue.pop(usize::MAX).is_some());
            break;
        }
    }
    assert_eq!(given, total);
    assert!(take(&queue, &waker).is_pending());
}

#[test]
fn the_end_wakes_the_task_that_asked_last_and_is_final() {
    let queue = live();
    let ((first_wakes, first), (wakes, waker)) = (count(), count());
    assert!(take(&queue, &first).is_pending());
    assert!(take(&queue, &waker).is_pending());
    queue.enter(Mode::Ended, None);
    assert_eq!((first_wakes.so_far(), wakes.so_far()), (0, 1));
    assert!(matches!(
        take(&queue, &waker),
        Poll::Ready(Err(Mode::Ended))
    ));
    assert!(!queue.send(&frame("{}")));
}

/// As when a ban finds a client between its look at the queue and what it is given then.
#[test]
fn the_end_is_final_for_a_client_that_catches_up() {
    let queue = Queue::new(EventId::ZERO);
    let (_, waker) = count();
    assert!(matches!(
        take(&queue, &waker),
        Poll::Ready(Err(Mode::Behind))
    ));
    queue.enter(Mode::Ended, None);
    let frames = std::iter::repeat_with(|| frame("{}"));
    assert!(!queue.fill(frames, &Counters::default()));
    assert!(matches!(
        take(&queue, &waker),
        Poll::Ready(Err(Mode::Ended))
    ));
}

#[test]
fn a_heartbeat_comes_after_a_whole_period_of_silence_to_a_client_that_reads() {
    let queue = live();
    let heartbeat = frame("{}");
    assert!(!queue.beat(BEATS_PER_PERIOD - 1, &heartbeat));
    queue.send(&frame("{}"));
    assert!(queue.pop(usize::MAX).is_some());
    for _ in 0..2 {
        assert!(!queue.beat(BEATS_PER_PERIOD - 1, &heartbeat));
        assert!(queue.beat(1, &heartbeat));
        assert!(!queue.beat(BEATS_PER_PERIOD, &heartbeat), "one waits");
        assert!(queue.pop(usize::MAX).is_some());
        queue.send(&frame("{}"));
        assert!(queue.pop(usize::MAX).is_some());
    }
}
