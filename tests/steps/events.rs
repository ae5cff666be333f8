//! The body of a stream, as in step 1.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

/// Yields events as they are sent, and ends with the last sender.
pub(crate) struct Events {
    pub(crate) queue: mpsc::Receiver<Bytes>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = self.queue.poll_recv(cx);
        event.map(|event| Some(Ok(Frame::data(event?))))
    }
}
