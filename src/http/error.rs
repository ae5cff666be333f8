//! Everything that a request can be refused for: its status, its code, and a sentence that says
//! what to do.

use std::time::Duration;

use hyper::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use super::body::{self, Body};
use crate::chat::hub::{CannotSubscribe, TooManyRooms};
use crate::chat::members::NoSpeaker;
use crate::chat::message::Quoted;
use crate::store::NotKept;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    BadRequest(&'static str),
    BadRoom,
    BadName,
    EmptyText,
    NotUtf8,
    NameRequired,
    PasswordRequired,
    CrossOrigin,
    UnknownHost,
    RoomNotOffered,
    NotFound,
    MethodNotAllowed { allow: &'static str },
    NotAcceptable,
    Timeout,
    NameTaken,
    KeyReused,
    TooLarge,
    UnsupportedMediaType,
    TooManyMessages { retry_after: Duration },
    TooManyStreamsOfAddress,
    TooManyAttempts { retry_after: Duration },
    TooManyStreams,
    TooManyRooms,
    Draining,
    StorageFailed,
    StorageFull,
}

/// When to try again what fails for want of room, in seconds: people leave, disks are cleared.
const RETRY_SOON: Duration = Duration::from_secs(10);

impl Refusal {
    /// The status and the code, as the contract of the interface lists them.
    pub(crate) fn status(self) -> (StatusCode, &'static str) {
        use Refusal as R;
        match self {
            R::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request"),
            R::BadRoom => (StatusCode::BAD_REQUEST, "bad-room"),
            R::BadName => (StatusCode::BAD_REQUEST, "bad-name"),
            R::EmptyText | R::NotUtf8 => (StatusCode::BAD_REQUEST, "bad-text"),
            R::NameRequired => (StatusCode::BAD_REQUEST, "name-required"),
            R::PasswordRequired => (StatusCode::UNAUTHORIZED, "password-required"),
            R::CrossOrigin => (StatusCode::FORBIDDEN, "cross-origin"),
            R::UnknownHost => (StatusCode::FORBIDDEN, "unknown-host"),
            R::RoomNotOffered => (StatusCode::FORBIDDEN, "room-not-offered"),
            R::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            R::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            R::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "not-acceptable"),
            R::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            R::NameTaken => (StatusCode::CONFLICT, "name-taken"),
            R::KeyReused => (StatusCode::CONFLICT, "key-reused"),
            R::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            R::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type")
            }
            R::TooManyMessages { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many-messages"),
            R::TooManyStreamsOfAddress => (StatusCode::TOO_MANY_REQUESTS, "too-many-streams"),
            R::TooManyAttempts { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many-attempts"),
            R::TooManyStreams => (StatusCode::SERVICE_UNAVAILABLE, "too-many-streams"),
            R::TooManyRooms => (StatusCode::SERVICE_UNAVAILABLE, "too-many-rooms"),
            R::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            R::StorageFailed => (StatusCode::SERVICE_UNAVAILABLE, "storage-failed"),
            R::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "storage-full"),
        }
    }

    /// What to do, for a person.
    pub(crate) fn advice(self) -> &'static str {
        use Refusal as R;
        match self {
            R::BadRequest(advice) => advice,
            R::BadRoom => {
                "A room's name is 1 to 64 letters, digits, '-', '_' or '.' (not first), percent-encoded as UTF-8."
            }
            R::BadName => {
                "A name is 1 to 32 visible characters without white space around it; choose another."
            }
            R::EmptyText => "Write something: the text is empty.",
            R::NotUtf8 => "Send the text as UTF-8.",
            R::NameRequired => "Say who is speaking: give a name.",
            R::PasswordRequired => {
                "This server asks for a password: send it by HTTP Basic, with any user name."
            }
            R::CrossOrigin => {
                "This page may not do that here: the server's owner can allow its origin."
            }
            R::UnknownHost => {
                "The server does not answer under this host name: its owner can allow it."
            }
            R::RoomNotOffered => "This server does not offer that room: see the list of rooms.",
            R::NotFound => "There is nothing here: check the path.",
            R::MethodNotAllowed { .. } => "This path takes other methods: see the Allow header.",
            R::NotAcceptable => "This is an event stream: accept text/event-stream.",
            R::Timeout => "The request took too long to arrive: send it again.",
            R::NameTaken => "Somebody else uses that name here: choose another.",
            R::KeyReused => "That Idempotency-Key stands on another message: use a new one.",
            R::TooLarge => "That is too long: send less at once.",
            R::UnsupportedMediaType => "Send application/json or text/plain, in UTF-8.",
            R::TooManyMessages { .. } => "That is a lot at once: wait as long as Retry-After says.",
            R::TooManyStreamsOfAddress => "Your address has too many streams open: close some.",
            R::TooManyAttempts { .. } => {
                "Too many wrong passwords: wait as long as Retry-After says."
            }
            R::TooManyStreams => "The server is full: try again soon.",
            R::TooManyRooms => "The server holds no more rooms: use one that is there.",
            R::Draining => "The server is shutting down: try again soon.",
            R::StorageFailed => {
                "The server cannot keep messages: its owner has to look after the disk."
            }
            R::StorageFull => "The server's disk is full: try again later.",
        }
    }

    /// The answer.
    pub(crate) fn response(self) -> Response<Body> {
        let (status, code) = self.status();
        let json = format!(
            r#"{{"error":"{code}","message":{}}}"#,
            Quoted(self.advice())
        );
        let mut response = body::json(status, json);
        let headers = response.headers_mut();
        match self {
            Refusal::MethodNotAllowed { allow } => {
                drop(headers.insert(ALLOW, HeaderValue::from_static(allow)))
            }
            Refusal::PasswordRequired => {
                let challenge =
                    HeaderValue::from_static("Basic realm=\"chatroom\", charset=\"UTF-8\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            // What is left of the body would be taken for the next request.
            Refusal::TooLarge | Refusal::Timeout => {
                drop(headers.insert(CONNECTION, HeaderValue::from_static("close")))
            }
            _ => {}
        }
        if let Some(wait) = self.retry_after() {
            // Whole seconds, rounded up: who waits that long is let in.
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            headers.insert(
                RETRY_AFTER,
                HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
            );
        }
        response
    }

    fn retry_after(self) -> Option<Duration> {
        match self {
            Refusal::TooManyMessages { retry_after } | Refusal::TooManyAttempts { retry_after } => {
                Some(retry_after)
            }
            Refusal::TooManyStreamsOfAddress
            | Refusal::TooManyStreams
            | Refusal::TooManyRooms
            | Refusal::Draining
            | Refusal::StorageFull => Some(RETRY_SOON),
            _ => None,
        }
    }
}

impl From<TooManyRooms> for Refusal {
    fn from(TooManyRooms: TooManyRooms) -> Refusal {
        Refusal::TooManyRooms
    }
}

impl From<CannotSubscribe> for Refusal {
    fn from(refused: CannotSubscribe) -> Refusal {
        match refused {
            CannotSubscribe::TooManyRooms => Refusal::TooManyRooms,
            CannotSubscribe::NameTaken => Refusal::NameTaken,
            CannotSubscribe::Closing => Refusal::Draining,
        }
    }
}

impl From<NoSpeaker> for Refusal {
    fn from(refused: NoSpeaker) -> Refusal {
        match refused {
            NoSpeaker::NameTaken => Refusal::NameTaken,
            NoSpeaker::NameRequired => Refusal::NameRequired,
        }
    }
}

impl From<NotKept> for Refusal {
    fn from(refused: NotKept) -> Refusal {
        match refused {
            NotKept::KeyReused => Refusal::KeyReused,
            NotKept::StorageFull => Refusal::StorageFull,
            NotKept::StorageFailed => Refusal::StorageFailed,
            NotKept::Closing => Refusal::Draining,
        }
    }
}
