//! Calls as they arrived. `GET /calls` of the control API shows them, so that a test in any language can check what
//! reached Graph.
//!
//! They contain no secret. In headers and targets, a token is replaced by its fingerprint, `<0123abcd>`, an app's secret
//! by `<secret>`, a proof by `<proof>`.

use std::collections::VecDeque;

use http::StatusCode;
use serde::Serialize;

/// A call as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordedCall {
    /// The method on the wire. A `method` parameter does not change it.
    pub method: String,
    /// The name it was sent to, without the port.
    pub host: String,
    /// Path and query, unchanged except for secrets.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http: String,
    /// Whether it is about data. Otherwise it is about tokens.
    pub data: bool,
    /// All headers in order: name in lower case, value.
    pub headers: Vec<(String, String)>,
    /// The `Authorization` header.
    pub authorization: Option<AuthorizationHeader>,
    /// Credentials in parameters: every `access_token` that is not empty.
    pub access_tokens: Vec<ParameterCredential>,
    /// Whether the `appsecret_proof` of the effective credential is `absent`, `right` or `wrong`.
    pub proof: &'static str,
    /// The names of the parameters, each with its location: `query`, `form`, `multipart` or `json`.
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
    /// The length of the body.
    pub body_length: u64,
    /// The body's SHA-256, in hexadecimal.
    pub body_sha256: String,
    /// The status of the answer, once it is sent.
    pub status: Option<u16>,
    /// When it arrived, in seconds since 1970.
    pub at: i64,
}

/// An `Authorization` header.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuthorizationHeader {
    /// The scheme as written.
    pub scheme: String,
    /// The credential's fingerprint.
    pub token: String,
    /// Its state: `alive`, `dead`, `app` or `unknown`.
    pub state: &'static str,
}

/// A credential in a parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ParameterCredential {
    /// `query`, `form`, `multipart`, `json` or `batch`.
    pub location: &'static str,
    /// Its fingerprint.
    pub token: String,
    /// Its state: `alive`, `dead`, `app` or `unknown`.
    pub state: &'static str,
}

/// An item of a batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordedBatchItem {
    /// Its method.
    pub method: String,
    /// Its `relative_url` without secrets.
    pub relative_url: String,
    /// Its `body` without secrets.
    pub body: String,
    /// Whether the proof that it brings itself is `absent`, `right` or `wrong`.
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

    /// Forgets the calls but not their number, since answers may still be on their way.
    pub(crate) fn clear(&mut self) {
        self.dropped += self.entries.len();
        self.entries.clear();
    }

    /// Adds a call and returns its number.
    pub(crate) fn add(&mut self, call: RecordedCall) -> usize {
        self.entries.push_back(call);
        if self.entries.len() > MAX_RECORDED_CALLS {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.dropped + self.entries.len()
    }

    /// Records the status of a call's answer, if the call is still in the log.
    pub(crate) fn record_status(&mut self, sequence: usize, status: StatusCode) {
        let index = sequence.checked_sub(self.dropped + 1);
        if let Some(seen) = index.and_then(|index| self.entries.get_mut(index)) {
            seen.status = Some(status.as_u16());
        }
    }
}

/// The number of calls in the log.
const MAX_RECORDED_CALLS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_call_after_others_were_forgotten() {
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
