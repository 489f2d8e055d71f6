//! The configuration: flags, environment and file, checked.
//!
//! # Why
//!
//! The shapes are plain serde types, with two things around them that serde does not do: every error is reported at once,
//! with its file and line and the key that was meant, and no message repeats a value that could be a secret. Layering
//! crates (figment, config) lose one or the other.
//!
//! The configuration is read at the start, and again when a reload is requested (SIGHUP). It is not watched: half of a change
//! must not be applied. What changes without a request is the token, which its source watches.

mod check;
mod environment;
mod error;
mod file;
mod keys;
mod layers;
mod reload;
mod schema;
mod setting;
mod texts;
mod tree;
mod validate;

pub use environment::{CHILD_ADMIN_URL, CHILD_URL, EnvVars, common_env_vars, env_var_names, env_vars};
pub use error::{ConfigError, Diagnostic, Provenance};
pub use file::{
    AppConfig, CheckConfig, Config, LogConfig, RoutingConfig, StateConfig, TenantConfig, TokenConfig, UpstreamConfig,
};
#[cfg(fuzzing)]
pub use layers::of_text;
pub use layers::{DEFAULT_CONFIG_PATHS, GraphOverrides, LoadedConfig, Overrides, no_config_file};
pub use reload::ReloadedConfig;
pub use schema::json_schema;
pub use setting::Setting;

#[cfg(test)]
mod tests;
