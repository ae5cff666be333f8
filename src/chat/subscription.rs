//! The place that one client holds in a room: what it has not been given yet, in order.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use super::answers::{ClientId, Seat};
use super::frame::Frame;
use super::hub::Hub;
use super::id::EventId;
use super::members::Claim;
use super::queue::Receiver;
use super::room::Room;

/// A client's place in a room. It leaves the room when it is dropped.
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    room: Arc<Room>,
    /// In a box, because most streams of a large room are listeners and have none.
    claim: Option<Box<Claim>>,
    client: ClientId,
    /// What came before; gone once it is given, and its memory with it.
    backlog: Option<Box<vec::IntoIter<Arc<Frame>>>>,
    live: Receiver,
    /// The position that the client has reached.
    position: EventId,
}

impl Subscription {
    pub(crate) fn new(
        hub: Arc<Hub>,
        room: Arc<Room>,
        claim: Option<Claim>,
        seat: Seat,
    ) -> Subscription {
        let Seat {
            client,
            position,
            backlog,
            live,
        } = seat;
        Subscription {
            hub,
            room,
            claim: claim.map(Box::new),
            client,
            backlog: Some(Box::new(backlog.into_iter())),
            live,
            position,
        }
    }

    /// The next frame; `None` when the server is closing.
    ///
    /// Where the room had to let go of this client because its queue was full, it joins again
    /// here, in place, and nobody outside notices but for a new roster.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<Frame>>> {
        loop {
            if let Some(frame) = self.next_of_backlog() {
                return Poll::Ready(Some(self.reach(frame)));
            }
            match self.live.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(frame)) => return Poll::Ready(Some(self.reach(frame))),
                Poll::Ready(None) => match self.room.rejoin(self.client, self.position) {
                    Some(seat) => {
                        self.backlog = Some(Box::new(seat.backlog.into_iter()));
                        self.live = seat.live;
                        self.position = seat.position;
                    }
                    None => return Poll::Ready(None),
                },
            }
        }
    }

    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(crate) fn claim(&self) -> Option<&Claim> {
        self.claim.as_deref()
    }

    fn next_of_backlog(&mut self) -> Option<Arc<Frame>> {
        let frame = self.backlog.as_mut()?.next();
        if frame.is_none() {
            self.backlog = None;
        }
        frame
    }

    fn reach(&mut self, frame: Arc<Frame>) -> Arc<Frame> {
        self.position = frame.id().unwrap_or(self.position);
        frame
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.room.leave(self.client, self.claim.as_deref());
        self.hub.let_go_if_empty(&self.room);
    }
}
