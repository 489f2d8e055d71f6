//! `graphward serve`: the sidecar.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tokio::sync::Notify;

use super::banner::Banner;
use super::check::RunningComparison;
use super::exit::{Exit, print_error, print_message};
use super::exposure::warn_of_exposure;
use super::runtime::{block_on_and_detach, build_runtime, forbid_core_dumps};
use crate::app::{self, Dependencies, MissingToken, ReloadTrigger, RunOutcome, ServiceManager, StartError};
use crate::config::{Config, LoadedConfig, Overrides, env_vars, no_config_file};
use crate::net::Tasks;
use crate::telemetry::{LogOutput, install_logger};

/// The flags of `graphward serve`.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ServeArgs {
    /// The flags that set configuration keys.
    #[command(flatten)]
    pub(super) overrides: Overrides,
    /// Exit with code 4 if there is no valid token at startup, instead of waiting for one
    #[arg(long)]
    pub(super) require_token: bool,
}

/// A sidecar that is ready to be started.
pub(super) struct PreparedSidecar {
    pub(super) config: Config,
    pub(super) deps: Dependencies,
    pub(super) missing_token: MissingToken,
    /// Requests a reload.
    pub(super) reload: Arc<Notify>,
}

/// Runs the sidecar: from parsed flags to a drained exit. [`app::run`] is the part after a valid configuration.
pub(super) fn run(args: &ServeArgs) -> Exit {
    start(args).unwrap_or_else(|failed| failed)
}

fn start(args: &ServeArgs) -> Result<Exit, Exit> {
    let mut prepared = PreparedSidecar::new(args, load(args)?, LogOutput::Stdout)?;
    match ServiceManager::from_env() {
        Ok(service_manager) => prepared.deps.service_manager = service_manager,
        Err(error) => tracing::warn!(%error, "cannot reach the service manager: NOTIFY_SOCKET names no socket"),
    }
    set_limits();
    let reload = Some(prepared.reload).filter(|_| !app::has_terminal());
    let banner = Banner::new(&prepared.config, &args.overrides, LogOutput::Stdout);
    let server = async {
        let tasks = Tasks::default();
        // Signals first: from here on only `app::run` ends the process.
        let stops = app::stop_signals(&tasks, reload)?;
        let on_start = |handle| drop(banner.map(|banner| tasks.spawn(banner.print(handle))));
        let run = app::run(prepared.config, prepared.deps, prepared.missing_token, stops, on_start);
        Ok(Box::pin(run).await)
    };
    let ended = build_runtime().and_then(|runtime| block_on_and_detach(runtime, server));
    let outcome = ended.map_err(|error| print_error(&error, Exit::Failed))?;
    Ok(exit_of(outcome))
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
        Ok(RunOutcome::NoToken) => {
            print_message("there is no valid token (--require-token); the log says why");
            Exit::NoToken
        }
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
        let overrides = Overrides {
            config: file.clone().or_else(|| args.overrides.config.clone()),
            ..args.overrides.clone()
        };
        deps.reload = Some(ReloadTrigger {
            requested: Arc::clone(&reload),
            overrides: overrides.clone(),
            log,
        });
        deps.comparison = Some(Arc::new(RunningComparison(overrides)));
        if file.is_none() {
            tracing::info!("{}", no_config_file());
        }
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
    forbid_core_dumps();
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "cannot raise the open-file limit; keeping the current one");
    }
}
