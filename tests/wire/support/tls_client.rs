//! TLS between app and proxy: a certificate for the proxy, and a client that trusts its CA.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::net::tls;
use graphward::types::Clock;
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, StreamOwned};

/// A directory with a certificate, its key, and its CA.
pub(crate) struct TestPki {
    dir: tempfile::TempDir,
    authority: CertAuthority,
}

/// A connection over TLS.
pub(crate) struct TlsConnection(StreamOwned<ClientConnection, TcpStream>);

impl TestPki {
    pub(crate) fn new() -> Self {
        let leaf = CertSpec::for_graph(&Clock::system());
        let pki = Self {
            dir: tempfile::tempdir().unwrap(),
            authority: CertAuthority::constrained_to(&leaf).unwrap(),
        };
        std::fs::write(pki.path("ca.pem"), pki.authority.pem()).unwrap();
        pki.reissue();
        pki
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The lines for `[listen]`.
    pub(crate) fn listen_config(&self) -> String {
        listen_config_for(self.dir.path())
    }

    pub(crate) fn sign(&self) -> CertifiedKey<KeyPair> {
        self.sign_for(&CertSpec::for_graph(&Clock::system()))
    }

    pub(crate) fn sign_for(&self, leaf: &CertSpec) -> CertifiedKey<KeyPair> {
        self.authority.sign(leaf).unwrap()
    }

    /// Writes a certificate.
    pub(crate) fn reissue(&self) {
        write_certificate(self.dir.path(), &self.sign());
    }

    /// Connects and performs a handshake for this name, verified with the CA.
    pub(crate) fn connect(&self, address: SocketAddr, name: &str, alpn: &[&[u8]]) -> io::Result<TlsConnection> {
        self.handshake_over(TcpStream::connect(address)?, name, alpn)
    }

    /// The same over an open connection.
    pub(crate) fn handshake_over(&self, tcp: TcpStream, name: &str, alpn: &[&[u8]]) -> io::Result<TlsConnection> {
        tcp.set_read_timeout(Some(super::TIMEOUT))?;
        let config = tls::client(Some(&self.path("ca.pem")), alpn).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(TlsConnection(stream))
    }

    /// The certificate that a new connection gets.
    pub(crate) fn served_certificate(&self, address: SocketAddr) -> Option<CertificateDer<'static>> {
        let secure = self.connect(address, "localhost", &[]).ok()?;
        let certificates = secure.0.conn.peer_certificates()?;
        certificates.first().cloned()
    }
}

/// The lines for `[listen]`.
pub(crate) fn listen_config_for(dir: &Path) -> String {
    let dir = dir.display();
    format!("tls = {{ cert = \"{dir}/cert.pem\", key = \"{dir}/key.pem\" }}")
}

/// Writes a certificate and its key.
pub(crate) fn write_certificate(dir: &Path, signed: &CertifiedKey<KeyPair>) {
    std::fs::write(dir.join("cert.pem"), signed.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), signed.signing_key.serialize_pem()).unwrap();
}

impl TlsConnection {
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.0.conn.alpn_protocol()
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).unwrap();
    }

    /// Reads until the text ends with this, or to the end of the stream.
    pub(crate) fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        let mut space = [0; 1024];
        while !text.ends_with(end) {
            match self.0.read(&mut space) {
                Ok(read @ 1..) => text.push_str(&String::from_utf8_lossy(&space[..read])),
                Ok(_) | Err(_) => break,
            }
        }
        text
    }

    /// Sends a `GET` with this host and reads the response up to this ending.
    pub(crate) fn get(&mut self, host: &str, end: &str) -> String {
        self.send(&format!("GET /v1/me HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.read_until(end)
    }
}
