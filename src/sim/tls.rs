//! Certificates made on the spot: a CA of nobody's, and leaves for Graph's names.
//!
//! Leaves are made to measure, so that a test can also present a wrong name, an expired certificate, or one
//! that nobody's CA signed.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

use crate::types::Clock;

/// A CA that lives as long as this value.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    /// The first moment of its validity.
    pub not_before: SystemTime,
    /// The last moment of its validity.
    pub not_after: SystemTime,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A name that cannot stand in a certificate, or a key that cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// rustls does not take it.
    #[error("cannot use the certificate")]
    Use(#[from] rustls::Error),
}

// === impl Authority ===

impl Authority {
    /// Makes a CA.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Make`] if the system gives no random key.
    pub fn new(clock: &Clock) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("graphward fake Graph CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(clock.wall() - DAY);
        params.not_after =
            rcgen::date_time_ymd(1970, 1, 1) + since_1970(clock.wall() + 3_650 * DAY);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// The CA's certificate, for a client's list of roots.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// TLS for a listener that presents `leaf`, and offers `alpn` in order of preference.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if a name cannot stand in a certificate.
    pub fn acceptor(&self, leaf: &Leaf, alpn: &[&[u8]]) -> Result<TlsAcceptor, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(leaf.names.clone())?;
        params.distinguished_name = common_name("graphward fake Graph");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(leaf.not_before);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(leaf.not_after);
        let certificate = params.signed_by(&key, &self.issuer)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

// === impl Leaf ===

impl Leaf {
    /// The names under which Graph is called, plus those of this machine; valid for a year.
    #[must_use]
    pub fn graph(clock: &Clock) -> Self {
        Self {
            names: NAMES.map(str::to_owned).to_vec(),
            not_before: clock.wall() - DAY,
            not_after: clock.wall() + 365 * DAY,
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const NAMES: [&str; 14] = [
    "graph.facebook.com",
    "graph.beta.facebook.com",
    "graph-video.facebook.com",
    "graph-video.beta.facebook.com",
    "rupload.facebook.com",
    "lookaside.fbsbx.com",
    "graph.instagram.com",
    "api.instagram.com",
    "graph.threads.net",
    "graph.threads.com",
    "localhost",
    "host.docker.internal",
    "127.0.0.1",
    "::1",
];

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// rcgen's dates are a type of another crate, which has no conversion from ours without its standard library
/// feature, but takes a sum.
fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}
