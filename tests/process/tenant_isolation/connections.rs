//! The ways to graphward: directly, through CONNECT, and by a tenant's own listener.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::Request;

use super::tokens::name;
use crate::support::{Body, Client, Sidecar, TestResponse};

/// Where a sidecar listens.
pub(super) struct Doors {
    proxy: SocketAddr,
    /// The CA of its certificate.
    ca: PathBuf,
    /// The folder of the tenants' own sockets, if they have some.
    pub(super) sockets: Option<PathBuf>,
}

/// The way of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Door {
    Direct,
    /// Through CONNECT, as from a library that has Graph's address built in.
    Tunnel,
    /// The listener of this tenant.
    Own(usize),
}

/// The connections of one client.
pub(super) struct Connections<'a> {
    doors: &'a Doors,
    direct: Client,
    tunnel: Option<Client>,
}

/// The path of a tenant's own socket.
pub(super) fn socket(dir: &Path, tenant: usize) -> PathBuf {
    dir.join(format!("{}.sock", name(tenant)))
}

// === impl Doors ===

impl Doors {
    /// The ways to a sidecar whose certificate was created in this folder.
    pub(super) fn new(sidecar: &Sidecar, tls_dir: &Path) -> Self {
        Self {
            proxy: sidecar.proxy,
            ca: tls_dir.join("pki/ca.pem"),
            sockets: None,
        }
    }
}

// === impl Connections ===

impl<'a> Connections<'a> {
    pub(super) async fn open(doors: &'a Doors) -> Self {
        Self {
            doors,
            direct: Client::connect(doors.proxy).await,
            tunnel: None,
        }
    }

    /// Sends a request, or returns why its connection broke.
    pub(super) async fn send(&mut self, door: Door, request: Request<Body>) -> Result<TestResponse, String> {
        let Doors { proxy, ca, sockets } = self.doors;
        let sent = match door {
            Door::Direct => self.direct.try_send(request).await,
            Door::Tunnel => {
                if self.tunnel.is_none() {
                    let opened = Client::connect_through(*proxy, ca).await;
                    self.tunnel = Some(opened.map_err(|error| error.to_string())?);
                }
                self.tunnel.as_mut().unwrap().try_send(request).await
            }
            Door::Own(tenant) => {
                let path = socket(sockets.as_deref().unwrap(), tenant);
                Client::connect_to_socket(&path).await.try_send(request).await
            }
        };
        sent.map_err(|error| format!("{error:?}"))
    }
}
