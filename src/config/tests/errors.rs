use super::{each, error, errors};

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_file() {
    let said = errors(
        "[upstream]\norigin = \"http://graph.facebook.com\"\nhead_timeuot = \"5s\"\nvia = 65\n\n[heal]\n\
         body_memory = \"1MB\"\nhold_timeout = 2\n[lgo]\nlevel = \"info\"\n[ready]\ntokens = true\n",
    );
    let starts = [
        "`/etc/g.toml:2`: upstream.origin: must start with `https://`; tokens are never sent over plain http",
        "`/etc/g.toml:3`: upstream.head_timeuot: unknown key; did you mean `head_timeout`?",
        "`/etc/g.toml:4`: upstream.via: must be true or false, not an integer",
        "`/etc/g.toml:7`: heal.body_memory: must be an integer followed by B, KiB, MiB, GiB or TiB",
        "`/etc/g.toml:8`: heal.hold_timeout: must be a quoted string with a unit, such as \"2s\"",
        "`/etc/g.toml:9`: lgo: unknown section; did you mean [log]?",
        "`/etc/g.toml:12`: ready.tokens: must be one of \"any\", \"all\", \"ignore\", not a boolean",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (said, start) in said.iter().zip(starts) {
        assert!(said.starts_with(start), "{said}");
    }
}

#[test]
fn the_upstream_is_https_and_its_limits_can_be_met() {
    each(&[
        ("[upstream]\norigin = \"https://a/v23.0\"", "must not contain a path"),
        ("[upstream]\nhttp = 1.1", "one of \"auto\", \"1.1\", \"2\", not a float"),
        ("[upstream]\nhttp = \"3\"", "one of \"auto\", \"1.1\", \"2\""),
        (
            "[listen]\nmax_connections = \"2\"",
            "an integer (unquoted), not a string",
        ),
        ("[listen]\nmax_connections = 0", "between 1 and 1000000, not 0"),
        (
            "[listen]\nmax_connections = 0x40_0000_0000_0000_0000",
            "between 1 and 1000000",
        ),
        ("[upstream]\nvia = \"true\"", "must be true or false"),
        ("[upstream]\nconnect_timeout = \"0\"", "between 1ms and 1d, not 0"),
        ("[upstream]\nhead_timeout = \"2d\"", "between 1ms and 1d, not 2d"),
        ("[upstream]\nidle_timeout = \"1m30s\"", "followed by ms, s, m, h or d"),
        ("[upstream]\nidle_timeout = 1979-05-27", "not a date"),
        ("[upstream]\nconnect_to = \"a:1\"", "must be a table"),
        (
            "[upstream.connect_to]\n\"a:1\" = \"b:2\"",
            "upstream.connect_to.a:1: must be a name without a port",
        ),
        ("[upstream.connect_to]\na = \"b\"", "must have a port"),
        ("[upstream.connect_to]\na = \"b:1\"\nA = \"b:2\"", "a duplicate key"),
    ]);
}

#[test]
fn tls_is_a_certificate_and_a_key_and_tunnels_need_it() {
    each(&[
        ("[listen]\ntls = \"cert.pem\"", "must be { cert = …, key = … }"),
        ("[listen]\ntls = { cert = \"c\" }", "two PEM files"),
        ("[listen]\ntls = { crt = \"c\" }", "did you mean `cert`?"),
        ("[listen]\ntls = { cert = \"c\", key = 1 }", "a quoted string"),
        (
            "[listen]\ntls = { cert = \"c\", key = \"-----BEGIN PRIVATE KEY-----hunter2\" }",
            "must be a file path",
        ),
        ("[listen]\ntunnel_hosts = [\"a\"]", "requires `listen.tls`"),
        ("[listen]\ntunnel_hosts = [\"a:443\"]", "must be a name without a port"),
    ]);
    assert!(!error("[listen]\ntls = { cert = \"c\", key = \"-----BEGIN hunter2\" }").contains("hunter2"));
}

#[test]
fn a_listener_has_an_address_of_its_own() {
    each(&[
        ("[listen]\nproxy = []", "a list of at least one"),
        ("[listen]\nproxy = \":8080\"", "must include an IP"),
        ("[listen]\nproxy = [\"a.example:80\"]", "only localhost is accepted"),
        (
            "[listen]\nproxy = [\"0.0.0.0:1\", \"127.0.0.1:1\"]",
            "0.0.0.0:1; remove one",
        ),
        ("[listen]\nadmin = \"127.0.0.1:8080\"", "cannot share an address"),
        (
            "[listen]\nproxy = \"[::]:9080\"\nadmin = \"[::1]:9080\"",
            "cannot share an address",
        ),
        ("[listen]\nallowed_hosts = \"a\"", "must be a list"),
        ("[listen]\nallowed_hosts = [\"a:80\"]", "without a port"),
    ]);
}

#[test]
fn bodies_fit_into_what_there_is_for_all_of_them() {
    each(&[
        (
            "[heal]\nbody_memory = \"2MiB\"\nmemory_total = \"1MiB\"",
            "lower `body_memory` or raise `memory_total`",
        ),
        (
            "[heal]\ndisk_total = \"1MiB\"",
            "per-request `body_disk` (128MiB) exceeds the total `disk_total` (1MiB)",
        ),
        (
            "[heal]\nbody_memory = \"2GiB\"\nmemory_total = \"4GiB\"",
            "between 0 and 1GiB, not 2GiB",
        ),
        ("[heal]\nmemory_total = 64", "must be a quoted string with a unit"),
        ("[heal]\ntoken_wait = \"11m\"", "between 0 and 10m, not 11m"),
        ("[heal]\nspool_dir = \"none\"", "must be \"off\", the absolute path"),
        ("[heal]\ndead_token = \"drop\"", "\"probe\", \"forward\", \"refuse\""),
        (
            "[heal]\nclient_credentials = \"remove\"",
            "\"replace\", \"refuse\", \"keep\"",
        ),
    ]);
}

#[test]
fn a_log_has_a_known_shape_and_level() {
    each(&[
        ("[log]\nlevel = \"warning\"", "did you mean \"warn\"?"),
        ("[log]\nformat = [\"json\"]", "not a list"),
        (
            "[metrics]\ntenant_label = \"some\"",
            "must be true or false or an integer",
        ),
        (
            "[metrics]\ntenant_label = -1",
            "must be true or false or an integer (unquoted) between 0 and 4294967295, not -1",
        ),
        ("[metrics]\ntenant_label = 4294967296", "between 0 and 4294967295"),
    ]);
}

#[test]
fn an_invalid_value_contradicts_nothing() {
    let said = error("[heal]\nbody_memory = \"2 megs\"\nmemory_total = \"512KiB\"");
    assert!(said.starts_with("`/etc/g.toml:2`: heal.body_memory: must be an integer"));
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one_or_all_there_are() {
    for (text, words) in [
        ("[upstream]\nhead-timeout = \"5s\"", "did you mean `head_timeout`?"),
        ("[upstream]\nconnectTimeout = \"5s\"", "did you mean `connect_timeout`?"),
        ("max_connections = 2", "did you mean `max_connections` under [listen]?"),
        (
            "[listen]\norigin = \"https://a\"",
            "did you mean `origin` under [upstream]?",
        ),
        // A key that another section has is not a misspelt one of this section.
        (
            "[heal]\nconnect_timeout = \"5s\"",
            "did you mean `connect_timeout` under [upstream]?",
        ),
        ("[ready]\nxyz = 1", "known keys: tokens"),
        (
            "zzz = 1",
            "known sections: [admin], [alerts], [app], [audit], [check], [heal], [links], [listen], [log], [metrics], [ready], [routing], [state], [tenants], [tenants_from], [token], [upstream]",
        ),
        ("log = \"info\"", "is a section: write [log]"),
        ("[[log]]\nlevel = \"info\"", "is a section: write [log]"),
        ("\"log.level\" = \"info\"", "unknown key"),
        ("[log]\n\"level.x\" = 1", "unknown key"),
    ] {
        let said = error(text);
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn keys_that_are_not_built_yet_are_refused_and_not_ignored() {
    for text in [
        "[tenants.a]\nsource = { file = \"/a\" }\nupsert = \"\"",
        "[drain]\npause = \"1s\"",
        "[drain]",
    ] {
        let said = error(text);
        assert!(said.contains("unknown"), "{text}: {said}");
    }
}

#[test]
fn the_apps_secret_is_somewhere_else_and_hosts_have_no_port() {
    each(&[
        ("[app]\nsecret = \"0123456789abcdef\"", "file"),
        (
            "[app]\nsecret = { file = \"/a\", env = \"B\" }",
            "`env` is set together with `file`",
        ),
        ("[app]\nsecret = { path = \"/a\" }", "unknown key"),
        ("[app]\nsecret = { file = \"\" }", "a file path"),
        ("[app]\nsecret = 7", "must be { file"),
        ("[app]\nproof = \"timed\"", "requires `app.secret`"),
        ("[app]\nid = \"12a\"", "a numeric id"),
        ("[app]\nid = 12", "a quoted string"),
        ("[app]\nproof = \"on\"", "must be one of"),
        ("[links]\npaging = \"yes\"", "must be true or false"),
        ("[upstream]\nhosts = \"a\"", "must be a list"),
        ("[upstream]\nhosts = [\"a:443\"]", "without a port"),
        ("[upstream]\nhosts = [\"https://a\"]", "a host name"),
    ]);
}

#[test]
fn a_rule_that_allows_nothing_says_what_to_write() {
    each(&[
        ("[token]\nallow = []", "a list of at least one"),
        ("[token]\nallow = \"send_only\"", "must be \"METHOD /path\""),
        (
            "[token]\nallow = [\"send-only\", \"/{id}\"]",
            "must be \"METHOD /path\"",
        ),
        ("[token]\nallow = \"get /{id}\"", "in capitals"),
        ("[token]\nallow = \"GET {id}\"", "begins with a slash"),
        ("[token]\nallow = \"GET /{id}?fields=id\"", "must not have a query"),
        ("[token]\nallow = \"GET /v25.0/{id}\"", "must not have a version"),
        ("[token]\nallow = \"GET /{phone}\"", "{id} for an id"),
    ]);
}
