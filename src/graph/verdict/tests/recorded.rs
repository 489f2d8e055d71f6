use super::*;

#[test]
fn recorded_bodies_have_the_verdicts_that_their_threads_ended_with() {
    for (status, body, expected) in RECORDED {
        assert_eq!(verdict_of(*status, body), *expected, "{status} {body}");
    }
}

/// Bodies from public issue trackers and recordings, ids and tokens replaced.
const RECORDED: &[(u16, &str, Verdict)] = &[
    // chatwoot#9708
    (
        401,
        r#"{"error":{"message":"Error validating access token: Session has expired on Saturday, 29-Jun-24 09:00:00 PDT. The current time is Monday, 01-Jul-24 11:06:30 PDT.","type":"OAuthException","code":190,"error_subcode":463,"fbtrace_id":"AZ-HzGEkqc5Vf3E0gy-eAcV"}}"#,
        EXPIRED,
    ),
    // netflie/whatsapp-cloud-api, facebook-ios-sdk#2576
    (
        401,
        r#"{"error":{"message":"Invalid OAuth access token - Cannot parse access token","type":"OAuthException","code":190,"fbtrace_id":"AbJuG-rMVv36mjw-r78mKwg"}}"#,
        MALFORMED,
    ),
    (
        401,
        r#"{"error":{"message":"The access token could not be decrypted","type":"OAuthException","code":190,"fbtrace_id":"A"}}"#,
        MALFORMED,
    ),
    // react-native-fbsdk#220
    (
        400,
        r#"{"error":{"message":"Malformed access token EAABsbCS1iHgBAKZC","type":"OAuthException","code":190,"fbtrace_id":"A"}}"#,
        MALFORMED,
    ),
    // bootbot#154
    (
        400,
        r#"{"error":{"message":"Error validating access token: The session has been invalidated because the user changed their password or Facebook has changed the session for security reasons.","type":"OAuthException","code":190,"error_subcode":460}}"#,
        REVOKED,
    ),
    (
        400,
        r#"{"error":{"message":"Error validating access token: The session is invalid because the user logged out.","type":"OAuthException","code":190,"error_subcode":467}}"#,
        REVOKED,
    ),
    (
        400,
        r#"{"error":{"message":"Error validating access token: The user has not authorized application 1.","type":"OAuthException","code":190,"error_subcode":458}}"#,
        REVOKED,
    ),
    // koala#26, under its newer and its older code
    (
        400,
        r#"{"error":{"message":"Error validating application. Invalid application ID.","type":"OAuthException","code":190}}"#,
        MALFORMED,
    ),
    (
        400,
        r#"{"error":{"message":"Error validating application. Invalid application ID.","type":"OAuthException","code":101}}"#,
        Verdict::Refused,
    ),
    // hello.js#548
    (
        400,
        r#"{"error":{"message":"Error validating access token: The access token is invalid since the user hasn't engaged the app in longer than 90 days.","type":"OAuthException","code":190,"error_subcode":493}}"#,
        EXPIRED,
    ),
    // account-kit-samples#50
    (
        401,
        r#"{"error":{"message":"Invalid OAuth 2.0 Access Token","type":"EMApiException","code":190,"error_data":[],"fbtrace_id":"A"}}"#,
        MALFORMED,
    ),
    // home-assistant core#152416
    (
        400,
        r#"{"error":{"message":"Invalid OAuth access token data.","type":"OAuthException","code":190}}"#,
        MALFORMED,
    ),
    (
        400,
        r#"{"error":{"message":"An active access token must be used to query information about the current user.","type":"OAuthException","code":2500}}"#,
        Verdict::Refused,
    ),
    (
        400,
        r#"{"error":{"message":"An access token is required to request this resource.","type":"OAuthException","code":104}}"#,
        Verdict::Refused,
    ),
    // campaignchain#99, phonegap-facebook-plugin#1151, and the older variant of the same
    (
        400,
        r#"{"error":{"message":"Error validating access token: Session does not match current stored session.","error_user_msg":"…","type":"OAuthException","code":190,"error_subcode":460}}"#,
        REVOKED,
    ),
    (
        400,
        r#"{"error":{"message":"Session has expired at unix time 1334415600.","type":"OAuthException","code":102}}"#,
        EXPIRED,
    ),
    // ruby_whatsapp_sdk, many recordings
    (
        400,
        r#"{"error":{"message":"Unsupported post request. Object with ID '1' does not exist, cannot be loaded due to missing permissions, or does not support this operation.","type":"GraphMethodException","code":100,"error_subcode":33,"fbtrace_id":"A"}}"#,
        Verdict::Refused,
    ),
    (
        400,
        r#"{"error":{"message":"(#5) Unauthorized source IP address","type":"OAuthException","code":5}}"#,
        Verdict::Refused,
    ),
    (
        500,
        r#"{"error":{"message":"An unexpected error has occurred. Please retry your request later.","type":"OAuthException","is_transient":true,"code":2}}"#,
        Verdict::ServerError,
    ),
    (
        400,
        r#"{"error":{"message":"An unexpected error has occurred. Please retry your request later.","type":"OAuthException","is_transient":true,"code":2}}"#,
        Verdict::ServerError,
    ),
    (
        400,
        r#"{"error":{"message":"Invalid appsecret_proof provided in the API argument","type":"GraphMethodException","code":100}}"#,
        Verdict::ProofRejected,
    ),
    // php-graph-sdk#1012
    (
        400,
        r#"{"error":{"message":"There was a problem uploading your video. Please try again.","type":"OAuthException","code":6001,"error_subcode":1363037,"error_data":{"start_offset":0,"end_offset":1}}}"#,
        Verdict::Refused,
    ),
    // koala#334
    (
        403,
        r#"{"error":{"message":"(#200) Must have a valid access_token to access this endpoint","type":"OAuthException","code":200}}"#,
        Verdict::Permission,
    ),
    (
        403,
        r#"{"error":{"message":"(#10) Application does not have permission for this action","type":"OAuthException","code":10,"fbtrace_id":"A"}}"#,
        Verdict::Permission,
    ),
    (
        403,
        r#"{"error":{"message":"(#131005) Access denied","type":"OAuthException","code":131005,"error_data":{"messaging_product":"whatsapp","details":"Access denied"},"fbtrace_id":"A"}}"#,
        Verdict::Permission,
    ),
    // whatsapp-business-jaspers-market#1
    (
        403,
        r#"{"error":{"message":"(#131031) Business Account locked","type":"OAuthException","code":131031,"error_data":{"messaging_product":"whatsapp","details":"Business account has been locked."},"fbtrace_id":"A"}}"#,
        Verdict::AccountLocked,
    ),
    // heyoo#94
    (
        400,
        r#"{"error":{"message":"(#131030) Recipient phone number not in allowed list","type":"OAuthException","code":131030,"error_data":{"messaging_product":"whatsapp","details":"Recipient phone number not in allowed list: Add recipient phone number to recipient list and try again."},"fbtrace_id":"A"}}"#,
        Verdict::Refused,
    ),
    // the same as above to a request with `suppress_http_code=1`
    (
        200,
        r#"{"error":{"message":"Session has expired at unix time 1334415600.","type":"OAuthException","code":102}}"#,
        EXPIRED,
    ),
    // token endpoints
    (
        400,
        r#"{"error":{"message":"Error validating client secret.","type":"OAuthException","code":1}}"#,
        Verdict::Refused,
    ),
    (
        400,
        r#"{"error":{"message":"This authorization code has been used.","type":"OAuthException","code":100}}"#,
        Verdict::Refused,
    ),
    (
        400,
        r#"{"error":{"message":"Error validating verification code.","type":"OAuthException","code":100,"error_subcode":36009}}"#,
        Verdict::Refused,
    ),
];
