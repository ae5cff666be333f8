//! The bodies of answers.
//!
//! hyper copies a body into its write buffer, and keeps that buffer as large as it ever was for as
//! long as the client stays. So every body, whole or endless, is given in small pieces, with a pause
//! in which hyper writes them: no connection holds more than a batch, whatever it was sent before.

use std::convert::Infallible;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use super::gate::WriteGate;
use super::limits::Permit;
use crate::rooms::stream::Stream;

/// Bytes of a stream given before hyper writes: they fit into the 8 KiB that its buffer has from the
/// start, and a burst of about twenty messages still leaves in one write.
const STREAM_BATCH_BYTES: usize = 6 * 1024;
/// The same while a new stream begins, with its greeting and past messages. Fewer, since what was never
/// touched of that buffer takes no memory, and most streams then rest for long. Streams that resume
/// come in storms, in which each write counts.
const OPENING_BATCH_BYTES: usize = 2 * 1024;
/// Bytes of a whole answer given before hyper writes: few, for the same reason. A stream may follow on
/// the connection and last for days.
const WHOLE_BATCH_BYTES: usize = 1024;
/// Bytes of the first batch that are left to the head of the answer, which goes into the same buffer:
/// about what the longest has, that of the page.
const HEAD_BYTES: usize = 512;

/// The body of an answer: whole, or an event stream.
pub struct Body {
    content: Content,
    /// A piece, or what is left of one, that did not fit into its batch; in a box, since few bodies
    /// have one and every stream has room for it.
    rest: Option<Box<Bytes>>,
    /// Bytes given in this batch, and how many it may have.
    given: usize,
    batch: usize,
    /// Tells whether the socket takes bytes; an embedding server has none.
    gate: Option<WriteGate>,
    /// What the visitor holds open with it.
    permit: Option<Permit>,
}

enum Content {
    Whole {
        pieces: Box<Pieces>,
        /// Bytes that are not given yet.
        left: u64,
    },
    Stream(Stream),
}

/// The pieces of a whole body, made as they are sent: a list of them would be touched and freed among
/// the buffers of connections, which then take all their memory instead of what they touch.
pub(crate) type Pieces = dyn Iterator<Item = Bytes> + Send + Sync;

impl Body {
    /// An empty body.
    pub(crate) fn empty() -> Body {
        Body::whole(Bytes::new())
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body::pieces(bytes.len(), iter::once(bytes), None)
    }

    /// A whole body of so many bytes, in pieces which may be shared.
    pub(crate) fn pieces(
        bytes: usize,
        pieces: impl Iterator<Item = Bytes> + Send + Sync + 'static,
        permit: Option<Permit>,
    ) -> Body {
        let (left, pieces) = (bytes as u64, Box::new(pieces));
        Body::new(Content::Whole { pieces, left }, WHOLE_BATCH_BYTES, permit)
    }

    /// The body of a stream, which `resumes` an earlier one or is new.
    pub(crate) fn stream(stream: Stream, resumes: bool, permit: Permit) -> Body {
        let batch = match resumes {
            true => STREAM_BATCH_BYTES,
            false => OPENING_BATCH_BYTES,
        };
        Body::new(Content::Stream(stream), batch, Some(permit))
    }

    fn new(content: Content, batch: usize, permit: Option<Permit>) -> Body {
        Body {
            content,
            rest: None,
            given: HEAD_BYTES,
            batch,
            gate: None,
            permit,
        }
    }

    /// Makes the body wait while the socket is full, so that hyper holds no more than a batch.
    pub(crate) fn set_gate(&mut self, gate: Option<WriteGate>) {
        self.gate = gate;
    }

    /// The next piece, of whatever size.
    fn poll_piece(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.content {
            Content::Whole { pieces, .. } => Poll::Ready(pieces.find(|piece| !piece.is_empty())),
            Content::Stream(stream) => {
                let next = stream.poll_next(cx);
                if next.is_pending() {
                    self.given = 0;
                    self.batch = STREAM_BATCH_BYTES;
                }
                next.map(|frame| Some(frame?.bytes().clone()))
            }
        }
    }

    /// Ends a batch: hyper writes it, and asks for the next one.
    fn pause<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.given = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Keeps a permit until the body has been sent or dropped.
    pub(crate) fn hold(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.content, Content::Stream(_))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.gate.as_ref().is_some_and(|gate| !gate.admits()) {
            this.given = 0;
            return Poll::Pending;
        }
        if this.given >= this.batch {
            return this.pause(cx);
        }
        let mut piece = match this.rest.take() {
            Some(rest) => *rest,
            None => match ready!(this.poll_piece(cx)) {
                Some(piece) => piece,
                None => return Poll::Ready(None),
            },
        };
        let room = this.batch - this.given;
        if piece.len() > this.batch {
            this.rest = Some(Box::new(piece.split_off(room)));
        } else if piece.len() > room {
            // It fits into the next batch, in one piece: simple clients look for an event in one chunk.
            this.rest = Some(Box::new(piece));
            return this.pause(cx);
        }
        this.given += piece.len();
        if let Content::Whole { left, .. } = &mut this.content {
            *left -= piece.len() as u64;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self.content {
            Content::Whole { left, .. } => SizeHint::with_exact(left),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
