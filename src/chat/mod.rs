//! The chat itself: rooms, who is in them, what was said, and the frames that say it.
//!
//! This folder knows neither HTTP requests nor sockets nor files. Read it in this order: the
//! checked types ([`id`], [`names`]), what a room remembers ([`message`], [`frame`],
//! [`history`], [`members`]), its clients and the queue of each ([`clients`], [`queue`]), the room
//! that ties them together under one lock ([`room`]), the place that one client holds in it
//! ([`subscription`]), and the registry of rooms ([`hub`]).

pub(crate) mod clock;
pub(crate) mod id;
pub(crate) mod names;
mod unicode;

pub(crate) mod frame;
pub(crate) mod message;

pub(crate) mod answers;
pub(crate) mod author;
mod clients;
pub(crate) mod counters;
pub(crate) mod history;
pub(crate) mod members;
pub(crate) mod queue;
pub(crate) mod room;
pub(crate) mod subscription;

pub(crate) mod hub;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks even where a thread has panicked with the lock held: every change under our locks leaves
/// the state whole at each step, and one failed request must not close a room to everyone.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
