//! What one of Graph's errors means, and who has to do what about it: the other table, in words for people.
//!
//! # Why
//!
//! Graph's own text is written for whoever made the call, is localised, and may repeat the whole token; so none of it is
//! said again. What is said depends on the code and the subcode alone, but for the two words that [`GraphError`] keeps of a
//! message.

use super::error::GraphError;
use super::verdict::is_proof_error;

/// An error in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// What happened: one sentence. It has numbers of the error in it, and nothing else of it.
    pub summary: String,
    /// Who must do what: one sentence.
    pub remediation: &'static str,
}

/// What an error means, and who has to do what. Total: an unknown one is called that.
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

/// Whether a person has to act before any newer token can help: the token's user, or an admin of the app.
#[must_use]
pub fn is_action_required(error: &GraphError) -> bool {
    match error.code {
        Some(190) => error.app_validation_failed || matches!(error.subcode, Some(459 | 464 | 492)),
        Some(101) => true,
        Some(_) | None => false,
    }
}

const REPLACE_TOKEN: &str = "Unless a renewer mints one by itself, an operator has to put a new token where graphward's token source \
     looks: a token that has died cannot be exchanged for a new one.";
const LOG_IN_AGAIN: &str = "The token's user has to log in to the app again, and an operator has to put the token of that login where \
     graphward's token source looks; a system user's token would not depend on anybody's login.";
const PASTE_TOKEN_AGAIN: &str = "An operator has to put a whole token of the right app and the right host where graphward's token source \
     looks: without quotes, line breaks or `Bearer`.";
const SET_APP_SECRET: &str = "An operator has to set `app.secret` to the secret of the app that the token was issued for, so that graphward \
     adds the proof.";
const REDUCE_RATE: &str = "Nobody has to touch the token: the app has to send less, and again later; the `X-App-Usage` and \
     `X-Business-Use-Case-Usage` fields of the answers say how much is used.";
const RETRY_LATER: &str = "Nobody has to do anything but wait: the app may send again later, once it has made sure that the first did not \
     go through.";
const FIX_REQUEST: &str = "The app's developer has to mend the request: Graph's message names the parameter.";
const GRANT_PERMISSION: &str = "An admin of the business has to grant the permission or assign the asset to the token's user, and then have \
     a new token made: a newer token with the same rights would be refused just so.";
const CHECK_BUSINESS_MANAGER: &str = "An admin of the business has to look into Business Manager, where Meta says what is wrong and how to appeal; no \
     token helps.";
const FIX_TEMPLATE: &str =
    "The app's developer has to mend the template, or what is filled into it, in WhatsApp Manager and in the app.";
const VERIFY_PHONE_NUMBER: &str =
    "An admin of the WhatsApp account has to register or verify the phone number; no token helps.";
const SKIP_RECIPIENT: &str = "The app has to leave this recipient alone, or to write otherwise; no token helps.";
const CHECK_APP: &str = "An admin of the Meta app has to see that the app exists, is not disabled, and is the one whose id is configured: \
     no newer token of it helps.";
const READ_GRAPHWARD_MESSAGE: &str =
    "An operator has to read the answer's message, which says what to do; README lists the codes from 990001.";

#[rustfmt::skip]
fn describe(error: &GraphError) -> (&'static str, &'static str) {
    let Some(code) = error.code else {
        return ("Graph reports an error without saying which",
            "The app's developer has to read Graph's message; nothing says that it is about the token.");
    };
    if is_proof_error(error) || code == 145 {
        return ("Graph misses the `appsecret_proof` of the request, or finds it wrong", SET_APP_SECRET);
    }
    match (code, error.subcode.unwrap_or(0)) {
        (190, subcode) => describe_token_error(subcode, error.app_validation_failed),
        (102 | 450, _) => ("The session behind the token has expired", LOG_IN_AGAIN),
        (452, _) => ("The key of the session behind the token is not valid", REPLACE_TOKEN),
        (0, _) => ("Graph could not authenticate the app's user, which with status 401 means that the token is dead", REPLACE_TOKEN),

        (1, _) => ("Graph failed for a reason that it does not know, and may or may not have acted", RETRY_LATER),
        (2, _) => ("Graph is out of order for the moment, and may or may not have acted", RETRY_LATER),
        (3, _) => ("The app may not use this method: it lacks the capability or the permission", GRANT_PERMISSION),
        (5, _) => ("The app takes requests only from listed addresses, and the one that graphward's requests leave from is not listed",
            "An admin of the Meta app has to add that address to the app's list of server addresses, or an operator has to \
             let graphward's requests leave from a listed one."),
        (10, _) => ("The token lacks a permission that this request needs", GRANT_PERMISSION),
        (12, _) => ("The method is deprecated", FIX_REQUEST),
        (200..=299, _) => ("The token lacks a permission for this, or its user may not use the asset", GRANT_PERMISSION),
        (33, _) | (100, 33) => ("The object does not exist, or the token's user may not see it, or it cannot do this",
            "The app's developer has to check the id; if it is right, an admin of the business has to assign the asset to the \
             token's user."),
        (100, 36_007..=36_009) => ("The code of a login is not valid, or was used before",
            "The user has to log in anew: such a code can be exchanged once."),
        (100, _) => ("A parameter of the request is missing or wrong", FIX_REQUEST),
        (101, _) => ("Graph cannot validate the app that the token was issued for", CHECK_APP),
        (104, _) => ("The request reached Graph without a token",
            "An operator has to check that the app's request went through graphward and not round it; a new token does not \
             help."),
        (368, _) => ("Meta has blocked this action for a while, because of its policies", CHECK_BUSINESS_MANAGER),
        (506, _) => ("The same was posted just before", "The app's developer has to send it once, or to change it."),
        (803, _) => ("One of the ids or names in the request does not exist", FIX_REQUEST),
        (1_609_005, _) => ("Graph could not read the link to be posted", FIX_REQUEST),
        (2500, _) => ("The request has a path that Graph does not know, or asks about the current user with a token that has \
             none, as an app's",
            "The app's developer has to mend the path, or an operator has to give graphward a user's token instead of an \
             app's."),
        (2635, _) => ("The request asks for a version of the API that is no longer served",
            "The app's developer has to name a newer version in the path; no token helps."),
        (3962, _) => ("Graph does not mint tokens for this system user",
            "An admin of the business has to check that the app is installed for the system user and that the admin token's \
             user may manage it."),
        (6001, _) => ("Graph had trouble with an upload", "The app has to send the chunk, or the whole upload, once more."),
        (4 | 341, _) => ("The app has used up its rate limit", REDUCE_RATE),
        (17, _) => ("The token's user has used up a rate limit", REDUCE_RATE),
        (32, _) => ("The page has used up its rate limit", REDUCE_RATE),
        (613, _) => ("A rate limit of this kind of call is used up", REDUCE_RATE),
        (80_007, _) => ("The WhatsApp Business account has used up its rate limit", REDUCE_RATE),
        (80_000..=80_014, _) => ("The business has used up a rate limit of this use case", REDUCE_RATE),
        (130_000..=139_999, _) => describe_whatsapp_error(code),
        (990_016 | 990_017, _) => ("This is an answer of graphward's own: no answer of Graph's came, and Graph may or may not have acted", RETRY_LATER),
        (990_001..=990_999, _) => ("This is an answer of graphward's own, and Graph has not seen the request", READ_GRAPHWARD_MESSAGE),
        _ => ("Graph refused the request with a code that is not known here, and that none of its words for a dead token is",
            "The app's developer has to read Graph's message and to look the code up in Meta's reference; a newer token is \
             unlikely to help."),
    }
}

/// 190: the token is dead. The subcode says how it died.
#[rustfmt::skip]
const fn describe_token_error(subcode: i64, app_validation_failed: bool) -> (&'static str, &'static str) {
    match subcode {
        0 if app_validation_failed => ("Graph rejects the token because it cannot validate the app that it was issued for", CHECK_APP),
        0 => ("Graph cannot use the token: it is garbled or cut off, is another app's or host's, was revoked, or the app's secret \
             was reset", PASTE_TOKEN_AGAIN),
        456 => ("Graph rejects the token because its session is malformed", PASTE_TOKEN_AGAIN),
        457 => ("Graph rejects the token because its session is from an origin that it does not accept", PASTE_TOKEN_AGAIN),
        458 => ("The token's user has removed the app, or never installed it",
            "The token's user has to authorise the app again, and an operator has to put the token of that login where \
             graphward's token source looks."),
        459 => ("Meta wants the token's user to pass a check before the account is used again",
            "The token's user has to log in at facebook.com and do what is asked there; no newer token of that user helps \
             before that."),
        460 => ("The token died because its user changed the password, or Meta ended the session for safety", LOG_IN_AGAIN),
        461 => ("The token died because its user installed the app anew", REPLACE_TOKEN),
        462 => ("The session behind the token is of a version that is over", REPLACE_TOKEN),
        463 => ("The token has expired", REPLACE_TOKEN),
        464 => ("The account of the token's user is not confirmed",
            "The token's user has to log in at facebook.com and confirm the account; no newer token of that user helps before \
             that."),
        465 => ("The user of the token's session is not valid", REPLACE_TOKEN),
        466 => ("The token was revoked by a call of the API", REPLACE_TOKEN),
        467 => ("The token died, mostly because its user logged out", LOG_IN_AGAIN),
        468 => ("The token died because it was not used for too long", LOG_IN_AGAIN),
        492 => ("The token's user has lost the role on the page",
            "An admin of the page has to give the role back to the token's user, or an operator has to give graphward the \
             token of a user who has it."),
        493 => ("The token died because its user has not used the app for more than 90 days", LOG_IN_AGAIN),
        _ => ("Graph rejects the token", REPLACE_TOKEN),
    }
}

/// What WhatsApp says of its own matters: none of it is about the token.
#[rustfmt::skip]
const fn describe_whatsapp_error(code: i64) -> (&'static str, &'static str) {
    match code {
        130_429 => ("The phone number has sent more messages a second than it may", REDUCE_RATE),
        130_472 => ("The recipient is part of an experiment of Meta's and gets no such message", SKIP_RECIPIENT),
        130_497 => ("The account may not send messages to the recipient's country", CHECK_BUSINESS_MANAGER),
        131_000 => ("WhatsApp failed for a reason that it does not know, and may or may not have acted", RETRY_LATER),
        131_005 => ("WhatsApp denies access: the token lacks a permission, or its user the asset", GRANT_PERMISSION),
        131_008 => ("A parameter that WhatsApp needs is missing", FIX_REQUEST),
        131_009 => ("A parameter has a value that WhatsApp does not take", FIX_REQUEST),
        131_016 => ("WhatsApp is out of order for the moment, and may or may not have acted", RETRY_LATER),
        131_021 => ("The message is addressed to the number that sends it", FIX_REQUEST),
        131_026 => ("The message cannot be delivered: the recipient has no WhatsApp, an old one, or has not agreed to its terms",
            SKIP_RECIPIENT),
        131_031 => ("Meta has locked the WhatsApp Business account", CHECK_BUSINESS_MANAGER),
        131_042 => ("WhatsApp cannot bill the account",
            "An admin of the business has to mend the payment method in Business Manager; no token helps."),
        131_045 => ("The phone number is not registered, or its certificate is wrong", VERIFY_PHONE_NUMBER),
        131_047 => ("More than 24 hours have passed since the recipient wrote last",
            "The app has to send a template instead; no token helps."),
        131_048 => ("The phone number may send less for now, since too many recipients have blocked or reported its messages", REDUCE_RATE),
        131_049 => ("WhatsApp did not deliver the message, to spare the recipient", SKIP_RECIPIENT),
        131_051 => ("WhatsApp does not take messages of this type", FIX_REQUEST),
        131_052 => ("WhatsApp could not fetch a file that a user sent", "The app has to ask the user to send the file again."),
        131_053 => ("WhatsApp could not take the file of the message", FIX_REQUEST),
        131_056 => ("Too many messages went from this number to this recipient in a short time", REDUCE_RATE),
        131_057 => ("The WhatsApp Business account is under maintenance", RETRY_LATER),
        131_064 => ("A rate limit of the WhatsApp account is used up", REDUCE_RATE),
        132_000..=132_999 => ("WhatsApp cannot send this template", FIX_TEMPLATE),
        133_004 => ("WhatsApp's registration is out of order for the moment", RETRY_LATER),
        133_016 => ("The phone number was registered too often in a short time", REDUCE_RATE),
        133_000..=133_999 => ("The registration of the phone number failed, or is missing", VERIFY_PHONE_NUMBER),
        135_000 => ("WhatsApp does not take the message, for a reason that lies in its parameters", FIX_REQUEST),
        _ => ("WhatsApp refused the request for a reason that is not the token",
            "The app's developer has to look the code up in WhatsApp's list of error codes; a newer token does not help."),
    }
}

#[cfg(test)]
mod tests;
