//! The bodies of answers.

use std::convert::Infallible;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use super::limits::Permit;
use crate::rooms::frame::Frame as EventFrame;
use crate::rooms::stream::Stream;

/// Bytes up to which frames that wait together are joined: some thirty messages.
const BATCH_BYTES: usize = 8 * 1024;
/// Pieces of a whole body that hyper is given at once. Its list of them starts with room for this many, and
/// keeps the room that it once had as long as the connection lives.
const PIECES: usize = 4;

/// The body of an answer: whole, or an event stream.
///
/// Its pieces are shared with a history and the bodies of others. Only frames that wait together are
/// joined, since each piece that hyper is given costs more than its copy. hyper asks for no more while
/// 16 KiB wait to be written, so a client that does not read pins little.
///
/// A program's own answers can be of the same type: a body is made from bytes or text.
///
/// ```
/// use chatroom::{Body, Chat};
/// use hyper::service::Service;
/// use hyper::{Request, Response, body::Incoming};
/// use std::convert::Infallible;
///
/// async fn answer(chat: Chat, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
///     match request.uri().path() {
///         "/" => Ok(Response::new(Body::from("Come to /chat-room/!"))),
///         "/door" => {
///             let rung = chat.post("lobby", "door bell", "ring").await;
///             let mut response = Response::new(Body::from("The bell rings."));
///             if let Err(refusal) = rung {
///                 *response.status_mut() = refusal.status();
///                 *response.body_mut() = refusal.to_string().into();
///             }
///             Ok(response)
///         }
///         _ => chat.call(request).await,
///     }
/// }
/// ```
pub struct Body {
    content: Content,
    /// What the visitor holds until it has been sent.
    permit: Option<Permit>,
}

enum Content {
    Whole {
        /// Made as they are sent.
        pieces: Box<dyn Iterator<Item = Bytes> + Send + Sync>,
        /// Bytes that are not given yet.
        left: u64,
        /// Pieces given since hyper has last written.
        given: usize,
    },
    Stream(Stream),
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Body {
        Body::whole(bytes)
    }
}

impl Body {
    /// An empty body.
    pub(crate) fn empty() -> Body {
        Body::whole(Bytes::new())
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body::pieces(bytes.len(), iter::once(bytes))
    }

    /// A whole body of `bytes` bytes, in pieces which may be shared.
    pub(crate) fn pieces(
        bytes: usize,
        pieces: impl Iterator<Item = Bytes> + Send + Sync + 'static,
    ) -> Body {
        let content = Content::Whole {
            pieces: Box::new(pieces),
            left: bytes as u64,
            given: 0,
        };
        Body {
            content,
            permit: None,
        }
    }

    pub(crate) fn stream(stream: Stream) -> Body {
        Body {
            content: Content::Stream(stream),
            permit: None,
        }
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
        let piece = match &mut self.content {
            Content::Whole {
                pieces,
                left,
                given,
            } => {
                if *given == PIECES {
                    // hyper writes them, and asks for the next ones.
                    *given = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let piece = pieces.next();
                *left -= piece.as_ref().map_or(0, Bytes::len) as u64;
                *given += 1;
                piece
            }
            Content::Stream(stream) => {
                let bytes = |frame: Arc<EventFrame>| frame.bytes().clone();
                let first = ready!(stream.poll_next(cx)).map(bytes);
                together(first, |most| stream.next_queued(most).map(bytes))
            }
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
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

/// Joins frames that wait, up to a batch; `None` at the end. `next` is told how many bytes fit.
fn together(first: Option<Bytes>, mut next: impl FnMut(usize) -> Option<Bytes>) -> Option<Bytes> {
    let first = first?;
    let Some(second) = BATCH_BYTES.checked_sub(first.len()).and_then(&mut next) else {
        return Some(first);
    };
    let mut batch = [first, second].concat();
    while let Some(frame) = next(BATCH_BYTES - batch.len()) {
        batch.extend_from_slice(&frame);
    }
    Some(batch.into())
}
