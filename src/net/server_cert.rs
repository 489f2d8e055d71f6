//! Who we are to the app: a certificate and its key, from files, and renewed when they change.
//!
//! # Why
//!
//! Two files cannot be replaced at once, unless a link is swapped. So a pair that does not fit is given a moment to
//! become one, then warned of once; until it fits, the one before it stays in use. Connections that are open keep the
//! certificate they began with. A renewed pair is a new configuration of TLS, so no session that the old one began is
//! resumed.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connect::HttpVersion;
use super::validity::not_after;
use super::watch::{MAX_FILE_BYTES, ReadResult, WatchedFiles};
use crate::types::{Clock, error_chain};

/// A certificate and its key, as they are now.
pub struct ServerCert(ArcSwap<ServerConfig>);

/// Keeps an [`ServerCert`] as its files are.
#[derive(Debug)]
pub struct CertReloader {
    files: WatchedFiles<2>,
    server_cert: Arc<ServerCert>,
    clock: Clock,
}

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerCertError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than any certificate or key is.
    #[error("{} is larger than 64 KiB: that is no certificate, and no key", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// No certificate in PEM.
    #[error("{} has no PEM certificate (-----BEGIN CERTIFICATE-----)", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What the parser said, if it said something.
        source: Option<pem::Error>,
    },
    /// No key in PEM, or one under a password.
    #[error(
        "{} has no PEM private key (-----BEGIN PRIVATE KEY-----, without a password)",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: pem::Error,
    },
    /// The key is another certificate's.
    #[error(
        "the key in {} does not belong to the certificate in {}, or that is not the first one there",
        key.display(), cert.display()
    )]
    KeyMismatch {
        /// The file of certificates.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// rustls does not take the certificate, or the key.
    #[error("{} and {} cannot be used", cert.display(), key.display())]
    Unusable {
        /// The file of certificates.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}

/// A pair that fits.
struct CertAndKey {
    config: Arc<ServerConfig>,
    /// The certificate, for its dates.
    leaf: CertificateDer<'static>,
}

/// How long a pair that does not fit may take to become one before it is warned of.
const MISMATCH_GRACE: Duration = Duration::from_secs(2);
/// A certificate that ends within this is warned of.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 60 * 60);

// === impl Identity ===

impl ServerCert {
    /// Reads a certificate, with those that vouch for it behind it, and its key. Whoever keeps the identity up to date
    /// is the [`CertReloader`].
    ///
    /// # Errors
    ///
    /// [`ServerCertError`] if the two cannot be used.
    pub async fn load(cert: PathBuf, key: PathBuf, clock: Clock) -> Result<(Arc<Self>, CertReloader), ServerCertError> {
        let mut files = WatchedFiles::new([cert, key]);
        let pair = read(&mut files).await?;
        pair.log_warnings(&files, &clock);
        let server_cert = Arc::new(Self(ArcSwap::new(pair.config)));
        let reloader = CertReloader {
            files,
            server_cert: Arc::clone(&server_cert),
            clock,
        };
        Ok((server_cert, reloader))
    }

    /// TLS with what is current.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}

impl fmt::Debug for ServerCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

// === impl CertReloader ===

impl CertReloader {
    /// Goes on for ever: whatever fits becomes the identity.
    pub async fn run(mut self) {
        loop {
            self.files.changed().await;
            let mut pair = read(&mut self.files).await;
            if pair.is_err() && timeout(MISMATCH_GRACE, self.files.changed()).await.is_ok() {
                pair = read(&mut self.files).await;
            }
            let [cert, _key] = self.files.paths();
            let cert = cert.display();
            match pair {
                Ok(pair) => {
                    pair.log_warnings(&self.files, &self.clock);
                    self.server_cert.0.store(pair.config);
                    tracing::info!(%cert, "the renewed certificate is in use");
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::warn!(%error, "the changed certificate and key are not used; the old ones stay");
                }
            }
        }
    }
}

async fn read(files: &mut WatchedFiles<2>) -> Result<CertAndKey, ServerCertError> {
    let [certificates, key] = files.read().await;
    CertAndKey::parse(files.paths(), certificates, key)
}

// === impl CertAndKey ===

impl CertAndKey {
    fn parse(paths: &[PathBuf; 2], cert: ReadResult, key: ReadResult) -> Result<Self, ServerCertError> {
        let [cert_path, key_path] = paths;
        let (cert, key) = (checked_contents(cert_path, cert)?, checked_contents(key_path, key)?);
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(&cert) {
            certificates.push(certificate.map_err(|source| ServerCertError::NoCertificate {
                path: cert_path.clone(),
                source: Some(source),
            })?);
        }
        let Some(leaf) = certificates.first().cloned() else {
            return Err(ServerCertError::NoCertificate {
                path: cert_path.clone(),
                source: None,
            });
        };
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|source| ServerCertError::NoKey {
            path: key_path.clone(),
            source,
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
        let (cert, key) = (cert_path.clone(), key_path.clone());
        let mut config = config.map_err(|source| {
            if source == InconsistentKeys::KeyMismatch.into() {
                ServerCertError::KeyMismatch { cert, key }
            } else {
                ServerCertError::Unusable { cert, key, source }
            }
        })?;
        let alpn = HttpVersion::Auto.alpn().iter();
        config.alpn_protocols = alpn.map(|protocol| protocol.to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
            leaf,
        })
    }

    /// Says what is not wrong yet.
    fn log_warnings(&self, files: &WatchedFiles<2>, clock: &Clock) {
        let [cert, key] = files.paths();
        let path = cert.display();
        match not_after(&self.leaf).map(|end| end.duration_since(clock.now())) {
            Some(Err(_past)) => tracing::warn!(
                %path,
                "the certificate has expired and clients will refuse it: put a new one there (`graphward ca --force` \
                 makes one); it is used as soon as it is there"
            ),
            Some(Ok(remaining)) if remaining < EXPIRY_WARNING => tracing::warn!(
                %path,
                days_left = remaining.as_secs() / 86_400,
                "the certificate ends soon: put a new one there (`graphward ca --force` makes one)"
            ),
            Some(Ok(_long)) => {}
            None => tracing::debug!(%path, "the end of the certificate is not known"),
        }
        if is_world_readable(key) {
            let path = key.display();
            tracing::warn!(%path, "everybody on this machine may read the private key: chmod 600, or defaultMode 0400");
        }
    }
}

fn checked_contents(path: &Path, read: ReadResult) -> Result<zeroize::Zeroizing<Vec<u8>>, ServerCertError> {
    let path = path.to_path_buf();
    match read {
        Ok(bytes) if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE_BYTES) => Ok(bytes),
        Ok(_longer) => Err(ServerCertError::TooLarge { path }),
        Err(source) => Err(ServerCertError::Read { path, source }),
    }
}

/// Whether others than its owner and his group may read it.
fn is_world_readable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests;
