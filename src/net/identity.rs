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

use super::connect::Http;
use super::validity::not_after;
use super::watch::{Files, MOST, Read};
use crate::types::{Clock, chain};

/// A certificate and its key, as they are now.
pub struct Identity(ArcSwap<ServerConfig>);

/// Keeps an [`Identity`] as its files are.
#[derive(Debug)]
pub struct Keeper {
    files: Files<2>,
    identity: Arc<Identity>,
    clock: Clock,
}

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
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
    Size {
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
    Mismatch {
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
struct Pair {
    config: Arc<ServerConfig>,
    /// The certificate, for its dates.
    leaf: CertificateDer<'static>,
}

/// How long a pair that does not fit may take to become one before it is warned of.
const PATIENCE: Duration = Duration::from_secs(2);
/// A certificate that ends within this is warned of.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

// === impl Identity ===

impl Identity {
    /// Reads a certificate, with those that vouch for it behind it, and its key. Whoever keeps the identity up to date
    /// is the [`Keeper`].
    ///
    /// # Errors
    ///
    /// [`IdentityError`] if the two cannot be used.
    pub async fn load(
        cert: PathBuf,
        key: PathBuf,
        clock: Clock,
    ) -> Result<(Arc<Self>, Keeper), IdentityError> {
        let mut files = Files::new([cert, key]);
        let pair = read(&mut files).await?;
        pair.remark(&files, &clock);
        let identity = Arc::new(Self(ArcSwap::new(pair.config)));
        let keeper = Keeper {
            files,
            identity: Arc::clone(&identity),
            clock,
        };
        Ok((identity, keeper))
    }

    /// TLS with what is current.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

// === impl Keeper ===

impl Keeper {
    /// Goes on for ever: whatever fits becomes the identity.
    pub async fn run(mut self) {
        loop {
            self.files.changed().await;
            let mut pair = read(&mut self.files).await;
            if pair.is_err() && timeout(PATIENCE, self.files.changed()).await.is_ok() {
                pair = read(&mut self.files).await;
            }
            let [cert, _key] = self.files.paths();
            let cert = cert.display();
            match pair {
                Ok(pair) => {
                    pair.remark(&self.files, &self.clock);
                    self.identity.0.store(pair.config);
                    tracing::info!(%cert, "the renewed certificate is in use");
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(%error, "the changed certificate and key are not used; the old ones stay");
                }
            }
        }
    }
}

async fn read(files: &mut Files<2>) -> Result<Pair, IdentityError> {
    let [certificates, key] = files.read().await;
    Pair::of(files.paths(), certificates, key)
}

// === impl Pair ===

impl Pair {
    fn of(paths: &[PathBuf; 2], cert: Read, key: Read) -> Result<Self, IdentityError> {
        let [cert_path, key_path] = paths;
        let (cert, key) = (whole(cert_path, cert)?, whole(key_path, key)?);
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(&cert) {
            certificates.push(certificate.map_err(|source| IdentityError::NoCertificate {
                path: cert_path.clone(),
                source: Some(source),
            })?);
        }
        let Some(leaf) = certificates.first().cloned() else {
            return Err(IdentityError::NoCertificate {
                path: cert_path.clone(),
                source: None,
            });
        };
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|source| IdentityError::NoKey {
            path: key_path.clone(),
            source,
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(certificates, key)
            });
        let (cert, key) = (cert_path.clone(), key_path.clone());
        let mut config = config.map_err(|source| {
            if source == InconsistentKeys::KeyMismatch.into() {
                IdentityError::Mismatch { cert, key }
            } else {
                IdentityError::Unusable { cert, key, source }
            }
        })?;
        let alpn = Http::Auto.alpn().iter();
        config.alpn_protocols = alpn.map(|protocol| protocol.to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
            leaf,
        })
    }

    /// Says what is not wrong yet.
    fn remark(&self, files: &Files<2>, clock: &Clock) {
        let [cert, key] = files.paths();
        let path = cert.display();
        match not_after(&self.leaf).map(|end| end.duration_since(clock.wall())) {
            Some(Err(_past)) => tracing::warn!(
                %path,
                "the certificate has expired and clients will refuse it: put a new one there (`graphward ca --force` \
                 makes one); it is used as soon as it is there"
            ),
            Some(Ok(left)) if left < SOON => tracing::warn!(
                %path,
                days_left = left.as_secs() / 86_400,
                "the certificate ends soon: put a new one there (`graphward ca --force` makes one)"
            ),
            Some(Ok(_long)) => {}
            None => tracing::debug!(%path, "the end of the certificate is not known"),
        }
        if is_open(key) {
            let path = key.display();
            tracing::warn!(%path, "everybody on this machine may read the private key: chmod 600, or defaultMode 0400");
        }
    }
}

fn whole(path: &Path, read: Read) -> Result<zeroize::Zeroizing<Vec<u8>>, IdentityError> {
    let path = path.to_path_buf();
    match read {
        Ok(bytes) if u64::try_from(bytes.len()).is_ok_and(|length| length <= MOST) => Ok(bytes),
        Ok(_longer) => Err(IdentityError::Size { path }),
        Err(source) => Err(IdentityError::Read { path, source }),
    }
}

/// Whether others than its owner and his group may read it.
fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests;
