//! The words everything else is said in: no I/O, no runtime.

mod chain;
mod clock;
mod date;
mod secret;
mod tenant;

pub use chain::chain;
pub use clock::Clock;
pub use date::{Utc, civil, days, unix};
pub use secret::{Fingerprint, Secret, SecretError};
pub use tenant::{TenantId, TenantIdError};
