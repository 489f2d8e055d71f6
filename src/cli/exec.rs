//! `graphward exec`: runs a command with a sidecar beside it.
//!
//! # Why
//!
//! graphward is the parent. As a child, or in the background of a shell script, it would need a supervisor of its own: for the
//! order of the starts, for signals, and for the exit code.
//!
//! Apps with a configurable base URL get it from a variable, others by `HTTPS_PROXY`, which most HTTP libraries honor. That
//! one applies to all hosts that the app calls, so tunnels to other hosts are passed through unread, as long as only this
//! machine can reach the listener.
//!
//! The child stays in the process group, so that a terminal delivers Ctrl-C and Ctrl-Z to both. What the terminal sent is not
//! forwarded: many programs take a second Ctrl-C for an order to stop at once. The kernel says of each signal who sent it, so
//! that one that a process sent with `kill`, to graphward alone, reaches the child in a terminal, too. A process group of its
//! own was rejected: the child could not read from the terminal.

mod environment;
mod unused_hint;

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitCode, ExitStatus};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};

use self::environment::{ChildEnvironment, SidecarUrls, UrlVariable};
use self::unused_hint::UnusedHint;
use super::banner::Banner;
use super::ca::{CERT_FILE, CaError, KEY_FILE, write_certificate};
use super::exit::{Exit, print_error};
use super::exposure::is_exposed;
use super::runtime::{block_on_and_detach, build_runtime};
use super::serve::{PreparedSidecar, ServeArgs, exit_of, load, set_limits};
use crate::app::{self, ReceivedSignal, RunOutcome, ServerHandle, StartError, StopSignal};
use crate::config::{LoadedConfig, Provenance};
use crate::net::{ListenAddr, Stage, TlsFiles, TunnelScope};
use crate::os::watch::read_text;
use crate::telemetry::LogOutput;
use crate::types::{Clock, shown_path};

/// The arguments of `graphward exec`.
#[derive(Args, Clone, Debug)]
pub(super) struct ExecArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Also set this variable to the base URL, followed by a path if there is one; repeatable
    #[arg(long, value_name = "NAME[=/PATH]")]
    url_env: Vec<UrlVariable>,
    /// Pass this variable to the command although it holds a secret of the configuration; repeatable
    #[arg(long, value_name = "NAME")]
    keep_env: Vec<OsString>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The reason why the command was not run.
#[derive(Debug, thiserror::Error)]
enum ExecError {
    #[error("cannot write the certificate of this run; set TMPDIR to a writable directory")]
    Files(#[source] io::Error),
    #[error("cannot read `{0}` of listen.tls")]
    ListenTls(String, #[source] io::Error),
    #[error(transparent)]
    Certificate(#[from] CaError),
    #[error("cannot run `{0}`")]
    Spawn(String, #[source] io::Error),
    #[error("cannot install a signal handler, or cannot wait for the command")]
    Process(#[from] io::Error),
}

/// Which of the two ended first.
enum Ended {
    /// The command, after which the sidecar was stopped.
    Command(ExitStatus),
    /// The sidecar; the command did not start, or was killed.
    Sidecar(Result<RunOutcome, StartError>),
}

/// The validity of a certificate that is made for one run, in days: the most that all clients accept.
const CERTIFICATE_DAYS: u32 = 825;
/// The exit codes of `env`, `timeout` and shells for a command that cannot be executed, and for one that does not exist.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// What shells add to the number of the signal that ended a command.
const SIGNALED: i32 = 128;

/// Runs the command and returns its exit code.
pub(super) fn run(args: &ExecArgs) -> ExitCode {
    start(args).unwrap_or_else(|failed| failed)
}

fn start(args: &ExecArgs) -> Result<ExitCode, ExitCode> {
    let mut loaded = load(&args.serve)?;
    let dir = tempfile::Builder::new().prefix("graphward-exec-").tempdir();
    let dir = dir.map_err(ExecError::Files)?;
    let own = prepare_listener(&mut loaded, dir.path())?;
    let mut environment = ChildEnvironment::new(&args.url_env, &args.keep_env, &loaded.config.secret_vars);
    environment.trust(&own, dir.path()).map_err(ExecError::Files)?;
    let prepared = PreparedSidecar::new(&args.serve, loaded, LogOutput::Stderr)?;
    let banner = Banner::new(&prepared.config, &args.serve.overrides, LogOutput::Stderr);
    let runtime = build_runtime().map_err(ExecError::Process)?;
    let ended = block_on_and_detach(runtime, run_both(prepared, &args.command, environment, banner))?;
    Ok(match ended {
        Ended::Command(status) => exit_code(status),
        Ended::Sidecar(outcome) => exit_of(outcome).into(),
    })
}

/// Lets the sidecar listen for the command: on a free port if none is configured, and with a certificate of this run. Returns the
/// certificates of the sidecar.
fn prepare_listener(loaded: &mut LoadedConfig, dir: &Path) -> Result<String, ExecError> {
    let settings = &loaded.settings;
    let is_set = |key: &str| {
        settings
            .iter()
            .any(|setting| setting.key == key && setting.provenance != Provenance::Default)
    };
    let listen = &mut loaded.config.listen;
    let free_port = ListenAddr::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    if !is_set("listen.admin") {
        listen.admin = free_port.clone();
    }
    if !is_set("listen.proxy") {
        listen.proxy.clear();
    }
    // A proxy variable cannot name a Unix socket.
    if !listen.proxy.iter().any(|address| matches!(address, ListenAddr::Tcp(_))) {
        listen.proxy.push(free_port);
    }
    let tls = match &listen.tls {
        Some(tls) => tls,
        None => {
            write_certificate(dir, &[], CERTIFICATE_DAYS, &Clock::system())?;
            let [cert, key] = [CERT_FILE, KEY_FILE].map(|file| dir.join(file));
            listen.tls.insert(TlsFiles { cert, key })
        }
    };
    // That of this run stands there with its CA, and one of the operator's with those that issued it.
    let certificates = read_text(&tls.cert).map_err(|source| ExecError::ListenTls(shown_path(&tls.cert), source))?;
    let own = loaded.config.tenants.values().flat_map(|tenant| &tenant.listen);
    if !listen.proxy.iter().chain(own).any(is_exposed) {
        listen.tunnel_scope = TunnelScope::AnyHost;
    }
    Ok(certificates)
}

/// Runs the sidecar, and the command once requests are served. A terminal shows the addresses before.
async fn run_both(
    prepared: PreparedSidecar,
    command: &[OsString],
    environment: ChildEnvironment,
    banner: Option<Banner>,
) -> Result<Ended, ExecError> {
    let mut signals = app::received_signals()?;
    let (stop, stops) = mpsc::channel(2);
    let (start, started) = oneshot::channel();
    let on_start = |handle| drop(start.send(handle));
    let hint = UnusedHint::new(prepared.deps.metrics.clone());
    let admin = prepared.config.listen.admin.clone();
    let run = app::run(prepared.config, prepared.deps, prepared.missing_token, stops, on_start);
    let mut sidecar = Box::pin(run);
    let is_serving = async {
        let handle: ServerHandle = started.await.ok()?;
        handle.lifecycle.wait_for(Stage::Serving).await;
        // Without a token it may have stopped instead.
        let is_serving = handle.lifecycle.current() == Stage::Serving;
        let proxy = handle.proxy.first().copied().filter(|_| is_serving)?;
        let urls = SidecarUrls {
            proxy: ListenAddr::Tcp(proxy).local_url(),
            admin: handle.admin.map_or(admin, ListenAddr::Tcp).local_url(),
        };
        if let Some(banner) = banner {
            banner.print(handle).await;
        }
        Some(urls)
    };
    let urls = tokio::select! {
        outcome = &mut sidecar => return Ok(Ended::Sidecar(outcome)),
        urls = is_serving => urls,
        Some(_signal) = signals.recv() => None,
    };
    // The channel has room for two, and the sidecar has ended if it is closed.
    let stop = || stop.try_send(StopSignal::CommandEnded).unwrap_or_default();
    let Some(urls) = urls else {
        stop();
        return Ok(Ended::Sidecar(sidecar.await));
    };
    let child = spawn(command, environment, &urls);
    // After the command has started: it must not inherit the limits.
    set_limits();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            stop();
            drop(sidecar.await);
            return Err(error);
        }
    };
    let mut late_hint = pin!(hint.give_late());
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            never = &mut late_hint => match never {},
            outcome = &mut sidecar => return Ok(Ended::Sidecar(outcome)),
            Some(received) = signals.recv() => {
                if received.signal == Signal::HUP {
                    prepared.reload.notify_one();
                }
                forward(received, &child);
            }
        }
    };
    tracing::info!(%status, "the command ended");
    stop();
    tokio::select! {
        outcome = &mut sidecar => drop(outcome),
        // The processes that the command left behind may still have requests in flight.
        Some(_signal) = signals.recv() => {
            stop();
            drop(sidecar.await);
        }
    }
    // All of its requests have ended, and are counted.
    hint.give("while the command ran");
    Ok(Ended::Command(status))
}

/// Starts the command. If this process panics, the command is killed.
fn spawn(command: &[OsString], environment: ChildEnvironment, urls: &SidecarUrls) -> Result<Child, ExecError> {
    let program = command.first().map_or_else(|| OsStr::new(""), OsString::as_os_str);
    let arguments = command.iter().skip(1);
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).kill_on_drop(true);
    environment.apply(&mut command, urls);
    let child = command.spawn();
    let program = shown_path(Path::new(program));
    let child = child.map_err(|source| ExecError::Spawn(program.clone(), source))?;
    let SidecarUrls { proxy, admin } = urls;
    tracing::info!(%program, pid = child.id(), url = %proxy, admin = %admin, "the command started");
    Ok(child)
}

/// Sends a signal to the command, unless the terminal has done so. SIGHUP of a terminal that closes is for its first process only.
fn forward(received: ReceivedSignal, child: &Child) {
    let signal = received.signal;
    if received.is_from_terminal && signal != Signal::HUP {
        return;
    }
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(id) = id.and_then(Pid::from_raw)
        && let Err(error) = kill_process(id, signal)
    {
        tracing::warn!(?signal, %error, "cannot forward the signal to the command");
    }
}

/// Returns the exit code that shells report for a status.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(SIGNALED + status.signal()?));
    let code = code.and_then(|code| u8::try_from(code).ok());
    code.map_or_else(|| Exit::Failed.into(), ExitCode::from)
}

// === impl ExecError ===

impl From<ExecError> for ExitCode {
    /// Prints the error.
    fn from(error: ExecError) -> Self {
        print_error(&error, Exit::Failed);
        match error {
            ExecError::Spawn(_, source) if source.kind() == io::ErrorKind::NotFound => NOT_FOUND.into(),
            ExecError::Spawn(..) => NOT_EXECUTABLE.into(),
            ExecError::ListenTls(..) => Exit::Usage.into(),
            ExecError::Files(_) | ExecError::Certificate(_) | ExecError::Process(_) => Exit::Failed.into(),
        }
    }
}
