//! Paths, URLs and arguments with `{tenant}` in them.
//!
//! # Why
//!
//! A name comes from a client, and becomes a part of a path, a URL or a command. It never leads to another directory, host or
//! option: it is one file of one directory, it is percent-encoded in URLs and cannot be in their host, and in a command it
//! begins as no option (`-x`) and no reference to a file (`@x`) does.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::http::{ServiceTextError, ServiceUrl};
use crate::token::ObtainError;
use crate::types::TenantId;

/// The place of a tenant's name.
pub(super) const PLACEHOLDER: &str = "{tenant}";

/// The path of a file for each tenant: `{tenant}` stands once, in the last part.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("format" = "tenant-path"))]
pub struct TenantPath {
    directory: PathBuf,
    /// What a file's name begins with.
    prefix: String,
    /// What a file's name ends with.
    suffix: String,
}

/// The URL of a service for each tenant: `{tenant}` stands in its path or its query, if it stands anywhere.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, derive_more::Display)]
#[display("{text}")]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("format" = "tenant-url"))]
pub struct TenantUrl {
    text: String,
    sample: Uri,
}

/// The reason why a text cannot have a place for the name of a tenant. It does not repeat the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TenantPatternError {
    /// `{tenant}` is missing in a path, stands in a directory, or twice.
    #[error("must be a path with {{tenant}} once, in its last part, such as \"/run/graphward/tokens/{{tenant}}\"")]
    Path,
    /// Files with such names are skipped.
    #[error("describes files that graphward skips: those that begin with . or end with ~, .swp, .tmp or .lock")]
    SkippedFiles,
    /// `{tenant}` is a part of the scheme, the host, the port or the user, or after a `#`.
    #[error("contains {{tenant}} outside of the path and the query")]
    OutsidePath,
    /// Another brace: `${tenant}`, `{{tenant}}`, `{id}`.
    #[error("contains a brace that is not of {{tenant}}; write {{tenant}} for the name, and other values as they are")]
    OtherBrace,
    /// It is no URL of a service.
    #[error(transparent)]
    Url(#[from] ServiceTextError),
}

/// What stands for itself in every part of a URL.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Hidden files begin like this. So do the links of Kubernetes, and the temporary files of graphward.
const HIDDEN: char = '.';
/// How files end that are not whole yet, or no tokens: those of editors, of writers, and locks.
const SKIPPED_ENDINGS: [&str; 4] = ["~", ".swp", ".tmp", ".lock"];

// === impl TenantPath ===

impl TenantPath {
    /// The directory of the files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        if self.directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.directory
        }
    }

    /// Returns the path of a tenant's file.
    #[must_use]
    pub fn file_of(&self, tenant: &TenantId) -> PathBuf {
        self.directory.join(format!("{}{tenant}{}", self.prefix, self.suffix))
    }

    /// The files of tenants that are in the directory; none if it cannot be read.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let entries = std::fs::read_dir(self.directory()).into_iter().flatten().flatten();
        let entries = entries.filter(|entry| self.name_in(&entry.file_name()).is_some());
        entries.map(|entry| entry.path())
    }

    /// Returns the part of a file's name that should be the name of a tenant; `None` if the file is not of a tenant.
    pub(super) fn name_in(&self, file_name: &OsStr) -> Option<String> {
        let file_name = file_name.to_string_lossy();
        let name = || file_name.strip_prefix(&self.prefix)?.strip_suffix(&self.suffix);
        if is_skipped(&file_name) {
            None
        } else {
            name().map(str::to_owned)
        }
    }
}

impl FromStr for TenantPath {
    type Err = TenantPatternError;

    fn from_str(text: &str) -> Result<Self, TenantPatternError> {
        let (before, suffix) = text.split_once(PLACEHOLDER).ok_or(TenantPatternError::Path)?;
        let (directory, prefix) = match before.rsplit_once('/') {
            Some(("", prefix)) => ("/", prefix),
            Some(parts) => parts,
            None => ("", before),
        };
        let is_file = !suffix.contains('/') && !text.contains("://") && !text.contains('\0');
        if !is_file || text.matches(PLACEHOLDER).count() > 1 {
            return Err(TenantPatternError::Path);
        }
        if has_other_brace(text) {
            return Err(TenantPatternError::OtherBrace);
        }
        if is_skipped(&format!("{prefix}x{suffix}")) {
            return Err(TenantPatternError::SkippedFiles);
        }
        Ok(Self {
            directory: directory.into(),
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        })
    }
}

/// Returns whether a text has a variable of a shell or another template in it, or another brace.
fn has_other_brace(text: &str) -> bool {
    text.contains("${") || text.replace(PLACEHOLDER, "").contains(['{', '}'])
}

fn is_skipped(file_name: &str) -> bool {
    file_name.starts_with(HIDDEN) || SKIPPED_ENDINGS.iter().any(|ending| file_name.ends_with(ending))
}

impl TryFrom<String> for TenantPath {
    type Error = TenantPatternError;

    fn try_from(text: String) -> Result<Self, TenantPatternError> {
        text.parse()
    }
}

impl fmt::Display for TenantPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{}{PLACEHOLDER}{}", self.prefix, self.suffix);
        self.directory.join(name).display().fmt(f)
    }
}

// === impl TenantUrl ===

impl TenantUrl {
    /// Returns whether the name of a tenant is a part of it.
    pub(super) fn names_tenant(&self) -> bool {
        self.text.contains(PLACEHOLDER)
    }

    /// The URL of a tenant that need not exist.
    pub(super) const fn sample(&self) -> &Uri {
        &self.sample
    }

    /// Returns the URL for a tenant.
    pub(super) fn of_tenant(&self, tenant: &TenantId) -> Result<Uri, ServiceTextError> {
        fill_url(&self.text, tenant.as_str())
    }
}

fn fill_url(text: &str, name: &str) -> Result<Uri, ServiceTextError> {
    let name = utf8_percent_encode(name, ENCODED).to_string();
    let url: ServiceUrl = text.replace(PLACEHOLDER, &name).parse()?;
    Ok(url.uri().clone())
}

impl FromStr for TenantUrl {
    type Err = TenantPatternError;

    fn from_str(text: &str) -> Result<Self, TenantPatternError> {
        if has_other_brace(text) {
            return Err(TenantPatternError::OtherBrace);
        }
        let (one, other) = (fill_url(text, "a")?, fill_url(text, "b")?);
        let is_same_host = one.scheme() == other.scheme() && one.authority() == other.authority();
        // What follows a `#` is not sent.
        let is_sent = one.path_and_query() != other.path_and_query() || !text.contains(PLACEHOLDER);
        let (text, sample) = (text.to_owned(), one);
        (is_same_host && is_sent)
            .then_some(Self { text, sample })
            .ok_or(TenantPatternError::OutsidePath)
    }
}

impl TryFrom<String> for TenantUrl {
    type Error = TenantPatternError;

    fn try_from(text: String) -> Result<Self, TenantPatternError> {
        text.parse()
    }
}

/// Returns the headers for a tenant.
pub(super) fn headers_of_tenant(headers: &HeaderMap, tenant: &TenantId) -> HeaderMap {
    let fill = |value: &HeaderValue| {
        let text = value.to_str().ok().filter(|text| text.contains(PLACEHOLDER))?;
        let mut filled = HeaderValue::from_str(&text.replace(PLACEHOLDER, tenant.as_str())).ok()?;
        filled.set_sensitive(true);
        Some(filled)
    };
    let filled = headers.iter().map(|(name, value)| {
        let value = fill(value).unwrap_or_else(|| value.clone());
        (name.clone(), value)
    });
    filled.collect()
}

/// Returns a command line for a tenant.
///
/// # Errors
///
/// A command could take the name for an option, a reference to a file or another directory.
pub(super) fn argv_of_tenant(argv: &[String], tenant: &TenantId) -> Result<Vec<String>, ObtainError> {
    let name = tenant.as_str();
    let is_plain = name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    if !is_plain || leads_up(tenant) {
        return Err(unusable_name("command", "a letter, a digit or _ first, and no `..`"));
    }
    Ok(argv.iter().map(|part| part.replace(PLACEHOLDER, name)).collect())
}

/// Checks that the name of a tenant may be a part of a file's name.
///
/// # Errors
///
/// It has `..` in it.
pub(super) fn check_file_name(tenant: &TenantId) -> Result<(), ObtainError> {
    if leads_up(tenant) {
        Err(unusable_name("path", "no `..`"))
    } else {
        Ok(())
    }
}

/// Returns the error of a tenant whose name is not usable in a place that needs what is `expected`.
fn unusable_name(place: &str, expected: &str) -> ObtainError {
    let what = format!("the name of the tenant cannot be used in a {place}, which needs {expected}; rename the tenant");
    ObtainError::permanent("invalid_name", what)
}

fn leads_up(tenant: &TenantId) -> bool {
    tenant.as_str().contains("..")
}

#[cfg(test)]
mod tests;
