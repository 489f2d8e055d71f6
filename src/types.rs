//! The words everything else is said in: no I/O, no runtime.

mod clock;
mod secret;
mod tenant;

pub use clock::Clock;
pub use secret::{Fingerprint, Secret, SecretError};
pub use tenant::{TenantId, TenantIdError};
