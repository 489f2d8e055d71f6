//! A request, read: version, path, parameters, credential.
//!
//! Graph takes a parameter from the query, a form, a multipart field or the top level of a JSON body alike, and a
//! POST with `method=delete` for a DELETE. So does this.

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, IF_NONE_MATCH, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::faults::Grant;
use super::hosts::Host;

/// A request, read.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) version: Option<Version>,
    pub(super) path: Vec<String>,
    pub(super) presented: Presented,
    pub(super) file: Option<Upload>,
    pub(super) accept: Accept,
    pub(super) host: Host,
    /// How it is granted a token, if it is.
    pub(super) grant: Grant,
    pub(super) headers: HeaderMap,
    /// Whether the token is that of the batch around it, and so is the proof.
    pub(super) covered: bool,
    /// The query as it was written.
    pub(super) query: String,
    /// The path as it was written.
    pub(super) written: String,
    params: Vec<(&'static str, String, String)>,
    json: Map<String, Value>,
}

/// A version in a path: `v26.0`.
pub(super) type Version = (u32, u32);

/// The credential that counts. A parameter beats the header.
#[derive(Clone)]
pub(super) enum Presented {
    Parameter(String),
    Header(String),
    Nothing,
}

/// What a client says it can take.
#[derive(Clone, Default)]
pub(super) struct Accept {
    pub(super) gzip: bool,
    pub(super) json: bool,
    pub(super) unless: Option<String>,
    pub(super) range: Option<String>,
}

/// What a body said.
#[derive(Default)]
pub(super) struct Payload {
    pub(super) fields: Vec<(String, String)>,
    pub(super) multipart: bool,
    pub(super) json: Map<String, Value>,
    pub(super) file: Option<Upload>,
}

/// A file part, counted and hashed on the way through.
#[derive(Clone)]
pub(super) struct Upload {
    pub(super) filename: Option<String>,
    pub(super) mime: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) bytes: Option<bytes::Bytes>,
}

// === impl Call ===

impl Call {
    pub(super) fn new(head: Parts, host: &str, payload: Payload) -> Self {
        let Parts {
            method,
            uri,
            headers,
            ..
        } = head;
        let query = uri.query().unwrap_or_default();
        let body = if payload.multipart {
            "multipart"
        } else {
            "form"
        };
        let call = Self {
            method,
            version: None,
            path: Vec::new(),
            presented: Presented::header(&headers),
            file: payload.file,
            accept: Accept::new(&headers),
            host: Host::of(host),
            grant: Grant::Usual,
            headers,
            covered: false,
            query: query.to_owned(),
            written: uri.path().to_owned(),
            params: placed("query", form(query))
                .chain(placed(body, payload.fields))
                .collect(),
            json: payload.json,
        };
        call.settled(uri.path())
    }

    /// A batch's item. Without a token of its own it has the batch's.
    pub(super) fn item(&self, method: Method, relative_url: &str, body: &str) -> Self {
        let (path, query) = relative_url.split_once('?').unwrap_or((relative_url, ""));
        let mut call = Self {
            method,
            version: self.version,
            path: Vec::new(),
            presented: self.presented.clone(),
            file: None,
            accept: Accept::default(),
            host: self.host,
            grant: Grant::Usual,
            headers: HeaderMap::new(),
            covered: false,
            query: query.to_owned(),
            written: path.to_owned(),
            params: placed("query", form(query))
                .chain(placed("form", form(body)))
                .collect(),
            json: Map::new(),
        };
        call.covered = call
            .text("access_token")
            .is_none_or(|token| token.is_empty());
        call.settled(path)
    }

    /// What depends on path and parameters together.
    fn settled(mut self, path: &str) -> Self {
        let mut path = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decoded)
            .peekable();
        if let Some(version) = path.peek().and_then(|first| version(first)) {
            self.version = Some(version);
            path.next();
        }
        self.path = path.collect();
        if let Some(token) = self.text("access_token").filter(|token| !token.is_empty()) {
            self.presented = Presented::Parameter(token);
        }
        if self.method == Method::POST {
            let tunnelled = self.text("method").unwrap_or_default();
            self.method = match tunnelled.to_ascii_lowercase().as_str() {
                "get" => Method::GET,
                "delete" => Method::DELETE,
                _ => Method::POST,
            };
        }
        self
    }

    /// A parameter.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
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
    pub(super) fn text(&self, name: &str) -> Option<String> {
        if let Some(text) = self.param(name) {
            return Some(text.to_owned());
        }
        let value = self.json.get(name)?;
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    }

    fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(_, key, _)| key == name);
        found.map(|(_, _, value)| value.as_str())
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All parameters: place, name, value.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&'static str, &str, String)> {
        let params = self.params.iter();
        let params = params.map(|(place, name, value)| (*place, name.as_str(), value.clone()));
        let members = self.json.iter().map(|(name, value)| {
            let text = value.as_str().map(str::to_owned);
            (
                "json",
                name.as_str(),
                text.unwrap_or_else(|| value.to_string()),
            )
        });
        params.chain(members)
    }

    /// All that a body or query said, less the credential: what a record may show.
    pub(super) fn said(&self) -> Value {
        let mut said = self.json.clone();
        for (_, name, _) in &self.params {
            if let Some(value) = self.value(name) {
                said.insert(name.clone(), value);
            }
        }
        said.remove("access_token");
        Value::Object(said)
    }

    /// The parameters as a query, for `paging`, less those that paging sets itself.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&str, &str)> {
        const SET: [&str; 7] = [
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
            .filter(|(name, _)| !SET.contains(name))
    }
}

// === impl Presented ===

impl Presented {
    /// Whatever scheme Graph knows, with anything behind it.
    fn header(headers: &HeaderMap) -> Self {
        let field = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let field = String::from_utf8_lossy(field.unwrap_or_default());
        let Some((scheme, token)) = field.trim().split_once(' ') else {
            return Self::Nothing;
        };
        let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
        if known && !token.trim().is_empty() {
            Self::Header(token.trim().to_owned())
        } else {
            Self::Nothing
        }
    }
}

// === impl Accept ===

impl Accept {
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
            unless: one(IF_NONE_MATCH),
            range: one(RANGE),
        }
    }
}

/// `gzip`, or `*` as PHP clients send, unless its weight is nought.
fn offers_gzip(coding: &str) -> bool {
    let (coding, weight) = coding.split_once(';').unwrap_or((coding, ""));
    let weight = weight.trim().trim_start_matches("q=");
    let nought = !weight.is_empty() && weight.trim_matches(['0', '.']).is_empty();
    matches!(coding.trim(), "gzip" | "*") && !nought
}

fn placed(
    place: &'static str,
    pairs: Vec<(String, String)>,
) -> impl Iterator<Item = (&'static str, String, String)> {
    pairs
        .into_iter()
        .map(move |(name, value)| (place, name, value))
}

/// A form, or a query.
pub(super) fn form(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| {
            (
                decoded(&name.replace('+', " ")),
                decoded(&value.replace('+', " ")),
            )
        })
        .collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn version(segment: &str) -> Option<Version> {
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
        Call::new(head, "graph.facebook.com", Payload::default())
    }

    #[test]
    fn a_parameter_beats_the_header_and_an_empty_one_does_not_count() {
        let headers = [("authorization", "Bearer h")];
        let both = call(Method::GET, "/me?access_token=p", &headers);
        assert!(matches!(both.presented, Presented::Parameter(token) if token == "p"));
        let empty = call(Method::GET, "/me?access_token=", &headers);
        assert!(matches!(empty.presented, Presented::Header(token) if token == "h"));
        for nothing in ["Bearer", "Bearer  ", "Basic abc"] {
            let nothing = call(Method::GET, "/me", &[("authorization", nothing)]);
            assert!(matches!(nothing.presented, Presented::Nothing));
        }
    }

    #[test]
    fn versions_are_optional_and_methods_are_tunnelled() {
        let versioned = call(Method::POST, "/v26.0/1/messages?method=DELETE", &[]);
        assert_eq!(versioned.version, Some((26, 0)));
        assert_eq!(versioned.path, ["1", "messages"]);
        assert_eq!(versioned.method, Method::DELETE);
        let bare = call(Method::GET, "//version/x%2Fy", &[]);
        assert_eq!(bare.version, None);
        assert_eq!(bare.path, ["version", "x/y"]);
    }

    #[test]
    fn gzip_is_offered_by_name_or_star_unless_weighed_nought() {
        for yes in ["gzip", "br, gzip;q=0.5", "*", "deflate,gzip ;q=1"] {
            assert!(
                call(Method::GET, "/", &[("accept-encoding", yes)])
                    .accept
                    .gzip
            );
        }
        for no in ["", "br", "gzip;q=0", "gzip;q=0.000", "identity"] {
            assert!(
                !call(Method::GET, "/", &[("accept-encoding", no)])
                    .accept
                    .gzip
            );
        }
    }
}
