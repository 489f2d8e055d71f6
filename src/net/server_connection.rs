//! One accepted connection: TLS or plaintext, HTTP on it, and its end at shutdown.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::client_reader::until_client_stalls;
use super::connect::Transport;
use super::error::BoxError;
use super::lazy_timer::TimeLimit;
use super::server_cert::ServerCert;
use super::shutdown::{Shutdown, ShutdownPhase};
use super::sniff::{TransportSecurity, detect_tls};
use super::tunnel::{self, TunnelSender};

/// The limit for receiving the head of a request, idle time before it included.
pub(super) const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(600);
/// The limit for a first request while the process stops: what comes now is told so, and half a head holds no stop up.
pub(super) const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The limit for a TLS handshake with a client.
pub(super) const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves HTTP on a connection until it ends. Each connection has a service of its own.
pub(super) type ServeHttp =
    dyn Fn(Box<dyn Transport>, ConnectionInfo) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// The facts about a connection that its service gets.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The security of the transport.
    pub security: TransportSecurity,
    /// Takes the connection if it becomes a tunnel, where that is allowed.
    pub tunnels: Option<TunnelSender>,
}

/// A tunnel that was force-closed.
pub(super) struct ForceClosedTunnel;

/// Serves one connection.
pub(super) struct ConnectionServer {
    pub(super) serve_http: Arc<ServeHttp>,
    pub(super) shutdown: Shutdown,
    pub(super) send_timeout: TimeLimit,
    pub(super) not_http: Arc<NotHttpWarning>,
    /// Dropped when the connection has ended. `None` if it came during the shutdown.
    pub(super) _open: Option<mpsc::UnboundedSender<ForceClosedTunnel>>,
    pub(super) _slot: OwnedSemaphorePermit,
}

impl ConnectionServer {
    pub(super) async fn serve(self, stream: Box<dyn Transport>, info: ConnectionInfo) {
        let security = info.security;
        let serving = (self.serve_http)(stream, info);
        if let Some(Err(error)) = until_client_stalls(serving, self.send_timeout).await {
            tracing::debug!(%error, "connection closed with an error");
            let is_not_http = error.downcast_ref().is_some_and(hyper::Error::is_parse);
            if is_not_http && security == TransportSecurity::Plaintext {
                self.not_http.warn();
            }
        }
    }

    /// Detects whether the connection is TLS, then serves HTTP, which may become a tunnel.
    pub(super) async fn serve_detecting_tls(
        self,
        stream: Box<dyn Transport>,
        server_cert: Arc<ServerCert>,
        tunnels: Option<TunnelSender>,
    ) {
        let accepting = pin!(detect_and_accept(stream, &server_cert));
        // If the shutdown begins first, no request has begun, so none is lost.
        let accepted = match self.shutdown.current() {
            ShutdownPhase::Running => before_shutdown(accepting, &self.shutdown).await,
            ShutdownPhase::Graceful | ShutdownPhase::Forced => timeout(FIRST_REQUEST_TIMEOUT, accepting).await.ok(),
        };
        if let Some(Some((stream, security))) = accepted {
            self.serve(stream, ConnectionInfo { security, tunnels }).await;
        }
    }
}

/// Serves a connection until it ends. Once the shutdown begins, it ends after the current request, or by force. One that has
/// not brought a whole request head yet has [`FIRST_REQUEST_TIMEOUT`] for it.
pub(super) async fn serve_gracefully<C>(
    connection: C,
    shutdown: Shutdown,
    has_served: Arc<AtomicBool>,
) -> Result<(), C::Error>
where
    C: GracefulConnection,
{
    let mut connection = pin!(connection);
    if shutdown.current() == ShutdownPhase::Running {
        if let Some(result) = before_shutdown(connection.as_mut(), &shutdown).await {
            return result;
        }
    } else if let Ok(result) = timeout(FIRST_REQUEST_TIMEOUT, connection.as_mut()).await {
        return result;
    }
    // hyper closes an idle connection now, but waits for the rest of a head.
    connection.as_mut().graceful_shutdown();
    let brings_no_request = async {
        sleep(FIRST_REQUEST_TIMEOUT).await;
        if has_served.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        result = connection => result,
        () = brings_no_request => Ok(()),
        () = shutdown.wait_for(ShutdownPhase::Forced) => Ok(()),
    }
}

/// Returns the output of a future; `None` if the shutdown begins first, and the future has then been polled once more with
/// all that had arrived.
async fn before_shutdown<F: Future>(mut future: Pin<&mut F>, shutdown: &Shutdown) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = &mut future => return Some(output),
        () = shutdown.wait_for(ShutdownPhase::Graceful) => {}
    }
    tokio::select! {
        biased;
        output = future => Some(output),
        // The runtime looks for arrived data before it goes on here.
        () = yield_now() => None,
    }
}

/// Detects TLS and performs the handshake; `None` if the connection ends or times out before.
async fn detect_and_accept(
    stream: Box<dyn Transport>,
    server_cert: &ServerCert,
) -> Option<(Box<dyn Transport>, TransportSecurity)> {
    let Ok(detected) = timeout(HEADER_READ_TIMEOUT, detect_tls(stream)).await else {
        tracing::debug!("connection closed: no data received before the header timeout");
        return None;
    };
    let (security, stream) = detected?;
    let stream: Box<dyn Transport> = match security {
        TransportSecurity::Plaintext => Box::new(stream),
        TransportSecurity::Tls => match timeout(TLS_HANDSHAKE_TIMEOUT, server_cert.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => Box::new(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                return None;
            }
            Err(_elapsed) => {
                tracing::debug!("TLS handshake timed out");
                return None;
            }
        },
    };
    Some((stream, security))
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
        let mut warned_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warned_at.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)) {
            *warned_at = Some(Instant::now());
            tracing::warn!(
                "a client did not send HTTP. If it speaks TLS, use http:// in the base URL of the app, or set listen.tls, with \
                 a certificate from `graphward ca`"
            );
        }
    }
}
