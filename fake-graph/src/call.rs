//! A request, read: version, path, parameters, credential.
//!
//! Graph takes a parameter from the query, a form, a multipart field or the top level of a JSON body alike, and a
//! POST with `method=delete` for a DELETE. So does this.

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, IF_NONE_MATCH, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::failure::GraphFailure;
use crate::faults::TokenResponse;
use crate::hosts::VirtualHost;

/// A request, read.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) version: Option<Version>,
    pub(crate) path: Vec<String>,
    pub(crate) credential: CallCredential,
    pub(crate) file: Option<UploadedFile>,
    pub(crate) preferences: ClientPreferences,
    pub(crate) host: VirtualHost,
    /// The form of the answer, if the call is for a token.
    pub(crate) token_response: TokenResponse,
    pub(crate) headers: HeaderMap,
    /// Whether the token is that of the batch around it, and so is the proof.
    pub(crate) inherits_batch_token: bool,
    /// The query as it was written.
    pub(crate) raw_query: String,
    /// The path as it was written.
    pub(crate) raw_path: String,
    params: Vec<(&'static str, String, String)>,
    json: Map<String, Value>,
}

/// A version in a path: `v26.0`.
pub(crate) type Version = (u32, u32);

/// The credential that counts. A parameter beats the header.
#[derive(Clone)]
pub(crate) enum CallCredential {
    Parameter(String),
    Header(String),
    Missing,
}

/// The preferences of a client, from the headers of its call.
#[derive(Clone, Default)]
pub(crate) struct ClientPreferences {
    pub(crate) gzip: bool,
    pub(crate) json: bool,
    pub(crate) if_none_match: Option<String>,
    pub(crate) range: Option<String>,
}

/// The content of a body.
#[derive(Default)]
pub(crate) struct ParsedBody {
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) multipart: bool,
    pub(crate) json: Map<String, Value>,
    pub(crate) file: Option<UploadedFile>,
}

/// A file, counted and hashed while it was received.
#[derive(Clone)]
pub(crate) struct UploadedFile {
    pub(crate) filename: Option<String>,
    pub(crate) mime: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    pub(crate) bytes: Option<bytes::Bytes>,
}

// === impl Call ===

impl Call {
    pub(crate) fn new(head: Parts, host: &str, parsed_body: ParsedBody) -> Self {
        let Parts {
            method, uri, headers, ..
        } = head;
        let query = uri.query().unwrap_or_default();
        let body = if parsed_body.multipart { "multipart" } else { "form" };
        let call = Self {
            method,
            version: None,
            path: Vec::new(),
            credential: CallCredential::from_headers(&headers),
            file: parsed_body.file,
            preferences: ClientPreferences::new(&headers),
            host: VirtualHost::from_name(host),
            token_response: TokenResponse::Normal,
            headers,
            inherits_batch_token: false,
            raw_query: query.to_owned(),
            raw_path: uri.path().to_owned(),
            params: with_location("query", parse_form(query))
                .chain(with_location(body, parsed_body.fields))
                .collect(),
            json: parsed_body.json,
        };
        call.with_path_and_params(uri.path())
    }

    /// An item of a batch. Without a token of its own it has the batch's.
    pub(crate) fn batch_item(&self, method: Method, relative_url: &str, body: &str) -> Self {
        let (path, query) = relative_url.split_once('?').unwrap_or((relative_url, ""));
        let mut call = Self {
            method,
            version: self.version,
            path: Vec::new(),
            credential: self.credential.clone(),
            file: None,
            preferences: ClientPreferences::default(),
            host: self.host,
            token_response: TokenResponse::Normal,
            headers: HeaderMap::new(),
            inherits_batch_token: false,
            raw_query: query.to_owned(),
            raw_path: path.to_owned(),
            params: with_location("query", parse_form(query))
                .chain(with_location("form", parse_form(body)))
                .collect(),
            json: Map::new(),
        };
        call.inherits_batch_token = call.text("access_token").is_none_or(|token| token.is_empty());
        call.with_path_and_params(path)
    }

    /// Sets what depends on path and parameters together.
    fn with_path_and_params(mut self, path: &str) -> Self {
        let mut path = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(percent_decode)
            .peekable();
        if let Some(version) = path.peek().and_then(|first| parse_version(first)) {
            self.version = Some(version);
            path.next();
        }
        self.path = path.collect();
        if let Some(token) = self.text("access_token").filter(|token| !token.is_empty()) {
            self.credential = CallCredential::Parameter(token);
        }
        if self.method == Method::POST {
            let method_override = self.text("method").unwrap_or_default();
            self.method = match method_override.to_ascii_lowercase().as_str() {
                "get" => Method::GET,
                "delete" => Method::DELETE,
                _ => Method::POST,
            };
        }
        self
    }

    /// A parameter.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        match self.param(name) {
            None => self.json.get(name).cloned(),
            // A structured value in a form is JSON in text.
            Some(text) if text.starts_with(['{', '[']) => {
                Some(serde_json::from_str(text).unwrap_or_else(|_not_json| text.into()))
            }
            Some(text) => Some(text.into()),
        }
    }

    /// A parameter as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        if let Some(text) = self.param(name) {
            return Some(text.to_owned());
        }
        self.json.get(name).map(json_text)
    }

    /// All parameters of this name, as text.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = String> {
        let params = self.params.iter().filter(move |(_, key, _)| key == name);
        let member = self.json.get(name).map(json_text);
        params.map(|(_, _, value)| value.clone()).chain(member)
    }

    /// A parameter that a call must have, as text.
    pub(crate) fn required(&self, name: &str) -> Result<String, GraphFailure> {
        self.text(name).ok_or_else(|| GraphFailure::missing_parameter(name))
    }

    /// Whether it asks only whether its token works, as graphward does; see [`EndpointKind::Me`](crate::EndpointKind::Me).
    pub(crate) fn asks_whether_token_works(&self) -> bool {
        self.raw_path == "/me" && (self.raw_query == "fields=id" || self.raw_query.starts_with("fields=id&"))
    }

    fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(_, key, _)| key == name);
        found.map(|(_, _, value)| value.as_str())
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All parameters: location, name, value.
    pub(crate) fn params_with_location(&self) -> impl Iterator<Item = (&'static str, &str, String)> {
        let params = self.params.iter();
        let params = params.map(|(location, name, value)| (*location, name.as_str(), value.clone()));
        let members = self.json.iter();
        params.chain(members.map(|(name, value)| ("json", name.as_str(), json_text(value))))
    }

    /// All parameters without the credential, for the record of a message.
    pub(crate) fn recorded_params(&self) -> Value {
        let mut said = self.json.clone();
        for (_, name, _) in &self.params {
            if let Some(value) = self.value(name) {
                said.insert(name.clone(), value);
            }
        }
        said.remove("access_token");
        Value::Object(said)
    }

    /// The parameters for the links of `paging`, without those that paging sets itself.
    pub(crate) fn paging_params(&self) -> impl Iterator<Item = (&str, &str)> {
        const PAGING_PARAMS: [&str; 7] = [
            "limit",
            "after",
            "before",
            "method",
            "access_token",
            "appsecret_proof",
            "appsecret_time",
        ];
        let params = self.params.iter();
        params
            .map(|(_, name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !PAGING_PARAMS.contains(name))
    }
}

// === impl CallCredential ===

impl CallCredential {
    /// Reads the schemes that Graph knows.
    fn from_headers(headers: &HeaderMap) -> Self {
        let field = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let field = String::from_utf8_lossy(field.unwrap_or_default());
        let Some((scheme, token)) = field.trim().split_once(' ') else {
            return Self::Missing;
        };
        let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
        if known && !token.trim().is_empty() {
            Self::Header(token.trim().to_owned())
        } else {
            Self::Missing
        }
    }
}

// === impl ClientPreferences ===

impl ClientPreferences {
    fn new(headers: &HeaderMap) -> Self {
        let all = |name| {
            let values = headers.get_all(name).iter();
            let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
            values.join(",")
        };
        let one = |name| headers.get(name)?.to_str().ok().map(str::to_owned);
        let accept = all(ACCEPT);
        Self {
            gzip: all(ACCEPT_ENCODING).split(',').any(offers_gzip),
            json: accept.is_empty() || accept.contains("json") || accept.contains("*/*"),
            if_none_match: one(IF_NONE_MATCH),
            range: one(RANGE),
        }
    }
}

/// Returns whether this is `gzip`, or `*` as PHP clients send, with a weight above 0.
fn offers_gzip(coding: &str) -> bool {
    let (coding, weight) = coding.split_once(';').unwrap_or((coding, ""));
    let weight = weight.trim().trim_start_matches("q=");
    let is_zero = !weight.is_empty() && weight.trim_matches(['0', '.']).is_empty();
    matches!(coding.trim(), "gzip" | "*") && !is_zero
}

/// A JSON string's text, or another value as JSON.
fn json_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn with_location(
    location: &'static str,
    pairs: Vec<(String, String)>,
) -> impl Iterator<Item = (&'static str, String, String)> {
    pairs.into_iter().map(move |(name, value)| (location, name, value))
}

/// Parses a form or a query.
pub(crate) fn parse_form(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn percent_decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn parse_version(segment: &str) -> Option<Version> {
    let (major, minor) = segment.strip_prefix('v')?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, uri: &str, headers: &[(&'static str, &'static str)]) -> Call {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Call::new(head, "graph.facebook.com", ParsedBody::default())
    }

    #[test]
    fn a_parameter_beats_the_header_and_an_empty_one_does_not_count() {
        let headers = [("authorization", "Bearer h")];
        let both = call(Method::GET, "/me?access_token=p", &headers);
        assert!(matches!(both.credential, CallCredential::Parameter(token) if token == "p"));
        let empty = call(Method::GET, "/me?access_token=", &headers);
        assert!(matches!(empty.credential, CallCredential::Header(token) if token == "h"));
        for nothing in ["Bearer", "Bearer  ", "Basic abc"] {
            let nothing = call(Method::GET, "/me", &[("authorization", nothing)]);
            assert!(matches!(nothing.credential, CallCredential::Missing));
        }
    }

    #[test]
    fn versions_are_optional_and_methods_are_overridden() {
        let versioned = call(Method::POST, "/v26.0/1/messages?method=DELETE", &[]);
        assert_eq!(versioned.version, Some((26, 0)));
        assert_eq!(versioned.path, ["1", "messages"]);
        assert_eq!(versioned.method, Method::DELETE);
        let bare = call(Method::GET, "//version/x%2Fy", &[]);
        assert_eq!(bare.version, None);
        assert_eq!(bare.path, ["version", "x/y"]);
    }

    #[test]
    fn gzip_is_offered_by_name_or_star_unless_its_weight_is_zero() {
        for yes in ["gzip", "br, gzip;q=0.5", "*", "deflate,gzip ;q=1"] {
            assert!(call(Method::GET, "/", &[("accept-encoding", yes)]).preferences.gzip);
        }
        for no in ["", "br", "gzip;q=0", "gzip;q=0.000", "identity"] {
            assert!(!call(Method::GET, "/", &[("accept-encoding", no)]).preferences.gzip);
        }
    }
}
