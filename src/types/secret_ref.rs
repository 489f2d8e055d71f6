//! References to secrets: `{ file = … }` or `{ env = … }`, perhaps with a `key` or a `pointer`, never the secret itself.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::secret_shape::is_token;

/// The place of a secret.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, derive_more::Display)]
#[serde(untagged)]
#[schemars(extend("format" = "secret"))]
pub enum SecretRef {
    /// A file that holds the secret.
    #[schemars(extend("title" = "Secret file", "additionalProperties" = false, "not" = { "required": ["key", "pointer"] }))]
    #[display("the file `{}`", shown_path(path))]
    File {
        /// The file's path.
        #[serde(rename = "file")]
        #[schemars(extend("format" = "path"))]
        path: PathBuf,
        /// The key of the KEY=value line that holds the secret.
        #[schemars(extend("pattern" = r"^[A-Za-z0-9_.-]{1,100}$", "patternErrorMessage" = "must be the key before the = sign in the file, such as \"APP_SECRET\""))]
        key: Option<String>,
        /// The JSON pointer to the secret.
        #[schemars(extend("pattern" = r"^(/([^~/]|~[01])*)+$", "patternErrorMessage" = "must be a JSON pointer, such as \"/app_secret\" or \"/SecretString/app_secret\""))]
        pointer: Option<String>,
    },
    /// An environment variable that holds the secret.
    #[schemars(extend("additionalProperties" = false))]
    #[display("the variable {}", shown_name(name))]
    Env {
        /// The variable's name.
        #[serde(rename = "env")]
        #[schemars(extend("pattern" = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$", "patternErrorMessage" = "must be the name of an environment variable (letters, digits and _), not its value"))]
        name: String,
        /// The JSON pointer to the secret.
        #[schemars(extend("pattern" = r"^(/([^~/]|~[01])*)+$", "patternErrorMessage" = "must be a JSON pointer, such as \"/app_secret\" or \"/SecretString/app_secret\""))]
        pointer: Option<String>,
    },
}

/// A text that may be a secret.
#[derive(Clone, Deserialize, Eq, JsonSchema, PartialEq, derive_more::Debug)]
#[serde(untagged)]
pub enum MaybeSecret {
    /// The text itself, if it is not a secret.
    // It should not be one, but the operator may have written one.
    #[debug("Inline(..)")]
    Inline(String),
    /// The place of the text, if it is a secret.
    Ref(SecretRef),
}

impl SecretRef {
    /// A file that holds the secret and nothing else.
    #[must_use]
    pub const fn file(path: PathBuf) -> Self {
        let (key, pointer) = (None, None);
        Self::File { path, key, pointer }
    }

    /// A variable that holds the secret and nothing else.
    #[must_use]
    pub const fn env(name: String) -> Self {
        Self::Env { name, pointer: None }
    }
}

/// The path as a message may show it: a secret may have been written in the place of the file's name.
#[must_use]
pub fn shown_path(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(shown_name(&name)).display().to_string()
}

/// The text that messages show in place of one that may be a secret.
pub const HIDDEN: &str = "(not shown: may be a secret)";

/// The name of a file or a variable, unless it looks like a secret that was written in its place: a long row of letters
/// and digits, not all in capitals.
#[must_use]
pub fn shown_name(name: &str) -> &str {
    let lower = name.bytes().any(|byte| byte.is_ascii_lowercase());
    let mut rows = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    if is_token(name) || (lower && rows.any(|row| row.len() >= 20)) {
        HIDDEN
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
