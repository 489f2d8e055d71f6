//! Request bodies on disk: an unlinked file each, so that nothing is left after a crash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};

/// Where bodies are spooled, if anywhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Spool {
    /// Nowhere: what does not fit in memory streams without licence to replay.
    Off,
    /// In this directory.
    Directory(PathBuf),
}

/// A body being written.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    file: Arc<File>,
    length: u64,
}

/// A body being read, from its start; several may read one file.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    file: Arc<File>,
    offset: u64,
    end: u64,
    pending_read: Option<JoinHandle<io::Result<Bytes>>>,
}

/// How much is read at a time.
const READ_CHUNK_BYTES: u64 = 128 * 1024;

impl Spool {
    /// A new file, mode 0600, without a name: gone with its last handle, also after `kill -9`.
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

// === impl Writer ===

impl SpoolWriter {
    /// Appends.
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

    /// What was written so far, from its start.
    pub(crate) fn reader(&self) -> SpoolReader {
        SpoolReader {
            file: Arc::clone(&self.file),
            offset: 0,
            end: self.length,
            pending_read: None,
        }
    }
}

// === impl SpoolReader ===

impl SpoolReader {
    /// How many bytes are still to be read.
    pub(crate) const fn remaining(&self) -> u64 {
        self.end - self.offset
    }

    /// The same body again, from its start.
    pub(crate) fn reopened_at_start(&self) -> Self {
        Self {
            file: Arc::clone(&self.file),
            offset: 0,
            end: self.end,
            pending_read: None,
        }
    }

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
