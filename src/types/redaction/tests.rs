use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The letters of secrets, which the texts around them do not have.
const LETTERS: &str = "JQWXZ";

/// Returns what is shown of a line, without anything of these known secrets.
fn shown(line: &str) -> String {
    redact_line(line, &[b"s3cr-t", b"{\"word\":\"kitten\"}", b"pa$$ w!rd"])
}

#[test]
fn a_line_without_a_secret_is_shown_as_it_is() {
    for line in [
        "",
        "KeyError: tenant 'a' is not there",
        "cat: /var/run/secrets/tenants/token: Permission denied",
        "cat: './token': No such file or directory",
        "/usr/lib/python3.11/runpy.py: botocore.exceptions.NoCredentialsError: no credentials",
        "Aws::Errors::MissingCredentialsError: set them",
        "std::token::expect: end of input",
        "sh: 1: vault: not found",
        "jq: error: missing key: tenant",
        "password authentication failed for user \"app\"",
        "no pg_hba.conf entry for host \"127.0.0.1\", user \"app\", database \"shop\", no encryption",
        "permission denied for table tenant_whatsapp_config",
        "basic auth is off; the token of user@host is needed",
        "usage: get [--token] [--key]",
    ] {
        assert_eq!(shown(line), line);
    }
}

#[test]
fn what_stands_beside_a_secret_is_shown() {
    for (line, expected) in [
        (
            "cannot reach postgres://me:kitty@db/x",
            "cannot reach postgres://[redacted]@db/x",
        ),
        ("psql: password=mouse: refused", "psql: password=[redacted] refused"),
        (
            "{\"password\": \"mo'use\", \"code\": 7}",
            "{\"password\": [redacted], \"code\": 7}",
        ),
        (
            "{\"api_key\":\"mouse\",\"code\":7}",
            "{\"api_key\":[redacted],\"code\":7}",
        ),
        ("+ PGPASSWORD='mo!use x' psql", "+ PGPASSWORD=[redacted] psql"),
        ("password: correct horse", "password: [redacted]"),
        ("wrong token: mouse at line 3", "wrong token: [redacted] at line 3"),
        ("I was given s3cr-t, twice", "I was given [redacted], twice"),
        ("the end is pa$$ w!rd!", "the end is [redacted]!"),
        ("curl --token mouse --retry 3", "curl --token [redacted] --retry 3"),
        ("sent Bearer mouse to it", "sent Bearer [redacted] to it"),
    ] {
        assert_eq!(shown(line), expected);
    }
}

#[test]
fn what_may_be_a_secret_is_not_shown() {
    for (line, secret) in [
        ("+ curl -H 'Authorization: Bearer EAAGm0PX4ZCps'", "EAAGm0PX"),
        ("GET /me?access_token=EAAGm0PX4ZCps&x=y: 400", "EAAGm0PX"),
        ("bad token IGQVJabc1", "IGQVJabc1"),
        ("bad token \u{1b}[31mTHAAabcdef1", "THAAabcdef1"),
        ("hvs.CAESIJ-abc/def+ghi12", "CAESIJ"),
        ("secret 0123456789abcdef0123456789abcdef", "0123456789ab"),
        ("eyJhbGciOi.eyJzdWIi.abc", "eyJzd"),
        ("NullPointerAAAABBBBccccdddd", "AAAABBBB"),
        ("I was given token:s3cr-t", "s3cr-t"),
        ("the answer was kitten", "kitten"),
        ("client_secret=mouse&x=y", "mouse"),
        ("VAULT_TOKEN=mo$use vault", "use "),
        ("config['db']['password'] = 'mouse'", "mouse"),
        ("{:password=>\"mouse\"}", "mouse"),
        ("secret/data/db/password: mouse", "mouse"),
        ("/db/password: mouse is too short", "mouse"),
        ("passwords: [mouse, horse]", "horse"),
        ("\"password\": {\"value\": \"mouse\"}", "mouse"),
        ("password: \"mo'use", "use"),
        ("mysql: me:mo/use@tcp(db:3306)/x", "use"),
        ("me:mo/use@db,https://x/", "use"),
        ("error:postgres://me:mouse@db", "mouse"),
        ("me:mo://use@db", "mo"),
        ("Cookie: a=mouse; b=horse", "horse"),
        ("DB_PASS=mouse", "mouse"),
    ] {
        let shown = shown(line);
        assert!(!shown.contains(secret), "{line}: {shown}");
        assert!(shown.contains(REDACTED), "{line}: {shown}");
    }
}

#[test]
fn what_is_shown_is_short_and_plain() {
    let long = shown(&format!("{} \u{202e}\u{7}é", "word, ".repeat(100)));
    assert_eq!(long.chars().count(), MAX_SHOWN_CHARS + 1);
    assert!(long.ends_with('…'));
    assert_eq!(shown("a\u{202e}b\u{7}é\u{1b}"), "a b é ");
}

/// A secret of these signs, which has a letter and does not begin as the sign before a value does.
fn secret(signs: &str) -> impl Strategy<Value = String> {
    let pattern = format!("[{LETTERS}0-9]{signs}{{0,12}}[{LETTERS}]{signs}{{0,12}}");
    proptest::string::string_regex(&pattern).unwrap()
}

/// Fails if anything of a secret is shown.
fn assert_hidden(line: &str) -> Result<(), TestCaseError> {
    let shown = redact_line(line, &[]);
    prop_assert!(!shown.contains(|sign| LETTERS.contains(sign)), "{}: {}", line, shown);
    prop_assert!(shown.contains(REDACTED), "{}: {}", line, shown);
    Ok(())
}

proptest! {
    #[test]
    fn nothing_is_shown_of_a_secret_without_spaces(secret in secret(r"[!#-&(-_a-~]")) {
        for line in [
            format!("password={secret}"),
            format!("error: password={secret} is wrong"),
            format!("password = {secret}"),
            format!("access_token: {secret}"),
            format!("invalid token: {secret}"),
            format!("api-key: {secret} was refused"),
            format!("POST /?client_secret={secret}&grant_type=code"),
            format!("db_password_2={secret} psql"),
            format!("curl --api-key {secret} --retry 3"),
            format!("curl -u me:{secret} https://db/"),
            format!("Authorization: Bearer {secret}"),
            format!("> authorization: basic {secret}"),
            format!("sent Bearer {secret}"),
            format!("-H x-api-key:{secret}"),
            format!("cannot reach postgres://app:{secret}@db/shop"),
            format!("'https://{secret}@host/path' cannot be reached"),
            format!("app:{secret}@tcp(db)/shop"),
        ] {
            assert_hidden(&line)?;
        }
    }

    #[test]
    fn nothing_is_shown_of_a_password_with_spaces(secret in secret("[ -~]")) {
        for line in [
            format!("password: {secret}"),
            format!("  db_password : {secret}"),
            format!("Set-Cookie: id={secret}"),
            format!("> Authorization: digest {secret}"),
        ] {
            assert_hidden(&line)?;
        }
    }

    #[test]
    fn nothing_is_shown_of_a_quoted_secret(secret in secret("[ -~]")) {
        let nested = json!({ "code": 7, "password": secret, "user": "app" }).to_string();
        let twice = json!({ "body": nested }).to_string();
        let shell = secret.replace('\'', r"'\''");
        let sql = secret.replace('\'', "''");
        let python = secret.replace('\\', r"\\").replace('\'', r"\'");
        for line in [
            nested,
            json!([twice]).to_string(),
            twice,
            format!("+ db_password='{shell}' psql -d shop"),
            format!("curl --api-key '{shell}' --retry 3"),
            format!("alter user app password = '{sql}' valid"),
            format!("{{'access_token': '{python}', 'code': 7}}"),
            format!("connect(user='app', password=b'{python}')"),
        ] {
            assert_hidden(&line)?;
        }
    }

    #[test]
    fn a_known_secret_is_not_shown_whatever_stands_around_it(
        before in "[ -~é]{0,20}", secret in "[!-~é]{6,30}", after in "[ -~é]{0,20}",
    ) {
        prop_assume!(!REDACTED.contains(&secret));
        let line = format!("{before}{secret}{after}");
        let known = format!(" {secret}\n");
        let shown = redact_line(&line, &[known.as_bytes()]);
        prop_assert!(!shown.contains(&secret), "{}: {}", line, shown);
    }

    #[test]
    fn any_text_is_shown_short_and_on_one_line(line in "\\PC{0,400}|(?s:.{0,100})") {
        let shown = redact_line(&line, &[line.as_bytes().get(..9).unwrap_or_default()]);
        prop_assert!(shown.chars().count() <= MAX_SHOWN_CHARS + 1);
        prop_assert!(!shown.contains(char::is_control), "{:?}", shown);
    }
}
