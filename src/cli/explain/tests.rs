use super::*;

const ERROR_OBJECT: &str = r#"{"message":"Error validating access token: EAABsbCS1","type":"OAuthException","code":190,"error_subcode":463,"fbtrace_id":"AZ"}"#;

fn summary_of(text: &str) -> Option<String> {
    explain_text(text.as_bytes()).map(|said| said.summary)
}

#[test]
fn an_error_is_found_however_it_was_shown() {
    let envelope = format!(r#"{{"error":{ERROR_OBJECT}}}"#);
    let quoted = serde_json::to_string(&envelope).unwrap();
    let twice = serde_json::to_string(&quoted).unwrap();
    for text in [
        ERROR_OBJECT.to_owned(),
        envelope.clone(),
        format!("\u{feff}\n {envelope} \n"),
        format!("/**/ cb({envelope});"),
        format!(r#"{{"code":401,"headers":[{{"name":"a","value":"b"}}],"body":{quoted}}}"#),
        format!(r#"[null,{{"code":200,"body":"{{}}"}},{{"code":400,"body":{quoted}}}]"#),
        r#"{"data":{"is_valid":false,"error":{"code":190,"message":"m","subcode":463}}}"#.to_owned(),
        r#"{"is_valid":false,"error":{"code":190,"message":"m","subcode":463}}"#.to_owned(),
        format!("2025-10-05 [worker-3] ERROR {{oops send failed (401): {envelope} retrying"),
        format!(r#"{{"level":"error","msg":"send failed","response":{quoted}}}"#),
        format!(r#"{{"level":"error","code":"E1","response":{{"data":{envelope}}}}}"#),
        format!(r#"{{"log":{twice}}}"#),
        format!("12:00 send failed: {quoted}"),
        format!(r#"{{"message":"send failed","code":17,"cause":{envelope}}}"#),
        format!("{{\"level\":\"info\"}}\n{{\"level\":\"error\",\"error\":{ERROR_OBJECT}}}\n"),
    ] {
        let said = summary_of(&text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(said, "The token has expired (code 190, subcode 463).");
    }
}

#[test]
fn what_is_no_error_of_graphs_is_not_taken_for_one() {
    for text in [
        "",
        "no JSON",
        "{",
        "{}",
        "[[[]]]",
        r#"{"code":200,"body":"{\"id\":\"1\"}"}"#,
        r#"{"error":"invalid_token"}"#,
        r#"{"error":{"message":"no code"}}"#,
        r#"{"data":{"id":"1"}}"#,
        r#"{"messages":[{"id":"wamid.1"}]}"#,
    ] {
        assert_eq!(summary_of(text), None, "{text}");
    }
}

#[test]
fn a_webhooks_error_and_a_refusal_are_explained_too() {
    let webhook = r#"{"statuses":[{"status":"failed","errors":[{"code":131047,"title":"Re-engagement message"}]}]}"#;
    assert!(summary_of(webhook).unwrap().contains("24 hours"));
    let refusal = r#"{"error":{"message":"m","type":"GraphwardException","code":990003}}"#;
    assert!(
        summary_of(refusal)
            .unwrap()
            .contains("graphward generated this response")
    );
}

#[test]
fn a_living_token_is_called_that_and_what_it_lacks_is_named() {
    let valid = r#"{"data":{"is_valid":true,"expires_at":0}}"#;
    assert_eq!(summary_of(valid).unwrap(), "The token is valid.");
    let lacks = r#"{"data":{"is_valid":true,"scopes":["whatsapp_business_management"]}}"#;
    assert_eq!(
        summary_of(lacks).unwrap(),
        "The token is valid, but lacks whatsapp_business_messaging."
    );
}

#[test]
fn what_is_long_and_deep_ends_soon() {
    for text in ["{".repeat(1 << 20), "[".repeat(1 << 20), "{\"a\":".repeat(1 << 18)] {
        assert_eq!(summary_of(&text), None);
    }
    let nested = (0..40).fold(ERROR_OBJECT.to_owned(), |inside, _| format!(r#"{{"a":[{inside}]}}"#));
    assert!(summary_of(&nested).is_some());
}

/// What people paste, with the codes in it: issues of public repositories, and what client libraries print. Names, ids and
/// tokens are made up.
const CORPUS: [(&str, &str); 54] = [
    ("190", "(code 190)"),
    ("190 463", "(code 190, subcode 463)"),
    ("463", "(code 190, subcode 463)"),
    ("subcode 460", "(code 190, subcode 460)"),
    (" 190/463 \n", "(code 190, subcode 463)"),
    ("#190", "(code 190)"),
    ("error 131030", "(code 131030)"),
    ("200", "(code 200)"),
    ("(#190) Error validating access token", "(code 190)"),
    ("(#131005) Access denied", "(code 131005)"),
    // heyoo#94: Python's logging of a dict
    (
        "2023-07-08 12:50:26,372 - root - INFO - Status code: 400\n2023-07-08 12:50:26,372 - root - ERROR - Response: {'error': {'message': '(#131030) Recipient phone number not in allowed list', 'type': 'OAuthException', 'code': 131030, 'error_data': {'messaging_product': 'whatsapp', 'details': 'Add recipient phone number to recipient list and try again.'}, 'fbtrace_id': 'A1'}}",
        "(code 131030)",
    ),
    (
        "{'error': {'message': \"Error validating access token: it's over\", 'type': 'OAuthException', 'code': 190, 'error_subcode': 463, 'fbtrace_id': 'A'}}",
        "(code 190, subcode 463)",
    ),
    // facebook-sdk: the message alone
    (
        "facebook.GraphAPIError: Error validating access token: Session has expired on Sunday, 05-Oct-25 05:00:00 PDT. The current time is Sunday, 05-Oct-25 05:59:33 PDT.",
        "(code 190, subcode 463)",
    ),
    (
        "GraphAPIError('Invalid OAuth access token - Cannot parse access token')",
        "(code 190)",
    ),
    ("GraphAPIError('(#200) Permissions error')", "(code 200)"),
    // The code without its subcode, which the sentence tells.
    (
        "(#190) Error validating access token: Session has expired on Saturday, 28-Nov-26 05:00:00 PST.",
        "(code 190, subcode 463)",
    ),
    (
        "FacebookApiException: (#190) Error validating access token: The session has been invalidated because the user changed their password",
        "(code 190, subcode 460)",
    ),
    (
        "The access token is invalid since the user hasn't engaged the app in longer than 90 days. code 190",
        "(code 190, subcode 493)",
    ),
    (
        "code: 190, message: 'Error validating access token: The user has not authorized application 1.'",
        "(code 190, subcode 458)",
    ),
    ("(#10) Session has expired", "(code 10)"),
    // facebook_business
    (
        "facebook_business.exceptions.FacebookRequestError: \n\n  Message: Call was not successful\n  Method:  GET\n  Path:    https://graph.facebook.com/v25.0/act_1/campaigns\n  Params:  {'limit': 25}\n\n  Status:  400\n  Response:\n    {\n      \"error\": {\n        \"message\": \"Error validating access token\",\n        \"type\": \"OAuthException\",\n        \"code\": 190,\n        \"error_subcode\": 460,\n        \"fbtrace_id\": \"A\"\n      }\n    }\n",
        "(code 190, subcode 460)",
    ),
    // pywa
    (
        "pywa.errors.AccessDenied: WhatsAppError(status_code=403, error_code=131005, details=None)",
        "(code 131005)",
    ),
    (
        "RecipientNotInAllowedList(status_code=400, message='(#131030) Recipient phone number not in allowed list', details='…')",
        "(code 131030)",
    ),
    (
        "BusinessAccountLocked(message='Business Account locked', code=131031, details='Business account has been locked.')",
        "(code 131031)",
    ),
    // axios, fetch and util.inspect of Node
    (
        "AxiosError: Request failed with status code 401\n    at settle (/app/node_modules/axios/lib/core/settle.js:19:12) {\n  code: 'ERR_BAD_REQUEST',\n  response: {\n    status: 401,\n    statusText: 'Unauthorized',\n    data: {\n      error: {\n        message: 'Error validating access token: EAAGhunter2',\n        type: 'OAuthException',\n        code: 190,\n        error_subcode: 467,\n        fbtrace_id: 'A'\n      }\n    }\n  }\n}",
        "(code 190, subcode 467)",
    ),
    (
        "{ error:\n   { message: '(#10) Application does not have permission for this action',\n     type: 'OAuthException',\n     code: 10 } }",
        "(code 10)",
    ),
    (
        "{ code: 400, body: '{\"error\":{\"message\":\"m\",\"code\":190,\"error_subcode\":463}}' }",
        "(code 190, subcode 463)",
    ),
    (
        "FacebookApiException [OAuthException]: { code: 368, message: 'blocked' }",
        "(code 368)",
    ),
    // php-graph-sdk
    (
        "Graph returned an error: Error validating access token: The session has been invalidated because the user changed their password or Facebook has changed the session for security reasons.",
        "(code 190, subcode 460)",
    ),
    (
        "PHP Fatal error:  Uncaught Facebook\\Exceptions\\FacebookAuthenticationException: Error validating application. Cannot get application info due to a system error. in /var/www/html/vendor/facebook/graph-sdk/src/Facebook/Exceptions/FacebookResponseException.php:124",
        "(code 101)",
    ),
    (
        "Array\n(\n    [error] => Array\n        (\n            [message] => Error validating access token\n            [type] => OAuthException\n            [code] => 190\n            [error_subcode] => 458\n        )\n)\n",
        "(code 190, subcode 458)",
    ),
    (
        "Client error: `POST https://graph.facebook.com/v25.0/1/messages` resulted in a `401 Unauthorized` response:\n{\"error\":{\"message\":\"Error validating access token: Session has expired on Sunday, 05-Oct-25 05:00:00 (truncated...)",
        "(code 190, subcode 463)",
    ),
    // RestFB, facebook4j, koala, facepy, huandu/facebook
    (
        "com.restfb.exception.FacebookOAuthException: Received Facebook error response of type OAuthException: An unknown error occurred (code 1, subcode 1965014)",
        "(code 1, subcode 1965014)",
    ),
    (
        "com.restfb.exception.FacebookOAuthException: Received Facebook error response of type OAuthException: (#12) title requires version v2.5 or higher (code 12, subcode null)",
        "(code 12)",
    ),
    (
        "FacebookException{statusCode=400, errorType='OAuthException', errorMessage='Invalid OAuth access token.', errorCode=190, errorSubcode=-1, version=2.2.2}",
        "(code 190)",
    ),
    (
        "Koala::Facebook::ClientError: type: OAuthException, code: 200, message: (#200) Must have a valid access_token to access this endpoint [HTTP 403]",
        "(code 200)",
    ),
    (
        "Koala::Facebook::AuthenticationError: type: OAuthException, code: 190, error_subcode: 463, message: over, x-fb-trace-id: A [HTTP 400]",
        "(code 190, subcode 463)",
    ),
    (
        "Koala::Facebook::APIError (OAuthException: Error validating application.)",
        "(code 101)",
    ),
    (
        "{\"code\"=>190, \"error_subcode\"=>463, \"message\"=>\"over\"}",
        "(code 190, subcode 463)",
    ),
    (
        "facebook: over (code: 190; error_subcode: 463, error_user_title: , error_user_msg: )",
        "(code 190, subcode 463)",
    ),
    ("message - Invalid OAuth access token.\ncode - 190\n", "(code 190)"),
    ("Error 400 : Invalid OAuth access token data. (Code 190)", "(code 190)"),
    // a redirect of the login dialog, a webhook as Python shows it, a header
    (
        "/callback?error_code=100&error_message=Invalid+parameter&state=190",
        "(code 100)",
    ),
    (
        "{'statuses': [{'status': 'failed', 'errors': [{'code': 131031, 'title': 'Business Account locked'}]}]}",
        "(code 131031)",
    ),
    (
        "< HTTP/2 401\n< www-authenticate: OAuth \"Facebook Platform\" \"invalid_token\" \"Error validating access token: The session is invalid because the user logged out.\"",
        "(code 190, subcode 467)",
    ),
    // log lines: theirs, and graphward's own
    (
        "level=error msg=\"send failed\" http_code=401 code=190 subcode=463 to=4915112345678",
        "(code 190, subcode 463)",
    ),
    (
        "12:00:01 [ERROR] Graph API error (status 400): OAuthException #131031 - code: 131031",
        "(code 131031)",
    ),
    (
        r#"{"timestamp":"2026-11-28T02:00:00Z","level":"INFO","message":"request","status":401,"outcome":"unhealed_no_newer_token","verdict":"token_rejected","code":190,"subcode":463}"#,
        "(code 190, subcode 463)",
    ),
    (
        "2026-11-28T02:00:00Z  INFO request tenant=default status=403 outcome=\"delivered\" verdict=\"permission\" code=10 attempts=1",
        "(code 10)",
    ),
    (
        "WARN Graph rejected the token 01234567: The token has expired (code 190, subcode 463). cause=\"rejected\"",
        "(code 190, subcode 463)",
    ),
    // token endpoints
    (
        "{\"error\":{\"message\":\"Error validating client secret.\",\"type\":\"OAuthException\",\"code\":1}}",
        "(code 1)",
    ),
    ("Error validating client secret", "(code 1)"),
    (
        "OAuthException: This authorization code has been used.",
        "(code 100, subcode 36009)",
    ),
    (
        "{error:{message:over,type:OAuthException,code:190,error_subcode:463}}",
        "(code 190, subcode 463)",
    ),
];

#[test]
fn an_error_is_found_in_what_people_paste() {
    for (text, codes) in CORPUS {
        let said = summary_of(text).unwrap_or_else(|| panic!("not found: {text}"));
        assert!(said.contains(codes), "{said}\n{text}");
    }
}

#[test]
fn numbers_that_are_no_codes_are_not_taken_for_one() {
    for text in [
        "401",
        "HTTP 403",
        "Request failed with status code 401",
        "{ code: 'ERR_BAD_REQUEST', status: 400 }",
        "HTTP code: 500",
        "npm error code 1 of 3: the command exited with exit code 1 after 20 attempts, see the log for line 190",
        "issue #155 of the year 2025, seen by 3 people, is about something else entirely",
        "{ code: 400, body: '…' }",
        "EAAGhunter2190",
        "code: 190a",
        "wamid.190",
        "took 190 ms for 463 bytes of an answer with 3 parts",
    ] {
        assert_eq!(summary_of(text), None, "{text}");
    }
}

#[test]
fn a_wrong_app_secret_is_not_an_unknown_error() {
    for text in [
        "Error validating client secret.",
        "(#1) Error validating client secret",
        r#"{"error":{"message":"Error validating client secret.","type":"OAuthException","code":1}}"#,
    ] {
        let explained = explain_text(text.as_bytes()).unwrap();
        assert!(explained.summary.contains("app secret"), "{text}");
        assert!(explained.remediation.contains("`app.secret`"), "{text}");
    }
}

#[test]
fn only_an_error_that_calls_for_a_token_says_where_one_is_created() {
    let creation = |text: &str| explain_text(text.as_bytes()).unwrap().token_creation();
    for needs_token in ["190", "190 463", "190 458", "190 467", "102", "10", "131005"] {
        assert!(creation(needs_token).unwrap().contains("System users"), "{needs_token}");
    }
    for other in ["190 459", "131030", "131031", "368", "4", "100", "1"] {
        assert_eq!(creation(other), None, "{other}");
    }
}
