//! The fake Graph's certificates.

pub use crate::net::ca::{Authority, CertificateError, Leaf};
