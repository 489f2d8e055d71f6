//! A probe of a host: each of its addresses, with TLS, and the time that it took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::dial::{ConnectFailure, connect_tcp};
use super::dialer::{Dialed, Dialer, start_tls};
use super::host_name::bracketed;
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
    /// Connects to every address of a host, which has no brackets if it is an IPv6 address, and performs a TLS handshake; through
    /// the egress proxy if there is one, where the addresses are unknown.
    ///
    /// # Errors
    ///
    /// [`ConnectFailure`] if the name has no address.
    pub async fn probe(
        &self,
        host: &str,
        port: u16,
        tls: &Arc<ClientConfig>,
    ) -> Result<Vec<ProbedAddress>, ConnectFailure> {
        if let Some(proxy) = self.proxy_for(host) {
            let started = Instant::now();
            let result = match self.dial(host, port).await {
                Ok(Dialed::Direct(io)) => self.handshake(io, host, tls).await,
                Ok(Dialed::Tunneled(io)) => self.handshake(io, host, tls).await,
                Err(failure) => Err(failure),
            };
            let (address, took) = (format!("through {proxy}"), started.elapsed());
            return Ok(vec![ProbedAddress { address, result, took }]);
        }
        let own = || format!("{}:{port}", bracketed(host));
        let address = self.connect_to.get(host).cloned().unwrap_or_else(own);
        let resolved = timeout(self.timeout, resolve(&address)).await;
        let addresses = match resolved {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(ConnectFailure::name(host, &error)),
            Err(_elapsed) => return Err(ConnectFailure::timed_out(host, "the name server does not answer")),
        };
        Ok(join_all(addresses.iter().map(|address| self.probe_address(*address, host, tls))).await)
    }

    async fn probe_address(&self, address: SocketAddr, host: &str, tls: &Arc<ClientConfig>) -> ProbedAddress {
        let started = Instant::now();
        let result = match connect_tcp(host, &address.to_string(), self.timeout).await {
            Ok(tcp) => self.handshake(tcp, host, tls).await,
            Err(failure) => Err(failure),
        };
        ProbedAddress {
            address: address.to_string(),
            result,
            took: started.elapsed(),
        }
    }

    async fn handshake<I>(&self, io: I, host: &str, tls: &Arc<ClientConfig>) -> Result<&'static str, ConnectFailure>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(stream) = timeout(self.timeout, start_tls(io, host, tls)).await else {
            return Err(ConnectFailure::timed_out(host, "in the TLS handshake"));
        };
        Ok(match stream?.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(_) | None => "TLS 1.2",
        })
    }
}
