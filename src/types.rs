//! Secrets, tenants, ids, families of tokens, clocks, dates and words of a shell: no I/O, no runtime.

mod clock;
mod date;
mod error_chain;
mod graph_id;
mod lock;
mod nearest;
mod redaction;
mod secret;
mod secret_ref;
mod secret_shape;
mod shell;
mod tenant;
mod token_family;
mod units;

pub use clock::{Clock, unix_seconds};
pub use date::Rfc3339Timestamp;
pub use error_chain::{AnyError, error_chain};
pub use graph_id::is_graph_id;
pub use lock::lock;
pub use nearest::{closest, nearest};
pub use redaction::redact_line;
pub use secret::{Fingerprint, Secret, SecretError};
pub(crate) use secret_ref::OneOrMany;
pub use secret_ref::{HIDDEN, MaybeSecret, SecretRef, shown_name, shown_path};
pub use secret_shape::{has_secret, has_token, is_token, might_be_secret, might_be_secret_argument, names_secret};
pub use shell::shell_word;
pub use tenant::{TenantId, TenantIdError};
pub use token_family::{TOKEN_PREFIXES, TokenFamily};
pub use units::{SIZES, TIMES, Unit, UnitError, parse_duration};
