use proptest::prelude::*;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::schema::json_of;
use super::{error, errors, read};
use crate::config::tree::Node;
use crate::config::{Config, EnvVars, Overrides, env_var_names, json_schema};
use crate::types::SecretRef;

/// Configurations with each reference to a secret that there is, each to a file of its own.
const REFERENCES: [&str; 12] = [
    "[app]\nid = \"1\"\nsecret = { file = \"a1\" }\n\
     [upstream]\nproxy = { file = \"a8\" }\n\
     [alerts]\nurl = { file = \"a2\" }\n\
     [check]\nphone_number_id = { file = \"a9\", key = \"ID\" }\n\
     [token]\nsource = [{ file = \"t\", fernet_key = [{ file = \"a3\" }, { file = \"a4\", key = \"K\" }] }]\n\
     store = { file = \"s\", fernet_key = { file = \"a5\" } }\n\
     cache = { file = \"c\", fernet_key = { file = \"a6\", pointer = \"/SecretString/key\" } }\n\
     renew = { mint = { system_user = \"1\", scopes = [\"x\"], token = { file = \"a7\" } } }",
    "[token]\nsource = { http = \"https://a\", headers = { x-key = { file = \"b1\" } } }",
    "[token]\nsource = { postgres = { file = \"c1\" }, query = \"SELECT 1\", fernet_key = { file = \"c2\" } }",
    "[token]\nrenew = { http = \"https://a\", headers = { x-key = { file = \"d1\" } } }",
    "[token]\nsource = [{ file = \"t\" }, { postgres = { file = \"e1\" }, query = \"SELECT 1\" }]",
    "[token]\nsource = { env = \"T\" }",
    "[admin]\nkey = { file = \"k1\", key = \"ADMIN_KEY\" }",
    "[tenants.x-key]\napp = { id = \"1\", secret = { file = \"f1\" } }\n\
     source = { file = \"t\", fernet_key = { file = \"f2\" } }\n\
     store = { file = \"s\", fernet_key = { file = \"f3\" } }\n\
     cache = { file = \"c\", fernet_key = { file = \"f4\" } }\n\
     renew = { mint = { system_user = \"1\", scopes = [\"x\"], token = { file = \"f5\" } } }",
    "[tenants.x-key]\nsource = { http = \"https://a\", headers = { x-key = { file = \"g1\" } } }\n\
     renew = { http = \"https://a\", headers = { x-key = { file = \"g2\" } } }",
    "[tenants.x-key]\nsource = { postgres = { file = \"h1\" }, query = \"SELECT 1\" }",
    "[tenants_from]\npostgres = { file = \"i1\" }\nquery = \"SELECT 1\"\nfernet_key = { file = \"i2\" }\n\
     cache = { file = \"c\", fernet_key = { file = \"i3\" } }",
    "[tenants_from]\nhttp = \"https://a/{tenant}\"\nheaders = { x-key = { file = \"j1\" } }",
];

const TOKEN: &str = "EAAGm0PX4ZCpsBAKZAhunter2hunter2";

#[test]
fn every_file_of_a_secret_is_watched() {
    let expected = secret_places(&json_schema(), "");
    let mut tested = BTreeSet::new();
    for text in REFERENCES {
        let (root, _) = Node::parse(&Arc::from(Path::new("")), text);
        let mut files = BTreeSet::new();
        for (place, file) in references(&json_of(&root), "") {
            // A token's own file has other ways to be seen.
            if expected.contains(&place) {
                files.insert(Path::new("/etc").join(file));
                tested.insert(place);
            }
        }
        assert_eq!(read(text).unwrap().secret_files, files, "{text}");
    }
    assert_eq!(tested, expected, "a setting that refers to a secret is not tested");
}

/// The settings that the schema lets refer to a secret. Free keys are `x-key`.
fn secret_places(schema: &Json, place: &str) -> BTreeSet<String> {
    if schema.get("title") == Some(&json!("Secret file")) {
        return [place.to_owned()].into();
    }
    let below = |key: &str| format!("{place}.{key}");
    let keys = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
    let mut inner: Vec<_> = keys.map(|(key, schema)| (schema, below(key))).collect();
    inner.extend(
        schema
            .get("additionalProperties")
            .map(|schema| (schema, below("x-key"))),
    );
    inner.extend(schema.get("items").map(|schema| (schema, place.to_owned())));
    for kinds in ["anyOf", "oneOf", "allOf"] {
        let kinds = schema.get(kinds).and_then(Json::as_array).into_iter().flatten();
        inner.extend(kinds.map(|schema| (schema, place.to_owned())));
    }
    let found = inner.iter().flat_map(|(schema, place)| secret_places(schema, place));
    found.collect()
}

/// The tables of a configuration that have the key `file`, and its values.
fn references(value: &Json, place: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(file) = value.get("file").and_then(Json::as_str) {
        found.push((place.to_owned(), file.to_owned()));
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        found.extend(references(value, &format!("{place}.{key}")));
    }
    for item in value.as_array().into_iter().flatten() {
        found.extend(references(item, place));
    }
    found
}

#[test]
fn a_secret_in_the_file_is_refused_and_never_repeated() {
    for text in [
        "[token]\ntoken = \"SECRET\"",
        "[token]\naccess_token = \"SECRET\"",
        "[token]\nvalue = \"SECRET\"",
        "[token]\nsource = \"SECRET\"",
        "[token]\nsource = { token = \"SECRET\" }",
        "[token]\nsource = { value = \"SECRET\" }",
        "[token]\nsource = { file = \"SECRET\" }",
        "[token]\nsource = { env = \"SECRET\" }",
        "[token]\nsource = { file = \"a\", key = \"SECRET\" }",
        "[heal]\nsecrets = [\"SECRET\"]",
        "[token]\nsource = [{ file = \"a\" }, { env = \"SECRET\" }]",
        "[token]\nsource = { http = \"http://a\", headers = { Authorization = \"SECRET\" } }",
        "[token]\nsource = { http = \"http://a\", headers = { X-Any = \"SECRET\" } }",
        "[token]\nsource = { http = \"http://me:SECRET@a\" }",
        "[token]\nsource = { exec = [\"a\", \"SECRET\"] }",
        "[token]\nsource = { exec = [\"a\"], keep_env = [\"SECRET\"] }",
        "[token]\nsource = { postgres = \"postgres://me:SECRET@a/b\", query = \"SELECT 1\" }",
        "[token]\nsource = { postgres = \"postgres://a?password=SECRET\", query = \"SELECT 1\" }",
        "[token]\nsource = { postgres = \"postgres://a\", query = \"SECRET\" }",
        "[token]\nsource = { postgres = \"host=a password = 'SECRET'\", query = \"SELECT 1\" }",
        "[token]\nsource = { postgres = \"jdbc:postgresql://a/b?user=u&password=SECRET\", query = \"SELECT 1\" }",
        "[token]\nsource = { file = \"a\", fernet_key = \"SECRET\" }",
        "[token]\nsource = { file = \"a\", fernet_key = [{ env = \"SECRET\" }] }",
        "[token]\nrenew = \"SECRET\"",
        "[token]\nrenew = { http = \"SECRET\" }",
        "[token]\nstore = \"SECRET\"",
        "[token]\nstore = { file = \"SECRET\" }",
        "token = \"SECRET\"",
        "access_token = \"SECRET\"",
    ] {
        let said = error(&text.replace("SECRET", TOKEN));
        assert!(
            said.contains("secrets must not appear in the configuration file"),
            "{said}"
        );
        assert!(!said.contains("EAA") && !said.contains("hunter2"), "{said}");
    }
    for text in [
        "[token]\naccess_token = \"hunter2\"",
        "[token]\nsource = \"hunter2\"",
        "[token]\nsource = { token = \"hunter2\" }",
    ] {
        assert!(!error(text).contains("hunter2"), "{text}");
    }
}

#[test]
fn a_password_in_the_place_of_a_key_is_not_shown_but_its_section_is() {
    let error = read("[upstream.connect_to]\n\"user:hunter2@host\" = \"b:1\"")
        .unwrap_err()
        .concat();
    let expected = "upstream.connect_to.(not shown: may be a secret): ";
    assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
}

#[test]
fn the_advice_for_a_misplaced_secret_names_the_key_that_takes_it() {
    let token = "write `[token] source = { file = ";
    let app = "write `[app] secret = { file = ";
    for (text, advice) in [
        ("app_secret = \"hunter2\"", app),
        ("secret = \"hunter2\"", app),
        ("[app]\nclient_secret = \"hunter2\"", app),
        ("[token]\napp_secret = \"hunter2\"", app),
        ("[token]\naccess_token = \"hunter2\"", token),
        ("[token.source]\ntoken = \"hunter2\"", token),
        ("token = \"hunter2\"", token),
        ("[app]\nid = \"TOKEN\"", token),
        ("[log]\nlevel = \"TOKEN\"", token),
        ("[app]\nsecret = \"hunter2\"", ": write { file = "),
        ("[token]\nsource = \"TOKEN\"", ": write { file = "),
        ("[alerts]\nurl = \"https://a?token=hunter2\"", ": write { file = "),
        (
            "[token.source]\nhttp = \"http://me:hunter2@a\"",
            "send it in a header, as { file = ",
        ),
    ] {
        let said = error(&text.replace("TOKEN", TOKEN));
        assert!(said.contains(advice) && !said.contains("hunter2"), "{text}: {said}");
        assert!(said.contains("secrets must not appear in the configuration file (value not shown)"));
    }
}

#[test]
fn a_secret_in_a_variable_is_not_said_to_be_in_the_file() {
    for (name, value, advice) in [
        (
            "GRAPHWARD_APP_ID",
            TOKEN,
            "GRAPHWARD_TOKEN_SOURCE_FILE or GRAPHWARD_TOKEN_SOURCE_ENV",
        ),
        (
            "GRAPHWARD_ALERTS_URL",
            "https://me:hunter2@a",
            "GRAPHWARD_ALERTS_URL_FILE or GRAPHWARD_ALERTS_URL_ENV",
        ),
        (
            "GRAPHWARD_TOKEN_SOURCE_EXEC",
            TOKEN,
            "GRAPHWARD_TOKEN_SOURCE_FILE or GRAPHWARD_TOKEN_SOURCE_ENV",
        ),
        (
            "GRAPHWARD_TOKEN_RENEW_MINT_TOKEN",
            "hunter2",
            "GRAPHWARD_TOKEN_RENEW_MINT_TOKEN_FILE or GRAPHWARD_TOKEN_RENEW_MINT_TOKEN_ENV",
        ),
    ] {
        let vars = EnvVars::from([(name.to_owned(), value.to_owned())]);
        let said = Config::load_from(Overrides::default(), &vars, &[])
            .unwrap_err()
            .to_string();
        let expected = format!("secrets must not appear in this variable (value not shown): set {advice}");
        assert!(said.contains(&expected), "{said}");
        assert!(
            !said.contains("configuration file") && !said.contains("hunter2"),
            "{said}"
        );
        for name in advice.split(" or ") {
            assert!(env_var_names().iter().any(|known| known == name), "{name}");
        }
    }
}

#[test]
fn a_secret_in_a_flag_is_not_said_to_be_in_the_file() {
    let flag = |set: fn(&mut Overrides) -> &mut Option<String>| {
        let mut flags = Overrides::default();
        *set(&mut flags) = Some(TOKEN.to_owned());
        flags
    };
    let listen = Overrides {
        listen: vec!["127.0.0.1:1".to_owned(), TOKEN.to_owned()],
        ..Overrides::default()
    };
    for (flags, start, key) in [
        (
            flag(|flags| &mut flags.graph.app_id),
            "--app-id: app.id",
            "TOKEN_SOURCE",
        ),
        (flag(|flags| &mut flags.log), "--log: log.level", "TOKEN_SOURCE"),
        (flag(|flags| &mut flags.admin), "--admin: listen.admin", "TOKEN_SOURCE"),
        (
            flag(|flags| &mut flags.graph.token_file),
            "--token-file: token.source.file",
            "TOKEN_SOURCE",
        ),
        (
            flag(|flags| &mut flags.graph.app_secret_file),
            "--app-secret-file: app.secret.file",
            "APP_SECRET",
        ),
        (listen, "--listen: listen.proxy", "TOKEN_SOURCE"),
    ] {
        let error = Config::load_from(flags, &EnvVars::new(), &[]).unwrap_err();
        let said: Vec<_> = error.diagnostics.iter().map(ToString::to_string).collect();
        let rest = format!("set GRAPHWARD_{key}_FILE or GRAPHWARD_{key}_ENV");
        let expected = format!("{start}: secrets must not appear in a flag (value not shown): {rest}");
        assert_eq!(said, [expected]);
    }
}

#[test]
fn a_password_in_a_services_url_belongs_in_a_header_wherever_the_url_is_set() {
    let vars = EnvVars::from([(
        "GRAPHWARD_TOKEN_SOURCE_HTTP".to_owned(),
        "http://me:hunter2@a".to_owned(),
    )]);
    let said = Config::load_from(Overrides::default(), &vars, &[])
        .unwrap_err()
        .to_string();
    let expected = "secrets must not appear in this variable (value not shown): send it in a header, as { file = ";
    assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_secret_in_the_place_of_a_file_or_a_variable_is_not_repeated() {
    let address = error("[alerts]\nurl = { file = \"https://hooks.slack.com/services/hunter2\" }");
    assert!(address.contains("must be a file path"), "{address}");
    assert!(!address.contains("hunter2"), "{address}");
    for secret in ["ab3456789012345678901234567890cd", "hunter2hunter2hunter2"] {
        for place in [SecretRef::env(secret.to_owned()), SecretRef::file(secret.into())] {
            assert!(!place.to_string().contains(secret), "{place}");
        }
    }
    for place in [
        SecretRef::env("WHATSAPPACCESSTOKENOFACME".to_owned()),
        SecretRef::env("app_secret".to_owned()),
        SecretRef::file("/run/0123456789abcdef0123456789abcdef/key".into()),
    ] {
        assert!(!place.to_string().contains("not shown"), "{place}");
    }
}

/// A password looks like nothing in particular, so that no rejected value is repeated, whatever it looks like.
#[test]
fn a_password_in_the_place_of_a_setting_is_not_repeated() {
    for text in [
        "[listen]\nadmin = \"SECRET\"",
        "[listen]\nproxy = [\"http://SECRET\"]",
        "[listen]\nallowed_hosts = [\"SECRET\"]",
        "[upstream]\norigin = \"SECRET\"",
        "[upstream]\nhttp = \"SECRET\"",
        "[upstream]\nconnect_timeout = \"SECRET\"",
        "[upstream.connect_to]\n\"graph.facebook.com\" = \"SECRET\"",
        "[app]\nid = \"SECRET\"",
        "[heal]\nhold_timeout = \"SECRET\"",
        "[heal]\nbody_memory = \"SECRET\"",
        "[heal]\nspool_dir = \"SECRET\"",
        "[ready]\ntokens = \"SECRET\"",
        "[log]\nlevel = \"SECRET\"",
    ] {
        for secret in [
            "Tr0ub4dor&3",
            "correct horse battery staple",
            "p4ss!word",
            "sk_live:abc",
        ] {
            let message = error(&text.replace("SECRET", secret));
            assert!(!message.contains(secret), "{message}");
        }
    }
}

proptest! {
    #[test]
    fn a_token_pasted_anywhere_is_never_said(
        token in "(EAA|IGQ|THAA)[A-Za-z0-9]{30,200}|[0-9a-f]{32}|[0-9]{15}\\|[A-Za-z0-9_-]{27}",
        place in 0_usize..27,
    ) {
        let texts = [
            "SECRET", "SECRET = 1", "a = SECRET", "[SECRET]", "[[SECRET]]", "[\"SECRET\"]\na = 1", "\"SECRET\" = \"a\"",
            "[log]\nlevel = \"SECRET\"", "[log]\n\"SECRET\" = 1", "[listen]\nproxy = \"SECRET\"",
            "[listen]\nallowed_hosts = [\"SECRET \"]", "[upstream]\norigin = \"https://SECRET@a\"",
            "[upstream]\norigin = \"https://a/me?access_token=SECRET\"", "[heal]\nhold_timeout = \"SECRET\"",
            "[upstream.connect_to]\n\"SECRET/\" = \"SECRET\"", "[token.source]\n\"SECRET\" = \"SECRET\"",
            "[token]\nsource = { http = \"SECRET\" }", "[token]\nsource = { http = \"http://SECRET@a\" }",
            "[token]\nsource = { http = \"http://a?access_token=SECRET\" }", "[token]\nsource = { exec = \"SECRET\" }",
            "[token]\nsource = { http = \"http://a\", headers = { X-Token = \"SECRET\" } }",
            "[token]\nsource = { postgres = \"SECRET\", query = \"SELECT 1\" }", "[alerts]\nurl = \"SECRET\"",
            "[token]\nsource = { file = \"a\", pointer = \"SECRET\" }", "[token]\nrenew = { SECRET = {} }",
            "[token]\nsource = { postgres = \"postgres://a\", query = \"SELECT 1\", listen = \"SECRET\\u0000\" }",
            "[app]\nid = \"x SECRET\"",
        ];
        let said = errors(&texts[place].replace("SECRET", &token)).join("\n");
        for part in token.split(['|', '-', '_']).filter(|part| part.len() > 4) {
            prop_assert!(!said.contains(part), "{}", said);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\[(listen|token|heal|log)\\]\n)?[a-z._\"'=\\[\\]{}0-9 \n#-]{0,60}") {
        drop(read(&text));
    }
}
