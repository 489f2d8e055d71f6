//! Calls as they arrived: what `GET /calls` of the control API shows, so that a test of any language can say what
//! reached Graph.
//!
//! No secret is in it. A token stands as its fingerprint, `<0123abcd>`, in headers and targets alike; an app's
//! secret as `<secret>`, a proof as `<proof>`.

use std::collections::VecDeque;

use http::StatusCode;
use serde::Serialize;

/// A call as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordedCall {
    /// The method on the wire, tunnelled or not.
    pub method: String,
    /// The name it was sent to, without the port.
    pub host: String,
    /// Path and query, byte for byte but for secrets.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http: String,
    /// Whether it is about data; else it is about tokens.
    pub data: bool,
    /// All headers in order: name in lower case, value.
    pub headers: Vec<(String, String)>,
    /// What the `Authorization` header says, if there is one.
    pub authorization: Option<AuthorizationHeader>,
    /// Credentials in parameters: `access_token`, wherever one stands that is not empty.
    pub access_tokens: Vec<ParameterCredential>,
    /// `absent`, `verify` or `wrong`: the `appsecret_proof`, for the credential that counts.
    pub proof: &'static str,
    /// The names of the parameters, each with its location: `query`, `parse_form`, `multipart` or `json`.
    pub parameters: Vec<(&'static str, String)>,
    /// A batch's items.
    pub items: Vec<RecordedBatchItem>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The `Accept` header.
    pub accept: Option<String>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The `Content-Length` header.
    pub content_length: Option<String>,
    /// The `Transfer-Encoding` header.
    pub transfer_encoding: Option<String>,
    /// How long the body was.
    pub body_length: u64,
    /// The body's SHA-256, in hexadecimal.
    pub body_sha256: String,
    /// The status of the answer, once there is one.
    pub status: Option<u16>,
    /// When it arrived, in seconds since 1970.
    pub at: i64,
}

/// An `Authorization` header.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuthorizationHeader {
    /// The scheme, as it was written.
    pub scheme: String,
    /// The credential's fingerprint.
    pub token: String,
    /// What Graph knows of it: `alive`, `failure`, `app` or `unknown`.
    pub state: &'static str,
}

/// A credential in a parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ParameterCredential {
    /// `query`, `parse_form`, `multipart`, `json` or `batch`.
    pub location: &'static str,
    /// Its fingerprint.
    pub token: String,
    /// What Graph knows of it: `alive`, `failure`, `app` or `unknown`.
    pub state: &'static str,
}

/// An item of a batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordedBatchItem {
    /// Its method.
    pub method: String,
    /// Its `relative_url`, but for secrets.
    pub relative_url: String,
    /// Its `body`, but for secrets.
    pub body: String,
    /// `absent`, `verify` or `wrong`: the proof that it brings itself.
    pub proof: &'static str,
}

/// The last calls.
#[derive(Default)]
pub(crate) struct CallLog {
    dropped: usize,
    entries: VecDeque<RecordedCall>,
}

// === impl CallLog ===

impl CallLog {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RecordedCall> {
        self.entries.iter()
    }

    /// Forgets them, but not how many there were: an answer may be on its way.
    pub(crate) fn clear(&mut self) {
        self.dropped += self.entries.len();
        self.entries.clear();
    }

    /// Adds one; gives its number.
    pub(crate) fn add(&mut self, call: RecordedCall) -> usize {
        self.entries.push_back(call);
        if self.entries.len() > MAX_RECORDED_CALLS {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.dropped + self.entries.len()
    }

    /// Writes down how one was answered, if it is still remembered.
    pub(crate) fn record_status(&mut self, sequence: usize, status: StatusCode) {
        let location = sequence.checked_sub(self.dropped + 1);
        if let Some(seen) = location.and_then(|location| self.entries.get_mut(location)) {
            seen.status = Some(status.as_u16());
        }
    }
}

/// So many calls are remembered.
const MAX_RECORDED_CALLS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_call_although_others_were_forgotten() {
        let mut calls = CallLog::default();
        let seen = |method: &str| RecordedCall {
            method: method.to_owned(),
            host: String::new(),
            target: String::new(),
            http: String::new(),
            data: true,
            headers: Vec::new(),
            authorization: None,
            access_tokens: Vec::new(),
            proof: "absent",
            parameters: Vec::new(),
            items: Vec::new(),
            user_agent: None,
            accept: None,
            content_type: None,
            content_length: None,
            transfer_encoding: None,
            body_length: 0,
            body_sha256: String::new(),
            status: None,
            at: 0,
        };
        let first = calls.add(seen("FIRST"));
        calls.clear();
        let second = calls.add(seen("SECOND"));
        calls.record_status(first, StatusCode::OK);
        assert_eq!(calls.iter().next().unwrap().status, None);
        for _ in 1..MAX_RECORDED_CALLS {
            calls.add(seen("MORE"));
        }
        calls.record_status(second, StatusCode::OK);
        assert_eq!(calls.iter().next().unwrap().status, Some(200));
        calls.add(seen("LAST"));
        assert_eq!(calls.iter().count(), MAX_RECORDED_CALLS);
        calls.record_status(second, StatusCode::CREATED);
        assert!(calls.iter().all(|seen| seen.status.is_none()));
    }
}
