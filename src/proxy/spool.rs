//! Spools request bodies to disk, each in an unlinked file, so that nothing is left after a crash.
//!
//! # Why
//!
//! Token files are read and written on the same pool of blocking threads. A disk that hangs under the bodies must not delay
//! a new token, so the spool uses a few of the threads at a time, and the pool has many more.
//!
//! HTTP/2 takes a chunk before the peer has room for it, and holds it until the peer does. Hundreds of bodies would fill the
//! memory with large chunks, and a body must not wait for another one: so where much has been read and not been sent, chunks
//! are small.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use sync_wrapper::SyncWrapper;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

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

/// The threads on which bodies are written and read.
#[derive(Clone, Debug)]
pub struct SpoolThreads {
    free: Arc<Semaphore>,
    /// The number of bytes that have been read and not been sent.
    unsent: Arc<AtomicUsize>,
}

/// A chunk of a body. It counts until its last byte has been sent.
struct Chunk {
    bytes: BytesMut,
    unsent: Arc<AtomicUsize>,
}

/// A body in its file, as much of it as has been written.
#[derive(Clone, Debug)]
pub(crate) struct SpoolFile {
    file: Arc<File>,
    length: u64,
    threads: SpoolThreads,
}

/// Reads a spooled body from its start; several readers may share a file.
#[derive(derive_more::Debug)]
#[debug("SpoolReader({offset} of {})", spooled.length)]
pub(crate) struct SpoolReader {
    spooled: SpoolFile,
    offset: u64,
    /// Wrapped, so that the reader is `Sync`.
    pending_read: Option<SyncWrapper<BoxFuture<'static, io::Result<Bytes>>>>,
}

/// The number of bytes that are read at a time.
const CHUNK_BYTES: u64 = 128 * 1024;
/// The same where [`MANY_UNSENT_BYTES`] have been read and not been sent.
const SMALL_CHUNK_BYTES: u64 = 16 * 1024;
const MANY_UNSENT_BYTES: usize = 4 * 1024 * 1024;

impl Spool {
    /// Creates a file, mode 0600, without a name: it disappears with its last handle, even after `kill -9`.
    pub(crate) async fn create(&self, threads: &SpoolThreads) -> io::Result<Option<SpoolFile>> {
        let Self::Directory(directory) = self else {
            return Ok(None);
        };
        let directory = directory.clone();
        let file = threads.run(move || tempfile::tempfile_in(directory)).await?;
        Ok(Some(SpoolFile {
            file: Arc::new(file),
            length: 0,
            threads: threads.clone(),
        }))
    }
}

// === impl SpoolThreads ===

impl SpoolThreads {
    /// The most threads at a time.
    pub const MAX: usize = 8;

    /// Works on a blocking thread, which stays counted until the work is done, even if this future is dropped.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let thread = Arc::clone(&self.free).acquire_owned().await.map_err(io::Error::other)?;
        let done = spawn_blocking(move || {
            let _counted = thread;
            work()
        });
        done.await.map_err(io::Error::other)?
    }

    fn chunk_bytes(&self) -> u64 {
        if self.unsent.load(Ordering::Relaxed) < MANY_UNSENT_BYTES {
            CHUNK_BYTES
        } else {
            SMALL_CHUNK_BYTES
        }
    }
}

impl Default for SpoolThreads {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(Self::MAX)),
            unsent: Arc::default(),
        }
    }
}

// === impl Chunk ===

impl Chunk {
    fn new(length: u64, unsent: Arc<AtomicUsize>) -> Self {
        let bytes = BytesMut::zeroed(usize::try_from(length).unwrap_or(usize::MAX));
        unsent.fetch_add(bytes.len(), Ordering::Relaxed);
        Self { bytes, unsent }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.unsent.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

// === impl SpoolFile ===

impl SpoolFile {
    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (file, at, length) = (Arc::clone(&self.file), self.length, bytes.len() as u64);
        self.threads.run(move || file.write_all_at(&bytes, at)).await?;
        self.length += length;
        Ok(())
    }

    /// Returns a reader of what has been written so far.
    pub(crate) fn reader(&self) -> SpoolReader {
        SpoolReader {
            spooled: self.clone(),
            offset: 0,
            pending_read: None,
        }
    }
}

// === impl SpoolReader ===

impl SpoolReader {
    /// The number of bytes that are still to be read.
    pub(crate) const fn remaining(&self) -> u64 {
        self.spooled.length - self.offset
    }

    /// Returns another reader of the same body, from its start.
    pub(crate) fn reopened_at_start(&self) -> Self {
        self.spooled.reader()
    }

    /// Reads the next chunk; `None` at the end.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.remaining() == 0 {
            return Poll::Ready(None);
        }
        let read = self.pending_read.get_or_insert_with(|| {
            let SpoolFile { file, length, threads } = self.spooled.clone();
            let at = self.offset;
            let (most, unsent) = (threads.chunk_bytes(), Arc::clone(&threads.unsent));
            let read = move || {
                let mut chunk = Chunk::new((length - at).min(most), unsent);
                file.read_exact_at(&mut chunk.bytes, at)?;
                Ok(Bytes::from_owner(chunk))
            };
            SyncWrapper::new(Box::pin(async move { threads.run(read).await }))
        });
        let chunk = ready!(read.get_mut().as_mut().poll(cx));
        self.pending_read = None;
        if let Ok(chunk) = &chunk {
            self.offset += chunk.len() as u64;
        }
        Poll::Ready(Some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn chunks_are_small_while_much_has_been_read_and_not_been_sent() {
        let (spool, threads) = (Spool::from(String::new()), SpoolThreads::default());
        let mut file = spool.create(&threads).await.unwrap().unwrap();
        file.write(Bytes::from(vec![b'x'; 3 * MANY_UNSENT_BYTES]))
            .await
            .unwrap();
        let mut reader = file.reader();
        let mut next = async || poll_fn(|cx| reader.poll_chunk(cx)).await.unwrap().unwrap();
        let mut unsent = Vec::new();
        for _ in 0..MANY_UNSENT_BYTES as u64 / CHUNK_BYTES {
            unsent.push(next().await);
            assert_eq!(unsent.last().unwrap().len() as u64, CHUNK_BYTES);
        }
        assert_eq!(next().await.len() as u64, SMALL_CHUNK_BYTES);
        // A part of a chunk holds all of it.
        let part = unsent.pop().unwrap().slice(..1);
        assert_eq!(next().await.len() as u64, SMALL_CHUNK_BYTES);
        drop(part);
        assert_eq!(next().await.len() as u64, CHUNK_BYTES);
        drop(unsent);
        assert_eq!(threads.unsent.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_disk_that_hangs_leaves_threads_for_token_files() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(SpoolThreads::MAX + 1)
            .build()
            .unwrap();
        let (release, hangs) = channel::<()>();
        let hangs = Arc::new(Mutex::new(hangs));
        runtime.block_on(async {
            let threads = SpoolThreads::default();
            let mut bodies: Vec<_> = (0..10 * SpoolThreads::MAX)
                .map(|_| {
                    let hangs = Arc::clone(&hangs);
                    Box::pin(threads.run(move || Ok(hangs.lock().unwrap().recv().is_ok())))
                })
                .collect();
            for body in &mut bodies {
                assert!(body.as_mut().now_or_never().is_none());
            }
            // Even those that gave up are counted while they hang.
            bodies.truncate(SpoolThreads::MAX / 2);
            let mut late = Box::pin(threads.run(|| Ok(())));
            assert!(late.as_mut().now_or_never().is_none());
            spawn_blocking(|| "token").await.unwrap();
            drop(release);
            late.await.unwrap();
        });
    }
}
