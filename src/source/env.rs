//! An environment variable, read at start: a process cannot see its environment change.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::token::{BoxFuture, ObtainError, Source, Token};

use super::decode::{Format, decode_token};

/// An environment variable that holds the token, as a file that contains only the token would.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EnvSource {
    /// The variable's name.
    #[serde(rename = "env")]
    #[schemars(extend("pattern" = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$", "patternErrorMessage" = "must be the name of an environment variable (letters, digits and _), not its value"))]
    pub name: String,
}

impl EnvSource {
    fn read(&self) -> Result<Token, ObtainError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is one of the two callers that clippy.toml allows"
        )]
        let text = std::env::var(&self.name).map_err(|error| {
            // The value may be the secret, and `NotUnicode` would print it.
            drop(error);
            let message = format!(
                "the environment variable {} is not set or is not valid UTF-8",
                self.name
            );
            ObtainError::permanent("missing", message)
        })?;
        decode_token(text.as_bytes(), &Format::Raw, None).map_err(|error| {
            let message = format!("the environment variable {} does not contain a valid token", self.name);
            ObtainError::permanent(error.label(), message).with_source(error)
        })
    }
}

impl Source for EnvSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(std::future::ready(self.read()))
    }

    fn describe(&self) -> String {
        format!("environment variable {}", self.name)
    }
}
