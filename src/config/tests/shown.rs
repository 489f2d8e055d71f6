//! What `print-config` shows of settings that may hold a secret, and what it hides.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::schema::json_of;
use crate::config::layers::of_text;
use crate::config::tree::Node;
use crate::config::{Config, EnvVars, Overrides, json_schema};
use crate::types::HIDDEN;

/// Configurations with a secret at each key that accepts any words. There, a password looks like nothing in particular.
const PASSWORDS: [&str; 9] = [
    "[alerts]\nurl = \"https://hooks.example/services/hunter2\"\n[check]\nphone_number_id = \"hunter2\"\n\
     [upstream]\nproxy = \"http://hunter2@proxy.example:3128\"",
    "[token]\nsource = { http = \"https://a/?code=hunter2\", headers = { x-any = \"hunter2\" } }",
    "[token]\nsource = { exec = [\"vault\", \"-p\", \"hunter2\", \"-phunter2\"] }\nrenew = { exec = [\"vault\", \"hunter2\"] }",
    "[token]\nsource = { postgres = \"postgres://me@a/b\", query = \"SELECT open(t, 'hunter2') FROM t\", params = [\"hunter2\"],\
     update = \"UPDATE t SET t = seal($1, $$hunter2$$) -- $1\" }\n\
     renew = { http = \"https://a/?code=hunter2\", headers = { x-any = \"hunter2\" } }",
    "[tenants.x-any]\nsource = [{ exec = [\"vault\", \"hunter2\"] }, { http = \"https://a/?b=hunter2\", headers = { x-any = \"hunter2\" } }]\n\
     renew = { exec = [\"vault\", \"hunter2\"] }",
    "[tenants.x-any]\nsource = { postgres = \"host=a\", query = \"SELECT open(t, 'hunter2') FROM t\", params = [\"hunter2\"],\
     update = \"UPDATE t SET t = seal($1, 'hunter2', $1)\" }\n\
     renew = { http = \"https://a/?code=hunter2\", headers = { x-any = \"hunter2\" } }",
    "[tenants_from]\npostgres = \"postgres://a\"\nquery = \"SELECT tenant, open(t, 'hunter2') AS token FROM t\"\n\
     update = \"UPDATE t SET t = seal($1, 'hunter2') WHERE n = $2\"\n\
     upsert = \"INSERT INTO t VALUES (seal($1, 'hunter2'), $2) ON CONFLICT (n) DO UPDATE SET t = seal($1, 'hunter2'), n = $2\"\n\
     withdraw = \"UPDATE t SET t = seal(NULL, 'hunter2') WHERE n = $1\"",
    "[tenants_from]\nhttp = \"https://a/{tenant}?code=hunter2\"\nheaders = { x-any = \"hunter2\" }",
    "[tenants_from]\nexec = [\"vault\", \"hunter2\", \"{tenant}\"]",
];

/// The shapes that are hidden wherever they stand.
const SHAPES: [&str; 2] = ["0123456789abcdef0123456789abcdef", "EAAGm0PX4ZCpsBAKZAhunter2hunter2"];

/// The settings of a file, as they are shown.
fn shown(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    let loaded = Config::load_from(flags, &EnvVars::new(), &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
    let values = loaded
        .settings
        .iter()
        .map(|setting| (setting.key.clone(), setting.value.clone()));
    Json::Object(values.collect()).to_string()
}

#[test]
fn no_password_is_shown_at_any_key_that_accepts_any_words() {
    let mut tested = BTreeSet::new();
    for text in PASSWORDS {
        let shown = shown(text);
        assert!(!shown.contains("hunter2") && shown.contains(HIDDEN), "{shown}");
        let (root, _) = Node::parse(&Arc::from(Path::new("")), text);
        passwords(&json_of(&root), "", &mut tested);
    }
    let mut expected = BTreeSet::new();
    free_texts(&json_schema(), "", &mut expected);
    // A database's URL is refused if it has a password.
    expected.retain(|place| !place.ends_with(".postgres"));
    assert_eq!(tested, expected, "a setting that accepts any words is not tested");
}

/// The keys whose text has the password in it. Free keys are `x-any`.
fn passwords(value: &Json, place: &str, found: &mut BTreeSet<String>) {
    if value.as_str().is_some_and(|text| text.contains("hunter2")) {
        found.insert(place.to_owned());
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        passwords(value, &format!("{place}.{key}"), found);
    }
    for item in value.as_array().into_iter().flatten() {
        passwords(item, place, found);
    }
}

/// The keys whose schema accepts any words, in any text or in a part of a URL, a statement or an argument.
fn free_texts(schema: &Json, place: &str, found: &mut BTreeSet<String>) {
    let text = |keyword: &str| schema.get(keyword).and_then(Json::as_str);
    let free = [
        None,
        Some("argument"),
        Some("header-value"),
        Some("postgres-url"),
        Some("proxy-url"),
        Some("service-url"),
        Some("tenant-url"),
    ];
    let is_statement = text("patternErrorMessage")
        .is_some_and(|message| message.contains("SQL statement") || message.contains("must use $1"));
    let is_free = text("pattern").is_none() || text("format").is_some() || is_statement;
    let is_text = schema
        .get("type")
        .is_some_and(|kind| [json!("string"), json!(["string"])].contains(kind))
        && schema.get("enum").is_none()
        && schema.get("const").is_none();
    if is_text && is_free && free.contains(&text("format")) {
        found.insert(place.to_owned());
    }
    let below = |key: &str| format!("{place}.{key}");
    for (key, schema) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        free_texts(schema, &below(key), found);
    }
    if let Some(free) = schema.get("additionalProperties") {
        free_texts(free, &below("x-any"), found);
    }
    if let Some(items) = schema.get("items") {
        free_texts(items, place, found);
    }
    for kinds in ["anyOf", "oneOf", "allOf"] {
        for kind in schema.get(kinds).and_then(Json::as_array).into_iter().flatten() {
            // What is said of a setting is true of its kinds.
            let mut kind = kind.clone();
            if let (Some(kind), Some(format)) = (kind.as_object_mut(), schema.get("format")) {
                kind.entry("format").or_insert_with(|| format.clone());
            }
            free_texts(&kind, place, found);
        }
    }
}

#[test]
fn what_has_the_shape_of_a_secret_is_shown_at_no_key() {
    for text in [
        "[listen]\nproxy = \"unix:/run/SECRET\"",
        "[listen]\nallowed_hosts = [\"SECRET\"]",
        "[upstream]\nhosts = [\"SECRET\"]",
        "[upstream]\nproxy = \"http://SECRET@proxy:3128\"",
        "[upstream]\nremove_headers = [\"x-SECRET\"]",
        "[upstream.connect_to]\n\"SECRET\" = \"SECRET:1\"",
        "[listen]\ntls = { cert = \"SECRET\", key = \"SECRET\" }",
        "[state]\ndir = \"SECRET\"",
        "[audit]\nfile = \"/var/SECRET\"",
        "[routing]\nheader = \"x-SECRET\"",
        "[app]\nid = \"1\"\nsecret = { env = \"SECRET\" }",
        "[token]\nsource = { file = \"a\", key = \"SECRET\" }",
        "[token]\nsource = { file = \"/a/SECRET\", pointer = \"/SECRET\" }",
        "[token]\nsource = { http = \"https://SECRET/\" }",
        "[token]\nsource = { http = \"https://a/SECRET\", headers = { SECRET = \"a\" } }",
        "[token]\nsource = { exec = [\"SECRET\"], keep_env = [\"SECRET\"] }",
        "[token]\nsource = { postgres = \"postgres://a/SECRET\", query = \"SELECT 1\", listen = \"SECRET\", ca_file = \"SECRET\" }",
        "[admin]\nkey = { file = \"SECRET\" }",
        "[token]\nallow = [\"GET /SECRET\"]",
    ] {
        for secret in SHAPES {
            let text = text.replace("SECRET", secret);
            // A token is refused wherever a value may be.
            if of_text(&text).is_ok() {
                let shown = shown(&text);
                assert!(!shown.to_lowercase().contains(&secret.to_lowercase()), "{shown}");
            } else {
                assert!(secret.starts_with("EAA") || text.contains("env"), "{text}");
            }
        }
    }
}

#[test]
fn a_value_that_cannot_be_a_secret_is_shown() {
    for (text, expected) in [
        (
            "[token]\nsource = { exec = [\"vault\", \"kv\", \"get\"], keep_env = [\"VAULT_ADDR\"] }",
            json!({ "exec": ["vault", HIDDEN, HIDDEN], "keep_env": ["VAULT_ADDR"] }),
        ),
        (
            "[token]\nsource = { http = \"http://tenants:3007/acme/credentials/meta\", pointer = \"/accessToken\", \
             headers = { Authorization = { file = \"/run/graphward/service-key\" }, x-a = \"b\" } }",
            json!({
                "http": "http://tenants:3007/acme/credentials/meta", "pointer": "/accessToken",
                "headers": { "Authorization": { "file": "/run/graphward/service-key" }, "x-a": HIDDEN },
            }),
        ),
        (
            "[token]\nsource = { postgres = \"postgres://app@db:5432/shop?sslmode=verify-full\", \
             query = \"SELECT access_token FROM t WHERE tenant_id = $1 AND is_active\", params = [\"acme\"] }",
            json!({
                "postgres": "postgres://app@db:5432/shop?sslmode=verify-full",
                "query": "SELECT access_token FROM t WHERE tenant_id = $1 AND is_active", "params": [HIDDEN],
            }),
        ),
    ] {
        let printed: Json = serde_json::from_str(&shown(text)).unwrap();
        assert_eq!(printed["token.source"], expected);
    }
    let untouched: Json = serde_json::from_str(&shown("")).unwrap();
    assert!(
        !untouched.to_string().contains(HIDDEN),
        "a default is hidden: {untouched}"
    );
}

#[test]
fn a_command_in_a_variable_is_hidden_with_its_arguments() {
    for (name, value, suspects) in [
        (
            "GRAPHWARD_TOKEN_SOURCE_EXEC",
            "vault,--token,hunter2",
            &["token.source.exec"][..],
        ),
        ("GRAPHWARD_TENANTS_FROM_EXEC", "vault,hunter2,{tenant}", &[]),
        (
            "GRAPHWARD_ALERTS_URL",
            "https://hooks.example/access_token/hunter2",
            &["alerts.url"],
        ),
        ("GRAPHWARD_TOKEN_SOURCE_HTTP", "https://a/?code=hunter2", &[]),
    ] {
        let vars = EnvVars::from([(name.to_owned(), value.to_owned())]);
        let loaded = Config::load_from(Overrides::default(), &vars, &[]).unwrap();
        let shown: Vec<_> = loaded
            .settings
            .iter()
            .map(|setting| setting.value.to_string())
            .collect();
        assert!(
            !shown.concat().contains("hunter2") && shown.concat().contains(HIDDEN),
            "{name}"
        );
        let found: Vec<_> = loaded.settings.iter().flat_map(|setting| &setting.suspects).collect();
        assert_eq!(found, suspects, "{name}");
    }
}
