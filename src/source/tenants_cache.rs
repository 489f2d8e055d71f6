//! A file for the tenants of a table, always encrypted: what a restart uses while the table cannot be read.
//!
//! # Why
//!
//! The file names the table by a hash of its configuration: if the operator names another table, a start at which that cannot be
//! read must not use the tenants of the old one. The ids that tenants had before they were withdrawn are kept as well: an id without a
//! tenant is no sign, so its requests would be those of the default tenant after a restart. A token that no key decrypts any more is
//! left out, and the rest is used. The reason why a token cannot be used decides how requests are refused, and whether the operator
//! has been told, so it is kept, too.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decode::Format;
use super::encoding::{EncodedToken, EncodingError, PlainTokens, TokenEncoding};
use super::fernet::Fernet;
use super::tenant_table::TenantRow;
use super::token_cache::cache_failed;
use super::token_file::{TokenFile, TokenFileError};
use crate::token::{ErrorKind, ObtainError, Token};
use crate::types::TenantId;

/// The ids that tenants had and no tenant has now, with their names.
pub type FormerIds = BTreeMap<Arc<str>, TenantId>;

/// What a restart needs to know of a table.
#[derive(Clone, Debug, Default)]
pub struct CachedTable {
    /// The tenants.
    pub rows: Vec<TenantRow>,
    /// The ids that are not to become those of the default tenant.
    pub former: FormerIds,
}

/// The tenants of a table in a file.
#[derive(Clone, Debug)]
pub struct TenantsCache {
    file: TokenFile,
    keys: Fernet,
    identity: Arc<str>,
}

#[derive(Serialize)]
struct TenantsJson<'a> {
    identity: &'a str,
    tenants: Vec<TenantJson<'a>>,
    former: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct TenantJson<'a> {
    id: &'a str,
    object_ids: Vec<&'a str>,
    app: Option<&'a str>,
    #[serde(flatten)]
    token: Option<EncodedToken>,
    /// Why the token cannot be used.
    problem: Option<String>,
    kind: Option<ErrorKind>,
    reason: Option<&'static str>,
}

#[derive(Deserialize)]
struct CachedTenants {
    identity: String,
    tenants: Vec<CachedTenant>,
    /// Empty if an earlier version wrote it.
    #[serde(default)]
    former: BTreeMap<Box<str>, TenantId>,
}

#[derive(Deserialize)]
struct CachedTenant {
    id: TenantId,
    object_ids: Vec<Box<str>>,
    app: Option<Box<str>>,
    access_token: Option<String>,
    expires_at: Option<u64>,
    problem: Option<String>,
    /// Null if an earlier version wrote it.
    #[serde(default)]
    kind: Value,
    reason: Option<String>,
}

/// The reasons why tokens of rows cannot be used, which a cache keeps.
const REASONS: &str = "base64 binary empty encrypted encrypted_elsewhere fernet_key fernet_truncated fernet_wrong_key \
    invalid_character invalid_json invalid_name key_not_found missing missing_key missing_pointer multiple_lines not_fernet \
    not_string null placeholder pointer_not_found reference too_long unbalanced_quote unknown_app unreadable \
    unresolved_variable utf16";
/// The largest file.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

// === impl TenantsCache ===

impl TenantsCache {
    /// Creates a cache in this file. `identity` stands for the table: what was written for another one is ignored.
    #[must_use]
    pub fn new(path: PathBuf, keys: Fernet, identity: String) -> Self {
        Self {
            file: TokenFile::new(path),
            keys,
            identity: identity.into(),
        }
    }

    /// Reads the tenants; `None` if there are none of this table.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if the file cannot be read, or is damaged.
    pub async fn load(&self) -> Result<Option<CachedTable>, ObtainError> {
        let cache = self.clone();
        let read = move || match cache.file.read_existing(MAX_BYTES)? {
            Some(bytes) => Ok(cache.decode(&bytes)),
            None => Ok(Ok(None)),
        };
        match self.file.run_under_lock(read).await {
            Ok(Ok(tenants)) => Ok(tenants),
            Ok(Err(error)) => {
                let message = format!("the {} was rejected: {error}", self.describe());
                Err(ObtainError::permanent(error.label(), message))
            }
            Err(error) => Err(cache_failed("read", &self.file, error)),
        }
    }

    /// Replaces the tenants durably.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if the file cannot be written, or would be larger than 64 MiB.
    pub async fn replace(&self, table: Arc<CachedTable>) -> Result<(), ObtainError> {
        let cache = self.clone();
        let write = move || cache.file.replace(&cache.encode(&table)?);
        let written = self.file.run_under_lock(write).await;
        written.map_err(|error| cache_failed("write", &self.file, error))
    }

    /// Describes the cache for logs.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("cache {}", self.file.path().display())
    }

    fn encode(&self, table: &CachedTable) -> Result<Vec<u8>, TokenFileError> {
        let tenants = table.rows.iter().map(|row| {
            let (token, fault) = (row.token.as_ref().ok(), row.token.as_ref().err());
            TenantJson {
                id: row.id.as_str(),
                object_ids: row.object_ids.iter().map(|id| &**id).collect(),
                app: row.app.as_deref(),
                token: token.map(|token| EncodedToken::new(token, Some(&self.keys))),
                problem: fault.map(ToString::to_string),
                kind: fault.map(|fault| fault.kind()),
                reason: fault.map(|fault| fault.reason()),
            }
        });
        let document = TenantsJson {
            identity: &self.identity,
            tenants: tenants.collect(),
            former: table
                .former
                .iter()
                .map(|(id, tenant)| (&**id, tenant.as_str()))
                .collect(),
        };
        let bytes = serde_json::to_vec(&document).map_err(|error| TokenFileError::Write(error.into()))?;
        if !u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_BYTES) {
            return Err(TokenFileError::Write(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Option<CachedTable>, EncodingError> {
        let cached: CachedTenants = serde_json::from_slice(bytes).map_err(|_content| EncodingError::Damaged)?;
        if *cached.identity != *self.identity {
            let cache = self.describe();
            tracing::warn!("the {cache} is not used: it was written for another place or query of the tenants");
            return Ok(None);
        }
        let mut encoding = TokenEncoding::new(Format::Raw);
        encoding.encrypt_with(Some(self.keys.clone()), PlainTokens::Refuse);
        let all = cached.tenants.len();
        let rows: Vec<_> = cached
            .tenants
            .into_iter()
            .filter_map(|tenant| tenant.into_row(&encoding))
            .collect();
        if rows.len() < all {
            let (cache, lost) = (self.describe(), all - rows.len());
            tracing::warn!(
                lost,
                all,
                "tenants of the {cache} are left out: no key decrypts their tokens; add the key that was used before"
            );
        }
        let former = cached
            .former
            .into_iter()
            .map(|(id, tenant)| (id.into(), tenant))
            .collect();
        Ok(Some(CachedTable { rows, former }))
    }
}

// === impl CachedTenant ===

impl CachedTenant {
    /// Returns the tenant; `None` if its token cannot be decrypted.
    fn into_row(self, encoding: &TokenEncoding) -> Option<TenantRow> {
        let token = match self.access_token {
            Some(text) => Ok(Token {
                expires_at: self
                    .expires_at
                    .and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at))),
                ..encoding.decode(text.as_bytes()).ok()?
            }),
            None => {
                let kind = serde_json::from_value(self.kind).unwrap_or(ErrorKind::Permanent);
                let mut reasons = REASONS.split_whitespace();
                let reason = reasons.find(|reason| self.reason.as_deref() == Some(reason));
                Err(Arc::new(ObtainError::new(
                    kind,
                    reason.unwrap_or("cached"),
                    self.problem?,
                )))
            }
        };
        Some(TenantRow {
            id: self.id,
            object_ids: self.object_ids.into_iter().map(Arc::from).collect(),
            app: self.app,
            token,
            reported_expires_at: None,
        })
    }
}

#[cfg(test)]
mod tests;
