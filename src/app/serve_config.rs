//! How the listeners are served: their limits, and what helps where one is reached.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::context::BuildContext;
use crate::net::{ListenConfig, ServeConfig, ServerCert, Shutdown, UnreadResponses};

/// The most connections to the admin endpoint at a time.
const MAX_ADMIN_CONNECTIONS: NonZeroU32 = NonZeroU32::new(256).unwrap();
/// How long a client of the admin endpoint may read nothing of a response.
const ADMIN_SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// The limit for receiving the head of a request of the app.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit for receiving the head of a request to the admin endpoint.
const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(3);

/// Returns how the listener of the operators is served.
pub(super) fn admin_serve_config(context: &BuildContext, shutdown: &Shutdown) -> ServeConfig {
    ServeConfig {
        tasks: context.tasks.clone(),
        shutdown: shutdown.clone(),
        server_cert: None,
        max_connections: MAX_ADMIN_CONNECTIONS,
        // The probes are answered, whatever other clients do not read.
        unread_responses: UnreadResponses::GiveUp,
        connections_advice: "close some: the admin listener takes 256 at a time",
        send_timeout: ADMIN_SEND_TIMEOUT,
        head_timeout: ADMIN_HEAD_TIMEOUT,
        cut_floods: context.metrics.cut_floods(),
    }
}

/// Returns how the listeners of the app are served.
pub(super) fn proxy_serve_config(
    context: &BuildContext,
    listen: &ListenConfig,
    server_cert: Option<Arc<ServerCert>>,
    shutdown: &Shutdown,
) -> ServeConfig {
    ServeConfig {
        tasks: context.tasks.clone(),
        shutdown: shutdown.clone(),
        server_cert,
        max_connections: listen.max_connections,
        unread_responses: UnreadResponses::Keep,
        connections_advice: "reduce them, or raise listen.max_connections",
        send_timeout: listen.send_timeout,
        head_timeout: HEAD_TIMEOUT,
        cut_floods: context.metrics.cut_floods(),
    }
}
