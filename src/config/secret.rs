//! References to secrets: `{ file = … }` or `{ env = … }`, never the secret itself.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::error::SECRET_REF;
use super::rules::{Entries, EnvName, FilePath, Header, Rule, optional};
use super::texts::inline_header;

/// The place of a secret.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(try_from = "SecretKeys")]
pub enum SecretRef {
    /// A file that holds nothing else.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// A text that may be a secret.
#[derive(Clone, Eq, JsonSchema, PartialEq)]
#[schemars(untagged)]
pub enum MaybeSecret {
    /// It is not one, and is written in the configuration.
    Inline(String),
    /// It is one.
    Ref(SecretRef),
}

/// The place of a secret: one of two.
#[derive(Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "{ file = \"/run/graphward/secret\" } or { env = \"NAME\" }"
)]
pub(super) struct SecretKeys {
    /// The path of a file that holds the secret and nothing else.
    #[serde(default, deserialize_with = "optional::<_, FilePath>")]
    file: Option<PathBuf>,
    /// The name of an environment variable that holds the secret.
    #[serde(default, deserialize_with = "optional::<_, EnvName>")]
    env: Option<String>,
}

impl TryFrom<SecretKeys> for SecretRef {
    type Error = String;

    fn try_from(keys: SecretKeys) -> Result<Self, String> {
        match (keys.file, keys.env) {
            (Some(path), None) => Ok(Self::File(path)),
            (None, Some(name)) => Ok(Self::Env(name)),
            (Some(_), Some(_)) | (None, None) => Err(format!("must be {SECRET_REF}")),
        }
    }
}

/// Deserializes a text that follows a rule, or a reference.
pub(super) fn maybe_secret<'de, D: Deserializer<'de>, R: Rule>(from: D) -> Result<MaybeSecret, D::Error> {
    from.deserialize_any(MaybeSecretVisitor(|text: &str| R::read(text).map(drop)))
}

/// Deserializes a text or a reference that may be left out.
pub(super) fn optional_maybe_secret<'de, D: Deserializer<'de>, R: Rule>(
    from: D,
) -> Result<Option<MaybeSecret>, D::Error> {
    let ruled = Option::<Ruled<R>>::deserialize(from)?;
    Ok(ruled.map(|Ruled(value, _)| value))
}

/// Deserializes the headers of a call.
pub(super) fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(HeaderName, MaybeSecret)>, D::Error> {
    from.deserialize_map(Entries::<Header, MaybeSecret> {
        expected: "a table, { Authorization = { file = \"/run/graphward/key\" } }",
        check: |name, value| match value {
            MaybeSecret::Inline(text) => inline_header(name, text),
            MaybeSecret::Ref(_) => Ok(()),
        },
    })
}

/// A text that follows a rule, or a reference.
struct Ruled<R>(MaybeSecret, PhantomData<R>);

impl<'de, R: Rule> Deserialize<'de> for Ruled<R> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        maybe_secret::<D, R>(from).map(|value| Self(value, PhantomData))
    }
}

impl<'de> Deserialize<'de> for MaybeSecret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(MaybeSecretVisitor(|_text: &str| Ok(())))
    }
}

struct MaybeSecretVisitor<F>(F);

impl<'de, F: FnOnce(&str) -> Result<(), String>> Visitor<'de> for MaybeSecretVisitor<F> {
    type Value = MaybeSecret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a quoted string, {SECRET_REF}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<MaybeSecret, E> {
        (self.0)(text).map_err(E::custom)?;
        Ok(MaybeSecret::Inline(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MaybeSecret, A::Error> {
        SecretRef::deserialize(MapAccessDeserializer::new(map)).map(MaybeSecret::Ref)
    }
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
                let path = std::path::absolute(path).unwrap_or_else(|_unknown_directory| path.clone());
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
