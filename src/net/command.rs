//! Commands of the operator's that are run for their answer: bounded in time and size, and gone when they are done.
//!
//! # Why
//!
//! There is no shell, so nothing has to be quoted, and the environment is not handed on, for ours may hold tokens. A
//! command is a process group of its own: what it started goes with it, be it done, late or given up. The end of the
//! command counts, not that of its pipes, which something in the background may hold open for ever. Its leader is killed
//! first and buried second, so that its number cannot belong to anybody else in between. What leaves the group
//! (`setsid`) is not followed.

mod said;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpgid,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::timeout;
use zeroize::Zeroizing;

use said::Said;

/// A command: run again and again, one run at a time.
pub struct Command {
    argv: Vec<String>,
    keep_env: Vec<String>,
    timeout: Duration,
    /// Groups that may have left dead whom nobody buried: they are ours if we are the first process of a container.
    left: Vec<Pid>,
}

/// Why a command brought no answer. No variant repeats what it was given, or what it wrote to stdout.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Neither the program nor, if it is a script, its interpreter is there.
    #[error("there is no such program, or not the interpreter that its first line names")]
    Missing(#[source] io::Error),
    /// It is there, and no program of ours.
    #[error("it may not be executed")]
    NotExecutable(#[source] io::Error),
    /// The system did not start it, or lost sight of it.
    #[error("it cannot be run")]
    Run(#[source] io::Error),
    /// It ended badly.
    #[error("it ended with {status}{said}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The last line it wrote to stderr, shortened, without what may be a secret; with a colon before it.
        said: String,
    },
    /// It was killed.
    #[error("it did not end within {0:?}, and was killed")]
    Late(Duration),
    /// It wrote more than [`MOST`] to stdout, or than [`MOST_SAID`] to stderr, and was killed.
    #[error("it wrote without end, and was killed")]
    TooLong,
}

/// The longest answer that is read from stdout, in bytes.
pub const MOST: usize = 64 * 1024;
/// What a command may write to stderr, in bytes.
pub const MOST_SAID: usize = 1024 * 1024;

/// What every command gets of our environment.
const KEPT: [&str; 4] = ["HOME", "LANG", "PATH", "TZ"];
/// What no command gets, whatever is asked for: there are secrets in it.
const OURS: &str = "GRAPHWARD_";
/// How long pipes may stay open behind a group that is dead.
const MOMENT: Duration = Duration::from_millis(250);

/// A command that runs. Dropping it kills it, and all of its group.
struct Running<'a> {
    child: Child,
    group: Pid,
    ends: unix::Signal,
    dead: bool,
    left: &'a mut Vec<Pid>,
}

// === impl Command ===

impl Command {
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
            left: Vec::new(),
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
    pub async fn run(
        &mut self,
        input: &[u8],
        variables: &[(&str, &str)],
    ) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        bury(&mut self.left);
        let limit = self.timeout;
        let running = self.start(input.is_empty(), variables)?;
        timeout(limit, running.answer(input))
            .await
            .unwrap_or(Err(CommandError::Late(limit)))
    }

    fn start(
        &mut self,
        mute: bool,
        variables: &[(&str, &str)],
    ) -> Result<Running<'_>, CommandError> {
        // Before the start: an end that comes at once is heard, too.
        let ends = unix::signal(SignalKind::child()).map_err(CommandError::Run)?;
        let mut command = tokio::process::Command::new(self.program());
        command
            .args(self.argv.iter().skip(1))
            .env_clear()
            .envs(self.environment())
            .envs(variables.iter().copied())
            .stdin(if mute { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = command.spawn().map_err(CommandError::starting)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let group = group.and_then(Pid::from_raw);
        let group = group.ok_or_else(|| CommandError::Run(io::ErrorKind::NotFound.into()))?;
        Ok(Running {
            child,
            group,
            ends,
            dead: false,
            left: &mut self.left,
        })
    }

    fn environment(&self) -> impl Iterator<Item = (&str, OsString)> {
        // Handed on, not read.
        self.names()
            .filter_map(|name| Some((name, std::env::var_os(name)?)))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let asked = self.keep_env.iter().map(String::as_str);
        KEPT.into_iter()
            .chain(asked.filter(|name| !name.starts_with(OURS)))
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

// === impl Running ===

impl Running<'_> {
    async fn answer(mut self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        // Room for all there may be: growing would leave copies behind.
        let mut answer = Zeroizing::new(Vec::with_capacity(MOST + 64));
        let mut said = Said::default();
        let (stdin, stdout, stderr) = (
            self.child.stdin.take(),
            self.child.stdout.take(),
            self.child.stderr.take(),
        );
        let status = {
            let mut talk = std::pin::pin!(async {
                tokio::try_join!(
                    tell(stdin, input),
                    hear(stdout, &mut answer),
                    listen(stderr, &mut said)
                )
            });
            let talked = tokio::select! {
                talked = &mut talk => {
                    talked?;
                    self.ended().await?;
                    true
                }
                ended = self.ended() => {
                    ended?;
                    false
                }
            };
            let status = self.bury().await?;
            // What it wrote is in the pipes, to their end; or somebody who left the group holds them open.
            if !talked && let Ok(talked) = timeout(MOMENT, talk).await {
                talked?;
            }
            status
        };
        if status.success() {
            return Ok(answer);
        }
        Err(CommandError::Failed {
            status,
            said: said.shown(&[input, &answer]),
        })
    }

    /// Waits for the leader's end, and leaves it unburied: its number stays its own. Cancel-safe.
    async fn ended(&mut self) -> Result<(), CommandError> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            match waitid(WaitId::Pid(self.group), look) {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(()),
                Err(error) => return Err(CommandError::Run(error.into())),
            }
            if self.ends.recv().await.is_none() {
                return Err(CommandError::Run(io::ErrorKind::Unsupported.into()));
            }
        }
    }

    /// Kills what is left of the group, and waits for the leader, who is dead.
    async fn bury(&mut self) -> Result<ExitStatus, CommandError> {
        self.kill();
        self.child.wait().await.map_err(CommandError::Run)
    }

    fn kill(&mut self) {
        if !std::mem::replace(&mut self.dead, true) {
            // It fails if there is nobody left, which is what is wanted.
            kill_process_group(self.group, Signal::KILL).ok();
            self.left.push(self.group);
        }
    }
}

impl Drop for Running<'_> {
    /// Tokio waits for the leader of a command that was given up.
    fn drop(&mut self) {
        self.kill();
    }
}

/// Gives it all there is to know. A command need not listen.
async fn tell(stdin: Option<ChildStdin>, input: &[u8]) -> Result<(), CommandError> {
    if let Some(mut stdin) = stdin {
        stdin.write_all(input).await.ok();
    }
    Ok(())
}

async fn hear(
    stdout: Option<impl AsyncRead + Unpin>,
    answer: &mut Vec<u8>,
) -> Result<(), CommandError> {
    let Some(stdout) = stdout else {
        return Ok(());
    };
    let most = u64::try_from(MOST).unwrap_or(u64::MAX).saturating_add(1);
    let read = stdout.take(most).read_to_end(answer).await;
    read.map_err(CommandError::Run)?;
    if answer.len() > MOST {
        return Err(CommandError::TooLong);
    }
    Ok(())
}

async fn listen(
    stderr: Option<impl AsyncRead + Unpin>,
    said: &mut Said,
) -> Result<(), CommandError> {
    let Some(mut stderr) = stderr else {
        return Ok(());
    };
    let mut room = Zeroizing::new([0; 1024]);
    let mut heard = 0;
    loop {
        let read = stderr.read(room.as_mut_slice()).await;
        let read = read.map_err(CommandError::Run)?;
        heard += read;
        match room.get(..read) {
            Some([]) | None => return Ok(()),
            Some(_) if heard > MOST_SAID => return Err(CommandError::TooLong),
            Some(bytes) => said.add(bytes),
        }
    }
}

/// Takes leave of the dead of these groups, as far as they are ours, and forgets the groups that are empty.
fn bury(left: &mut Vec<Pid>) {
    left.retain(|group| {
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
    fn starting(error: io::Error) -> Self {
        match error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            Some(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Self::Missing(error),
            Some(rustix::io::Errno::ACCESS | rustix::io::Errno::NOEXEC) => {
                Self::NotExecutable(error)
            }
            Some(_) | None => Self::Run(error),
        }
    }

    /// A closed word for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::NotExecutable(_) => "not_executable",
            Self::Run(_) => "not_run",
            Self::Failed { .. } => "exit",
            Self::Late(_) => "timeout",
            Self::TooLong => "too_long",
        }
    }

    /// Whether it may go well another time, though nobody does anything about it.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Run(_) | Self::Failed { .. } | Self::Late(_) => true,
            Self::Missing(_) | Self::NotExecutable(_) | Self::TooLong => false,
        }
    }
}

#[cfg(test)]
mod tests;
