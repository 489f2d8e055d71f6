//! The runtime of a command: one thread.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use crate::proxy::SpoolThreads;

/// Runs the future to its end and leaves threads behind that are still blocked then: a file on a hanging network
/// filesystem, or a name server that does not answer, must not keep the process from stopping.
pub(super) fn block_on_and_detach<F: Future>(runtime: Runtime, future: F) -> F::Output {
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    output
}

/// Builds a runtime with one thread, and blocking threads for files, which come and go as they are needed.
///
/// One thread forwards some fifty thousand small requests a second, about a hundred times what Graph lets one phone
/// number send. A second thread would only add the cost of waking it.
pub(super) fn build_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(SpoolThreads::MAX + OTHER_BLOCKING_THREADS)
        .build()
}

/// Allows no core dumps of this process and of its children.
pub(super) fn forbid_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "cannot disable core dumps; a core dump would contain the token");
    }
}

/// The blocking threads for everything but the spool: a file on a network filesystem that hangs holds one of them.
const OTHER_BLOCKING_THREADS: usize = 56;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_that_is_blocked_is_not_waited_for() {
        let (release, blocked) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            block_on_and_detach(build_runtime().unwrap(), async move {
                drop(tokio::task::spawn_blocking(move || blocked.recv()));
                tokio::task::yield_now().await;
            });
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(60)).unwrap();
        drop(release);
    }
}
