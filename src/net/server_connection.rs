//! One accepted connection: TLS or plaintext, HTTP on it, and its end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::activity::OpenConnection;
use super::client_reader::until_client_stalls;
use super::client_stream::{ClientProtocol, ClientStream, TransportSecurity};
use super::connect::Transport;
use super::lazy_timer::TimeLimit;
use super::listen::Accepted;
use super::server_cert::ServerCert;
use super::server_http::{ConnectionInfo, ConnectionLife, HttpServer, IDLE_TIMEOUT};
use super::shutdown::{Shutdown, ShutdownPhase};
use super::tunnel::{self, TunnelSender};
use crate::types::lock;

/// The limit for a TLS handshake with a client.
pub(super) const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A tunnel that was force-closed.
pub(super) struct ForceClosedTunnel;

/// Serves one connection.
pub(super) struct ConnectionServer {
    pub(super) http_server: HttpServer,
    pub(super) life: ConnectionLife,
    pub(super) send_timeout: TimeLimit,
    pub(super) not_http: Arc<NotHttpWarning>,
    /// With a certificate, the connection may be TLS.
    pub(super) server_cert: Option<Arc<ServerCert>>,
    /// Dropped when the connection has ended.
    pub(super) _place: OpenConnection,
    /// The same. `None` if it came during the shutdown.
    pub(super) _open: Option<mpsc::UnboundedSender<ForceClosedTunnel>>,
}

impl ConnectionServer {
    /// Serves the connection until it ends. Where nothing is on its way, nothing but the stream is kept.
    pub(super) async fn serve(self, accepted: Accepted, tunnels: Option<TunnelSender>) {
        let mut stream = ClientStream::new(accepted.transport);
        let mut info = ConnectionInfo {
            security: TransportSecurity::Plaintext,
            peer_uid: accepted.peer_uid,
            peer_address: accepted.peer_address,
            tunnels,
            early_response: stream.early_response.clone(),
        };
        loop {
            let waiting = timeout(IDLE_TIMEOUT, stream.protocol());
            let Some(Ok(Ok(protocol))) = self.life.before_end(waiting).await else {
                tracing::debug!("connection closed: it brought no request");
                return;
            };
            stream = match (protocol, &self.server_cert, info.security) {
                (ClientProtocol::Tls, Some(server_cert), TransportSecurity::Plaintext) => {
                    info.security = TransportSecurity::Tls;
                    let handshake = Box::pin(perform_handshake(stream, server_cert));
                    match self.life.before_end(handshake).await.flatten() {
                        Some(decrypted) => {
                            let stream = ClientStream::new(decrypted);
                            info.early_response = stream.early_response.clone();
                            stream
                        }
                        None => return,
                    }
                }
                _ => match until_client_stalls(
                    (self.http_server.0)(stream, protocol, info.clone(), self.life.clone()),
                    self.send_timeout.clone(),
                )
                .await
                {
                    Some(Ok(Some(idle))) => idle,
                    None | Some(Ok(None)) => return,
                    Some(Err(error)) => {
                        tracing::debug!(%error, "connection closed with an error");
                        let is_not_http = error.downcast_ref().is_some_and(hyper::Error::is_parse);
                        if is_not_http && info.security == TransportSecurity::Plaintext {
                            self.not_http.warn();
                        }
                        return;
                    }
                },
            };
        }
    }
}

/// Performs the TLS handshake; `None` if it fails or times out.
async fn perform_handshake(stream: ClientStream, server_cert: &ServerCert) -> Option<Box<dyn Transport>> {
    match timeout(TLS_HANDSHAKE_TIMEOUT, server_cert.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_elapsed) => {
            tracing::debug!("TLS handshake timed out");
            None
        }
    }
}

/// Copies what a tunnel to another host carries, until it ends or is force-closed.
pub(super) async fn pass_through(
    client: Box<dyn Transport>,
    upstream: Box<dyn Transport>,
    shutdown: Shutdown,
    open: Option<mpsc::UnboundedSender<ForceClosedTunnel>>,
) {
    tokio::select! {
        result = tunnel::copy_bidirectional(client, upstream) => if let Err(error) = result {
            tracing::debug!(%error, "tunnel closed with an error");
        },
        () = shutdown.wait_for(ShutdownPhase::Forced) => {
            if let Some(open) = open {
                // The receiver is there until all senders are gone.
                drop(open.send(ForceClosedTunnel));
            }
        }
    }
}

/// Warns about clients that do not send HTTP, at most once a minute.
///
/// # Why
///
/// Most of them speak TLS to a listener without a certificate, and report only a "wrong version number". hyper does not say
/// which byte it could not parse, and looking at each connection's first byte would cost all of them.
#[derive(Debug, Default)]
pub(super) struct NotHttpWarning(Mutex<Option<Instant>>);

impl NotHttpWarning {
    fn warn(&self) {
        let mut warned_at = lock(&self.0);
        if warned_at.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)) {
            *warned_at = Some(Instant::now());
            tracing::warn!(
                "a client did not send HTTP. If it speaks TLS, use http:// in the base URL of the app, with the address of the \
                 proxy listener, or set listen.tls, with a certificate from `graphward ca`"
            );
        }
    }
}
