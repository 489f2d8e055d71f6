//! Commands of the operator that are run for their output, with limits of time and size.
//!
//! # Why
//!
//! There is no shell, so nothing has to be quoted. The environment is not inherited, because graphward's may contain tokens.
//! A command is a process group of its own, so the processes that it started are killed with it, whether it ends, times out
//! or is abandoned. The exit of the command counts, not the end of its pipes, which a background process may hold open
//! forever. The group leader is killed before it is reaped, so its PID cannot be reused in between. Processes that leave
//! the group (`setsid`) are not followed.
//!
//! This is kept by hand over tokio's `Command`: it kills only the child itself, reaps it before its group can be killed, and
//! sets no limit to its output. Crates for process groups do not reap orphans when graphward is PID 1 of a container.

mod stderr;

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpgid};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::timeout;
use zeroize::Zeroizing;

use stderr::StderrTail;

/// A command that is run repeatedly, one run at a time.
#[derive(derive_more::Debug)]
#[debug("ExternalCommand({}, {timeout:?})", self.program())]
pub struct ExternalCommand {
    argv: Vec<String>,
    keep_env: Vec<String>,
    timeout: Duration,
    /// Process groups with unreaped processes: they become children of graphward if it is PID 1 of a container.
    orphan_groups: Vec<Pid>,
}

/// The reason why a command failed. No variant repeats its arguments, its input or its stdout.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program, or the interpreter of a script, does not exist.
    #[error("program not found, or the interpreter in its #! line not found")]
    NotFound(#[source] io::Error),
    /// The file exists but cannot be executed.
    #[error("permission denied: the file is not executable")]
    NotExecutable(#[source] io::Error),
    /// The system failed to start it, or to wait for it.
    #[error("the command cannot be started")]
    Io(#[source] io::Error),
    /// It exited with a failure.
    #[error("the command failed with {status}{stderr}")]
    Failed {
        /// Its exit status.
        status: ExitStatus,
        /// The last line of its stderr, after a colon, shortened, with possible secrets redacted.
        stderr: String,
    },
    /// It ran longer than its time limit and was killed.
    #[error("the command timed out after {0:?} and was killed")]
    TimedOut(Duration),
    /// It wrote more than [`MAX_STDOUT_BYTES`] to stdout, or more than [`MAX_STDERR_BYTES`] to stderr, and was killed.
    #[error("the command wrote more than 64 KiB to stdout or 1 MiB to stderr and was killed")]
    OutputTooLarge,
}

/// The limit of stdout, in bytes.
pub const MAX_STDOUT_BYTES: usize = 64 * 1024;
/// The limit of stderr, in bytes.
pub const MAX_STDERR_BYTES: usize = 1024 * 1024;

/// The environment variables that every command inherits.
const INHERITED_ENV: [&str; 4] = ["HOME", "LANG", "PATH", "TZ"];
/// The prefix of variables that no command inherits, because they may contain secrets.
const RESERVED_ENV_PREFIX: &str = "GRAPHWARD_";
/// The limit for reading the pipes after the process group has been killed.
const PIPE_DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

/// A running command. Dropping it kills its process group.
struct RunningCommand<'a> {
    child: Child,
    process_group: Pid,
    sigchld: unix::Signal,
    killed: bool,
    orphan_groups: &'a mut Vec<Pid>,
}

// === impl ExternalCommand ===

impl ExternalCommand {
    /// A program and its arguments, which are passed unchanged.
    ///
    /// It inherits the variables `HOME`, `LANG`, `PATH` and `TZ`, and those named in `keep_env`; never one whose name begins
    /// with `GRAPHWARD_`. It is killed after `timeout`.
    #[must_use]
    pub const fn new(argv: Vec<String>, keep_env: Vec<String>, timeout: Duration) -> Self {
        Self {
            argv,
            keep_env,
            timeout,
            orphan_groups: Vec::new(),
        }
    }

    /// The program without its arguments, which may contain secrets. A program that is a whole command line, or a
    /// variable with its value, ends at the first space or `=`.
    #[must_use]
    pub fn program(&self) -> &str {
        let end = |letter: char| letter.is_whitespace() || letter == '=';
        let program = self.argv.first().map_or("", String::as_str);
        program.split(end).next().unwrap_or_default()
    }

    /// Sets the program and the arguments of the next run.
    pub fn set_argv(&mut self, argv: Vec<String>) {
        self.argv = argv;
    }

    /// Runs it with additional variables and with `input` on stdin; returns its stdout.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; its process group has been killed then.
    pub async fn run(&mut self, input: &[u8], env: &[(&str, &str)]) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        reap_orphans(&mut self.orphan_groups);
        let limit = self.timeout;
        let running = self.spawn(input, env)?;
        timeout(limit, running.wait_with_output(input))
            .await
            .unwrap_or(Err(CommandError::TimedOut(limit)))
    }

    fn spawn(&mut self, input: &[u8], env: &[(&str, &str)]) -> Result<RunningCommand<'_>, CommandError> {
        // Before the spawn, so that an immediate exit is noticed.
        let sigchld = unix::signal(SignalKind::child()).map_err(CommandError::Io)?;
        // Passed on, not read.
        let inherited_env = self.inherited_env_names();
        let inherited_env = inherited_env.filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut command = tokio::process::Command::new(self.argv.first().map_or("", String::as_str));
        command
            .args(self.argv.iter().skip(1))
            .env_clear()
            .envs(inherited_env)
            .envs(env.iter().copied())
            .stdin(if input.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = command.spawn().map_err(CommandError::from_spawn)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let group = group.and_then(Pid::from_raw);
        let group = group.ok_or_else(|| CommandError::Io(io::ErrorKind::NotFound.into()))?;
        Ok(RunningCommand {
            child,
            process_group: group,
            sigchld,
            killed: false,
            orphan_groups: &mut self.orphan_groups,
        })
    }

    fn inherited_env_names(&self) -> impl Iterator<Item = &str> {
        let requested = self.keep_env.iter().map(String::as_str);
        INHERITED_ENV
            .into_iter()
            .chain(requested.filter(|name| !name.starts_with(RESERVED_ENV_PREFIX)))
    }
}

// === impl RunningCommand ===

impl RunningCommand<'_> {
    async fn wait_with_output(mut self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        // The full capacity at once: growing would leave unwiped copies behind.
        let mut output = Zeroizing::new(Vec::with_capacity(MAX_STDOUT_BYTES + 64));
        let mut stderr_tail = StderrTail::default();
        let stdin = self.child.stdin.take();
        let (Some(stdout), Some(stderr)) = (self.child.stdout.take(), self.child.stderr.take()) else {
            return Err(CommandError::Io(io::ErrorKind::BrokenPipe.into()));
        };
        let status = {
            let mut pipe_io = std::pin::pin!(async {
                tokio::try_join!(
                    write_stdin(stdin, input),
                    read_stdout(stdout, &mut output),
                    read_stderr(stderr, &mut stderr_tail)
                )
            });
            let pipes_done = tokio::select! {
                done = &mut pipe_io => {
                    done?;
                    self.wait_for_exit().await?;
                    true
                }
                exited = self.wait_for_exit() => {
                    exited?;
                    false
                }
            };
            let status = self.kill_and_reap().await?;
            // Its remaining output is in the pipes. A process that left the group may hold them open.
            if !pipes_done && let Ok(done) = timeout(PIPE_DRAIN_TIMEOUT, pipe_io).await {
                done?;
            }
            status
        };
        if status.success() {
            return Ok(output);
        }
        Err(CommandError::Failed {
            status,
            stderr: stderr_tail.redacted_last_line(&[input, &output]),
        })
    }

    /// Waits for the exit of the group leader without reaping it, so that its PID is not reused. Cancel-safe.
    async fn wait_for_exit(&mut self) -> Result<(), CommandError> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            match waitid(WaitId::Pid(self.process_group), options) {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(()),
                Err(error) => return Err(CommandError::Io(error.into())),
            }
            if self.sigchld.recv().await.is_none() {
                return Err(CommandError::Io(io::ErrorKind::Unsupported.into()));
            }
        }
    }

    /// Kills the rest of the group and reaps its leader.
    async fn kill_and_reap(&mut self) -> Result<ExitStatus, CommandError> {
        self.kill();
        self.child.wait().await.map_err(CommandError::Io)
    }

    fn kill(&mut self) {
        if !std::mem::replace(&mut self.killed, true) {
            // It fails if no process is left, which is the goal.
            kill_process_group(self.process_group, Signal::KILL).ok();
            self.orphan_groups.push(self.process_group);
        }
    }
}

impl Drop for RunningCommand<'_> {
    /// Kills the group; tokio reaps the leader.
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes the input. A command does not have to read it.
async fn write_stdin(stdin: Option<ChildStdin>, input: &[u8]) -> Result<(), CommandError> {
    if let Some(mut stdin) = stdin {
        stdin.write_all(input).await.ok();
    }
    Ok(())
}

async fn read_stdout(stdout: impl AsyncRead + Unpin, output: &mut Vec<u8>) -> Result<(), CommandError> {
    let limit = u64::try_from(MAX_STDOUT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = stdout.take(limit).read_to_end(output).await;
    read.map_err(CommandError::Io)?;
    if output.len() > MAX_STDOUT_BYTES {
        return Err(CommandError::OutputTooLarge);
    }
    Ok(())
}

async fn read_stderr(mut stderr: impl AsyncRead + Unpin, tail: &mut StderrTail) -> Result<(), CommandError> {
    let mut buffer = Zeroizing::new([0; 1024]);
    let mut total = 0;
    loop {
        let read = stderr.read(buffer.as_mut_slice()).await;
        let read = read.map_err(CommandError::Io)?;
        total += read;
        match buffer.get(..read) {
            Some([]) | None => return Ok(()),
            Some(_) if total > MAX_STDERR_BYTES => return Err(CommandError::OutputTooLarge),
            Some(bytes) => tail.push(bytes),
        }
    }
}

/// Reaps the orphans of these groups that became children of graphward as PID 1, and forgets empty groups.
fn reap_orphans(groups: &mut Vec<Pid>) {
    groups.retain(|group| {
        loop {
            match waitpgid(*group, WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_no_child) => return false,
            }
        }
    });
}

// === impl CommandError ===

impl CommandError {
    fn from_spawn(error: io::Error) -> Self {
        match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Self::NotFound(error),
            Some(rustix::io::Errno::ACCESS | rustix::io::Errno::NOEXEC) => Self::NotExecutable(error),
            Some(_) | None => Self::Io(error),
        }
    }

    /// The reason label for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::NotExecutable(_) => "not_executable",
            Self::Io(_) => "spawn_failed",
            Self::Failed { .. } => "exit_status",
            Self::TimedOut(_) => "timeout",
            Self::OutputTooLarge => "too_large",
        }
    }

    /// Returns whether another run may succeed without an action of the operator.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Io(_) | Self::Failed { .. } | Self::TimedOut(_) => true,
            Self::NotFound(_) | Self::NotExecutable(_) | Self::OutputTooLarge => false,
        }
    }
}

#[cfg(test)]
mod tests;
