//! Commands of the operator's that are run for their answer: bounded in time and size, and gone when they are done.
//!
//! # Why
//!
//! There is no shell, so nothing has to be quoted, and the environment is not handed on, for ours may hold tokens. A
//! command is a process group of its own: what it started goes with it, be it done, late or given up. The end of the
//! command counts, not that of its pipes, which something in the background may hold open for ever. Its leader is killed
//! first and buried second, so that its number cannot belong to anybody else in between. What leaves the group
//! (`setsid`) is not followed.

mod stderr;

use std::ffi::OsString;
use std::fmt;
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

/// A command: run again and again, one run at a time.
pub struct ExternalCommand {
    argv: Vec<String>,
    keep_env: Vec<String>,
    timeout: Duration,
    /// Groups that may have left dead whom nobody buried: they are ours if we are the first process of a container.
    orphan_groups: Vec<Pid>,
}

/// Why a command brought no answer. No variant repeats what it was given, or what it wrote to stdout.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Neither the program nor, if it is a script, its interpreter is there.
    #[error("there is no such program, or not the interpreter that its first line names")]
    NotFound(#[source] io::Error),
    /// It is there, and no program of ours.
    #[error("it may not be executed")]
    NotExecutable(#[source] io::Error),
    /// The system did not start it, or lost sight of it.
    #[error("it cannot be run")]
    Io(#[source] io::Error),
    /// It ended badly.
    #[error("it ended with {status}{stderr}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The last line it wrote to stderr, shortened, without what may be a secret; with a colon before it.
        stderr: String,
    },
    /// It was killed.
    #[error("it did not end within {0:?}, and was killed")]
    TimedOut(Duration),
    /// It wrote more than [`MAX_STDOUT_BYTES`] to stdout, or than [`MAX_STDERR_BYTES`] to stderr, and was killed.
    #[error("it wrote without end, and was killed")]
    OutputTooLarge,
}

/// The longest answer that is read from stdout, in bytes.
pub const MAX_STDOUT_BYTES: usize = 64 * 1024;
/// What a command may write to stderr, in bytes.
pub const MAX_STDERR_BYTES: usize = 1024 * 1024;

/// What every command gets of our environment.
const INHERITED_ENV: [&str; 4] = ["HOME", "LANG", "PATH", "TZ"];
/// What no command gets, whatever is asked for: there are secrets in it.
const RESERVED_ENV_PREFIX: &str = "GRAPHWARD_";
/// How long pipes may stay open behind a group that is dead.
const PIPE_DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

/// A command that runs. Dropping it kills it, and all of its group.
struct RunningCommand<'a> {
    child: Child,
    process_group: Pid,
    sigchld: unix::Signal,
    killed: bool,
    orphan_groups: &'a mut Vec<Pid>,
}

// === impl Command ===

impl ExternalCommand {
    /// A program and its arguments, which are handed on as they are.
    ///
    /// Of our environment it gets `HOME`, `LANG`, `PATH` and `TZ`, and the variables named in `keep_env`; never one
    /// whose name begins with `GRAPHWARD_`. It is killed after `timeout`.
    #[must_use]
    pub const fn new(argv: Vec<String>, keep_env: Vec<String>, timeout: Duration) -> Self {
        Self {
            argv,
            keep_env,
            timeout,
            orphan_groups: Vec::new(),
        }
    }

    /// The program, without its arguments, which may hold what should not be shown.
    #[must_use]
    pub fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    /// Runs it, with these variables besides, with `input` on stdin; what it wrote to stdout, if it ended well.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing of the command is left running then.
    pub async fn run(&mut self, input: &[u8], env: &[(&str, &str)]) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        reap_orphans(&mut self.orphan_groups);
        let limit = self.timeout;
        let running = self.spawn(input.is_empty(), env)?;
        timeout(limit, running.wait_with_output(input))
            .await
            .unwrap_or(Err(CommandError::TimedOut(limit)))
    }

    fn spawn(&mut self, null_stdin: bool, env: &[(&str, &str)]) -> Result<RunningCommand<'_>, CommandError> {
        // Before the start: an end that comes at once is heard, too.
        let sigchld = unix::signal(SignalKind::child()).map_err(CommandError::Io)?;
        let mut command = tokio::process::Command::new(self.program());
        command
            .args(self.argv.iter().skip(1))
            .env_clear()
            .envs(self.inherited_env())
            .envs(env.iter().copied())
            .stdin(if null_stdin { Stdio::null() } else { Stdio::piped() })
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

    fn inherited_env(&self) -> impl Iterator<Item = (&str, OsString)> {
        // Handed on, not read.
        self.inherited_env_names()
            .filter_map(|name| Some((name, std::env::var_os(name)?)))
    }

    fn inherited_env_names(&self) -> impl Iterator<Item = &str> {
        let requested = self.keep_env.iter().map(String::as_str);
        INHERITED_ENV
            .into_iter()
            .chain(requested.filter(|name| !name.starts_with(RESERVED_ENV_PREFIX)))
    }
}

impl fmt::Debug for ExternalCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

// === impl Running ===

impl RunningCommand<'_> {
    async fn wait_with_output(mut self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        // Room for all there may be: growing would leave copies behind.
        let mut output = Zeroizing::new(Vec::with_capacity(MAX_STDOUT_BYTES + 64));
        let mut stderr_tail = StderrTail::default();
        let (stdin, stdout, stderr) = (
            self.child.stdin.take(),
            self.child.stdout.take(),
            self.child.stderr.take(),
        );
        let status = {
            let mut pipe_io = std::pin::pin!(async {
                tokio::try_join!(
                    write_stdin(stdin, input),
                    read_stdout(stdout, &mut output),
                    read_stderr(stderr, &mut stderr_tail)
                )
            });
            let pipes_done = tokio::select! {
                talked = &mut pipe_io => {
                    talked?;
                    self.wait_for_exit().await?;
                    true
                }
                ended = self.wait_for_exit() => {
                    ended?;
                    false
                }
            };
            let status = self.kill_and_reap().await?;
            // What it wrote is in the pipes, to their end; or somebody who left the group holds them open.
            if !pipes_done && let Ok(talked) = timeout(PIPE_DRAIN_TIMEOUT, pipe_io).await {
                talked?;
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

    /// Waits for the leader's end, and leaves it unburied: its number stays its own. Cancel-safe.
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

    /// Kills what is left of the group, and waits for the leader, who is dead.
    async fn kill_and_reap(&mut self) -> Result<ExitStatus, CommandError> {
        self.kill();
        self.child.wait().await.map_err(CommandError::Io)
    }

    fn kill(&mut self) {
        if !std::mem::replace(&mut self.killed, true) {
            // It fails if there is nobody left, which is what is wanted.
            kill_process_group(self.process_group, Signal::KILL).ok();
            self.orphan_groups.push(self.process_group);
        }
    }
}

impl Drop for RunningCommand<'_> {
    /// Tokio waits for the leader of a command that was given up.
    fn drop(&mut self) {
        self.kill();
    }
}

/// Gives it all there is to know. A command need not listen.
async fn write_stdin(stdin: Option<ChildStdin>, input: &[u8]) -> Result<(), CommandError> {
    if let Some(mut stdin) = stdin {
        stdin.write_all(input).await.ok();
    }
    Ok(())
}

async fn read_stdout(stdout: Option<impl AsyncRead + Unpin>, output: &mut Vec<u8>) -> Result<(), CommandError> {
    let Some(stdout) = stdout else {
        return Ok(());
    };
    let limit = u64::try_from(MAX_STDOUT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = stdout.take(limit).read_to_end(output).await;
    read.map_err(CommandError::Io)?;
    if output.len() > MAX_STDOUT_BYTES {
        return Err(CommandError::OutputTooLarge);
    }
    Ok(())
}

async fn read_stderr(stderr: Option<impl AsyncRead + Unpin>, tail: &mut StderrTail) -> Result<(), CommandError> {
    let Some(mut stderr) = stderr else {
        return Ok(());
    };
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

/// Takes leave of the dead of these groups, as far as they are ours, and forgets the groups that are empty.
fn reap_orphans(groups: &mut Vec<Pid>) {
    groups.retain(|group| {
        loop {
            match waitpgid(*group, WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_nobody) => return false,
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

    /// A closed word for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "missing",
            Self::NotExecutable(_) => "not_executable",
            Self::Io(_) => "not_run",
            Self::Failed { .. } => "exit",
            Self::TimedOut(_) => "timeout",
            Self::OutputTooLarge => "too_long",
        }
    }

    /// Whether it may go well another time, though nobody does anything about it.
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
