//! The TLS certificate for the app's connections, read from files and reloaded when they change.
//!
//! # Why
//!
//! Two files cannot be replaced atomically, unless a symlink is swapped. So a certificate and key that do not match get a
//! moment to become a pair, then graphward warns once; until they match, the previous pair stays in use. Open connections
//! keep their certificate. A reloaded pair is a new TLS configuration, so sessions of the old one are not resumed.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{InconsistentKeys, ServerConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::connect::HttpVersion;
use super::tls;
use crate::os::watch::{MAX_FILE_BYTES, ReadResult, WatchedFiles};
use crate::types::{Clock, error_chain};

/// The current certificate and its key.
#[derive(derive_more::Debug)]
#[debug("ServerCert")]
pub struct ServerCert(ArcSwap<ServerConfig>);

/// The files of a certificate and its key.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM: the certificate, followed by those that issued it.
    #[schemars(extend("format" = "optional-path"))]
    pub cert: PathBuf,
    /// PEM: the certificate's private key.
    #[schemars(extend("format" = "optional-path"))]
    pub key: PathBuf,
}

/// Reloads a [`ServerCert`] when its files change.
#[derive(Debug)]
pub struct CertReloader {
    files: WatchedFiles<2>,
    server_cert: Arc<ServerCert>,
    clock: Clock,
}

/// The reason why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerCertError {
    /// A file cannot be read.
    #[error("cannot read `{}`", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file is too large for a certificate or key.
    #[error("`{}` is larger than 64 KiB; expected a PEM certificate or key", .0.display())]
    TooLarge(PathBuf),
    /// The file has no PEM certificate.
    #[error("`{}` has no PEM certificate (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf, #[source] pem::Error),
    /// The file has no PEM key, or an encrypted one.
    #[error("`{}` has no unencrypted PEM private key (-----BEGIN PRIVATE KEY-----)", .0.display())]
    NoKey(PathBuf, #[source] pem::Error),
    /// The key belongs to another certificate.
    #[error(
        "the key in `{}` does not match the certificate in `{}`; the leaf certificate must come first",
        key.display(), cert.display()
    )]
    KeyMismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// rustls rejected the certificate or the key.
    #[error("the certificate `{}` and the key `{}` are not usable", cert.display(), key.display())]
    Unusable {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
}

/// A certificate and its matching key.
struct CertAndKey {
    config: Arc<ServerConfig>,
    /// The end of the leaf certificate's validity, if it can be parsed.
    not_after: Option<SystemTime>,
}

/// The time that a mismatched pair has to become a matching one before graphward warns.
const MISMATCH_GRACE: Duration = Duration::from_secs(2);
/// graphward warns of a certificate that expires within this time.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 60 * 60);

// === impl ServerCert ===

impl ServerCert {
    /// Reads a certificate chain and its key. The [`CertReloader`] keeps them up to date.
    ///
    /// # Errors
    ///
    /// [`ServerCertError`] if they cannot be used.
    pub async fn load(files: TlsFiles, clock: Clock) -> Result<(Arc<Self>, CertReloader), ServerCertError> {
        let mut files = WatchedFiles::new([files.cert, files.key]);
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

    /// Uses the certificate of another one from now on.
    pub fn replace_with(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// Builds TLS with the current certificate.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}

// === impl CertReloader ===

impl CertReloader {
    /// Runs forever: puts every new matching pair in use.
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
                    tracing::info!(%cert, "reloaded the TLS certificate");
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::warn!(%error, "cannot reload the TLS certificate; the previous one stays in use");
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
        let no_certificate = |source| ServerCertError::NoCertificate(cert_path.clone(), source);
        let chain = tls::parse_certificates(&cert).map_err(no_certificate)?;
        let no_key = |source| ServerCertError::NoKey(key_path.clone(), source);
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(no_key)?;
        let not_after = chain.first().and_then(|leaf| not_after(leaf));
        let config = tls::server(chain, key, HttpVersion::Auto.alpn()).map_err(|source| {
            let (cert, key) = (cert_path.clone(), key_path.clone());
            if source == InconsistentKeys::KeyMismatch.into() {
                ServerCertError::KeyMismatch { cert, key }
            } else {
                ServerCertError::Unusable { cert, key, source }
            }
        })?;
        Ok(Self {
            config: Arc::new(config),
            not_after,
        })
    }

    /// Logs warnings about a valid pair.
    fn log_warnings(&self, files: &WatchedFiles<2>, clock: &Clock) {
        let [cert, key] = files.paths();
        let path = cert.display();
        match self.not_after.map(|end| end.duration_since(clock.now())) {
            Some(Err(_past)) => tracing::warn!(
                %path,
                "the TLS certificate has expired and clients will reject it: replace the file (`graphward ca --force` \
                 generates one); graphward reloads it automatically"
            ),
            Some(Ok(remaining)) if remaining < EXPIRY_WARNING => tracing::warn!(
                %path,
                days_left = remaining.as_secs() / 86_400,
                "the TLS certificate expires soon: replace the file (`graphward ca --force` generates one)"
            ),
            Some(Ok(_long)) => {}
            None => tracing::debug!(%path, "cannot read the certificate's expiry date"),
        }
        if is_world_readable(key) {
            let path = key.display();
            tracing::warn!(
                %path,
                "the private key is world-readable: run chmod 600, or set defaultMode 0400 on the Kubernetes volume"
            );
        }
    }
}

fn checked_contents(path: &Path, read: ReadResult) -> Result<zeroize::Zeroizing<Vec<u8>>, ServerCertError> {
    let path = path.to_path_buf();
    match read {
        Ok(bytes) if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE_BYTES) => Ok(bytes),
        Ok(_longer) => Err(ServerCertError::TooLarge(path)),
        Err(source) => Err(ServerCertError::Read(path, source)),
    }
}

/// Returns whether every user of the machine can read the file.
fn is_world_readable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o004 != 0)
}

/// Returns the end of a DER certificate's validity, which rustls does not check; `None` if it cannot be parsed.
fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_system_time())
}

#[cfg(test)]
mod tests;
