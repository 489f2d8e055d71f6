//! The response to `debug_token`.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::{GraphError, as_integer, is_log_safe, strip_jsonp};
use super::verdict::rejection;
use crate::types::{TokenFamily, is_graph_id};

/// The properties of a token.
///
/// `GET /debug_token` answers 200 about invalid tokens too, and calls the subcode `subcode` there; `expires_at: 0` means
/// "never", not 1970. Every field may be missing.
///
/// Source: <https://developers.facebook.com/docs/graph-api/reference/debug_token>
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Inspection {
    /// The reason why it is invalid, if it is.
    pub error: Option<GraphError>,
    /// The family of the host that has called it valid.
    pub family: Option<TokenFamily>,
    /// The kind of its owner.
    pub kind: Option<TokenKind>,
    /// The app it was issued for.
    pub app_id: Option<String>,
    /// The time at which it expires.
    pub expires_at: Expiry,
    /// The time at which its access to the user's data expires: it stays valid, but calls are refused from then on.
    pub data_access_expires_at: Expiry,
    /// The time at which it was issued; reported for long-lived tokens only.
    pub issued_at: Option<SystemTime>,
    /// Its permissions; `None` if the response does not list them.
    pub scopes: Option<Vec<String>>,
    /// The id of its owner: of the user, the system user, or the user through whom a page's token was obtained.
    pub user_id: Option<String>,
    /// The WhatsApp Business Accounts that its permissions name. Empty if they name none, which does not mean that there are
    /// none.
    pub whatsapp_accounts: Vec<String>,
}

/// The time when something expires.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Expiry {
    /// It is unknown.
    #[default]
    Unknown,
    /// Never.
    Never,
    /// At this time.
    At(SystemTime),
}

/// The kind of a token, as `debug_token` reports it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TokenKind {
    /// A user's.
    User,
    /// A page's.
    Page,
    /// An app's.
    App,
    /// A system user's.
    SystemUser,
}

/// The permissions that a token needs to send WhatsApp messages, and to manage the account.
const WHATSAPP_SCOPES: [&str; 2] = ["whatsapp_business_messaging", "whatsapp_business_management"];

// === impl Inspection ===

impl Inspection {
    /// Reads a response to `debug_token`: `{"data":{"is_valid":…,"expires_at":…,"scopes":[…],"error":{…},…}}`.
    ///
    /// `None` if it does not say whether the token is valid: an error envelope, which is about the request and not about
    /// the token, HTML, a truncated response. Any other field of an unexpected type counts as missing.
    #[must_use]
    pub fn from_debug_token(body: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(strip_jsonp(body)).ok()?;
        Self::from_data(document.get("data")?.as_object()?)
    }

    /// Reads the `data` of such a response.
    #[must_use]
    pub fn from_data(data: &Map<String, Value>) -> Option<Self> {
        let error = data.get("error").and_then(Value::as_object);
        let rejection_error = match data.get("is_valid").and_then(as_bool) {
            Some(true) => None,
            Some(false) => Some(error.map_or_else(GraphError::invalid_token, GraphError::from_object)),
            None => Some(GraphError::from_object(error?)),
        };
        let kind = data.get("type").and_then(Value::as_str);
        Some(Self {
            error: rejection_error,
            family: None,
            kind: kind.and_then(|kind| serde_json::from_value(kind.to_ascii_uppercase().into()).ok()),
            app_id: data.get("app_id").and_then(as_id),
            expires_at: Expiry::from_json(data.get("expires_at")),
            data_access_expires_at: Expiry::from_json(data.get("data_access_expires_at")),
            issued_at: data.get("issued_at").and_then(as_integer).and_then(from_unix_seconds),
            scopes: merged_scopes(data),
            user_id: data.get("user_id").and_then(as_id),
            whatsapp_accounts: whatsapp_accounts(data),
        })
    }

    /// Reads a response to `/me?fields=id`, the check for hosts without `debug_token`: an id means that the token is
    /// valid, a rejection that it is not; anything else says nothing about it.
    #[must_use]
    pub fn from_me_response(status: StatusCode, body: &[u8]) -> Option<Self> {
        if status == StatusCode::OK {
            let document: Value = serde_json::from_slice(strip_jsonp(body)).ok()?;
            return document.get("id").map(|_id| Self::default());
        }
        let error = GraphError::parse(body).filter(|_| status.is_client_error())?;
        rejection(status, &error).map(|_rejection| Self {
            error: Some(error),
            ..Self::default()
        })
    }

    /// The permissions that WhatsApp needs and this token lacks. Empty if the response does not list permissions, if the
    /// token is invalid, and for an app's token, which has no permissions.
    #[must_use]
    pub fn missing_scopes(&self) -> Vec<&'static str> {
        match &self.scopes {
            Some(scopes) if self.error.is_none() && self.kind != Some(TokenKind::App) => WHATSAPP_SCOPES
                .into_iter()
                .filter(|required| !scopes.iter().any(|scope| scope == required))
                .collect(),
            Some(_) | None => Vec::new(),
        }
    }
}

// === impl Expiry ===

impl Expiry {
    fn from_json(value: Option<&Value>) -> Self {
        match value.and_then(as_integer) {
            Some(0) => Self::Never,
            Some(seconds) => from_unix_seconds(seconds).map_or(Self::Unknown, Self::At),
            None => Self::Unknown,
        }
    }

    /// The time, if it is known.
    #[must_use]
    pub const fn as_system_time(self) -> Option<SystemTime> {
        match self {
            Self::At(at) => Some(at),
            Self::Unknown | Self::Never => None,
        }
    }
}

/// The first second of the year 10000: a later time is not meant as a time.
const YEAR_10000_UNIX_SECONDS: i64 = 253_402_300_800;

fn from_unix_seconds(seconds: i64) -> Option<SystemTime> {
    let since = u64::try_from(seconds)
        .ok()
        .filter(|_| (1..YEAR_10000_UNIX_SECONDS).contains(&seconds))?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => number.as_i64().map(|number| number != 0),
        Value::String(text) => match text.trim() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// An id, which is a number or a string of digits.
fn as_id(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(number) => number.as_u64()?.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    is_graph_id(&text).then_some(text)
}

/// The permissions of both lists: the granular one succeeds the plain one, and names the objects of some.
fn merged_scopes(data: &Map<String, Value>) -> Option<Vec<String>> {
    let list = |key: &str| data.get(key).and_then(Value::as_array);
    let (plain, granular) = (list("scopes"), list("granular_scopes"));
    if plain.is_none() && granular.is_none() {
        return None;
    }
    let granular = granular.into_iter().flatten();
    let granular = granular.filter_map(|scope| scope.get("scope"));
    let mut scopes: Vec<String> = Vec::new();
    for scope in plain.into_iter().flatten().chain(granular) {
        if let Some(scope) = scope.as_str().filter(|scope| is_log_safe(scope))
            && !scopes.iter().any(|known| known == scope)
        {
            scopes.push(scope.to_owned());
        }
    }
    Some(scopes)
}

/// The objects of WhatsApp's permissions, each once.
fn whatsapp_accounts(data: &Map<String, Value>) -> Vec<String> {
    let granular = data.get("granular_scopes").and_then(Value::as_array);
    let is_whatsapp = |entry: &&Value| {
        let scope = entry.get("scope").and_then(Value::as_str);
        scope.is_some_and(|scope| WHATSAPP_SCOPES.contains(&scope))
    };
    let named = granular.into_iter().flatten().filter(is_whatsapp);
    let targets = named.filter_map(|entry| entry.get("target_ids")?.as_array());
    let mut accounts = Vec::new();
    for id in targets.flatten().filter_map(as_id) {
        if !accounts.contains(&id) {
            accounts.push(id);
        }
    }
    accounts
}

#[cfg(test)]
mod tests;
