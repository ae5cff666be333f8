//! What the first two steps explain, so that the others show only what is new.

use http_body_util::{BodyExt, Limited};
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::Value;

/// The longest text, in bytes.
const TEXT_BYTES: usize = 4096;

/// One event as it goes over the wire. JSON on one line has no line break in it, so no text can
/// end its event early.
pub(crate) fn event(id: Option<u64>, name: &str, data: &Value) -> Bytes {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("{id}event: {name}\ndata: {data}\n\n").into()
}

/// The body of a post: text, as long as it is not too long.
pub(crate) async fn text(body: Incoming) -> Option<String> {
    let body = Limited::new(body, TEXT_BYTES).collect().await.ok()?;
    String::from_utf8(body.to_bytes().into()).ok()
}

pub(crate) fn response<B>(
    status: u16,
    content_type: &str,
    body: B,
) -> hyper::http::Result<Response<B>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-cache")
        .body(body)
}
