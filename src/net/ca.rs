//! A throw-away CA, and certificates for Graph's host names.
//!
//! Tests also sign certificates with a wrong name, expired ones, and ones of an untrusted CA.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

use super::tls;
use crate::types::Clock;

/// A CA whose key exists only in this value.
#[derive(derive_more::Debug)]
#[debug("CertAuthority")]
pub struct CertAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The contents of a certificate.
#[derive(Clone, Debug)]
pub struct CertSpec {
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    /// The start of its validity.
    pub not_before: SystemTime,
    /// The end of its validity.
    pub not_after: SystemTime,
}

/// The reason why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A name is not valid in a certificate, or the key cannot be generated.
    #[error("cannot generate a certificate")]
    Generate(#[from] rcgen::Error),
    /// rustls rejected it.
    #[error("cannot use the certificate")]
    Rustls(#[from] rustls::Error),
}

// === impl CertAuthority ===

impl CertAuthority {
    /// Creates a CA without constraints, valid for ten years.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Generate`] if the key cannot be generated.
    pub fn new(clock: &Clock) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("graphward fake Graph CA");
        let now = clock.now();
        set_validity(&mut params, now - DAY, now + 3_650 * DAY);
        Self::self_signed(params)
    }

    /// Creates a CA that is constrained to the names of this leaf and their subdomains, and valid as long. Its own name is
    /// random, so that a client can trust two of them.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Generate`] if the key cannot be generated.
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

    /// The CA's certificate in PEM, for clients to trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Generates a key and signs a certificate for it.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Generate`] if a name is not valid in a certificate.
    pub fn sign(&self, spec: &CertSpec) -> Result<CertifiedKey<KeyPair>, CertificateError> {
        let signing_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(spec.names.clone())?;
        params.distinguished_name = common_name("graphward");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, spec.not_before, spec.not_after);
        let cert = params.signed_by(&signing_key, &self.issuer)?;
        Ok(CertifiedKey { cert, signing_key })
    }

    /// Builds TLS for a listener that presents `spec` and offers `alpn` in order of preference.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if a name is not valid in a certificate.
    pub fn acceptor(&self, spec: &CertSpec, alpn: &[&[u8]]) -> Result<TlsAcceptor, CertificateError> {
        let CertifiedKey { cert, signing_key } = self.sign(spec)?;
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
        let config = tls::server(vec![cert.der().clone()], key, alpn)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

// === impl CertSpec ===

impl CertSpec {
    /// Graph's host names and those of this machine, valid for a year.
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

/// Graph's host names.
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

/// The names of the local machine.
pub const LOCAL_HOSTS: [&str; 4] = ["localhost", "host.docker.internal", "127.0.0.1", "::1"];

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Sets the validity of a certificate. rcgen's date type has no conversion from `SystemTime` without the standard library
/// feature of its crate, but it can be added to.
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
    fn a_constrained_ca_is_valid_for_no_other_name() {
        let leaf = CertSpec::for_graph(&Clock::system());
        let authority = CertAuthority::constrained_to(&leaf).unwrap();
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let is_trusted_for = |signed_name: &str, name: &str| {
            let names = vec![signed_name.to_owned()];
            let signed = authority.sign(&CertSpec { names, ..leaf.clone() }).unwrap();
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let der = signed.cert.der();
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
