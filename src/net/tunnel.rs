//! Tunnels: connections within a connection, opened with CONNECT.
//!
//! # Why
//!
//! A tunnel that graphward terminates goes back to the accept loop, so it is served, drained and force-closed like any other
//! connection. The bytes that a client sends before it has the answer to its CONNECT are part of the tunnel.

use std::io;
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::connect::Transport;
use super::dialer::Dialed;
use super::listen::Accepted;
use super::tasks::Tasks;

/// Passes tunnels from the CONNECT request to the accept loop.
#[derive(Clone, derive_more::Debug)]
#[debug("TunnelSender")]
pub struct TunnelSender {
    tasks: Tasks,
    sender: mpsc::Sender<AcceptedTunnel>,
}

/// An open tunnel.
pub(super) enum AcceptedTunnel {
    /// graphward serves it.
    Terminated(Accepted),
    /// It leads to another host; its bytes are copied unread.
    Passthrough(Box<dyn Transport>, Box<dyn Transport>),
}

// === impl TunnelSender ===

impl TunnelSender {
    /// Returns the sender and its receiver.
    pub(super) fn new(tasks: Tasks) -> (Self, mpsc::Receiver<AcceptedTunnel>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self { tasks, sender }, receiver)
    }

    /// Serves the tunnel of a process with this user id once the answer to the CONNECT is written.
    pub fn terminate(&self, upgrade: OnUpgrade, peer_uid: Option<u32>) {
        self.send_after_upgrade(upgrade, move |transport| {
            AcceptedTunnel::Terminated(Accepted {
                transport,
                peer_uid,
                peer_address: None,
            })
        });
    }

    /// Copies bytes both ways once the answer to the CONNECT is written.
    pub fn pass_through(&self, upgrade: OnUpgrade, upstream: Dialed) {
        let upstream: Box<dyn Transport> = match upstream {
            Dialed::Direct(tcp) => Box::new(tcp),
            Dialed::Tunneled(tunnel) => Box::new(tunnel),
        };
        self.send_after_upgrade(upgrade, |stream| AcceptedTunnel::Passthrough(stream, upstream));
    }

    fn send_after_upgrade(
        &self,
        upgrade: OnUpgrade,
        tunnel: impl FnOnce(Box<dyn Transport>) -> AcceptedTunnel + Send + 'static,
    ) {
        let sender = self.sender.clone();
        drop(self.tasks.spawn(async move {
            // This waits no longer than the connection lives on which the answer is written.
            match upgrade.await {
                Ok(stream) => {
                    let stream: TokioIo<Upgraded> = TokioIo::new(stream);
                    // If the accept loop has stopped, the tunnel is dropped, as a new connection would be.
                    drop(sender.send(tunnel(Box::new(stream))).await);
                }
                Err(error) => tracing::debug!(%error, "CONNECT upgrade failed"),
            }
        }));
    }
}

/// Copies bytes both ways until both ends have finished, or neither has sent anything for [`TUNNEL_IDLE_TIMEOUT`]: a peer
/// that lost its network never closes.
pub(super) async fn copy_bidirectional<N, F>(client: N, upstream: F) -> io::Result<()>
where
    N: AsyncRead + AsyncWrite,
    F: AsyncRead + AsyncWrite,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let activity = Notify::new();
    let copies = async {
        tokio::try_join!(
            copy(from_client, to_upstream, &activity),
            copy(from_upstream, to_client, &activity)
        )
    };
    let idle = async { while timeout(TUNNEL_IDLE_TIMEOUT, activity.notified()).await.is_ok() {} };
    tokio::select! {
        done = copies => done.map(|((), ())| ()),
        () = idle => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn copy<R, W>(mut from: R, mut to: W, activity: &Notify) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        to.flush().await?;
        activity.notify_one();
    }
}

/// The longest time without a byte in either direction.
const TUNNEL_IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// The size of a copy, in bytes.
const COPY_BUFFER_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_ends_when_both_ends_have_or_when_both_are_silent() {
        for says_goodbye in [true, false] {
            let (mut app, client) = tokio::io::duplex(64);
            let (mut host, upstream) = tokio::io::duplex(64);
            let began = Instant::now();
            let ends = async {
                let mut buffer = [0; 5];
                for _ in 0..3 {
                    tokio::time::sleep(TUNNEL_IDLE_TIMEOUT / 2).await;
                    app.write_all(b"hello").await.unwrap();
                    host.read_exact(&mut buffer).await.unwrap();
                }
                if says_goodbye {
                    app.shutdown().await.unwrap();
                    assert_eq!(host.read(&mut buffer).await.unwrap(), 0);
                    host.write_all(b"later").await.unwrap();
                    host.shutdown().await.unwrap();
                    app.read_exact(&mut buffer).await.unwrap();
                    assert_eq!(&buffer, b"later");
                }
            };
            let (passed, ()) = tokio::join!(copy_bidirectional(client, upstream), ends);
            let timed_out = began.elapsed() >= TUNNEL_IDLE_TIMEOUT * 5 / 2;
            assert_eq!((passed.is_ok(), timed_out), (says_goodbye, !says_goodbye));
        }
    }
}
