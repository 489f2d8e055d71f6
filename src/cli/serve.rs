//! `graphward serve`: the sidecar.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::exit::Exit;
use crate::app::{self, Dependencies, StartError};
use crate::config::{Config, LoadedConfig, Overrides, env_var};
use crate::net::Tasks;
use crate::telemetry::install_stdout_logger;

/// The flags of `serve`.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the app connects: IP:PORT or unix:/PATH; may be given several times [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Where operators connect: IP:PORT or unix:/PATH [default: 127.0.0.1:9080]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Graph's address
    #[arg(
        long,
        value_name = "URL",
        help = "Graph's address [default: https://graph.facebook.com]"
    )]
    pub origin: Option<String>,
    /// PEM certificates to trust besides the usual ones
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// The file that the token is in [default: /run/graphward/token]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
    /// The app's id, for renewals
    #[arg(long, value_name = "ID")]
    pub app_id: Option<String>,
    /// The file that the app's secret is in, for renewals and `appsecret_proof`
    #[arg(long, value_name = "FILE")]
    pub app_secret_file: Option<String>,
    /// The least important events to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Exit with 4 if there is no usable token at the start, instead of waiting for one
    #[arg(long)]
    pub require_token: bool,
}

impl ServeArgs {
    /// What they say about the configuration.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            listen: self.listen.clone(),
            admin: self.admin.clone(),
            origin: self.origin.clone(),
            ca_file: self.ca_file.clone(),
            token_file: self.token_file.clone(),
            app_id: self.app_id.clone(),
            app_secret_file: self.app_secret_file.clone(),
            log: self.log.clone(),
        }
    }
}

/// Runs the sidecar until it is asked to stop.
pub(super) fn run(args: ServeArgs) -> ExitCode {
    match Config::load(args.overrides(), &env_var) {
        Ok(loaded) => serve(&args, loaded).into(),
        Err(error) => print_error(&error, Exit::Usage).into(),
    }
}

/// Everything behind a valid configuration.
fn serve(args: &ServeArgs, loaded: LoadedConfig) -> Exit {
    if let Err(error) = install_stdout_logger(loaded.config.log.settings) {
        return print_error(&error, Exit::Failed);
    }
    disable_core_dumps();
    raise_nofile_limit();
    let file = loaded.file.as_deref().map(Path::display);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        file = file.map(tracing::field::display),
        "starting"
    );
    let ended =
        build_runtime().and_then(|runtime| block_on_and_detach(runtime, run_server(loaded.config, args.require_token)));
    match ended {
        Ok(exit) => exit,
        Err(error) => print_error(&error, Exit::Failed),
    }
}

/// Runs this to its end, and leaves behind what is still blocked then: a file on a network filesystem that hangs, or
/// a name server that is silent, must not keep the process from stopping.
fn block_on_and_detach<F: Future>(runtime: tokio::runtime::Runtime, future: F) -> F::Output {
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    output
}

async fn run_server(config: Config, require_token: bool) -> io::Result<Exit> {
    // Signals first: from here on nothing ends the process but the order of `Running::run`.
    let stop_signals = app::stop_signals(&Tasks::default())?;
    let running = match app::build(config, Dependencies::default(), require_token).await {
        Ok(running) => running,
        Err(error) => {
            let exit = match error {
                StartError::Bind { .. } => Exit::CannotBind,
                StartError::Tls(_)
                | StartError::ServerTls(_)
                | StartError::Origin(_)
                | StartError::Secret(_)
                | StartError::TokenProvider(_)
                | StartError::Webhook(_) => Exit::Usage,
            };
            return Ok(print_error(&error, exit));
        }
    };
    Ok(match running.run(stop_signals).await {
        app::RunOutcome::Drained => Exit::Success,
        app::RunOutcome::ForceClosed(_) => Exit::Failed,
        app::RunOutcome::NoToken => Exit::NoToken,
    })
}

/// One thread for everything but files, which may block.
///
/// A core moves some fifty thousand small requests a second through one thread, some hundred times what Graph
/// lets a number send; a second thread would only add the price of waking it.
pub(super) fn build_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
}

/// Tokens are in this process's memory: no core dump may hold them, and no other process of the same user may
/// attach to read them.
fn disable_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let result = set_dumpable_behavior(DumpableBehavior::NotDumpable).and_then(|()| setrlimit(Resource::Core, none));
    if let Err(error) = result {
        tracing::warn!(%error, "core dumps cannot be turned off; one would hold the token");
    }
}

/// A request under way takes two descriptors or three, and the usual soft limit, 1024, is there for programs that
/// cannot count further. Ours is the hard one.
fn raise_nofile_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Says what is wrong, with its causes, in one line.
pub(super) fn print_error(error: &dyn std::error::Error, exit: Exit) -> Exit {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let line = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    // If stderr is closed, the exit code still says it.
    drop(writeln!(io::stderr(), "graphward: {line}"));
    exit
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
        end.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(release);
    }
}
