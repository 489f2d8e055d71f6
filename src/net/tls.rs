//! TLS as a client: trusted CAs and protocol versions.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

use super::error::BoxError;

/// The reason why TLS cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA file cannot be read.
    #[error("cannot read the CA file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The CA file is not PEM, or has no certificate.
    #[error("the CA file `{}` has no valid PEM certificate (-----BEGIN CERTIFICATE-----)", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The parser's error; `None` if there is no certificate.
        source: Option<pem::Error>,
    },
    /// A certificate in the CA file cannot be a trust anchor.
    #[error("the CA file `{}` has a certificate that is not a valid trust anchor", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
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
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let path_buf = || path.to_path_buf();
    let text = std::fs::read(path).map_err(|source| TlsError::Read {
        path: path_buf(),
        source,
    })?;
    let mut has_certificate = false;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|source| TlsError::Pem {
            path: path_buf(),
            source: Some(source),
        })?;
        roots.add(certificate).map_err(|source| TlsError::Root {
            path: path_buf(),
            source,
        })?;
        has_certificate = true;
    }
    if has_certificate {
        Ok(())
    } else {
        Err(TlsError::Pem {
            path: path_buf(),
            source: None,
        })
    }
}
