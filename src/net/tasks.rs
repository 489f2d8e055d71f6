//! Tasks: the only caller of `tokio::spawn`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::Notify;

/// The tasks of a process. They are counted, so that a drain can wait for them, and so are their panics.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<TaskState>);

#[derive(Debug, Default)]
struct TaskState {
    running: AtomicUsize,
    panics: AtomicU64,
    all_done: Notify,
}

/// Decrements the count when a task ends, a panic or an abort included.
struct TaskGuard(Arc<TaskState>);

// === impl Tasks ===

impl Tasks {
    /// Spawns a task on the current tokio runtime.
    pub fn spawn<F>(&self, task: F) -> tokio::task::AbortHandle
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        let guard = TaskGuard(Arc::clone(&self.0));
        #[expect(clippy::disallowed_methods, reason = "all others call this")]
        // Not an async block, which would hold the task twice: as it was given, and as it is awaited.
        let handle = tokio::spawn(task.map(move |_output| drop(guard)));
        handle.abort_handle()
    }

    /// The number of panics so far.
    #[must_use]
    pub fn panic_count(&self) -> u64 {
        self.0.panics.load(Ordering::Relaxed)
    }

    /// Waits until all tasks have ended. Cancel-safe.
    pub async fn wait(&self) {
        loop {
            let all_done = self.0.all_done.notified();
            if self.0.running.load(Ordering::Acquire) == 0 {
                return;
            }
            all_done.await;
        }
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        drop(self.spawn(task));
    }
}

// === impl TaskGuard ===

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panics.fetch_add(1, Ordering::Relaxed);
        }
        if self.0.running.fetch_sub(1, Ordering::Release) == 1 {
            self.0.all_done.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_counted_and_joining_still_ends() {
        let tasks = Tasks::default();
        drop(tasks.spawn(async { panic!("on purpose") }));
        drop(tasks.spawn(tokio::task::yield_now()));
        tasks.wait().await;
        assert_eq!(tasks.panic_count(), 1);
    }
}
