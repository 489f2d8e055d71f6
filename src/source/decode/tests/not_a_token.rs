//! What people and tools put where a token belongs.

use super::*;

/// Texts, and why each is no token.
const REFUSED: [(&str, &str); 64] = [
    ("${META_TOKEN}", "unresolved_variable"),
    ("$META_TOKEN", "unresolved_variable"),
    ("${{ secrets.META_TOKEN }}", "unresolved_variable"),
    ("{{ .Values.token }}", "unresolved_variable"),
    ("{{token}}", "unresolved_variable"),
    ("$(cat /run/token)", "unresolved_variable"),
    ("EAAG$SUFFIX", "unresolved_variable"),
    ("%META_TOKEN%", "unresolved_variable"),
    ("EAAG#comment", "invalid_character"),
    ("EAAG;", "invalid_character"),
    ("EAAG\\", "invalid_character"),
    ("EAAG\\n", "invalid_character"),
    ("EAAG,", "invalid_character"),
    ("EAAG&expires_in=5183944", "invalid_character"),
    ("123%7Cabc", "invalid_character"),
    ("process.env.TOKEN!", "invalid_character"),
    ("EAAG # mine", "invalid_character"),
    ("EAAG // mine", "reference"),
    ("<YOUR_TOKEN>", "placeholder"),
    (
        "https://graph.facebook.com/me?access_token=EAAGm0PX4ZCpsBAKZC",
        "reference",
    ),
    ("<your token>", "placeholder"),
    ("[YOUR_TOKEN]", "placeholder"),
    ("YOUR_ACCESS_TOKEN", "placeholder"),
    ("your-access-token-here", "placeholder"),
    ("EAAG_your_token_here", "placeholder"),
    ("ACCESS-TOKEN", "placeholder"),
    ("changeme", "placeholder"),
    ("CHANGE_ME", "placeholder"),
    ("replace-me", "placeholder"),
    ("placeholder", "placeholder"),
    ("TODO", "placeholder"),
    ("xxx", "placeholder"),
    ("XXXXXXXX", "placeholder"),
    ("EAAGxxxxxxxxx", "placeholder"),
    ("EAAGm0PX...", "placeholder"),
    ("EAAG\u{2026}", "placeholder"),
    ("***", "placeholder"),
    ("EAAG********", "placeholder"),
    ("[REDACTED]", "placeholder"),
    ("redacted", "placeholder"),
    ("__META_TOKEN__", "placeholder"),
    ("#{META_TOKEN}#", "placeholder"),
    ("-", "placeholder"),
    ("false", "placeholder"),
    ("null", "empty"),
    ("None", "empty"),
    ("undefined", "empty"),
    ("op://vault/meta/token", "reference"),
    ("vault:secret/data/meta#token", "reference"),
    ("ref+awsssm://meta/token", "reference"),
    ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:meta", "reference"),
    ("projects/1/secrets/meta/versions/latest", "reference"),
    (
        "@Microsoft.KeyVault(SecretUri=https://x.vault.azure.net/secrets/meta)",
        "reference",
    ),
    ("https://example.com/token", "reference"),
    ("/run/secrets/token", "reference"),
    ("token:EAAG", "reference"),
    ("ENC[AES256_GCM,data:abc,type:str]", "encrypted_elsewhere"),
    ("ENC[PKCS7,MIIB]", "encrypted_elsewhere"),
    ("{cipher}0123", "encrypted_elsewhere"),
    ("encrypted:BEHHzq", "encrypted_elsewhere"),
    ("$ANSIBLE_VAULT;1.1;AES256", "encrypted_elsewhere"),
    ("vault:v1:8SDd3WHDOjf7mq69", "encrypted_elsewhere"),
    ("eyJhY2Nlc3NfdG9rZW4iOiJFQUFHIn0eyJhY2Nlc3Nf", "base64"),
    ("RUFBR20wUFg0WkNwc0JBS1pBdG9rZW4wMTIz", "base64"),
];

#[test]
fn a_text_that_is_no_token_is_refused_with_the_reason_in_each_format_and_not_repeated() {
    for (text, reason) in REFUSED {
        let json = serde_json::json!({ "t": text }).to_string();
        for (bytes, format) in [(text, Format::Raw), (&json, pointer("/t"))] {
            let error = decode_text(bytes.as_bytes(), &format).unwrap_err();
            assert_eq!(error.label(), reason, "{text} as {format:?}");
            let message = error.to_string();
            assert!(!message.contains("EAA") && !message.contains("META"), "{message}");
        }
        // In a line, `#` begins a comment, and quotes keep everything else.
        if !text.contains(['#', '\\']) {
            let line = format!("WHATSAPP_TOKEN=\"{text}\"");
            assert_eq!(
                decode_text(line.as_bytes(), &key()).unwrap_err().label(),
                reason,
                "{line}"
            );
        }
    }
}

#[test]
fn a_bare_token_with_a_quote_at_one_end_or_cut_by_a_backslash_is_refused() {
    for (bytes, reason) in [
        (&b"'EAAG"[..], "unbalanced_quote"),
        (b"b'EAAG'", "unbalanced_quote"),
        (b"EAAG\\\nmore", "multiple_lines"),
        (b"EAAG # comment\n", "invalid_character"),
        (b"# comment\nEAAG\n", "multiple_lines"),
        (b"\xFF\xFEE\0A\0A\0", "utf16"),
        (b"E\0A\0A\0G\0", "binary"),
        (b"\xEF\xBB\xBF${META_TOKEN}", "unresolved_variable"),
    ] {
        let error = decode_text(bytes, &Format::Raw).unwrap_err();
        assert_eq!(error.label(), reason, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_secret_of_another_service_is_refused_only_if_a_tool_should_have_replaced_it() {
    for (text, reason) in [
        ("${SERVICE_KEY}", "unresolved_variable"),
        ("Bearer ${SERVICE_KEY}", "unresolved_variable"),
        ("Bearer $SERVICE_KEY", "unresolved_variable"),
        ("postgres://app:$PGPASSWORD@db/app", "unresolved_variable"),
        ("host=db password='$PGPASSWORD'", "unresolved_variable"),
        ("postgres://app:%PGPASSWORD%@db/app", "unresolved_variable"),
        ("$(cat /run/key)", "unresolved_variable"),
        ("Bearer {{ .Values.key }}", "unresolved_variable"),
        ("<%= ENV['KEY'] %>", "unresolved_variable"),
        ("op://vault/service/key", "reference"),
        ("Bearer op://vault/service/key", "reference"),
        ("vault:secret/data/service#key", "reference"),
        ("arn:aws:secretsmanager:eu-west-1:1:secret:key", "reference"),
        ("ref+awsssm://service/key", "reference"),
        ("file:///run/secrets/key", "reference"),
        ("ENC[AES256_GCM,data:abc]", "encrypted_elsewhere"),
        ("vault:v1:8SDd3WHDOjf7mq69", "encrypted_elsewhere"),
    ] {
        assert_eq!(
            locate_text(text.as_bytes(), &Format::Raw).unwrap_err().label(),
            reason,
            "{text}"
        );
        let document = serde_json::json!({ "k": text }).to_string();
        assert_eq!(
            locate_text(document.as_bytes(), &pointer("/k")).unwrap_err().label(),
            reason,
            "{text}"
        );
        let secret = text.replace("Bearer ", "");
        if !secret.contains(' ') {
            assert_eq!(
                decode(secret.as_bytes(), &Format::Raw).unwrap_err().label(),
                reason,
                "{secret}"
            );
        }
    }
    for text in [
        "pa$$word",
        "$aact_prod_000MzkwODA2",
        "a/b+c==",
        "redacted",
        "changeme",
        "https://u:p@host",
        "postgres://postgres:changeme@db/app?sslmode=require",
        "jdbc:postgresql://db/app?user=u&password=100%25",
    ] {
        let secret = decode(text.as_bytes(), &Format::Raw);
        assert_eq!(secret.map(|secret| secret.expose().to_owned()).as_deref(), Ok(text));
        assert_eq!(
            locate_text(text.as_bytes(), &Format::Raw)
                .as_deref()
                .map(String::as_str),
            Ok(text)
        );
    }
}

#[test]
fn tokens_of_all_kinds_are_accepted() {
    for token in [
        "EAAGm0PX4ZCpsBAKZAtoken0123",
        "IGAAGm0PX4ZCps",
        "THQWJtoken_with-signs",
        "123456789012345|aBcDeFgHiJkLmNoPqRsTuVwXyZ0",
        "123456789012345|hunter2-hunter_2",
        "GG|123456789012345|aBcDeF",
        "0123456789abcdef0123456789abcdef",
        "EAATodoFalseXXXXXZD",
    ] {
        assert_eq!(decode_text(token.as_bytes(), &Format::Raw).as_deref(), Ok(token));
    }
}
