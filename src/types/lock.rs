//! Locks that are taken even after a panic.
//!
//! # Why
//!
//! What a lock protects is whole after each statement, so the panic of one request is not one of all others. There is one
//! place that says so, and no `expect` at each of the others.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, even if a holder has panicked.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
