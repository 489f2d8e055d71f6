//! Invalid sources, renewers and stores.

use super::{each, errors};

#[test]
fn a_place_is_of_one_kind_and_has_what_that_kind_needs() {
    each(&[
        (
            "[token]\nsource = { file = \"a\", key = \"K\", pointer = \"/p\" }",
            "`pointer` is set together with `key`",
        ),
        (
            "[token]\nsource = { file = \"a\", env = \"B\" }",
            "`env` is set together with `file`",
        ),
        (
            "[token]\nsource = { env = \"B\", pointer = \"/p\" }",
            "token.source.pointer: is not allowed with `env`",
        ),
        (
            "[token]\nsource = { key = \"K\" }",
            "must be { file = … } or { env = … } or { http = … }",
        ),
        (
            "[token]\nsource = {}",
            "must be { file = … } or { env = … } or { http = … }",
        ),
        ("[token]\nsource = []", "a list of at least one"),
        (
            "[token]\nsource = [{}]",
            "must be { file = … } or { env = … } or { http = … }",
        ),
        ("[token]\nsource = 7", "not an integer"),
        ("[token]\nsource = { file = \"\" }", "a file path"),
        ("[token]\nsource = { file = 1 }", "a quoted string"),
        ("[token]\nsource = { fil = \"a\" }", "did you mean `file`?"),
        ("[token]\nsource = { postgress = \"a\" }", "did you mean `postgres`?"),
        (
            "[token]\nsource = { file = \"a\", fernetkey = { env = \"B\" } }",
            "did you mean `fernet_key`?",
        ),
        (
            "[token]\nsource = { file = \"a\", fernet_key = [] }",
            "a list of at least one",
        ),
        (
            "[token]\nsource = { file = \"a\", fernet_key = \"b\" }",
            "secrets must not appear in the configuration file",
        ),
        (
            "[token]\nsource = { file = \"a\", zzz = 1 }",
            "known keys: fernet_key, file, key, plain, pointer",
        ),
        (
            "[token]\nsource = { file = \"a\", pointer = \"access_token\" }",
            "a JSON pointer",
        ),
        (
            "[token]\nsource = { file = \"a\", pointer = \"/a~2\" }",
            "a JSON pointer",
        ),
        ("[token]\nsource = { file = \"a\", key = \"K=\" }", "before the = sign"),
        ("[token]\nsource = { env = \"A-B\" }", "not its value"),
    ]);
}

#[test]
fn a_command_and_a_database_have_what_they_need() {
    each(&[
        (
            "[token]\nsource = { exec = [\"a\"], keep_env = [\"GRAPHWARD_TOKEN\"] }",
            "rename the variable",
        ),
        ("[token]\nsource = { exec = [] }", "a list of at least one"),
        (
            "[token]\nsource = { exec = [\"\", \"a\"] }",
            "a program and its arguments",
        ),
        ("[token]\nsource = { exec = \"a b\" }", "must be a list"),
        (
            "[token]\nsource = { exec = [\"a\"], poll_interval = \"0s\" }",
            "between 100ms and 1d, not 0",
        ),
        (
            "[token]\nsource = { exec = [\"a\"], timeout = \"1h\" }",
            "between 1ms and 15s, not 1h",
        ),
        (
            "[token]\nsource = { exec = [\"a\"], keep_env = [\"A=b\"] }",
            "not its value",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\" }",
            "is missing `query`",
        ),
        (
            "[token]\nsource = { postgres = \"db:5432\", query = \"SELECT 1\" }",
            "must be a URL",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\", query = \" \" }",
            "an SQL statement",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\", query = \"SELECT 1\", listen = \"\" }",
            "a PostgreSQL channel name",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\", query = \"SELECT 1\", update = \"UPDATE a SET b = $2\" }",
            "must use $1, the new token",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\", query = \"SELECT 1\", update = \"UPDATE a SET b = $10\" }",
            "must use $1, the new token",
        ),
        (
            &format!(
                "[token]\nsource = {{ postgres = \"postgres://a\", query = \"SELECT 1\", listen = \"{}\" }}",
                "x".repeat(64)
            ),
            "a PostgreSQL channel name",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\", query = \"SELECT 1\", params = [1] }",
            "must be a quoted string",
        ),
    ]);
}

#[test]
fn a_service_is_addressed_in_full_and_its_headers_are_its_own() {
    each(&[
        (
            "[token]\nsource = { http = \"tenant-service:3007\" }",
            "an http:// or https:// URL",
        ),
        ("[token]\nsource = { http = \"ftp://a\" }", "an http:// or https:// URL"),
        ("[token]\nsource = { http = \"http://\" }", "an http:// or https:// URL"),
        (
            "[token]\nsource = { http = \"http://a/{tenant}\" }",
            "use [tenants_from] for all tenants",
        ),
        (
            "[token]\nsource = { file = \"/run/tokens/{tenant}\" }",
            "use [tenants_from]",
        ),
        (
            "[token]\nsource = { http = \"http://a/$TENANT/token\" }",
            "a variable that was not replaced",
        ),
        (
            "[token]\nsource = { http = \"http://a/?tenant=${TENANT}&b\" }",
            "a variable that was not replaced",
        ),
        (
            "[token]\nsource = { http = \"http://$host/token\" }",
            "an http:// or https:// URL",
        ),
        (
            "[token]\nrenew = { http = \"http://{{ host }}/token\" }",
            "a variable that was not replaced",
        ),
        (
            "[alerts]\nurl = \"https://$HOOK/x\"",
            "a variable that was not replaced",
        ),
        (
            "[token]\nsource = { http = \"http://a\", key = \"K\" }",
            "is not allowed with `http`",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = [] }",
            "must be a table",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { \"a b\" = \"c\" } }",
            "a header name",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { Host = \"c\" } }",
            "graphward sets this header",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { A = \"c\", a = \"d\" } }",
            "a duplicate key",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { A = \"b\\nc\" } }",
            "on one line",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { A = 1 } }",
            "{ file",
        ),
        ("[alerts]\nurl = \"a\"", "an http:// or https:// URL"),
        ("[alerts]\nurl = { fil = \"a\" }", "unknown key"),
    ]);
}

#[test]
fn a_renewal_has_one_way_and_what_the_way_needs() {
    each(&[
        (
            "[token]\nrenew = { exchange = {} }\n[app]\nid = \"1\"",
            "requires `app.secret`",
        ),
        (
            "[token]\nrenew = { exchange = {} }\n[app]\nsecret = { env = \"S\" }",
            "token.renew: `exchange` requires `app.id`",
        ),
        (
            "[token]\nrenew = { exchange = {}, threads = {} }",
            "`threads` is set together with `exchange`",
        ),
        ("[token]\nrenew = { exchang = {} }", "did you mean `exchange`?"),
        (
            "[token]\nrenew = { pointer = \"/a\" }",
            "must be { exchange = … } or { mint = … }",
        ),
        (
            "[token]\nrenew = \"exchange\"",
            "must be { exchange = … } or { mint = … }",
        ),
        (
            "[token]\nrenew = { exchange = { sixty_days = true } }",
            "unknown key; known keys: set_token_expires_in_60_days",
        ),
        (
            "[token]\nrenew = { exchange = true }",
            "must be { set_token_expires_in_60_days = …, when_expiry_unknown = … }",
        ),
        ("[token]\nrenew = { threads = { a = 1 } }", "the table takes no keys"),
        (
            "[token]\nrenew = { threads = {}, timeout = \"1s\" }",
            "is not allowed with `threads`",
        ),
        ("[token]\nrenew = { http = \"a\" }", "an http:// or https:// URL"),
        (
            "[token]\nrenew = { exec = [\"a\"], poll_interval = \"1s\" }",
            "unknown key",
        ),
        ("[token]\nstore = \"/a\"", "must be { file"),
        (
            "[token]\nsource = [{ env = \"A\" }, { file = \"/a\" }]\nstore = { file = \"/a\" }",
            "use another file",
        ),
        ("[token]\nstore = { fernet_key = { env = \"A\" } }", "is missing `file`"),
        ("[token]\ncache = { file = \"/a\" }", "is missing `fernet_key`"),
        (
            "[token]\nsource = { file = \"/a\" }\ncache = { file = \"/a\", fernet_key = { env = \"K\" } }",
            "use another file",
        ),
        (
            "[token]\nabsent = \"delete\"",
            "one of \"auto\", \"withdraw\", \"keep\"",
        ),
        ("[token]\nverify = \"no\"", "must be true or false"),
        ("[token]\nrenew_before = \"61d\"", "between 0 and 60d, not 61d"),
    ]);
    let said = errors("[token]\nrenew = { exchange = {} }");
    assert_eq!(said.len(), 2, "{said:#?}");
    let mint = "[app]\nid = \"1\"\nsecret = { env = \"S\" }\n[token.renew.mint]\n";
    for (rest, words) in [
        ("token = { env = \"A\" }\nscopes = [\"a\"]", "is missing `system_user`"),
        ("system_user = \"1\"\nscopes = [\"a\"]", "is missing `token`"),
        ("system_user = \"1\"\ntoken = { env = \"A\" }", "is missing `scopes`"),
        (
            "system_user = \"me\"\ntoken = { env = \"A\" }\nscopes = [\"a\"]",
            "a numeric id",
        ),
        (
            "system_user = \"1\"\ntoken = { env = \"A\" }\nscopes = []",
            "a list of at least one",
        ),
        (
            "system_user = \"1\"\ntoken = { env = \"A\" }\nscopes = [\"A b\"]",
            "a permission name",
        ),
    ] {
        each(&[(&format!("{mint}{rest}"), words)]);
    }
}
