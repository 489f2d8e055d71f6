//! A fake that listens, and the way to stop it.

use std::net::SocketAddr;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio_rustls::TlsAcceptor;

use super::body::SimBody;
use crate::net::{BoxError, Listener, ServeSettings, Shutter, Tasks, Tls, serve};

/// A listener that is served in the background until this is stopped. Dropped without [`Running::stop`], it
/// goes on until the runtime ends.
#[derive(Debug)]
pub struct Running {
    /// Where it listens; port 0 for an in-memory listener.
    pub address: SocketAddr,
    shutter: Shutter,
    tasks: Tasks,
}

impl Running {
    pub(super) fn start<S, E>(listener: Listener, service: S, tls: Option<TlsAcceptor>) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<SimBody>, Error = E>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        E: Into<BoxError>,
    {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = listener.address().unwrap_or(nowhere);
        let (shutter, tasks) = (Shutter::new(), Tasks::default());
        let settings = ServeSettings {
            tasks: tasks.clone(),
            shutter: shutter.clone(),
            tls: tls.map_or(Tls::Off, Tls::Always),
        };
        let services = move |_line| service.clone();
        drop(tasks.spawn(serve(listener, services, settings)));
        Self {
            address,
            shutter,
            tasks,
        }
    }

    /// Stops at once: connections are cut.
    pub async fn stop(self) {
        self.shutter.close();
        self.shutter.cut();
        self.tasks.joined().await;
    }
}
