//! A probe of a host: each of its addresses, with TLS, and the time that it took.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::time::{Instant, timeout};

use super::dial::ConnectFailure;
use super::dialer::{Dialed, Dialer, start_tls};
use super::host_name::without_brackets;
use super::resolve::resolve;

/// A way to a host, as a probe found it.
#[derive(Debug)]
pub struct ProbedAddress {
    /// The address, or the egress proxy.
    pub address: String,
    /// The version of TLS, or the reason why there is no connection.
    pub result: Result<&'static str, ConnectFailure>,
    /// The time that it took.
    pub took: Duration,
}

impl Dialer {
    /// Connects to every address of a host, and performs a TLS handshake; once if the addresses are unknown, because the
    /// egress proxy resolves the name, or because it has none.
    pub async fn probe(&self, host: &str, port: u16, tls: &Arc<ClientConfig>) -> Vec<ProbedAddress> {
        let host = without_brackets(host);
        if let Some(proxy) = self.proxy_for(host) {
            let address = format!("through {proxy}");
            return vec![self.probe_way(address, host, port, tls).await];
        }
        let address = self.address_of(host, port);
        let addresses = match timeout(self.timeout, resolve(&address)).await {
            Ok(Ok(addresses)) => addresses.iter().map(ToString::to_string).collect(),
            Ok(Err(_)) | Err(_) => vec![address],
        };
        let probes = addresses.into_iter().map(|address| async {
            let only = Self {
                connect_to: HashMap::from([(host.to_owned(), address.clone())]),
                ..self.clone()
            };
            only.probe_way(address, host, port, tls).await
        });
        join_all(probes).await
    }

    async fn probe_way(&self, address: String, host: &str, port: u16, tls: &Arc<ClientConfig>) -> ProbedAddress {
        let started = Instant::now();
        let handshake = timeout(self.timeout * 2, async {
            let version = match self.dial(host, port).await? {
                Dialed::Direct(io) => start_tls(io, host, &address, tls).await?.get_ref().1.protocol_version(),
                Dialed::Tunneled(io) => start_tls(io, host, &address, tls).await?.get_ref().1.protocol_version(),
            };
            let is_newest = version == Some(ProtocolVersion::TLSv1_3);
            Ok(if is_newest { "TLS 1.3" } else { "TLS 1.2" })
        });
        let late = |_elapsed| Err(ConnectFailure::timed_out(host, "in the TLS handshake"));
        ProbedAddress {
            result: handshake.await.unwrap_or_else(late),
            took: started.elapsed(),
            address,
        }
    }
}
