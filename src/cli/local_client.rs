//! A client of a listener on this machine.

use std::time::Duration;

use crate::net::tls::TlsError;
use crate::net::{AllowedSchemes, HttpClient, HttpClientConfig, ListenAddr};

/// A client of one listener on this machine.
pub(super) struct LocalClient {
    /// What the URLs of its requests name.
    pub(super) authority: String,
    pub(super) client: HttpClient,
}

// === impl LocalClient ===

impl LocalClient {
    /// Creates a client whose requests take no longer than this.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the system's certificates cannot be used.
    pub(super) fn new(address: &ListenAddr, timeout: Duration) -> Result<Self, TlsError> {
        let (authority, unix_socket) = match address {
            ListenAddr::Tcp(address) => (address.to_string(), None),
            ListenAddr::Unix(path) => ("localhost".to_owned(), Some(path.clone())),
        };
        let config = HttpClientConfig {
            schemes: AllowedSchemes::HttpAndHttps,
            unix_socket,
            ..HttpClientConfig::default()
        };
        let client = HttpClient::new(config, timeout)?;
        Ok(Self { authority, client })
    }
}
