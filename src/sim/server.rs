//! A fake that listens, and the way to stop it.

use std::net::SocketAddr;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio_rustls::TlsAcceptor;

use super::body::SimBody;
use crate::net::{BoxError, Listener, ServeConfig, Shutdown, Tasks, TlsMode, serve};

/// A listener that is served in the background until this is stopped. Dropped without [`SimServer::stop`], it
/// goes on until the runtime ends.
#[derive(Debug)]
pub struct SimServer {
    /// Where it listens; port 0 for an in-memory listener.
    pub address: SocketAddr,
    shutdown: Shutdown,
    tasks: Tasks,
}

impl SimServer {
    pub(super) fn start<S, E>(listener: Listener, service: S, tls: Option<TlsAcceptor>) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<SimBody>, Error = E>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        E: Into<BoxError>,
    {
        let unspecified = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = listener.local_addr().unwrap_or(unspecified);
        let (shutdown, tasks) = (Shutdown::new(), Tasks::default());
        let settings = ServeConfig {
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            tls: tls.map_or(TlsMode::Off, TlsMode::Always),
        };
        let services = move |_line| service.clone();
        drop(tasks.spawn(serve(listener, services, settings)));
        Self {
            address,
            shutdown,
            tasks,
        }
    }

    /// Stops at once: connections are cut.
    pub async fn stop(self) {
        self.shutdown.close();
        self.shutdown.force();
        self.tasks.wait().await;
    }
}
