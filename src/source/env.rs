//! An environment variable, read at start: a process cannot see its environment change.

use crate::token::{BoxFuture, ObtainError, Source, Token};

use super::decode::{Format, token};

/// A token in an environment variable.
#[derive(Debug)]
pub struct EnvSource {
    name: String,
}

impl EnvSource {
    /// The variable `name`, in the same tolerant form as a file with nothing but the token.
    #[must_use]
    pub const fn new(name: String) -> Self {
        Self { name }
    }

    fn read(&self) -> Result<Token, ObtainError> {
        let permanent = |what: String, reason, source| ObtainError::Permanent {
            message: what,
            reason,
            source,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "this is one of the two doors the others are sent to"
        )]
        let text = std::env::var(&self.name).map_err(|error| {
            // The variable's text may be the secret, and `NotUnicode` would print it: only the absence is told.
            drop(error);
            permanent(
                format!("the environment variable {} is not set, or not text", self.name),
                "missing",
                None,
            )
        })?;
        let found = token(text.as_bytes(), &Format::Raw, None).map_err(|error| {
            let what = format!("the environment variable {} holds no usable token", self.name);
            permanent(what, error.label(), Some(Box::new(error)))
        })?;
        Ok(found)
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
