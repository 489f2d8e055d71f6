//! A `graphward serve` of a test: the process, and its output in files. The wire and process tests share it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running process; killed when dropped.
pub(crate) struct ServeProcess {
    child: Child,
    dir: PathBuf,
}

impl ServeProcess {
    /// Starts a command in a process group of its own, with its output in this directory.
    pub(crate) fn spawn(command: &mut Command, dir: &Path) -> Self {
        let child = command
            .stdout(File::create(dir.join("stdout")).unwrap())
            .stderr(File::create(dir.join("stderr")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let dir = dir.to_path_buf();
        Self { child, dir }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        self.output("stdout")
    }

    pub(crate) fn stderr(&self) -> String {
        self.output("stderr")
    }

    fn output(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join(name)).unwrap()).into_owned()
    }

    /// Its log so far, without an incomplete last line.
    pub(crate) fn log_events(&self) -> Vec<Value> {
        let text = self.stdout();
        let lines = text.lines().map(serde_json::from_str);
        lines.filter_map(Result::ok).collect()
    }

    /// The addresses of the listeners whose start was logged with this message.
    pub(crate) fn listen_addresses(&self, message: &str) -> Vec<String> {
        let events = self.log_events();
        let started = events.iter().filter(|line| line["message"] == message);
        started
            .map(|line| line["address"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A file about this process in `/proc`.
    pub(crate) fn proc(&self, name: &str) -> String {
        let bytes = fs::read(format!("/proc/{}/{name}", self.id())).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A figure of `/proc/PID/status`, in KiB.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit status, if it has ended.
    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for ServeProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
