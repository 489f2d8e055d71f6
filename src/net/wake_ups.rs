//! Futures that are polled only when they have been woken.
//!
//! # Why
//!
//! A task polls all that it waits for, whichever of it has woken the task. What guards a connection is ready once in its
//! life, and costs a fifth of the instructions that hyper takes for a request, if it is polled each time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The wake-ups of a future, whichever task polls it.
#[derive(Debug)]
pub struct WakeUps {
    has_come: AtomicBool,
    task: AtomicWaker,
}

/// Waits for a future, which is polled only when it has been woken.
pub(super) async fn when_woken<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let (wake_ups, waker) = WakeUps::new();
    poll_fn(|cx| {
        if wake_ups.take()
            && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return Poll::Ready(output);
        }
        if !wake_ups.forward_to(cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

// === impl WakeUps ===

impl WakeUps {
    /// Returns the wake-ups of a new future, of which one has come, and its waker.
    #[must_use]
    pub fn new() -> (Arc<Self>, Waker) {
        let wake_ups = Arc::new(Self {
            has_come: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        (Arc::clone(&wake_ups), Waker::from(wake_ups))
    }

    /// Whether one has come since the last call.
    pub fn take(&self) -> bool {
        self.has_come.swap(false, Ordering::AcqRel)
    }

    /// Wakes a task when the next one comes; `false` if one has come already.
    pub fn forward_to(&self, task: &Context<'_>) -> bool {
        let has_come = || self.has_come.load(Ordering::Acquire);
        if has_come() {
            return false;
        }
        self.task.register(task.waker());
        !has_come()
    }
}

impl Wake for WakeUps {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_come.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;
    use tokio::time::{Duration, sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_future_is_polled_at_first_and_then_only_when_it_has_been_woken() {
        let (notify, mut polls) = (Notify::new(), 0);
        let mut notified = pin!(notify.notified());
        let counted = poll_fn(|cx| {
            polls += 1;
            notified.as_mut().poll(cx)
        });
        let other = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(1)).await;
            }
            notify.notify_one();
        };
        // Both are polled at each wake-up of the task.
        let both = async { tokio::join!(when_woken(counted), other) };
        timeout(Duration::from_secs(60), both).await.unwrap();
        assert_eq!(polls, 2);
    }

    #[tokio::test]
    async fn a_future_that_wakes_itself_is_polled_again() {
        let mut polls = 0;
        let ended = poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
        });
        timeout(Duration::from_secs(60), when_woken(ended)).await.unwrap();
        assert_eq!(polls, 3);
    }
}
