//! Secrets, tenants, clocks and dates: no I/O, no runtime.

mod clock;
mod date;
mod error_chain;
mod secret;
mod tenant;

pub use clock::Clock;
pub use date::Rfc3339Timestamp;
pub use error_chain::error_chain;
pub use secret::{Fingerprint, Secret, SecretError};
pub use tenant::{TenantId, TenantIdError};
