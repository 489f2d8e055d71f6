//! The accept loop: accepts connections, serves HTTP on them, and ends them at shutdown.
//!
//! # Why
//!
//! One accept loop serves the proxy and the admin endpoint.
//!
//! A request that a client sent before a shutdown is read, even if its connection was idle or still waited to be accepted:
//! closing a socket with unread bytes resets the connection, and the client cannot know what became of its request.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::activity::{OpenConnections, UnreadResponses};
use super::lazy_timer::TimeLimit;
use super::listen::{Accepted, Listener};
use super::server_cert::ServerCert;
use super::server_connection::{ConnectionServer, ForceClosedTunnel, NotHttpWarning, pass_through};
use super::server_http::{ConnectionLife, HttpServer};
use super::shutdown::{Shutdown, ShutdownPhase};
use super::tasks::Tasks;
use super::tunnel::{AcceptedTunnel, TunnelSender};
use crate::telemetry::LineLimit;
use crate::types::error_chain;

/// The parameters of [`serve`] besides a listener and services.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Runs the connections.
    pub tasks: Tasks,
    /// Ends the connections.
    pub shutdown: Shutdown,
    /// With a certificate, connections may be TLS and may become tunnels.
    pub server_cert: Option<Arc<ServerCert>>,
    /// The most open connections at a time. Then the one that has been idle for the longest makes room for a new one, or else one
    /// that still waits for the head of its request, or one of `unread_responses`.
    pub max_connections: NonZeroU32,
    /// What becomes of responses that clients do not read when that many are open.
    pub unread_responses: UnreadResponses,
    /// What helps if that many are open and all have requests, for the log and the client.
    pub connections_advice: &'static str,
    /// How long a client may read nothing of a response.
    pub send_timeout: Duration,
    /// Counts HTTP/2 connections that were cut because the client flooded them.
    pub cut_floods: Counter,
    /// The limit for receiving the head of a request, from its first byte.
    pub head_timeout: Duration,
}

/// Serves a listener until the shutdown begins and the last connection has ended, or has been force-closed. Returns the
/// number of force-closed tunnels to other hosts: what is in them is unknown, whereas services know their requests.
/// Connections that come in the meantime are served too, briefly: they hold nothing up.
pub async fn serve(mut listener: Listener, http_server: HttpServer, config: ServeConfig) -> usize {
    let ServeConfig { tasks, shutdown, .. } = &config;
    let connections = OpenConnections::new(config.max_connections, config.unread_responses);
    let send_timeout = TimeLimit::new(config.send_timeout);
    // Every connection from before the shutdown holds a sender.
    let (open, mut force_closed) = mpsc::unbounded_channel();
    let mut open = Some(open);
    let not_http = Arc::new(NotHttpWarning::default());
    let refusals = LineLimit::default();
    let tunnel_channel = config.server_cert.is_some().then(|| TunnelSender::new(tasks.clone()));
    let (tunnels, mut tunnel_rx) = tunnel_channel.unzip();
    let (mut accepting, mut force_closed_tunnels) = (true, 0);
    loop {
        let (accepted, tunnels) = tokio::select! {
            biased;
            () = shutdown.wait_for(ShutdownPhase::Graceful), if accepting => {
                accepting = false;
                continue;
            }
            accepted = accept_next(&mut listener) => (accepted, tunnels.clone()),
            // None comes where tunnels are not allowed.
            Some(tunnel) = async { tunnel_rx.as_mut()?.recv().await } => match tunnel {
                // Tunnels are not nested.
                AcceptedTunnel::Terminated(accepted) => (accepted, None),
                AcceptedTunnel::Passthrough(client, upstream) => {
                    drop(tasks.spawn(pass_through(client, upstream, shutdown.clone(), open.clone())));
                    continue;
                }
            },
            // No connection from before the shutdown is waiting any more.
            () = yield_now(), if !accepting && open.is_some() => {
                (open, tunnel_rx) = (None, None);
                continue;
            }
            closed = force_closed.recv() => match closed {
                Some(ForceClosedTunnel) => {
                    force_closed_tunnels += 1;
                    continue;
                }
                None => return force_closed_tunnels,
            },
        };
        let Some(place) = connections.admit() else {
            let advice = config.connections_advice;
            if let Some(not_logged) = refusals.admit() {
                tracing::warn!(
                    advice,
                    not_logged,
                    "a connection was refused: as many as the listener takes are open, and all of them have requests"
                );
            }
            drop(tasks.spawn(refuse(accepted, advice)));
            continue;
        };
        let connection = ConnectionServer {
            http_server: http_server.clone(),
            send_timeout: send_timeout.clone(),
            life: ConnectionLife {
                shutdown: shutdown.clone(),
                activity: Arc::clone(&place.0),
                head_timeout: config.head_timeout,
            },
            not_http: Arc::clone(&not_http),
            server_cert: config.server_cert.clone(),
            _place: place,
            _open: open.clone(),
        };
        drop(tasks.spawn(connection.serve(accepted, tunnels)));
    }
}

/// Accepts the next connection. Cancel-safe.
async fn accept_next(listener: &mut Listener) -> Accepted {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => pause_after_accept_error(&error).await,
        }
    }
}

/// Answers a connection that is one too many, and closes it.
async fn refuse(mut accepted: Accepted, advice: &str) {
    let response = too_many_connections(advice);
    let write = accepted.transport.write_all(response.as_bytes());
    // Whether the client is there to read it makes no difference.
    drop(timeout(Duration::from_secs(1), write).await);
}

/// The response to a connection that is one too many, in Graph's format.
fn too_many_connections(advice: &str) -> String {
    let body = format!(
        "{{\"error\":{{\"message\":\"graphward has too many connections; {advice}.\",\
         \"type\":\"GraphwardException\",\"code\":990002,\"is_transient\":true,\"fbtrace_id\":\"graphward\"}}}}"
    );
    format!(
        "HTTP/1.1 503 Service Unavailable\r\n\
         content-type: application/json; charset=UTF-8\r\n\
         proxy-status: graphward; error=connection_limit_reached\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Pauses after a failed accept, unless the client closed the connection. Any other error, such as no free descriptors,
/// would repeat at once and make this a busy loop.
async fn pause_after_accept_error(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    tracing::warn!(error = error_chain(error), "cannot accept connections; retrying in 1 s");
    sleep(Duration::from_secs(1)).await;
}

#[cfg(test)]
mod tests;
