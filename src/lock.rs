//! Locking, for all.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex even after a thread panicked while holding it: every change under our locks leaves
/// valid state at each step, and one failed request must not close a room to everyone.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
