//! Explanations of Graph's errors for people: what happened, and what to do.
//!
//! # Why
//!
//! Graph's message is written for the caller, is localized, and may repeat the whole token; so graphward never repeats
//! it. An explanation depends on the code and the subcode alone, and on the facts that [`GraphError`] keeps of a message.

use super::error::GraphError;
use super::verdict::is_proof_error;

/// An explanation of an error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// The event, in one sentence. It contains the numbers of the error, and nothing else of it.
    pub summary: String,
    /// The fix, in one sentence that names the person if that is not the operator.
    pub remediation: &'static str,
}

/// Explains an error. An unknown one is called unknown.
#[must_use]
pub fn explain(error: &GraphError) -> Explanation {
    let (description, remediation) = describe(error);
    let summary = match (error.code, error.subcode) {
        (Some(code), Some(subcode)) => format!("{description} (code {code}, subcode {subcode})."),
        (Some(code), None) => format!("{description} (code {code})."),
        (None, _) => format!("{description}."),
    };
    Explanation { summary, remediation }
}

/// Returns whether a person has to act before a newer token can help: the token's user, or an admin of the app.
#[must_use]
pub fn is_action_required(error: &GraphError) -> bool {
    match error.code {
        Some(190) => error.app_validation_failed || matches!(error.subcode, Some(459 | 464 | 492)),
        Some(101) => true,
        Some(_) | None => false,
    }
}

// === impl Explanation ===

impl Explanation {
    /// Says where a token is created, if this error calls for one.
    #[must_use]
    pub fn token_creation(&self) -> Option<&'static str> {
        let needs_token = [
            REPLACE_TOKEN,
            LOG_IN_AGAIN,
            PASTE_TOKEN_AGAIN,
            AUTHORIZE_APP,
            GRANT_PERMISSION,
        ];
        needs_token.contains(&self.remediation).then_some(TOKEN_CREATION)
    }
}

const TOKEN_CREATION: &str = "Where a token is created: for WhatsApp, Pages and ads, business.facebook.com > Settings > System users > Generate \
     token; for Instagram and Threads, the dashboard of the app at developers.facebook.com/apps; a person's token comes \
     from a login to the app.";
const AUTHORIZE_APP: &str = "The token's user must authorize the app again; then put the token of that login where graphward's token source \
     reads it.";
const REPLACE_TOKEN: &str = "If no renewer is configured, put a new token where graphward's token source reads it: a rejected token cannot \
     be exchanged for a new one.";
const LOG_IN_AGAIN: &str = "The token's user must log in to the app again; then put the token of that login where graphward's token source \
     reads it; a system user's token does not depend on a login.";
const PASTE_TOKEN_AGAIN: &str = "Put the complete token of the right app and host where graphward's token source reads it, without quotes, line \
     breaks or `Bearer`.";
const SET_APP_SECRET: &str =
    "Set `app.secret` to the secret of the app that the token was issued for, so that graphward adds the proof.";
const REPLACE_APP_SECRET: &str = "Copy the secret of the app with the configured id from developers.facebook.com/apps, App settings > Basic, into \
     `app.secret`; a new token does not help.";
const REDUCE_RATE: &str = "The token is not the cause; reduce the app's request rate and retry later; the `X-App-Usage` and \
     `X-Business-Use-Case-Usage` response headers report the usage.";
const RETRY_LATER: &str =
    "Retry later, after checking that the first request did not take effect; no other action is required.";
const FIX_REQUEST: &str = "Fix the app's request: Graph's message names the parameter.";
const GRANT_PERMISSION: &str = "A business admin must grant the permission, or assign the asset to the token's user, and then create a new \
     token; a new token with the same permissions will also be refused.";
const CHECK_BUSINESS_MANAGER: &str = "A business admin must check Business Manager, where Meta explains the problem and how to appeal; a new token \
     does not help.";
const FIX_TEMPLATE: &str = "Fix the template in WhatsApp Manager, or the values that the app fills into it.";
const VERIFY_PHONE_NUMBER: &str =
    "An admin of the WhatsApp account must register or verify the phone number; a new token does not help.";
const SKIP_RECIPIENT: &str =
    "Stop sending this message to this recipient, or change the message; a new token does not help.";
const CHECK_APP: &str = "An admin of the Meta app must check that the app exists, is enabled, and has the configured app id; a new token \
     of this app does not help.";
const READ_GRAPHWARD_MESSAGE: &str =
    "Read the message of the response, which says what to do; docs/refusals.md lists the codes from 990001.";

#[rustfmt::skip]
fn describe(error: &GraphError) -> (&'static str, &'static str) {
    let Some(code) = error.code else {
        return ("Graph returned an error without a code",
            "Read Graph's message in the app; nothing indicates that the token is the cause.");
    };
    if is_proof_error(error) || code == 145 {
        return ("The request's `appsecret_proof` is missing or invalid", SET_APP_SECRET);
    }
    match (code, error.subcode.unwrap_or(0)) {
        (190, 0) if error.app_validation_failed => ("Graph rejects the token because it cannot validate the app that it \
            was issued for",
            CHECK_APP),
        (190, subcode) => describe_token_error(subcode),
        (102 | 450, _) => ("The session behind the token has expired", LOG_IN_AGAIN),
        (452, _) => ("The key of the session behind the token is not valid", REPLACE_TOKEN),
        (0, _) => ("Graph could not authenticate the app's user; with status 401 this means that the token is no \
            longer valid",
            REPLACE_TOKEN),

        (1, _) if error.app_secret_refused => ("Graph rejects the app secret: it was reset, or is another app's",
            REPLACE_APP_SECRET),
        (1, _) => ("Graph failed with an unknown error; the request may have taken effect", RETRY_LATER),
        (2, _) => ("Graph is temporarily unavailable; the request may have taken effect", RETRY_LATER),
        (3, _) => ("The app lacks the capability or permission for this method", GRANT_PERMISSION),
        (5, _) => ("The app accepts requests only from allowlisted IP addresses, and graphward's egress address is \
            not on the list",
            "An admin of the Meta app must add graphward's egress address to the app's server IP allowlist, or an \
            operator must send graphward's requests from a listed address."),
        (10, _) => ("The token lacks a permission that this request needs", GRANT_PERMISSION),
        (12, _) => ("The method is deprecated", FIX_REQUEST),
        (200..=299, _) => ("The token lacks a permission for this request, or its user has no access to the asset",
            GRANT_PERMISSION),
        (33, _) | (100, 33) => ("The object does not exist, the token's user has no access to it, or it does not \
            support this operation",
            "Check the id in the app's request; if it is right, a business admin must assign the asset to the token's \
            user."),
        (100, 36_007..=36_009) => ("The authorization code is invalid or was already used",
            "The user must log in again: an authorization code can be exchanged only once."),
        (100, _) => ("A request parameter is missing or invalid", FIX_REQUEST),
        (101, _) => ("Graph cannot validate the app that the token was issued for", CHECK_APP),
        (104, _) => ("The request reached Graph without a token",
            "Check that the app sends its requests through graphward; a new token does not help."),
        (368, _) => ("Meta has temporarily blocked this action for policy reasons", CHECK_BUSINESS_MANAGER),
        (506, _) => ("The same content was just posted", "Send the post once, or change it."),
        (803, _) => ("One of the ids or names in the request does not exist", FIX_REQUEST),
        (1_609_005, _) => ("Graph could not read the link to be posted", FIX_REQUEST),
        (2500, _) => ("The request path is unknown to Graph, or `/me` was requested with a token that has no user, \
            such as an app token",
            "Fix the path in the app's request, or give graphward a user's token instead of an app's token."),
        (2635, _) => ("The request uses an API version that is no longer supported",
            "Use a newer version in the path of the app's request; a new token does not help."),
        (3962, _) => ("Graph does not issue tokens for this system user",
            "A business admin must check that the app is installed for the system user and that the user of the admin \
            token may manage it."),
        (6001, _) => ("An upload failed at Graph", "Send the chunk, or the whole upload, again."),
        (4 | 341, _) => ("The app has reached its rate limit", REDUCE_RATE),
        (17, _) => ("The token's user has reached a rate limit", REDUCE_RATE),
        (32, _) => ("The page has reached its rate limit", REDUCE_RATE),
        (613, _) => ("This kind of call has reached its rate limit", REDUCE_RATE),
        (80_007, _) => ("The WhatsApp Business account has reached its rate limit", REDUCE_RATE),
        (80_000..=80_014, _) => ("The business has reached the rate limit of this use case", REDUCE_RATE),
        (130_000..=139_999, _) => describe_whatsapp_error(code),
        (990_016 | 990_017, _) => ("graphward generated this response: Graph did not respond, and the request may \
            have taken effect",
            RETRY_LATER),
        _ if is_own_code(code) => ("graphward generated this response; the request was not sent to Graph",
            READ_GRAPHWARD_MESSAGE),
        _ => ("Graph refused the request with an unknown code that is not a token error",
            "Read Graph's message and look up the code in Meta's reference; a new token is unlikely to help."),
    }
}

/// Returns whether a code is one of graphward's own responses. Graph has smaller and larger ones.
#[must_use]
pub const fn is_own_code(code: i64) -> bool {
    matches!(code, 990_001..=990_999)
}

/// Explains code 190: Graph rejects the token. The subcode says why.
#[rustfmt::skip]
const fn describe_token_error(subcode: i64) -> (&'static str, &'static str) {
    match subcode {
        0 => ("Graph rejects the token: it is malformed or truncated, belongs to another app or host, was revoked, the \
            app secret was reset, or the request needs another kind of token, such as a page's",
            PASTE_TOKEN_AGAIN),
        456 => ("Graph rejects the token because its session is malformed", PASTE_TOKEN_AGAIN),
        457 => ("Graph rejects the token because its session has an unaccepted origin", PASTE_TOKEN_AGAIN),
        458 => ("The token's user has removed the app, or never installed it",
            AUTHORIZE_APP),
        459 => ("Meta requires the token's user to complete a security check",
            "The token's user must log in at facebook.com and complete the check; a new token of that user does not \
            help before that."),
        460 => ("The token is invalid because its user changed the password, or Meta ended the session for security \
            reasons",
            LOG_IN_AGAIN),
        461 => ("The token is invalid because its user reinstalled the app", REPLACE_TOKEN),
        462 => ("The session of the token has an outdated version", REPLACE_TOKEN),
        463 => ("The token has expired", REPLACE_TOKEN),
        464 => ("The account of the token's user is not confirmed",
            "The token's user must log in at facebook.com and confirm the account; a new token of that user does not \
            help before that."),
        465 => ("The user of the token's session is not valid", REPLACE_TOKEN),
        466 => ("The token was revoked by a call of the API", REPLACE_TOKEN),
        467 => ("The token is invalid, usually because its user logged out", LOG_IN_AGAIN),
        468 => ("The token expired because it was not used", LOG_IN_AGAIN),
        492 => ("The token's user has lost the role on the page",
            "A page admin must give the role back to the token's user, or an operator must configure the token of a \
            user who has it."),
        493 => ("The token expired because its user has not used the app for more than 90 days", LOG_IN_AGAIN),
        _ => ("Graph rejects the token", REPLACE_TOKEN),
    }
}

/// Explains WhatsApp's own codes. None of them is about the token.
#[rustfmt::skip]
const fn describe_whatsapp_error(code: i64) -> (&'static str, &'static str) {
    match code {
        130_429 => ("The phone number exceeded its messages-per-second limit", REDUCE_RATE),
        130_472 => ("The recipient is in a Meta experiment and does not receive this kind of message", SKIP_RECIPIENT),
        130_497 => ("The account may not send messages to the recipient's country", CHECK_BUSINESS_MANAGER),
        131_000 => ("WhatsApp failed with an unknown error; the request may have taken effect", RETRY_LATER),
        131_005 => ("WhatsApp denied access: the token lacks a permission, or its user lacks access to the asset",
            GRANT_PERMISSION),
        131_008 => ("A parameter that WhatsApp needs is missing", FIX_REQUEST),
        131_009 => ("A parameter has a value that WhatsApp does not accept", FIX_REQUEST),
        131_016 => ("WhatsApp is temporarily unavailable; the request may have taken effect", RETRY_LATER),
        131_021 => ("The message is addressed to the number that sends it", FIX_REQUEST),
        131_026 => ("The message cannot be delivered: the recipient has no WhatsApp account, uses an old version, or \
            has not accepted the terms",
            SKIP_RECIPIENT),
        131_030 => ("The recipient's number is not in the list of the test number, which may send only to that list",
            "Add the recipient at developers.facebook.com/apps, WhatsApp > API setup, or send from a registered number; a \
            new token does not help."),
        131_031 => ("Meta has locked the WhatsApp Business account", CHECK_BUSINESS_MANAGER),
        131_042 => ("WhatsApp cannot bill the account",
            "A business admin must fix the payment method in Business Manager; a new token does not help."),
        131_045 => ("The phone number is not registered, or its certificate is invalid", VERIFY_PHONE_NUMBER),
        131_047 => ("More than 24 hours have passed since the recipient's last message",
            "Send a template message instead; a new token does not help."),
        131_048 => ("The phone number is rate limited because too many recipients blocked or reported its messages",
            REDUCE_RATE),
        131_049 => ("WhatsApp did not deliver the message, to limit messages to this recipient", SKIP_RECIPIENT),
        131_051 => ("WhatsApp does not support messages of this type", FIX_REQUEST),
        131_052 => ("WhatsApp could not fetch a file that a user sent", "Ask the user to send the file again."),
        131_053 => ("WhatsApp could not accept the file of the message", FIX_REQUEST),
        131_056 => ("Too many messages went from this number to this recipient in a short time", REDUCE_RATE),
        131_057 => ("The WhatsApp Business account is under maintenance", RETRY_LATER),
        131_058 => ("The template `hello_world` can be sent only from the test numbers that Meta lends to apps",
            "Send a template of your own account (`graphward send-test --template NAME --language CODE` tries one), or send \
            from the test number (developers.facebook.com/apps, WhatsApp > API setup); a new token does not help."),
        131_064 => ("The WhatsApp account has reached a rate limit", REDUCE_RATE),
        132_000..=132_999 => ("WhatsApp cannot send this template", FIX_TEMPLATE),
        133_004 => ("WhatsApp's registration service is temporarily unavailable", RETRY_LATER),
        133_016 => ("The phone number was registered too many times in a short period", REDUCE_RATE),
        133_000..=133_999 => ("The registration of the phone number failed, or is missing", VERIFY_PHONE_NUMBER),
        135_000 => ("WhatsApp rejected the message because of its parameters", FIX_REQUEST),
        _ => ("WhatsApp refused the request for a reason unrelated to the token",
            "Look up the code in WhatsApp's list of error codes; a new token does not help."),
    }
}

#[cfg(test)]
mod tests;
