//! What is no source, no renewer and no store.

use super::faults;
use super::faults::each;

#[test]
fn a_place_is_of_one_kind_and_has_what_that_kind_needs() {
    each(&[
        (
            "[token]\nsource = { file = \"a\", key = \"K\", pointer = \"/p\" }",
            "both `key`",
        ),
        (
            "[token]\nsource = { file = \"a\", env = \"B\" }",
            "has `file`, `env`, but is one place: make it a list",
        ),
        (
            "[token]\nsource = { env = \"B\", pointer = \"/p\" }",
            "token.source.pointer: does not go with `env`",
        ),
        ("[token]\nsource = { key = \"K\" }", "must be a place"),
        ("[token]\nsource = {}", "must be a place"),
        ("[token]\nsource = []", "or a list of places"),
        ("[token]\nsource = [{}]", "must be a place"),
        ("[token]\nsource = 7", "not a number"),
        ("[token]\nsource = { file = \"\" }", "the path of a file"),
        ("[token]\nsource = { file = 1 }", "a text in quotes"),
        ("[token]\nsource = { fil = \"a\" }", "did you mean `file`?"),
        ("[token]\nsource = { postgress = \"a\" }", "did you mean `postgres`?"),
        (
            "[token]\nsource = { file = \"a\", fernetkey = { env = \"B\" } }",
            "did you mean `fernet_key`?",
        ),
        ("[token]\nsource = { file = \"a\", fernet_key = [] }", "or several"),
        (
            "[token]\nsource = { file = \"a\", fernet_key = \"b\" }",
            "never stands in the configuration itself",
        ),
        (
            "[token]\nsource = { file = \"a\", zzz = 1 }",
            "it has file, key, pointer, fernet_key",
        ),
        (
            "[token]\nsource = { file = \"a\", pointer = \"access_token\" }",
            "a JSON pointer",
        ),
        (
            "[token]\nsource = { file = \"a\", pointer = \"/a~2\" }",
            "a JSON pointer",
        ),
        ("[token]\nsource = { file = \"a\", key = \"K=\" }", "before the ="),
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
        ("[token]\nsource = { exec = [] }", "a program and its arguments"),
        (
            "[token]\nsource = { exec = [\"\", \"a\"] }",
            "a program and its arguments",
        ),
        ("[token]\nsource = { exec = \"a b\" }", "must be a list"),
        (
            "[token]\nsource = { exec = [\"a\"], poll_interval = \"0s\" }",
            "from 100ms to 1d, not 0",
        ),
        (
            "[token]\nsource = { exec = [\"a\"], timeout = \"1h\" }",
            "from 1ms to 15s, not 1h",
        ),
        (
            "[token]\nsource = { exec = [\"a\"], keep_env = [\"A=b\"] }",
            "not its value",
        ),
        ("[token]\nsource = { postgres = \"postgres://a\" }", "lacks `query`"),
        (
            "[token]\nsource = { postgres = \"db:5432\", query = \"SELECT 1\" }",
            "must be an address",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\", query = \" \" }",
            "a statement of SQL",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\", query = \"SELECT 1\", listen = \"\" }",
            "the name of a channel",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\", query = \"SELECT 1\", update = \"UPDATE a SET b = $2\" }",
            "the new token, $1",
        ),
        (
            "[token]\nsource = { postgres = \"postgres://a\", query = \"SELECT 1\", params = [1] }",
            "a text in quotes",
        ),
    ]);
}

#[test]
fn a_service_is_addressed_in_full_and_its_headers_are_its_own() {
    each(&[
        (
            "[token]\nsource = { http = \"tenant-service:3007\" }",
            "with http:// or https://",
        ),
        ("[token]\nsource = { http = \"ftp://a\" }", "with http:// or https://"),
        ("[token]\nsource = { http = \"http://\" }", "with http:// or https://"),
        (
            "[token]\nsource = { http = \"http://a/{tenant}\" }",
            "write the name itself",
        ),
        (
            "[token]\nsource = { http = \"http://a\", key = \"K\" }",
            "does not go with `http`",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = [] }",
            "must be a table",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { \"a b\" = \"c\" } }",
            "the name of a header",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { Host = \"c\" } }",
            "not for a configuration to set",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { A = \"c\", a = \"d\" } }",
            "is there twice",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { A = \"b\\nc\" } }",
            "on one line",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { A = 1 } }",
            "must be { file",
        ),
        ("[alerts]\nurl = \"a\"", "with http:// or https://"),
        ("[alerts]\nurl = { fil = \"a\" }", "there is no such key"),
    ]);
}

#[test]
fn a_renewal_has_one_way_and_what_the_way_needs() {
    each(&[
        (
            "[token]\nrenew = { exchange = {} }\n[app]\nid = \"1\"",
            "needs `app.secret`",
        ),
        (
            "[token]\nrenew = { exchange = {} }\n[app]\nsecret = { env = \"S\" }",
            "token.renew: `exchange` is done in the app's name: it needs `app.id`",
        ),
        (
            "[token]\nrenew = { exchange = {}, threads = {} }",
            "has `exchange`, `threads`, but a token is renewed in one way",
        ),
        ("[token]\nrenew = { exchang = {} }", "did you mean `exchange`?"),
        ("[token]\nrenew = { pointer = \"/a\" }", "must be one of"),
        ("[token]\nrenew = \"exchange\"", "must be one of"),
        (
            "[token]\nrenew = { exchange = { sixty_days = true } }",
            "there is no such key",
        ),
        ("[token]\nrenew = { exchange = true }", "must be {}"),
        ("[token]\nrenew = { threads = { a = 1 } }", "there is no such key"),
        (
            "[token]\nrenew = { threads = {}, timeout = \"1s\" }",
            "does not go with `threads`",
        ),
        ("[token]\nrenew = { http = \"a\" }", "with http:// or https://"),
        (
            "[token]\nrenew = { exec = [\"a\"], poll_interval = \"1s\" }",
            "there is no such key",
        ),
        ("[token]\nstore = \"/a\"", "must be { file"),
        (
            "[token]\nsource = [{ env = \"A\" }, { file = \"/a\" }]\nstore = { file = \"/a\" }",
            "name another file",
        ),
        ("[token]\nstore = { fernet_key = { env = \"A\" } }", "lacks `file`"),
        ("[token]\nverify = \"no\"", "true or false"),
        ("[token]\nrenew_before = \"61d\"", "from 0 to 60d, not 61d"),
    ]);
    let said = faults("[token]\nrenew = { exchange = {} }");
    assert_eq!(said.len(), 2, "{said:#?}");
    let mint = "[app]\nid = \"1\"\nsecret = { env = \"S\" }\n[token.renew.mint]\n";
    for (rest, words) in [
        ("token = { env = \"A\" }\nscopes = [\"a\"]", "lacks `system_user`"),
        ("system_user = \"1\"\nscopes = [\"a\"]", "lacks `token`"),
        ("system_user = \"1\"\ntoken = { env = \"A\" }", "lacks `scopes`"),
        (
            "system_user = \"me\"\ntoken = { env = \"A\" }\nscopes = [\"a\"]",
            "digits alone",
        ),
        (
            "system_user = \"1\"\ntoken = { env = \"A\" }\nscopes = []",
            "what the token may do",
        ),
        (
            "system_user = \"1\"\ntoken = { env = \"A\" }\nscopes = [\"A b\"]",
            "the name of a permission",
        ),
    ] {
        each(&[(&format!("{mint}{rest}"), words)]);
    }
}
