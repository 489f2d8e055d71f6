//! Authorization codes, as a login dialog or Embedded Signup returns them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::call::Call;
use crate::failure::GraphFailure;
use crate::random;
use crate::tokens::TokenChange;

/// An authorization code to issue.
#[derive(Clone, Debug, Default)]
pub struct CodeRequest {
    /// The `redirect_uri` of the dialog, which the exchange must repeat. Embedded Signup has none.
    pub redirect_uri: Option<String>,
    /// The lifetime of the code. The default is ten minutes.
    pub ttl: Option<Duration>,
    /// How the token for it differs from one of a user that lasts 60 days.
    pub token: TokenChange,
}

/// All codes.
#[derive(Default)]
pub(crate) struct CodeTable {
    codes: HashMap<String, IssuedCode>,
}

struct IssuedCode {
    request: CodeRequest,
    expires_at: SystemTime,
}

// === impl CodeTable ===

impl CodeTable {
    /// Issues a code.
    pub(crate) fn issue(&mut self, request: CodeRequest, now: SystemTime) -> String {
        let code = random::code();
        let expires_at = now + request.ttl.unwrap_or(DEFAULT_TTL);
        self.codes.insert(code.clone(), IssuedCode { request, expires_at });
        code
    }

    /// Uses a code up and returns the properties of its token. An unknown code counts as used.
    pub(crate) fn redeem(&mut self, code: &str, call: &Call, now: SystemTime) -> Result<TokenChange, GraphFailure> {
        let used = || GraphFailure::invalid_code(36_009, "This authorization code has been used.");
        let issued = self.codes.get(code).ok_or_else(used)?;
        if issued.expires_at <= now {
            return Err(GraphFailure::invalid_code(
                36_007,
                "This authorization code has expired.",
            ));
        }
        // The JavaScript SDK's codes are exchanged without a redirect_uri, or with an empty one.
        let redirect_uri = call.text("redirect_uri").filter(|uri| !uri.is_empty());
        if redirect_uri != issued.request.redirect_uri {
            return Err(GraphFailure::invalid_code(36_008, REDIRECT_MISMATCH_MESSAGE));
        }
        let redeemed = self.codes.remove(code).ok_or_else(used)?;
        Ok(redeemed.request.token)
    }
}

/// How long a code is valid.
const DEFAULT_TTL: Duration = Duration::from_secs(600);
const REDIRECT_MISMATCH_MESSAGE: &str = "Error validating verification code. Please make sure your redirect_uri is identical to \
     the one you used in the OAuth dialog request";
