//! TLS settings: trusted CAs, certificates and protocol versions.

use std::io;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};

use super::error::BoxError;
use crate::os::watch::{open_regular, read_whole};
use crate::types::AnyError;

/// The reason why TLS cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA file cannot be read.
    #[error("cannot read the CA file `{}`", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The CA file is not PEM, or has no certificate.
    #[error("the CA file `{}` has no valid PEM certificate (-----BEGIN CERTIFICATE-----)", .0.display())]
    Pem(PathBuf, #[source] pem::Error),
    /// A certificate in the CA file cannot be a trust anchor.
    #[error("the CA file `{}` has a certificate that is not a valid trust anchor", .0.display())]
    Root(PathBuf, #[source] rustls::Error),
    /// rustls rejected the configuration.
    #[error("cannot configure TLS")]
    Setup(#[from] rustls::Error),
    /// The HTTP client refused its settings.
    #[error("cannot set up the HTTP client")]
    HttpClient(#[source] BoxError),
}

/// Builds the client configuration: Mozilla's roots plus those of `ca_file`, TLS 1.2 and 1.3, `alpn` in order of preference.
///
/// The roots are read once, at startup. Verification cannot be turned off.
///
/// # Errors
///
/// [`TlsError`] if `ca_file` cannot be read, or has no valid trust anchor.
pub fn client(ca_file: Option<&Path>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = ca_file {
        add_roots(&mut roots, path)?;
    }
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Builds the server configuration for a certificate chain and its key, `alpn` in order of preference.
pub(super) fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: &[&[u8]],
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Finds the error of a handshake among the causes of another one: an I/O error has it inside, and its source is that of the inner
/// one.
pub fn handshake_error<'a>(error: &'a AnyError) -> Option<&'a rustls::Error> {
    let inner = |&cause: &&'a AnyError| match cause.downcast_ref().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner as &AnyError),
        None => cause.source(),
    };
    successors(Some(error), inner).find_map(<AnyError>::downcast_ref)
}

/// What to do about a connection that failed, as the end of a message; empty unless the handshake was at fault.
pub(super) fn handshake_advice(error: &AnyError) -> &'static str {
    use CertificateError as C;
    match handshake_error(error) {
        Some(rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature)) => {
            "; if you trust the CA that issued it, set upstream.ca_file (--ca-file) to a PEM file with that CA (a fake Graph \
             makes a new one at each start)"
        }
        Some(rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. })) => {
            "; use a host name that it has"
        }
        Some(rustls::Error::InvalidCertificate(_)) => "; check the server's certificate, and the clock of this machine",
        Some(rustls::Error::InvalidMessage(_)) => {
            "; what answers there does not speak TLS: check the port (that of a fake Graph, not of its control API)"
        }
        _ => "",
    }
}

/// Parses PEM certificates; [`pem::Error::NoItemsFound`] if the file has no certificate.
pub(super) fn parse_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return Err(pem::Error::NoItemsFound);
    }
    Ok(certificates)
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let path_buf = || path.to_path_buf();
    // It is read for each client, so a pipe would be empty for the second.
    let text = open_regular(path)
        .and_then(read_whole)
        .map_err(|source| TlsError::Read(path_buf(), source))?;
    let certificates = parse_certificates(&text).map_err(|source| TlsError::Pem(path_buf(), source))?;
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|source| TlsError::Root(path_buf(), source))?;
    }
    Ok(())
}

fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
