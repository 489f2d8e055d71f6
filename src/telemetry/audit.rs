//! The audit: a line for each use of a secret outside a request, in a file of its own or in the log.
//!
//! # Why
//!
//! An auditor who asks which process changed a token reads a file that has nothing else and no level. Without one, the log has what it does not
//! say elsewhere. A thread writes the file, because a disk may hang, and no token may wait for that; a line that cannot be
//! written goes to the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sync_wrapper::SyncWrapper;

use crate::types::{Clock, Rfc3339Timestamp};

/// Where the audit is written.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The file; without one, it is in the log.
    #[schemars(extend("format" = "path"))]
    pub file: Option<PathBuf>,
}

/// Writes the audit. A clone writes to the same place.
#[derive(Clone, Debug)]
pub struct AuditLog {
    file: Arc<ArcSwapOption<AuditFile>>,
    clock: Clock,
}

/// A file, and the thread that appends to it.
#[derive(Debug)]
pub struct AuditFile {
    lines: SyncSender<String>,
    /// It disconnects when all lines are written.
    done: SyncWrapper<Receiver<()>>,
}

/// The file of the audit cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit file `{}`", path.display())]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

/// A use of a secret.
#[derive(Debug, Serialize)]
pub struct AuditRecord<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// What happened.
    pub action: AuditAction,
    /// The description of the source.
    pub source: &'a str,
    /// The fingerprint of the token, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    /// The generation of the token, if it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The peer that asked for it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<&'a str>,
}

/// What happened to a secret outside requests.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// A token from a source is now in use.
    Loaded,
    /// A token from a renewer is now in use.
    Renewed,
    /// A renewed token was stored.
    Stored,
    /// Graph rejected a token.
    Rejected,
    /// The place of a token has it no longer, so it is not used any more.
    Withdrawn,
    /// An operator set a token.
    Set,
    /// An operator went back to the previous token.
    RolledBack,
    /// An operator put a tenant into its place.
    TenantPut,
    /// An operator removed a tenant from its place.
    TenantWithdrawn,
}

#[derive(Serialize)]
struct AuditLine<'a> {
    time: String,
    #[serde(flatten)]
    record: &'a AuditRecord<'a>,
}

/// The most lines that wait for the disk.
const MAX_WAITING: usize = 4_096;
/// The longest that the end of the process waits for the disk.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

// === impl AuditAction ===

impl AuditAction {
    /// The word for the audit and the events.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Renewed => "renewed",
            Self::Stored => "stored",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Set => "set",
            Self::RolledBack => "rolled_back",
            Self::TenantPut => "tenant_put",
            Self::TenantWithdrawn => "tenant_withdrawn",
        }
    }
}

// === impl AuditLog ===

impl AuditLog {
    /// Creates an audit that goes to the log until it has a file.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            file: Arc::default(),
            clock,
        }
    }

    /// Continues in this file, or in the log. The lines before go to the file that was there before.
    pub fn replace_file(&self, file: Option<AuditFile>) {
        self.file.store(file.map(Arc::new));
    }

    /// Writes a record. Without a file, the log gets it if `in_log` says that no other line of the log has it.
    pub fn record(&self, record: &AuditRecord<'_>, in_log: InLog) {
        match &*self.file.load() {
            Some(file) => {
                let time = Rfc3339Timestamp(self.clock.now()).to_string();
                // Texts and numbers can always be written as JSON.
                let mut line = serde_json::to_string(&AuditLine { time, record }).unwrap_or_default();
                line.push('\n');
                if file.lines.try_send(line).is_err() {
                    tracing::error!("the audit file cannot be written in time; its line follows");
                    record.log();
                }
            }
            None if in_log == InLog::Missing => record.log(),
            None => {}
        }
    }

    /// Waits until what was recorded is written, for a second at most.
    pub fn close(&self) {
        let Some(file) = self.file.swap(None).and_then(Arc::into_inner) else {
            return;
        };
        drop(file.lines);
        if file.done.into_inner().recv_timeout(CLOSE_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the audit file was not written in time; its last lines are lost");
        }
    }
}

/// Whether a line of the log has what an audit record says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InLog {
    /// It has.
    Present,
    /// None has.
    Missing,
}

// === impl AuditFile ===

impl AuditFile {
    /// Opens a file, which is created with mode 0600 if it does not exist, and appends to it.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let error = |source| AuditError {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(error)?;
        let (lines, received) = sync_channel(MAX_WAITING);
        let (writing, done) = sync_channel(0);
        let write_all = move || {
            received.iter().for_each(|line: String| append(&mut file, &line));
            drop(writing);
        };
        let thread = std::thread::Builder::new().name("audit".to_owned());
        drop(thread.spawn(write_all).map_err(error)?);
        Ok(Self {
            lines,
            done: SyncWrapper::new(done),
        })
    }
}

fn append(file: &mut File, line: &str) {
    if let Err(error) = file.write_all(line.as_bytes()) {
        tracing::error!(%error, line = line.trim_end(), "the audit file cannot be written");
    }
}

// === impl AuditRecord ===

impl AuditRecord<'_> {
    fn log(&self) {
        let Self {
            tenant,
            action,
            source,
            token,
            generation,
            peer,
        } = *self;
        let action = action.label();
        tracing::info!(
            target: "graphward::audit",
            tenant, action, source, token, generation, peer,
            "audit"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn record(tenant: &str) -> AuditRecord<'_> {
        AuditRecord {
            tenant,
            action: AuditAction::Set,
            source: "file /run/token",
            token: Some("sha256:abc"),
            generation: None,
            peer: Some("uid 1000"),
        }
    }

    #[test]
    fn records_are_appended_to_a_file_of_its_owner_which_may_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = AuditLog::new(Clock::system());
        log.record(&record("in-the-log"), InLog::Missing);
        log.replace_file(Some(AuditFile::open(&path).unwrap()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        log.record(&record("one"), InLog::Present);
        // As logrotate does it: the old file has another name, then graphward is told.
        let rotated = dir.path().join("audit.jsonl.1");
        std::fs::rename(&path, &rotated).unwrap();
        log.record(&record("two"), InLog::Missing);
        let old = log.file.load_full();
        log.replace_file(Some(AuditFile::open(&path).unwrap()));
        log.record(&record("three"), InLog::Missing);
        log.close();
        let old = Arc::into_inner(old.unwrap()).unwrap();
        drop(old.lines);
        assert!(old.done.into_inner().recv().is_err());
        let tenants = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap();
            let lines = text
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            lines
                .map(|line| line["tenant"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (tenants(&rotated), tenants(&path)),
            (vec!["one".into(), "two".into()], vec!["three".into()])
        );
        let line = std::fs::read_to_string(&path).unwrap();
        assert!(line.starts_with("{\"time\":\"20"), "{line}");
        assert!(
            line.ends_with(
                "\"action\":\"set\",\"source\":\"file /run/token\",\"token\":\"sha256:abc\",\"peer\":\"uid 1000\"}\n"
            ),
            "{line}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = AuditFile::open(Path::new("/nonexistent/audit.jsonl")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot open the audit file `/nonexistent/audit.jsonl`"
        );
    }
}
