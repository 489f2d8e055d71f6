//! Tunnels: connections within a connection, asked for with CONNECT.
//!
//! # Why
//!
//! What comes through a tunnel goes back to where connections arrive: it is served, stopped and cut like any other.
//! The bytes that a client sent before it heard that there is a tunnel are part of it, and come with it.

use std::fmt;
use std::io;
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

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

/// Passes bytes both ways until both ends have said all.
pub(super) async fn pass(mut near: Box<dyn Transport>, mut far: TcpStream) -> io::Result<()> {
    tokio::io::copy_bidirectional(&mut near, &mut far)
        .await
        .map(|_counts| ())
}
