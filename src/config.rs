//! What the file, the environment and the flags say, checked: a [`Config`] exists only if it is valid.
//!
//! # Why
//!
//! Deserialising into structs would be shorter, but it stops at the first fault, and a person mending a sidecar
//! would start it once per mistake. So the file is read into a tree that remembers lines (`file`), environment
//! and flags are laid over it (`layers`), and `resolve` asks for one key after the other. A key is known
//! because `resolve` asks for it; there is no second list to keep in step. No message contains a source line,
//! for the line at fault may be the one with a token in it.
//!
//! Configuration is read once. A sidecar's configuration changes with its pod; what changes while it runs is
//! the token, and that has its own way in.

mod address;
mod alerts;
mod app;
mod call;
mod environment;
mod fault;
mod file;
mod hosts;
mod layers;
mod load;
mod place;
mod read;
mod renew;
mod resolve;
mod secret;
mod settings;
mod source;
mod table;
mod tls;
mod token;
pub mod units;

pub use address::{BindAddress, BindAddressError};
pub use environment::{ENV_VARS, env_var};
pub use fault::{ConfigError, Fault};
#[cfg(fuzzing)]
pub use load::of_text;
pub use load::{DEFAULT_CONFIG_PATHS, LoadedConfig, Overrides};
pub use place::Provenance;
pub use settings::{
    AlertConfig, AppConfig, Config, ExecCommand, HealConfig, HttpCall, ListenConfig, LogConfig, MaybeSecret,
    PostgresSourceConfig, RenewerConfig, SecretRef, StoreConfig, TlsFiles, TokenConfig, TokenSource, UpstreamConfig,
};
