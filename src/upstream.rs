//! The connections to Graph's hosts: made as they are needed, shared by all requests.
//!
//! # Why
//!
//! hyper-util's client cannot say whether a request was processed, opens one HTTP/2 connection per origin, and costs 5,200
//! instructions per request. So the connections of [`hyper::client::conn`] and [`h2`] are driven here. Nothing is sent twice here: a
//! [`SendError`] says what became of a request, and the caller, who has its body, decides.

mod connection;
mod error;
mod exchange;
mod http1;
mod http2;
mod http2_upload;
mod pool;
mod request_body;

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::AbortHandle;

pub use error::{ConnectionEnded, Fate, SendError};
pub use exchange::ResponseBody;
pub use pool::Lease;
pub use request_body::RequestBody;

use crate::graph::Origin;
use crate::net::{ConnectFailure, Connector, HttpVersion, Tasks};
use crate::types::lock;
use pool::Pool;

/// The connections to all origins.
#[derive(derive_more::Debug)]
#[debug("Upstream")]
pub struct Upstream<B: RequestBody> {
    pools: Arc<Pools<B>>,
    connector: Connector,
    http: HttpVersion,
    tasks: Tasks,
    /// Closes idle connections.
    sweeper: AbortHandle,
}

/// The settings of the connections to Graph.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
pub struct UpstreamSettings {
    /// The version of HTTP towards Graph.
    pub http: HttpVersion,
    /// The limit from the end of the request's body to the head of the response, 1ms to 1d.
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "1d"))]
    pub head_timeout: Duration,
}

type Pools<B> = Mutex<Vec<Arc<Pool<B>>>>;

/// How often idle connections are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

// === impl Upstream ===

impl<B: RequestBody> Upstream<B> {
    /// Creates the pools; connections are made when they are needed.
    #[must_use]
    pub fn new(connector: Connector, http: HttpVersion, tasks: Tasks) -> Self {
        let pools = Arc::<Pools<B>>::default();
        let sweeper = tasks.spawn(sweep(Arc::downgrade(&pools)));
        Self {
            pools,
            connector,
            http,
            tasks,
            sweeper,
        }
    }

    /// Takes a connection to an origin: an open one that is ready for a request.
    pub async fn take_open(&self, origin: &Origin) -> Option<Lease<B>> {
        let mut lease = self.pool(origin).take_open()?;
        // One that has ended is replaced by a new one, not by the next that may have ended, too.
        lease.is_open().await.then_some(lease)
    }

    /// Waits for a connection to an origin: a new one, or one that another request has just finished with.
    ///
    /// # Errors
    ///
    /// The reason why no connection could be made.
    pub async fn wait(&self, origin: &Origin) -> Result<Lease<B>, ConnectFailure> {
        let pool = self.pool(origin);
        loop {
            let mut lease = pool.wait().await?;
            // One that another request has finished with may have ended since.
            if lease.is_open().await {
                return Ok(lease);
            }
        }
    }

    fn pool(&self, origin: &Origin) -> Arc<Pool<B>> {
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.iter().find(|pool| pool.origin == *origin) {
            return Arc::clone(pool);
        }
        let pool = Pool::new(origin.clone(), self.connector.clone(), self.http, self.tasks.clone());
        let pool = Arc::new(pool);
        pools.push(Arc::clone(&pool));
        pool
    }
}

impl<B: RequestBody> Drop for Upstream<B> {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

/// Closes idle connections as long as there are pools.
async fn sweep<B: RequestBody>(pools: Weak<Pools<B>>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(pools) = pools.upgrade() else {
            return;
        };
        for pool in lock(&pools).iter() {
            pool.close_idle();
        }
    }
}
