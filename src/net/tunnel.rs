//! Tunnels: connections within a connection, asked for with CONNECT.
//!
//! # Why
//!
//! What comes through a tunnel goes back to where connections arrive: it is served, stopped and cut like any other.
//! The bytes that a client sent before it heard that there is a tunnel are part of it, and come with it.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::{ConnectError, Transport};
use super::tasks::Tasks;

/// The way from a request that asked for a tunnel to where connections arrive.
#[derive(Clone)]
pub struct Tunnels {
    tasks: Tasks,
    door: mpsc::Sender<Tunnel>,
}

/// An open tunnel.
pub(super) enum Tunnel {
    /// It ends here.
    Ours(Box<dyn Transport>),
    /// It ends elsewhere; its bytes are passed on unseen.
    Through(Box<dyn Transport>, TcpStream),
}

// === impl Tunnels ===

impl Tunnels {
    /// A way, and its end.
    pub(super) fn new(tasks: Tasks) -> (Self, mpsc::Receiver<Tunnel>) {
        let (door, tunnels) = mpsc::channel(64);
        (Self { tasks, door }, tunnels)
    }

    /// Serves what comes through, once the answer is out.
    pub fn serve(&self, upgrade: OnUpgrade) {
        self.open(upgrade, Tunnel::Ours);
    }

    /// Passes bytes both ways, once the answer is out.
    pub fn pass(&self, upgrade: OnUpgrade, to: TcpStream) {
        self.open(upgrade, |stream| Tunnel::Through(stream, to));
    }

    fn open(
        &self,
        upgrade: OnUpgrade,
        tunnel: impl FnOnce(Box<dyn Transport>) -> Tunnel + Send + 'static,
    ) {
        let door = self.door.clone();
        drop(self.tasks.spawn(async move {
            // It waits as long as the connection lives that the answer is written to.
            match upgrade.await {
                Ok(stream) => {
                    let stream: TokioIo<Upgraded> = TokioIo::new(stream);
                    // Where nobody accepts any more, it is dropped, as a new connection would be.
                    drop(door.send(tunnel(Box::new(stream))).await);
                }
                Err(error) => tracing::debug!(%error, "a tunnel was not opened"),
            }
        }));
    }
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnels").finish_non_exhaustive()
    }
}

/// Opens the far end of a tunnel: `address` is a `host:port`.
///
/// # Errors
///
/// [`ConnectError::Unreachable`], or [`ConnectError::Late`] after `within`.
pub async fn dial(address: &str, within: Duration) -> Result<TcpStream, ConnectError> {
    let address = address.to_owned();
    match timeout(within, TcpStream::connect(&address)).await {
        Ok(tcp) => tcp
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
            .map_err(|source| ConnectError::Unreachable { address, source }),
        Err(_elapsed) => Err(ConnectError::Late { address }),
    }
}

/// Passes bytes both ways until both ends have said all, or neither has said anything for [`SILENCE`]: a peer that
/// vanished says no goodbye.
pub(super) async fn pass<N, F>(near: N, far: F) -> io::Result<()>
where
    N: AsyncRead + AsyncWrite,
    F: AsyncRead + AsyncWrite,
{
    let (from_near, to_near) = tokio::io::split(near);
    let (from_far, to_far) = tokio::io::split(far);
    let heard = Heard::new();
    let both = async {
        tokio::try_join!(
            copy(from_near, to_far, &heard),
            copy(from_far, to_near, &heard)
        )
    };
    tokio::select! {
        done = both => done.map(|((), ())| ()),
        () = heard.nothing() => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn copy<R, W>(mut from: R, mut to: W, heard: &Heard) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut space = vec![0; PIECE];
    loop {
        let read = from.read(&mut space).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(space.get(..read).unwrap_or_default()).await?;
        to.flush().await?;
        heard.now();
    }
}

/// The longest that a tunnel may be silent.
const SILENCE: Duration = Duration::from_secs(60 * 60);
/// How much is passed at a time, in bytes.
const PIECE: usize = 8 * 1024;

/// When a byte was passed last, in either direction.
struct Heard {
    began: Instant,
    millis: AtomicU64,
}

// === impl Heard ===

impl Heard {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            millis: AtomicU64::new(0),
        }
    }

    fn now(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
    }

    /// Waits until nothing has been passed for too long. Cancel-safe.
    async fn nothing(&self) {
        loop {
            let last = Duration::from_millis(self.millis.load(Ordering::Relaxed));
            let end = self.began + last + SILENCE;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_ends_when_both_ends_have_or_when_both_are_silent() {
        for says_goodbye in [true, false] {
            let (mut app, near) = tokio::io::duplex(64);
            let (mut host, far) = tokio::io::duplex(64);
            let began = Instant::now();
            let ends = async {
                let mut space = [0; 5];
                for _ in 0..3 {
                    tokio::time::sleep(SILENCE / 2).await;
                    app.write_all(b"hello").await.unwrap();
                    host.read_exact(&mut space).await.unwrap();
                }
                if says_goodbye {
                    app.shutdown().await.unwrap();
                    assert_eq!(host.read(&mut space).await.unwrap(), 0);
                    host.write_all(b"later").await.unwrap();
                    host.shutdown().await.unwrap();
                    app.read_exact(&mut space).await.unwrap();
                    assert_eq!(&space, b"later");
                }
            };
            let (passed, ()) = tokio::join!(pass(near, far), ends);
            let silent = began.elapsed() >= SILENCE * 5 / 2;
            assert_eq!((passed.is_ok(), silent), (says_goodbye, !says_goodbye));
        }
    }
}
