//! The tasks of a test: all are joined at its end, and a panic in one fails it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::lock;

/// The tasks of a test.
#[derive(Clone, Default)]
pub(crate) struct TestTasks(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl TestTasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is how tests know of every task of theirs"
        )]
        lock(&self.0).push(tokio::spawn(task));
    }

    /// Waits for all of them. One that does not end is a leak in what it was connected to.
    pub(crate) async fn join(&self) {
        loop {
            let Some(task) = lock(&self.0).pop() else {
                return;
            };
            match tokio::time::timeout(Duration::from_secs(600), task).await {
                Err(_elapsed) => panic!("a task outlived the proxy"),
                Ok(Err(error)) if error.is_panic() => {
                    std::panic::resume_unwind(error.into_panic());
                }
                Ok(Ok(()) | Err(_)) => {}
            }
        }
    }
}

impl<F> hyper::rt::Executor<F> for TestTasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(async move {
            let _output = task.await;
        });
    }
}
