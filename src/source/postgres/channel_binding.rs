//! `tls-server-end-point` (RFC 5929): the server's certificate, hashed, which SCRAM may bind a login to.
//!
//! # Why
//!
//! The certificate is verified, so nobody stands between. But hosted databases hand out URLs with
//! `channel_binding=require`, and those should do as they are.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// What a certificate's own signature was hashed with decides; none if that is not one of the usual.
pub(super) fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    /// PKCS #1 and X9.62, each with SHA-256, SHA-384 and SHA-512.
    const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    let algorithm = signature_algorithm(certificate)?;
    let rsa = algorithm.strip_prefix(&RSA);
    let ecdsa = algorithm.strip_prefix(&ECDSA);
    match (rsa, ecdsa) {
        (Some([0x0b]), _) | (_, Some([0x02])) => Some(Sha256::digest(certificate).to_vec()),
        (Some([0x0c]), _) | (_, Some([0x03])) => Some(Sha384::digest(certificate).to_vec()),
        (Some([0x0d]), _) | (_, Some([0x04])) => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// The object identifier of the algorithm that signed: `SEQUENCE { SEQUENCE …, SEQUENCE { OID …`.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const OID: u8 = 0x06;
    let (body, _) = der_value(SEQUENCE, certificate)?;
    let (_signed, rest) = der_value(SEQUENCE, body)?;
    let (algorithm, _) = der_value(SEQUENCE, rest)?;
    Some(der_value(OID, algorithm)?.0)
}

/// A DER value that has this tag, and what is behind it.
fn der_value(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            let whole = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            (whole, rest)
        }
        short => (usize::from(*short), rest),
    };
    (*first == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    #[test]
    fn a_certificate_is_hashed_with_what_signed_it() {
        let certificate = |algorithm| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let params = CertificateParams::new(vec!["db.internal".to_owned()]);
            let certificate = params.unwrap().self_signed(&key).unwrap();
            certificate.der().to_vec()
        };
        let p256 = certificate(&PKCS_ECDSA_P256_SHA256);
        assert_eq!(tls_server_end_point(&p256), Some(Sha256::digest(&p256).to_vec()));
        let p384 = certificate(&PKCS_ECDSA_P384_SHA384);
        assert_eq!(tls_server_end_point(&p384), Some(Sha384::digest(&p384).to_vec()));
        // RFC 5929 has no word for it.
        assert_eq!(tls_server_end_point(&certificate(&PKCS_ED25519)), None);
    }

    #[test]
    fn a_truncated_or_invalid_certificate_has_no_channel_binding() {
        for bytes in [
            &b""[..],
            b"\x30",
            b"\x30\x82\xff",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x02\x30\x00",
        ] {
            assert_eq!(tls_server_end_point(bytes), None);
        }
    }
}
