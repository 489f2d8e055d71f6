//! The fake Graph's certificates.

pub use crate::net::ca::{CertAuthority, CertSpec, CertificateError};
