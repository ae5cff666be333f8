//! The bounds of the rooms, each with its unit and reason.

use std::time::Duration;

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

/// Parts of a heartbeat's period in which silence is counted: a heartbeat is late by one at most.
pub(crate) const BEATS_PER_PERIOD: u32 = 8;
