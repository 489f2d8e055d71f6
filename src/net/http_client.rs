//! Calls of our own: one request, one small answer, both bounded.
//!
//! # Why
//!
//! Renewals and credential services are called a few times a day, so every call opens its own connection and closes it:
//! there is no pool to grow stale. Redirects are not followed, as the next host would get what was meant for this one. No
//! error holds the address, for secrets travel in its query.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::{Client, Error};
use tokio::time::timeout;

use super::connect::Connector;
use super::error::BoxError;
use super::tasks::Tasks;

/// Makes calls, one at a time or several.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    timeout: Duration,
}

/// Why a call brought no answer. No variant holds the address, or what was sent.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// There is no connection.
    #[error("cannot connect")]
    Connect(#[source] BoxError),
    /// The connection broke before the answer was whole.
    #[error("the connection broke before the answer was whole")]
    Interrupted(#[source] BoxError),
    /// The answer is longer than 64 KiB.
    #[error("the answer is longer than 64 KiB")]
    ResponseTooLarge,
    /// Not in time.
    #[error("there was no whole answer within {0:?}")]
    TimedOut(Duration),
}

/// The longest answer that is read, in bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

// === impl Caller ===

impl HttpClient {
    /// Calls that each take at most `timeout`, from the look-up of the name to the last byte of the answer.
    #[must_use]
    pub fn new(connector: Connector, timeout: Duration, tasks: &Tasks) -> Self {
        let client = Client::builder(tasks.clone())
            .pool_max_idle_per_host(0)
            .build(connector);
        Self { client, timeout }
    }

    /// The same with another limit of time.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            client: self.client.clone(),
            timeout,
        }
    }

    /// Sends one request to the absolute URI that it has, and reads the whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpClientError`]; whether the other side acted is not known then, save for [`HttpClientError::Connect`].
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, HttpClientError> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(map_client_error)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE_BYTES)
                .collect()
                .await
                .map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        HttpClientError::ResponseTooLarge
                    } else {
                        HttpClientError::Interrupted(error)
                    }
                })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(self.timeout, exchange)
            .await
            .unwrap_or(Err(HttpClientError::TimedOut(self.timeout)))
    }
}

fn map_client_error(error: Error) -> HttpClientError {
    if error.is_connect() {
        HttpClientError::Connect(RootCause(error).into())
    } else {
        HttpClientError::Interrupted(RootCause(error).into())
    }
}

/// What lies behind an error of the client's, whose own words ("client error (Connect)") tell a person nothing.
#[derive(Debug)]
struct RootCause(Error);

// === impl Behind ===

impl fmt::Display for RootCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(cause) => fmt::Display::fmt(cause, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl StdError for RootCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
