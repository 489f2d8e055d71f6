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
pub(crate) struct Writer {
    file: Arc<File>,
    length: u64,
}

/// A body being read, from its start; several may read one file.
#[derive(Debug)]
pub(crate) struct Reader {
    file: Arc<File>,
    at: u64,
    end: u64,
    pending: Option<JoinHandle<io::Result<Bytes>>>,
}

/// How much is read at a time.
const CHUNK: u64 = 128 * 1024;

impl Spool {
    /// A new file, mode 0600, without a name: gone with its last handle, also after `kill -9`.
    pub(crate) async fn create(&self) -> io::Result<Option<Writer>> {
        let Self::Directory(directory) = self else {
            return Ok(None);
        };
        let directory = directory.clone();
        let file = spawn_blocking(move || tempfile::tempfile_in(directory))
            .await
            .map_err(io::Error::other)??;
        Ok(Some(Writer {
            file: Arc::new(file),
            length: 0,
        }))
    }
}

// === impl Writer ===

impl Writer {
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
    pub(crate) fn reader(&self) -> Reader {
        Reader {
            file: Arc::clone(&self.file),
            at: 0,
            end: self.length,
            pending: None,
        }
    }
}

// === impl Reader ===

impl Reader {
    /// How many bytes are still to be read.
    pub(crate) const fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The same body again, from its start.
    pub(crate) fn again(&self) -> Self {
        Self {
            file: Arc::clone(&self.file),
            at: 0,
            end: self.end,
            pending: None,
        }
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let (file, at) = (Arc::clone(&self.file), self.at);
        let length = usize::try_from(self.left().min(CHUNK)).unwrap_or(usize::MAX);
        let read = self.pending.get_or_insert_with(|| {
            spawn_blocking(move || {
                let mut chunk = BytesMut::zeroed(length);
                file.read_exact_at(&mut chunk, at)?;
                Ok(chunk.freeze())
            })
        });
        let chunk = ready!(Pin::new(read).poll(cx));
        self.pending = None;
        let chunk = chunk.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Ok(chunk) = &chunk {
            self.at += chunk.len() as u64;
        }
        Poll::Ready(Some(chunk))
    }
}
