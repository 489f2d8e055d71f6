//! Certificates made on the spot: a CA of nobody's, and leaves for Graph's names.
//!
//! Leaves are made to measure, so that a test can also present a wrong name, an expired certificate, or one
//! that nobody's CA signed.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::types::Clock;

/// A CA that lives as long as this value.
pub struct CertAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A leaf that was signed, and its key.
pub struct SignedCert {
    certificate: Certificate,
    key: KeyPair,
}

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct CertSpec {
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
    Generate(#[from] rcgen::Error),
    /// rustls does not take it.
    #[error("cannot use the certificate")]
    Rustls(#[from] rustls::Error),
}

// === impl CertAuthority ===

impl CertAuthority {
    /// Makes a CA that may sign anything, for ten years.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Generate`] if the system gives no random key.
    pub fn new(clock: &Clock) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("graphward fake Graph CA");
        let now = clock.now();
        set_validity(&mut params, now - DAY, now + 3_650 * DAY);
        Self::self_signed(params)
    }

    /// Makes a CA that may vouch for the names of this leaf and those below them, as long as it is valid, and for
    /// nothing else. Its own name is like no other's, so that a client may trust two of them.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Generate`] if the system gives no random key.
    pub fn constrained_to(spec: &CertSpec) -> Result<Self, CertificateError> {
        let subtree = |name: &String| match name.parse::<IpAddr>() {
            Ok(address) => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits))
            }
            Err(_name) => GeneralSubtree::DnsName(name.clone()),
        };
        let mut params = CertificateParams::default();
        let name = format!("graphward local CA {:08x}", fastrand::u32(..));
        params.distinguished_name = common_name(&name);
        set_validity(&mut params, spec.not_before, spec.not_after);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: spec.names.iter().map(subtree).collect(),
            excluded_subtrees: Vec::new(),
        });
        Self::self_signed(params)
    }

    fn self_signed(mut params: CertificateParams) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
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

    /// Makes a key, and signs a certificate for it.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Generate`] if a name cannot stand in a certificate.
    pub fn sign(&self, spec: &CertSpec) -> Result<SignedCert, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(spec.names.clone())?;
        params.distinguished_name = common_name("graphward");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, spec.not_before, spec.not_after);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(SignedCert { certificate, key })
    }

    /// TLS for a listener that presents `spec`, and offers `alpn` in order of preference.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if a name cannot stand in a certificate.
    pub fn acceptor(&self, spec: &CertSpec, alpn: &[&[u8]]) -> Result<TlsAcceptor, CertificateError> {
        let SignedCert { certificate, key } = self.sign(spec)?;
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

impl fmt::Debug for CertAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

// === impl SignedCert ===

impl SignedCert {
    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.certificate.pem()
    }

    /// Its key: PKCS#8.
    #[must_use]
    pub fn key(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }
}

impl fmt::Debug for SignedCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").finish_non_exhaustive()
    }
}

// === impl CertSpec ===

impl CertSpec {
    /// The names under which Graph is called, plus those of this machine; valid for a year.
    #[must_use]
    pub fn for_graph(clock: &Clock) -> Self {
        let names = GRAPH_HOSTS.iter().chain(&LOCAL_HOSTS);
        Self {
            names: names.map(|name| (*name).to_owned()).collect(),
            not_before: clock.now() - DAY,
            not_after: clock.now() + 365 * DAY,
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The names under which Graph is called.
pub const GRAPH_HOSTS: [&str; 10] = [
    "graph.facebook.com",
    "graph-video.facebook.com",
    "rupload.facebook.com",
    "lookaside.fbsbx.com",
    "graph.beta.facebook.com",
    "graph-video.beta.facebook.com",
    "graph.instagram.com",
    "api.instagram.com",
    "graph.threads.net",
    "graph.threads.com",
];

/// The names under which a machine calls itself.
pub const LOCAL_HOSTS: [&str; 4] = ["localhost", "host.docker.internal", "127.0.0.1", "::1"];

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Sets from when to when a certificate is valid. rcgen's dates are a type of another crate, which has no conversion
/// from ours without its standard library feature, but takes a sum.
fn set_validity(params: &mut CertificateParams, not_before: SystemTime, not_after: SystemTime) {
    let since_1970 = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_before);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_after);
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    #[test]
    fn a_ca_for_some_names_vouches_for_no_other() {
        let leaf = CertSpec::for_graph(&Clock::system());
        let authority = CertAuthority::constrained_to(&leaf).unwrap();
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let is_trusted_for = |for_: &str, name: &str| {
            let names = vec![for_.to_owned()];
            let signed = authority.sign(&CertSpec { names, ..leaf.clone() }).unwrap();
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let der = signed.certificate.der();
            let verified = verifier.verify_server_cert(der, &[], &name, &[], UnixTime::now());
            verified.is_ok()
        };
        for name in leaf.names.iter().map(String::as_str).chain(["a.graph.facebook.com"]) {
            assert!(is_trusted_for(name, name), "{name}");
        }
        for name in ["example.com", "facebook.com", "evil-graph.facebook.com", "127.0.0.2"] {
            assert!(!is_trusted_for(name, name), "{name}");
        }
        assert!(!is_trusted_for("localhost", "graph.facebook.com"));
    }
}
