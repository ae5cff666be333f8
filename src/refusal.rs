//! The reasons for which something is refused. There is one list for the whole chat, from the rooms
//! to the requests; how a refusal is rendered as an answer is the business of `http`.

use std::fmt;
use std::time::Duration;

use hyper::StatusCode;

use crate::names::RoomName;

/// Why something was refused. `Display` gives the code, and what to do, for a person.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let chat = chatroom::Chat::open(Default::default())?;
/// let refusal = chat.post("lobby", "ann", " ").await.expect_err("an empty text");
/// assert_eq!((refusal.status().as_u16(), refusal.code()), (400, "bad-text"));
/// assert_eq!(refusal.retry_after(), None);
/// assert_eq!(refusal.to_string(), "bad-text: Write something: the text is empty.");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// `bad-request`: a part of the request cannot be right; the text says which.
    BadRequest(&'static str),
    /// `bad-room`: this cannot be the name of a room.
    BadRoom,
    /// `bad-name`: this cannot be the name of a member.
    BadName,
    /// `bad-text`: the text is empty.
    EmptyText,
    /// `bad-text`: the text is not UTF-8.
    NotUtf8,
    /// `name-required`: a message needs a name.
    NameRequired,
    /// `password-required`: the chat asks for a password, and a right one is missing.
    PasswordRequired,
    /// `cross-origin`: a page of another origin may not do that.
    CrossOrigin,
    /// `unknown-host`: the server does not answer under this host name.
    UnknownHost,
    /// `room-not-offered`: the server offers other rooms.
    RoomNotOffered,
    /// `not-yours`: somebody else wrote the message.
    NotYours,
    /// `not-moderator`: only moderators may do that.
    NotModerator,
    /// `wrong-password`: this is not the moderators' password.
    WrongPassword,
    /// `wrong-code`: this code takes no session to another device.
    WrongCode,
    /// `user-required`: a proxy has to say who the sender is.
    UserRequired,
    /// `banned`: the author or address may not take part.
    #[non_exhaustive]
    Banned {
        /// How long the ban still lasts.
        retry_after: Duration,
    },
    /// `not-found`: there is nothing under this path, or no such ban.
    NotFound,
    /// `not-found`: the message does not exist, or has been evicted.
    NoSuchMessage,
    /// `method-not-allowed`: the path takes other methods.
    #[non_exhaustive]
    MethodNotAllowed {
        /// The methods that it takes, as the `Allow` header has them.
        allow: &'static str,
    },
    /// `not-acceptable`: the request does not accept an event stream.
    NotAcceptable,
    /// `timeout`: the request took too long to arrive.
    Timeout,
    /// `name-taken`: the name belongs to somebody else.
    #[non_exhaustive]
    NameTaken {
        /// The room in which it does.
        room: RoomName,
    },
    /// `key-reused`: the idempotency key was already used for a different message.
    KeyReused,
    /// `too-many-bans`: there is no place for another ban.
    TooManyBans,
    /// `removed`: the message was sent before, and has been removed.
    Removed,
    /// `too-large`: the text or the request is too long.
    TooLarge,
    /// `unsupported-media-type`: the body is of a type that is not taken there; the text names those
    /// that are.
    UnsupportedMediaType(&'static str),
    /// `too-many-messages`: the sender is faster than the message rate.
    #[non_exhaustive]
    TooManyMessages {
        /// How long until the next message is allowed.
        retry_after: Duration,
    },
    /// `too-many-streams`, as status 429: the address holds or opens too many.
    #[non_exhaustive]
    TooManyStreamsOfAddress {
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// `too-many-requests`: the address reads faster than it may.
    #[non_exhaustive]
    TooManyRequests {
        /// How long until it may read on.
        retry_after: Duration,
    },
    /// `too-many-attempts`: the address has sent too many wrong passwords.
    #[non_exhaustive]
    TooManyAttempts {
        /// How long until the next attempt is allowed.
        retry_after: Duration,
    },
    /// `too-many-streams`, as status 503: the server has as many as it may have.
    TooManyStreams,
    /// `too-many-rooms`: the server has as many as it may have.
    TooManyRooms,
    /// `draining`: the chat is shutting down.
    Draining,
    /// `storage-failed`: the store cannot write.
    StorageFailed,
    /// `storage-full`: the disk is full.
    StorageFull,
    /// `store-unreachable`: Redis does not answer.
    StoreUnreachable,
}

/// How long to wait before trying again what failed for lack of space: people leave, disks are
/// cleared.
pub(crate) const RETRY_SOON: Duration = Duration::from_secs(10);

impl Refusal {
    /// The code, as the answer to a request has it in `error`: `bad-name`, `name-taken` and so on. Codes
    /// stay when the crate grows.
    pub fn code(&self) -> &'static str {
        self.parts().1
    }

    /// The status of the answer to a request that is refused so.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.parts().0).expect("all of them are statuses")
    }

    /// The HTTP status, the code, and what to do, for a person.
    #[rustfmt::skip]
    pub(crate) fn parts(&self) -> (u16, &'static str, &'static str) {
        use Refusal as R;
        match self {
            R::BadRequest(advice) => (400, "bad-request", advice),
            R::BadRoom => (400, "bad-room", "A room's name is 1 to 64 visible characters without white space, of ASCII only letters, digits, '-', '_' and '.' (not first), percent-encoded as UTF-8."),
            R::BadName => (400, "bad-name", "A name is 1 to 32 visible characters, with single spaces between words and none around them: choose another."),
            R::EmptyText => (400, "bad-text", "Write something: the text is empty."),
            R::NotUtf8 => (400, "bad-text", "Send the text as UTF-8."),
            R::NameRequired => (400, "name-required", "Say who is speaking: give a name."),
            R::PasswordRequired => (401, "password-required", "This chat asks for a password. Reload the page and enter it with any user name; a program sends it by HTTP Basic."),
            R::CrossOrigin => (403, "cross-origin", "This page may not do that here: the server's owner can allow its origin."),
            R::UnknownHost => (403, "unknown-host", "The server does not answer under this host name: its owner can allow it."),
            R::RoomNotOffered => (403, "room-not-offered", "This server does not offer that room: see the list of rooms."),
            R::NotYours => (403, "not-yours", "Somebody else wrote that message: its author or a moderator can remove it."),
            R::NotModerator => (403, "not-moderator", "Only moderators may do that: log in as one."),
            R::WrongPassword => (403, "wrong-password", "That is not the moderators' password."),
            R::WrongCode => (403, "wrong-code", "That code was used, has ended, or never was: get a new one on the other device."),
            R::UserRequired => (403, "user-required", "Log in where this chat is reached: only those whom its proxy knows may come in."),
            R::Banned { .. } => (403, "banned", "You may read here, but not take part, until the time that Retry-After says."),
            R::NotFound => (404, "not-found", "There is nothing here: check the path."),
            R::NoSuchMessage => (404, "not-found", "That message does not exist, or is no longer retained."),
            R::MethodNotAllowed { .. } => (405, "method-not-allowed", "This path takes other methods: see the Allow header."),
            R::NotAcceptable => (406, "not-acceptable", "This is an event stream: accept text/event-stream, by that name to take part under a name."),
            R::Timeout => (408, "timeout", "The request took too long to arrive: send it again."),
            R::NameTaken { .. } => (409, "name-taken", "Somebody else uses that name here: choose another."),
            R::KeyReused => (409, "key-reused", "That Idempotency-Key was already used for a different message: use a new one."),
            R::TooManyBans => (409, "too-many-bans", "There are as many bans as the server keeps: lift one first."),
            R::Removed => (410, "removed", "That message was sent before, and has been removed."),
            R::TooLarge => (413, "too-large", "That is too long: send less at once."),
            R::UnsupportedMediaType(advice) => (415, "unsupported-media-type", advice),
            R::TooManyMessages { .. } => (429, "too-many-messages", "Too many messages: wait as long as Retry-After says."),
            R::TooManyStreamsOfAddress { .. } => (429, "too-many-streams", "Your address has too many requests, streams or answers open, or opens streams too fast: close some, or wait."),
            R::TooManyRequests { .. } => (429, "too-many-requests", "Your address reads too much: wait as long as Retry-After says."),
            R::TooManyAttempts { .. } => (429, "too-many-attempts", "Too many wrong passwords: wait as long as Retry-After says."),
            R::TooManyStreams => (503, "too-many-streams", "The server is full: try again soon."),
            R::TooManyRooms => (503, "too-many-rooms", "The server has as many rooms as it may: use an existing one."),
            R::Draining => (503, "draining", "The server is shutting down: try again soon."),
            R::StorageFailed => (503, "storage-failed", "The server cannot store messages: its owner has to check the disk."),
            R::StoreUnreachable => (503, "store-unreachable", "The server cannot reach its message store: try again soon."),
            R::StorageFull => (507, "storage-full", "The server's disk is full: try again later."),
        }
    }

    /// How long to wait before trying again, where that may help: the `Retry-After` of an answer, which
    /// has it in whole seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        use Refusal as R;
        match self {
            R::TooManyMessages { retry_after }
            | R::TooManyStreamsOfAddress { retry_after }
            | R::TooManyRequests { retry_after }
            | R::TooManyAttempts { retry_after }
            | R::Banned { retry_after } => Some(*retry_after),
            R::TooManyStreams
            | R::TooManyRooms
            | R::Draining
            | R::StoreUnreachable
            | R::StorageFull => Some(RETRY_SOON),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, code, advice) = self.parts();
        write!(f, "{code}: {advice}")
    }
}

impl std::error::Error for Refusal {}
