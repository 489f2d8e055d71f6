//! A value whose changes can be awaited.
//!
//! # Why
//!
//! `tokio::sync::watch` does the same for thousands of waiters on many threads, and has nine queues of waiters for that. A tenant
//! has two such values and mostly one waiter, so ten thousand open tenants would keep 6 MiB of empty queues.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::types::lock;

/// A value whose changes can be awaited.
#[derive(Debug, Default)]
pub(super) struct Watched<T> {
    /// Never locked across an await.
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Watched<T> {
    /// Locks the value, to read it.
    pub(super) fn get(&self) -> MutexGuard<'_, T> {
        lock(&self.value)
    }

    /// Changes the value, and wakes all that wait.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.get());
        self.changed.notify_waiters();
        result
    }

    /// Changes the value, and wakes all that wait if `change` returns true.
    pub(super) fn change_if(&self, change: impl FnOnce(&mut T) -> bool) {
        let is_changed = change(&mut self.get());
        if is_changed {
            self.changed.notify_waiters();
        }
    }

    /// Completes at the next change after this call, even if it is polled later. Cancel-safe.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Returns what `find` finds in the value, now or after a change. Cancel-safe.
    pub(super) async fn wait_for<R>(&self, mut find: impl FnMut(&T) -> Option<R>) -> R {
        loop {
            let changed = self.changed();
            let found = find(&self.get());
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_change_between_the_look_and_the_wait_is_not_missed() {
        let value = Watched::<u32>::default();
        let changed = value.changed();
        value.change(|it| *it = 1);
        assert_eq!(changed.now_or_never(), Some(()));
        assert_eq!(value.changed().now_or_never(), None);
        let changed = value.changed();
        value.change_if(|it| *it == 2);
        assert_eq!(changed.now_or_never(), None);
    }

    #[tokio::test]
    async fn all_that_wait_get_the_value_that_they_wait_for() {
        let value = Watched::<u32>::default();
        let (value, waiters) = (&value, 1..=3);
        let waiters = waiters.map(|wanted| async move { value.wait_for(|it| (*it >= wanted).then_some(*it)).await });
        let changes = async {
            for next in 1..=3 {
                tokio::task::yield_now().await;
                value.change(|it| *it = next);
            }
        };
        let (seen, ()) = tokio::join!(join_all(waiters), changes);
        assert!(seen.iter().zip(1..).all(|(seen, wanted)| *seen >= wanted), "{seen:?}");
    }
}
