//! The result of a query of all tenants: a row for each of them, with columns that are told apart by name.
//!
//! # Why
//!
//! * A bad row makes one tenant unusable, and never the others. What is wrong with the query itself, a column that it lacks or
//!   a type that is not known, is wrong with all rows, and fails the read.
//! * A tenant may have several rows, one for each of its phone numbers, as long as they have the same token: its ids are those
//!   of all of them.
//! * A row whose columns were confused may have a token where the name should be, so a text that might be one is not shown.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio_postgres::types::Type;
use tokio_postgres::{Column, Row};

use super::super::absent::AbsentPolicy;
use super::super::encoding::{TokenEncoding, same_secret};
use super::super::tenant_table::{TableContents, TenantRow};
use super::row::{EXPIRY_COLUMN, RowDecoder, TOKEN_COLUMN, TokenColumns, WRONG_TYPE};
use super::value::{array_elements, raw_value, to_text};
use crate::token::{ObtainError, Token};
use crate::types::{TenantId, might_be_secret};

/// Decodes the rows of tenants.
pub(super) struct ContentsDecoder<'a> {
    /// Where they are from, for messages.
    pub(super) source: &'a str,
    pub(super) encoding: &'a TokenEncoding,
}

/// The positions of the columns.
#[derive(Debug, Eq, PartialEq)]
struct Columns {
    tenant: usize,
    token: usize,
    ids: Option<usize>,
    app: Option<usize>,
    expires_at: Option<usize>,
}

/// Collects the rows of tenants, and what is wrong with them.
#[derive(Default)]
struct Collector {
    rows: Vec<TenantRow>,
    positions: HashMap<TenantId, usize>,
    faults: Vec<String>,
    /// The number of faults that are not shown.
    further_faults: usize,
    /// The number of rows without a name.
    unnamed: usize,
}

const TENANT_COLUMN: &str = "tenant";
const IDS_COLUMN: &str = "ids";
const APP_COLUMN: &str = "app";
/// The most faults that are described.
const MAX_FAULTS: usize = 20;
/// The most of a name that is shown.
const MAX_SHOWN_CHARS: usize = 60;
/// The longest id of an object.
const MAX_ID_BYTES: usize = 64;

// === impl ContentsDecoder ===

impl ContentsDecoder<'_> {
    /// Returns the tenants in these rows.
    pub(super) fn decode(&self, rows: &[Row]) -> Result<TableContents, ObtainError> {
        let Some(first) = rows.first() else {
            return Ok(TableContents::default());
        };
        let names = first.columns().iter().map(Column::name);
        let columns = Columns::locate(names).map_err(|problem| self.query_error("columns", &problem))?;
        let mut collector = Collector::default();
        for row in rows {
            let Some(name) = self.text(row, columns.tenant)? else {
                collector.unnamed += 1;
                continue;
            };
            let Some(id) = collector.valid_name(&name) else {
                continue;
            };
            let token = match self.token(&id, row, &columns) {
                Err(error) if error.reason() == WRONG_TYPE => return Err(error),
                token => token.map_err(Arc::new),
            };
            let ids = columns.ids.map(|index| self.ids(row, index)).transpose()?;
            let object_ids = collector.valid_ids(&id, ids.unwrap_or_default());
            let app = columns.app.map(|index| self.text(row, index)).transpose()?.flatten();
            collector.add(TenantRow {
                token,
                id,
                object_ids,
                app: app.filter(|app| !app.is_empty()).map(|app| app.as_ref().into()),
                reported_expires_at: None,
            });
        }
        Ok(collector.finish())
    }

    fn token(&self, id: &TenantId, row: &Row, columns: &Columns) -> Result<Token, ObtainError> {
        let decoder = RowDecoder {
            source: &format!("{}, tenant {}", self.source, id.as_str()),
            encoding: self.encoding,
            absent: AbsentPolicy::Withdraw,
        };
        let token = columns.token;
        let expires_at = columns.expires_at;
        decoder.token(row, TokenColumns { token, expires_at })
    }

    /// Returns a name or a number; `None` for NULL.
    fn text<'a>(&self, row: &'a Row, index: usize) -> Result<Option<Cow<'a, str>>, ObtainError> {
        match raw_value(row, index) {
            Some((column_type, Some(bytes))) => {
                let text = to_text(column_type, bytes).ok_or_else(|| self.wrong_type(row, index))?;
                Ok(Some(text))
            }
            Some((_, None)) | None => Ok(None),
        }
    }

    /// Returns the ids in a text or an array of them.
    fn ids(&self, row: &Row, index: usize) -> Result<Vec<Box<str>>, ObtainError> {
        let wrong_type = || self.wrong_type(row, index);
        if let Some((element_type, elements)) = array_elements(row, index) {
            let Some(elements) = elements else {
                return Ok(vec!["a nested array".into()]);
            };
            let ids = elements
                .into_iter()
                .map(|bytes| Some(to_text(element_type, bytes)?.as_ref().into()));
            return ids.collect::<Option<Vec<_>>>().ok_or_else(wrong_type);
        }
        let text = match raw_value(row, index) {
            None | Some((_, None)) => return Ok(Vec::new()),
            Some((&Type::JSON, Some(bytes))) => String::from_utf8_lossy(bytes),
            // The first byte is the version.
            Some((&Type::JSONB, Some(bytes))) => String::from_utf8_lossy(bytes.get(1..).unwrap_or_default()),
            Some((column_type, Some(bytes))) => to_text(column_type, bytes).ok_or_else(wrong_type)?,
        };
        Ok(split_ids(&text))
    }

    fn wrong_type(&self, row: &Row, index: usize) -> ObtainError {
        let column = row.columns().get(index);
        let name = column.map_or("", Column::name);
        let type_name = column.map_or("", |column| column.type_().name());
        let advice = if name == IDS_COLUMN {
            "select text or text[]"
        } else {
            "cast it to text (::text)"
        };
        self.query_error(
            WRONG_TYPE,
            &format!("the column `{name}` has type {type_name}; {advice}"),
        )
    }

    fn query_error(&self, reason: &'static str, problem: &str) -> ObtainError {
        ObtainError::permanent(reason, format!("cannot read the tenants of {}: {problem}", self.source))
    }
}

// === impl Columns ===

impl Columns {
    /// Finds the columns by name; otherwise, describes what is wrong with them.
    fn locate(names: impl Iterator<Item = impl AsRef<str>>) -> Result<Self, String> {
        const KNOWN: [&str; 5] = [TENANT_COLUMN, TOKEN_COLUMN, IDS_COLUMN, APP_COLUMN, EXPIRY_COLUMN];
        let mut positions = [None; KNOWN.len()];
        let mut unknown = Vec::new();
        for (index, name) in names.enumerate() {
            let name = name.as_ref();
            let known = KNOWN.iter().position(|known| *known == name);
            match known.and_then(|known| positions.get_mut(known)) {
                Some(Some(_)) => return Err(format!("`query` selects the column `{name}` twice; select it once")),
                Some(position) => *position = Some(index),
                None => unknown.push(format!("`{name}`")),
            }
        }
        let [tenant, token, ids, app, expires_at] = positions;
        if !unknown.is_empty() {
            return Err(format!(
                "`query` selects the unknown columns {}; select only tenant, token, ids, app and expires_at (… AS tenant)",
                unknown.join(", ")
            ));
        }
        let missing = |name: &str| format!("`query` does not select the column `{name}`; add it (… AS {name})");
        Ok(Self {
            tenant: tenant.ok_or_else(|| missing(TENANT_COLUMN))?,
            token: token.ok_or_else(|| missing(TOKEN_COLUMN))?,
            ids,
            app,
            expires_at,
        })
    }
}

// === impl Collector ===

impl Collector {
    /// Returns the name of a tenant, or notes what is wrong with it.
    fn valid_name(&mut self, name: &str) -> Option<TenantId> {
        match TenantId::new(name) {
            Ok(id) => return Some(id),
            Err(error) => self.fault(format!("{} is not the name of a tenant: {error}", shown(name))),
        }
        None
    }

    /// Returns those of a tenant's ids that are ids of objects, and notes if there are others.
    fn valid_ids(&mut self, tenant: &TenantId, ids: Vec<Box<str>>) -> Arc<[Arc<str>]> {
        let is_id = |id: &str| {
            let is_in_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(is_in_id)
        };
        if let Some(id) = ids.iter().find(|id| !is_id(id)) {
            self.fault(format!(
                "tenant {}: {} is not the id of an object",
                tenant.as_str(),
                shown(id)
            ));
        }
        ids.into_iter().filter(|id| is_id(id)).map(Arc::from).collect()
    }

    /// Adds a tenant, or what another row says about the same one.
    fn add(&mut self, row: TenantRow) {
        let position = match self.positions.entry(row.id.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(self.rows.len());
                self.rows.push(row);
                return;
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        let Some(first) = self.rows.get_mut(position) else {
            return;
        };
        let is_same = match (&first.token, &row.token) {
            (Ok(one), Ok(other)) => same_secret(&one.secret, &other.secret),
            (Err(_), Err(_)) => true,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        // They are this tenant's whatever its token is, and never those of the default tenant.
        let new = row.object_ids.iter().filter(|id| !first.object_ids.contains(id));
        first.object_ids = first.object_ids.iter().chain(new).map(Arc::clone).collect();
        if !is_same {
            self.fault(format!(
                "tenant {} has several rows with different tokens; the first one is used: let `query` select one",
                row.id.as_str()
            ));
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        } else {
            self.further_faults += 1;
        }
    }

    fn finish(mut self) -> TableContents {
        // The rows of a table have no order, and a tenant with other ids is opened anew.
        for row in &mut self.rows {
            Arc::make_mut(&mut row.object_ids).sort_unstable();
        }
        if self.unnamed > 0 {
            self.faults.push(format!("{} rows have no tenant (NULL)", self.unnamed));
        }
        if self.further_faults > 0 {
            self.faults
                .push(format!("{} more rows have such faults", self.further_faults));
        }
        TableContents {
            rows: self.rows,
            faults: self.faults,
        }
    }
}

/// Returns the ids in a text: separated by commas or spaces, or as the array that JSON or PostgreSQL writes.
fn split_ids(text: &str) -> Vec<Box<str>> {
    let is_separator = |sign: char| sign.is_whitespace() || ",;\"[]{}".contains(sign);
    let ids = text.split(is_separator).filter(|id| !id.is_empty());
    ids.filter(|id| !id.eq_ignore_ascii_case("null"))
        .map(Box::from)
        .collect()
}

/// Returns a text for messages.
fn shown(text: &str) -> String {
    if might_be_secret(text) {
        return "a text that might be a secret".to_owned();
    }
    let start: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{more}")
}

#[cfg(test)]
mod tests;
