//! The bounds of the rooms, each with its unit and reason.

use std::time::Duration;

use crate::names::RoomName;

/// Names in one event that carries a roster or its changes, at most. A crowd then costs each client
/// a few kilobytes instead of hundreds; the true count is always beside them.
pub(crate) const ROSTER_NAMES: usize = 500;

/// Changes of a roster that wait to be told, at most: two events full. Beyond this, one event that
/// replaces the roster costs less than the changes.
pub(crate) const PENDING_CHANGES: usize = 2 * ROSTER_NAMES;

/// How long a name stays reserved after its owner's last stream ended: long enough for a phone to
/// change networks, short enough for somebody else to get a name that was given up.
pub(crate) const NAME_GRACE: Duration = Duration::from_secs(10);

/// Frames in one client's queue, at most: more than some dozens of posters have in flight at once,
/// so that a burst alone makes no healthy client catch up.
pub(crate) const QUEUE_FRAMES: usize = 128;

/// Bytes of frames in one client's queue, at most. Frames are shared, but a client that does not
/// read keeps them alive after their rooms have evicted them. A single larger frame still passes.
pub(crate) const QUEUE_BYTES: usize = 32 * 1024;

/// Rooms of one stream, at most: catching up merges the histories of all of them.
pub(crate) const STREAM_ROOMS: usize = 32;

/// Parts of the clients that are given heartbeats one after the other, each once in their period, so
/// that they do not all wake at once.
pub(crate) const BEATS_PER_PERIOD: usize = 16;

/// What the owner of a chat decides. `usize::MAX` and `None` mean no limit.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Messages and removals retained per room.
    pub(crate) history: usize,
    /// Bytes of frames retained per room.
    pub(crate) history_bytes: usize,
    /// How long an entry is retained.
    pub(crate) history_age: Option<Duration>,
    /// Rooms in all, not counting the permanent ones.
    pub(crate) rooms: usize,
    /// Rooms that can always be opened: those offered, or the default room.
    pub(crate) permanent_rooms: Vec<RoomName>,
    /// How long a room with messages is kept while nobody is in it.
    pub(crate) room_ttl: Option<Duration>,
    /// How long a stream may be silent before it gets a heartbeat.
    pub(crate) heartbeat: Option<Duration>,
}
