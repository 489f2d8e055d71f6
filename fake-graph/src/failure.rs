//! The errors of Graph: codes, texts, statuses.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::hosts::VirtualHost;

/// One error, before it is written as an envelope.
#[derive(Clone, Debug)]
pub(crate) struct GraphFailure {
    pub(crate) status: StatusCode,
    pub(crate) code: i64,
    pub(crate) message: String,
    error_type: &'static str,
    subcode: Option<i64>,
    error_data: Option<Value>,
    challenge_error: &'static str,
}

/// The documented envelope, in Graph's order of fields.
#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    code: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_subcode: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_transient: Option<bool>,
    fbtrace_id: &'a str,
}

impl GraphFailure {
    /// Most errors: an `OAuthException` with the status that goes with its code.
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            status: status_of(code),
            code,
            message: message.into(),
            error_type: "OAuthException",
            subcode: None,
            error_data: None,
            challenge_error: challenge_of(code),
        }
    }

    /// An error on command, with the text that is known for its code.
    pub(crate) fn from_code(code: i64) -> Self {
        let failure = Self::new(code, text_of(code));
        if code >= 130_000 {
            failure.with_details(text_of(code))
        } else {
            failure
        }
    }

    /// A dead token. The status depends on where the token was sent; the caller sets it.
    pub(crate) fn invalid_token(subcode: Option<i64>, message: impl Into<String>) -> Self {
        let mut failure = Self::new(190, message);
        failure.subcode = subcode;
        failure
    }

    /// An authorization code that is not exchanged.
    pub(crate) fn invalid_code(subcode: i64, message: &str) -> Self {
        let mut failure = Self::new(100, message).with_subcode(subcode);
        failure.challenge_error = "invalid_code";
        failure
    }

    /// A token of another kind than the edge needs: the code of a dead token, without a subcode.
    pub(crate) fn page_token_required() -> Self {
        let failure = Self::invalid_token(None, "This method must be called with a Page Access Token");
        failure.with_status(StatusCode::BAD_REQUEST)
    }

    /// The error for a field that objects of this type do not have.
    pub(crate) fn nonexisting_field(field: &str, kind: &str) -> Self {
        let message = format!("(#100) Tried accessing nonexisting field ({field}) on node type ({kind})");
        Self::new(100, message)
    }

    /// An object that does not exist, or that this token may not see: Graph does not distinguish them.
    pub(crate) fn unsupported_request(method: &http::Method, id: &str) -> Self {
        let verb = match method.as_str() {
            "GET" | "HEAD" => "get",
            "DELETE" => "delete",
            _ => "post",
        };
        Self::new(
            100,
            format!(
                "Unsupported {verb} request. Object with ID '{id}' does not exist, cannot be loaded due to \
                 missing permissions, or does not support this operation. Please read the Graph API \
                 documentation at https://developers.facebook.com/docs/graph-api"
            ),
        )
        .with_subcode(33)
        .with_type("GraphMethodException")
    }

    /// A parameter that is missing.
    pub(crate) fn missing_parameter(name: &str) -> Self {
        Self::new(100, format!("(#100) The parameter {name} is required."))
    }

    /// The template `hello_world` from a number that is no test number.
    pub(crate) fn hello_world() -> Self {
        let details = "Hello World templates can only be sent from the Public Test Numbers";
        Self::new(131_058, format!("(#131058) {details}")).with_details(details)
    }

    /// A path that does not exist.
    pub(crate) fn unknown_path(path: &str) -> Self {
        Self::new(2500, format!("Unknown path components: /{path}"))
    }

    pub(crate) fn with_subcode(mut self, subcode: i64) -> Self {
        self.subcode = Some(subcode);
        self
    }

    pub(crate) const fn with_type(mut self, kind: &'static str) -> Self {
        self.error_type = kind;
        self
    }

    pub(crate) const fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// WhatsApp's `error_data`.
    pub(crate) fn with_details(self, details: impl Into<String>) -> Self {
        let details: String = details.into();
        self.with_data(json!({"messaging_product": "whatsapp", "details": details}))
    }

    /// `error_data`.
    pub(crate) fn with_data(mut self, data: Value) -> Self {
        self.error_data = Some(data);
        self
    }

    /// The same error in the words of the host.
    pub(crate) fn for_host(mut self, host: VirtualHost) -> Self {
        if self.error_type == "OAuthException" {
            self.error_type = match host {
                VirtualHost::Instagram => "IGApiException",
                VirtualHost::Threads => "THApiException",
                VirtualHost::Graph
                | VirtualHost::Video
                | VirtualHost::Rupload
                | VirtualHost::Lookaside
                | VirtualHost::Any => self.error_type,
            };
        }
        self
    }

    /// A malformed token, which Graph echoes.
    pub(crate) fn malformed_token(token: &str) -> Self {
        Self::invalid_token(None, format!("Malformed access token {token}"))
    }

    /// The body.
    pub(crate) fn envelope<'a>(&'a self, trace: &'a str) -> impl Serialize + use<'a> {
        ErrorEnvelope {
            error: ErrorObject {
                message: &self.message,
                kind: self.error_type,
                code: self.code,
                error_subcode: self.subcode,
                error_data: self.error_data.clone(),
                is_transient: (self.code == 2).then_some(true),
                fbtrace_id: trace,
            },
        }
    }

    /// Status, code and subcode in one line.
    pub(crate) fn summary(&self) -> String {
        let subcode = self.subcode.map(|subcode| format!(", subcode {subcode}"));
        format!(
            "{}, code {}{}",
            self.status.as_u16(),
            self.code,
            subcode.unwrap_or_default()
        )
    }

    /// The error in an answer of `debug_token`, where the field is called `subcode`.
    pub(crate) fn to_debug_token_error(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let (Some(subcode), Some(error)) = (self.subcode, error.as_object_mut()) {
            error.insert("subcode".to_owned(), subcode.into());
        }
        error
    }

    /// The `WWW-Authenticate` header, which is on nearly every error and follows no RFC. The message stands in
    /// it unchanged, except for control characters.
    pub(crate) fn challenge(&self) -> String {
        let message: String = self
            .message
            .chars()
            .map(|letter| if letter.is_ascii_control() { ' ' } else { letter })
            .collect();
        format!("OAuth \"Facebook Platform\" \"{}\" \"{message}\"", self.challenge_error)
    }
}

/// The second quoted string of the challenge.
const fn challenge_of(code: i64) -> &'static str {
    match code {
        190 | 102 => "invalid_token",
        1 | 2 => "unknown_error",
        _ => "invalid_request",
    }
}

/// The status that WhatsApp documents for a code.
const fn status_of(code: i64) -> StatusCode {
    match code {
        0 | 190 => StatusCode::UNAUTHORIZED,
        1..=3 => StatusCode::INTERNAL_SERVER_ERROR,
        10 | 200..=299 | 368 | 130_497 | 131_005 | 131_031 => StatusCode::FORBIDDEN,
        4 | 80_007 | 130_429 | 131_048 | 131_056 | 133_016 => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    }
}

const fn text_of(code: i64) -> &'static str {
    match code {
        0 => "We were unable to authenticate the app user.",
        1 => "An unknown error occurred",
        2 => "An unexpected error has occurred. Please retry your request later.",
        3 => "(#3) Application does not have the capability to make this API call.",
        4 => "(#4) Application request limit reached",
        5 => "(#5) Unauthorized source IP address",
        10 => "(#10) Application does not have permission for this action",
        17 => "(#17) User request limit reached",
        102 => "Session key invalid or no longer valid",
        190 => "Invalid OAuth access token - Cannot parse access token",
        200..=299 => "(#200) You do not have the necessary permissions required to perform this action.",
        368 => "The action attempted has been deemed abusive or is otherwise disallowed",
        613 => "(#613) Calls to this api have exceeded the rate limit.",
        2635 => "(#2635) You are calling a deprecated version of the Ads API. Please update to the latest version.",
        80_007 => {
            "(#80007) There have been too many calls to this WhatsApp Business account. Wait a bit and try again."
        }
        130_429 => "(#130429) Rate limit hit",
        131_005 => "(#131005) Access denied",
        131_031 => "(#131031) Account has been locked",
        131_048 => "(#131048) Spam rate limit hit",
        131_056 => "(#131056) (Business Account, Consumer Account) pair rate limit hit",
        _ => "An error on command",
    }
}
