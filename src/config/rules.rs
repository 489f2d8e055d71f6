//! What a string of the configuration must be: one rule for each kind of text, and the functions that deserialize by it.
//!
//! # Why
//!
//! A field keeps the plain type that its module takes (`String`, `PathBuf`, `Uri`) and names its rule in an attribute.
//! The most common mistake is to write a secret where a reference to it belongs, so no message of a rule for such a place
//! repeats the value.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use http::{HeaderName, Uri};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::address::BindAddress;
use super::{hosts, texts};
use crate::proxy::Spool;

/// What a text must be.
pub(super) trait Rule {
    /// What it becomes.
    type Value;
    /// The name under which it is asked for: [`PATH`] has a meaning to the deserializer.
    const NAME: &'static str = "text";

    /// Reads a text, or says what it must be.
    fn read(text: &str) -> Result<Self::Value, String>;
}

/// The name of a text that is a path, which is relative to the file that it is written in.
pub(super) const PATH: &str = "path";
/// The name of a value that may stand for a list of one.
pub(super) const ONE_OR_MANY: &str = "OneOrMany";

/// A text that follows a rule.
pub(super) struct Checked<R: Rule>(pub(super) R::Value);

/// One value, or a list of several.
#[derive(Deserialize)]
pub(super) struct OneOrMany<T>(Vec<T>);

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident: $value:ty = $read:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl Rule for $name {
            type Value = $value;

            fn read(text: &str) -> Result<$value, String> {
                $read(text)
            }
        }
    )*};
}

rules! {
    /// An address to listen on.
    Address: BindAddress = |text: &str| text.parse().map_err(|error: super::address::BindAddressError| error.to_string());
    /// `https://host[:port]`.
    Origin: String = hosts::origin;
    /// The name of a host.
    Host: String = hosts::host;
    /// The name of a host, as the connector looks it up.
    DialedHost: String = hosts::dialed_host;
    /// `host:port`.
    HostPort: String = hosts::host_port;
    /// An id of Graph's.
    Id: String = texts::id;
    /// The name of an environment variable.
    EnvName: String = texts::env_name;
    /// A variable that a command may get. The variables of graphward may hold the token or the app's secret.
    PassedEnv: String = texts::passed_env;
    /// An argument of a command.
    Argument: String = texts::argument;
    /// The key of a `KEY=value` line.
    LineKey: String = texts::line_key;
    /// A JSON pointer.
    Pointer: String = texts::pointer;
    /// The URL of a service.
    ServiceUrl: Uri = texts::service_url;
    /// The URL of a database, without a password.
    PostgresUrl: () = texts::postgres_url;
    /// The URL of a webhook. A Slack webhook's is a secret by itself; whether it is one is for the operator to decide.
    WebhookUrl: () = |text| texts::service_url(text).map(drop);
    /// An SQL statement.
    Statement: String = texts::statement;
    /// An SQL statement that stores the new token.
    Update: String = texts::update;
    /// The name of a PostgreSQL channel.
    Channel: String = texts::channel;
    /// The name of a permission.
    Scope: String = texts::scope;
    /// The name of a header that graphward does not set itself.
    Header: HeaderName = texts::header;
    /// The directory for spooled bodies.
    SpoolDir: Spool = texts::spool_dir;
}

/// The path of a file.
pub(super) struct FilePath;

impl Rule for FilePath {
    type Value = PathBuf;
    const NAME: &'static str = PATH;

    fn read(text: &str) -> Result<PathBuf, String> {
        // A webhook's address, say, or a database's with its password, or a private key.
        let is_content = text.contains("://") || text.contains('\0') || text.contains("-----BEGIN");
        if text.is_empty() || is_content {
            return Err("must be a file path, not the file's content".to_owned());
        }
        Ok(PathBuf::from(text))
    }
}

/// The path of a file; "" for none.
pub(super) struct FilePathOrEmpty;

impl Rule for FilePathOrEmpty {
    type Value = PathBuf;
    const NAME: &'static str = PATH;

    fn read(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() {
            Ok(PathBuf::new())
        } else {
            FilePath::read(text)
        }
    }
}

// === Deserializing by a rule ===

/// Deserializes a text.
pub(super) fn text<'de, D: Deserializer<'de>, R: Rule>(from: D) -> Result<R::Value, D::Error> {
    Checked::<R>::deserialize(from).map(|checked| checked.0)
}

/// Deserializes a text that may be left out.
pub(super) fn optional<'de, D: Deserializer<'de>, R: Rule>(from: D) -> Result<Option<R::Value>, D::Error> {
    Option::<Checked<R>>::deserialize(from).map(|checked| checked.map(|checked| checked.0))
}

/// Deserializes a list of texts.
pub(super) fn texts<'de, D: Deserializer<'de>, R: Rule>(from: D) -> Result<Vec<R::Value>, D::Error> {
    let checked = Vec::<Checked<R>>::deserialize(from)?;
    Ok(checked.into_iter().map(|checked| checked.0).collect())
}

/// Deserializes one value, or a list that is not empty.
pub(super) fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let OneOrMany(values) = OneOrMany::deserialize(from)?;
    if values.is_empty() {
        return Err(Error::custom("must be one value or a list of at least one"));
    }
    Ok(values)
}

/// Deserializes one text, or a list that is not empty.
pub(super) fn one_or_many_texts<'de, D: Deserializer<'de>, R: Rule>(from: D) -> Result<Vec<R::Value>, D::Error> {
    let checked = one_or_many::<D, Checked<R>>(from)?;
    Ok(checked.into_iter().map(|checked| checked.0).collect())
}

/// Deserializes a program and its arguments.
pub(super) fn argv<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let argv = texts::<D, Argument>(from)?;
    if argv.first().is_none_or(String::is_empty) {
        let message = "must be a program and its arguments, [\"vault\", \"read\", \"…\"]; there is no shell";
        return Err(Error::custom(message));
    }
    Ok(argv)
}

/// Deserializes a list of permissions.
pub(super) fn scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let scopes = texts::<D, Scope>(from)?;
    if scopes.is_empty() {
        let message = "must list the token's permissions, such as [\"whatsapp_business_messaging\", \
             \"whatsapp_business_management\"]";
        return Err(Error::custom(message));
    }
    Ok(scopes)
}

/// Deserializes an integer between two others.
pub(super) fn integer<'de, D: Deserializer<'de>, T: TryFrom<i64>, const MIN: i64, const MAX: i64>(
    from: D,
) -> Result<T, D::Error> {
    let number = i64::deserialize(from)?;
    let valid = (MIN..=MAX)
        .contains(&number)
        .then(|| T::try_from(number).ok())
        .flatten();
    valid.ok_or_else(|| Error::custom(format!("must be between {MIN} and {MAX}, not {number}")))
}

/// Deserializes the table of hosts that are dialed elsewhere.
pub(super) fn connect_to<'de, D: Deserializer<'de>>(from: D) -> Result<HashMap<String, String>, D::Error> {
    let entries = from.deserialize_map(Entries::<DialedHost, Checked<HostPort>> {
        expected: "a table of hosts, \"graph.facebook.com\" = \"127.0.0.1:18443\"",
        check: |_host, _address| Ok(()),
    })?;
    Ok(entries.into_iter().map(|(host, address)| (host, address.0)).collect())
}

/// A table whose keys are free but follow a rule.
pub(super) struct Entries<R: Rule, V> {
    /// What the table is.
    pub(super) expected: &'static str,
    /// Checks a value that depends on its key.
    pub(super) check: fn(&R::Value, &V) -> Result<(), String>,
}

impl<'de, R: Rule<Value: PartialEq>, V: Deserialize<'de>> Visitor<'de> for Entries<R, V> {
    type Value = Vec<(R::Value, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Self::Value = Vec::new();
        while let Some(Checked(key)) = map.next_key::<Checked<R>>()? {
            let value = map.next_value()?;
            (self.check)(&key, &value).map_err(Error::custom)?;
            if entries.iter().any(|(other, _)| *other == key) {
                return Err(Error::custom("has a duplicate key (names are case-insensitive)"));
            }
            entries.push((key, value));
        }
        Ok(entries)
    }
}

// === impl Checked ===

impl<'de, R: Rule> Deserialize<'de> for Checked<R> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_newtype_struct(R::NAME, CheckedVisitor(PhantomData))
    }
}

struct CheckedVisitor<R>(PhantomData<R>);

impl<'de, R: Rule> Visitor<'de> for CheckedVisitor<R> {
    type Value = Checked<R>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quoted string")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Checked<R>, D::Error> {
        from.deserialize_str(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Checked<R>, E> {
        R::read(text).map(Checked).map_err(E::custom)
    }
}
