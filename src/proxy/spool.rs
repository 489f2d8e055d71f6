//! Spools request bodies to disk, each in an unlinked file, so that nothing is left after a crash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use tokio::task::{JoinHandle, spawn_blocking};

/// The directory where bodies are spooled, if any (`heal.spool_dir`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub enum Spool {
    /// Nowhere: a body that does not fit in memory streams and cannot be replayed.
    Off,
    /// In this directory.
    Directory(PathBuf),
}

impl From<String> for Spool {
    fn from(text: String) -> Self {
        match text.as_str() {
            "off" => Self::Off,
            "" => Self::Directory(std::env::temp_dir()),
            path => Self::Directory(path.into()),
        }
    }
}

/// Writes a body to its file.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    file: Arc<File>,
    length: u64,
}

/// Reads a spooled body from its start; several readers may share a file.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    file: Arc<File>,
    offset: u64,
    end: u64,
    pending_read: Option<JoinHandle<io::Result<Bytes>>>,
}

/// The number of bytes that are read at a time.
const READ_CHUNK_BYTES: u64 = 128 * 1024;

impl Spool {
    /// Creates a file, mode 0600, without a name: it disappears with its last handle, even after `kill -9`.
    pub(crate) async fn create(&self) -> io::Result<Option<SpoolWriter>> {
        let Self::Directory(directory) = self else {
            return Ok(None);
        };
        let directory = directory.clone();
        let file = spawn_blocking(move || tempfile::tempfile_in(directory))
            .await
            .map_err(io::Error::other)??;
        Ok(Some(SpoolWriter {
            file: Arc::new(file),
            length: 0,
        }))
    }
}

// === impl SpoolWriter ===

impl SpoolWriter {
    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (file, at, length) = (Arc::clone(&self.file), self.length, bytes.len() as u64);
        spawn_blocking(move || file.write_all_at(&bytes, at))
            .await
            .map_err(io::Error::other)??;
        self.length += length;
        Ok(())
    }

    /// Returns a reader of what has been written so far.
    pub(crate) fn reader(&self) -> SpoolReader {
        SpoolReader::new(&self.file, self.length)
    }
}

// === impl SpoolReader ===

impl SpoolReader {
    fn new(file: &Arc<File>, end: u64) -> Self {
        Self {
            file: Arc::clone(file),
            offset: 0,
            end,
            pending_read: None,
        }
    }

    /// The number of bytes that are still to be read.
    pub(crate) const fn remaining(&self) -> u64 {
        self.end - self.offset
    }

    /// Returns another reader of the same body, from its start.
    pub(crate) fn reopened_at_start(&self) -> Self {
        Self::new(&self.file, self.end)
    }

    /// Reads the next chunk; `None` at the end.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.remaining() == 0 {
            return Poll::Ready(None);
        }
        let (file, at) = (Arc::clone(&self.file), self.offset);
        let length = usize::try_from(self.remaining().min(READ_CHUNK_BYTES)).unwrap_or(usize::MAX);
        let read = self.pending_read.get_or_insert_with(|| {
            spawn_blocking(move || {
                let mut chunk = BytesMut::zeroed(length);
                file.read_exact_at(&mut chunk, at)?;
                Ok(chunk.freeze())
            })
        });
        let chunk = ready!(Pin::new(read).poll(cx));
        self.pending_read = None;
        let chunk = chunk.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Ok(chunk) = &chunk {
            self.offset += chunk.len() as u64;
        }
        Poll::Ready(Some(chunk))
    }
}
