//! `graphward serve`: the sidecar.

use std::io;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tokio::sync::Notify;

use super::exit::{Exit, print_error};
use super::exposure::warn_of_exposure;
use crate::app::{self, Dependencies, MissingToken, ReloadTrigger, RunOutcome, ServiceManager, StartError};
use crate::config::{Config, LoadedConfig, Overrides, env_vars};
use crate::net::Tasks;
use crate::proxy::SpoolThreads;
use crate::telemetry::{LogOutput, install_logger};

/// The flags of `graphward serve`.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct ServeArgs {
    /// The flags that set configuration keys.
    #[command(flatten)]
    pub overrides: Overrides,
    /// Exit with code 4 if there is no valid token at startup, instead of waiting for one
    #[arg(long)]
    pub require_token: bool,
}

/// A sidecar that is ready to be started.
pub(super) struct PreparedSidecar {
    pub(super) config: Config,
    pub(super) deps: Dependencies,
    pub(super) missing_token: MissingToken,
    /// Requests a reload.
    pub(super) reload: Arc<Notify>,
}

/// Runs the sidecar: from parsed flags to a drained exit. [`app::run`] is the part behind a valid configuration.
pub(super) fn run(args: &ServeArgs) -> Exit {
    let prepared = load(args).and_then(|loaded| PreparedSidecar::new(args, loaded, LogOutput::Stdout));
    let PreparedSidecar {
        config,
        mut deps,
        missing_token,
        reload,
    } = match prepared {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    match ServiceManager::from_env() {
        Ok(service_manager) => deps.service_manager = service_manager,
        Err(error) => tracing::warn!(%error, "cannot reach the service manager: NOTIFY_SOCKET names no socket"),
    }
    set_limits();
    let reload = Some(reload).filter(|_| !app::has_terminal());
    let server = async {
        // Signals first: from here on only `app::run` ends the process.
        let stops = app::stop_signals(&Tasks::default(), reload)?;
        Ok(Box::pin(app::run(config, deps, missing_token, stops, drop)).await)
    };
    match build_runtime().and_then(|runtime| block_on_and_detach(runtime, server)) {
        Ok(outcome) => exit_of(outcome),
        Err(error) => print_error(&error, Exit::Failed),
    }
}

/// Loads the configuration, or prints what is wrong with it.
pub(super) fn load(args: &ServeArgs) -> Result<LoadedConfig, Exit> {
    Config::load(args.overrides.clone(), &env_vars()).map_err(|error| print_error(&error, Exit::Usage))
}

/// Returns the exit code of a sidecar that has ended, and prints why it did not start.
pub(super) fn exit_of(outcome: Result<RunOutcome, StartError>) -> Exit {
    match outcome {
        Ok(RunOutcome::Drained) => Exit::Success,
        Ok(RunOutcome::ForceClosed(_)) => Exit::Failed,
        Ok(RunOutcome::NoToken) => Exit::NoToken,
        Err(error @ StartError::Bind { .. }) => print_error(&error, Exit::CannotBind),
        Err(error) => print_error(&error, Exit::Usage),
    }
}

impl PreparedSidecar {
    /// Starts the log, and protects the memory of this process from others.
    pub(super) fn new(args: &ServeArgs, loaded: LoadedConfig, output: LogOutput) -> Result<Self, Exit> {
        let LoadedConfig {
            config, file, warnings, ..
        } = loaded;
        let mut deps = Dependencies::default();
        let log = install_logger(config.log.output, output, deps.metrics.dropped_log_lines());
        let log = log.map_err(|error| print_error(&error, Exit::Failed))?;
        forbid_attaching();
        let reload = Arc::new(Notify::new());
        deps.reload = Some(ReloadTrigger {
            requested: Arc::clone(&reload),
            overrides: Overrides {
                config: file.clone().or_else(|| args.overrides.config.clone()),
                ..args.overrides.clone()
            },
            log,
        });
        let file = file.as_deref().map(Path::display);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            file = file.map(tracing::field::display),
            "starting"
        );
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        warn_of_exposure(&config);
        let missing_token = if args.require_token {
            MissingToken::Exit
        } else {
            MissingToken::Wait
        };
        Ok(Self {
            config,
            deps,
            missing_token,
            reload,
        })
    }
}

/// Runs the future to its end and leaves threads behind that are still blocked then: a file on a hanging network
/// filesystem, or a name server that does not answer, must not keep the process from stopping.
pub(super) fn block_on_and_detach<F: Future>(runtime: tokio::runtime::Runtime, future: F) -> F::Output {
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    output
}

/// Builds a runtime with one thread, and blocking threads for files, which come and go as they are needed.
///
/// One thread forwards some fifty thousand small requests a second, about a hundred times what Graph lets one phone
/// number send. A second thread would only add the cost of waking it.
pub(super) fn build_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(SpoolThreads::MAX + OTHER_BLOCKING_THREADS)
        .build()
}

/// The blocking threads for everything but the spool: a file on a network filesystem that hangs holds one of them.
const OTHER_BLOCKING_THREADS: usize = 56;

/// Keeps other processes of the same user from attaching, and the memory, which has the tokens, out of core dumps. What this
/// process executes is not affected.
fn forbid_attaching() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "cannot disable core dumps; a core dump would contain the token");
    }
}

/// Allows no core dumps, and raises the soft limit of open files to the hard limit. A request in flight takes two or three
/// descriptors, and the usual soft limit of 1024 exists only for programs that use `select`. Child processes inherit both.
pub(super) fn set_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "cannot disable core dumps; a core dump would contain the token");
    }
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "cannot raise the open-file limit; keeping the current one");
    }
}

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
