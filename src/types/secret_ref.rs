//! References to secrets: `{ file = … }` or `{ env = … }`, never the secret itself.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// The place of a secret.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("format" = "secret"))]
pub enum SecretRef {
    /// A file that holds the secret and nothing else.
    File(#[schemars(extend("format" = "path"))] PathBuf),
    /// An environment variable that holds the secret.
    Env(
        #[schemars(extend("pattern" = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$", "patternErrorMessage" = "must be the name of an environment variable (letters, digits and _), not its value"))]
         String,
    ),
}

/// A text that may be a secret.
#[derive(Clone, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum MaybeSecret {
    /// The text itself, if it is not a secret.
    Inline(String),
    /// The place of the text, if it is a secret.
    Ref(SecretRef),
}

impl fmt::Debug for MaybeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // It should not be a secret, but the operator may have written one.
            Self::Inline(_) => f.write_str("Inline(..)"),
            Self::Ref(place) => f.debug_tuple("Ref").field(place).finish(),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the variable {}", unless_secret(name)),
            Self::File(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                write!(f, "the file `{}`", path.with_file_name(unless_secret(&name)).display())
            }
        }
    }
}

/// The name of a file or a variable, unless it looks like a secret that was written in its place: a long row of letters
/// and digits, not all in capitals.
fn unless_secret(name: &str) -> &str {
    let lower = name.bytes().any(|byte| byte.is_ascii_lowercase());
    let mut rows = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    if lower && rows.any(|row| row.len() >= 20) {
        "(not shown: may be a secret)"
    } else {
        name
    }
}

/// The JSON Schema of one value or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(#[schemars(length(min = 1))] Vec<T>),
}
