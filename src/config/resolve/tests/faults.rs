use super::{fault, faults};

#[test]
fn all_faults_are_said_at_once_in_the_order_of_the_file() {
    let said = faults(
        "[upstream]\norigin = \"http://graph.facebook.com\"\nhead_timeuot = \"5s\"\nconnections = 65\n\n[heal]\n\
         body_memory = \"1MB\"\nhold_timeout = 2\n[lgo]\nlevel = \"info\"\n[ready]\ntokens = true\n",
    );
    let starts = [
        "g.toml:2: upstream.origin: must begin with https://: a token never travels in the clear",
        "g.toml:3: upstream.head_timeuot: there is no such key; did you mean `head_timeout`?",
        "g.toml:4: upstream.connections: must be from 1 to 64, not 65",
        "g.toml:7: heal.body_memory: must be a whole number and one of the units B, KiB, MiB, GiB, TiB",
        "g.toml:8: heal.hold_timeout: needs a unit and quotes, such as \"2s\"",
        "g.toml:9: lgo: there is no such section; did you mean [log]?",
        "g.toml:12: ready.tokens: must be a text in quotes, not true or false",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (said, start) in said.iter().zip(starts) {
        assert!(said.starts_with(start), "{said}");
    }
}

#[test]
fn the_upstream_is_https_and_its_limits_can_be_met() {
    each(&[
        ("[upstream]\norigin = \"https://a/v23.0\"", "must end behind the host"),
        ("[upstream]\nhttp = 1.1", "a text in quotes, not a fraction"),
        ("[upstream]\nhttp = \"3\"", "one of \"auto\", \"1.1\", \"2\", not \"3\""),
        (
            "[upstream]\nconnections = \"2\"",
            "a whole number, without quotes, not a text",
        ),
        ("[upstream]\nconnections = 0", "from 1 to 64, not 0"),
        ("[upstream]\nconnections = 0x40_0000_0000_0000_0000", "from 1 to 64"),
        ("[upstream]\nvia = \"true\"", "true or false, without quotes"),
        ("[upstream]\nconnect_timeout = \"0\"", "from 1ms to 1d, not 0"),
        ("[upstream]\nhead_timeout = \"2d\"", "from 1ms to 1d, not 2d"),
        ("[upstream]\nidle_timeout = \"1m30s\"", "units ms, s, m, h, d"),
        ("[upstream]\nidle_timeout = 1979-05-27", "not a date"),
        ("[upstream]\nconnect_to = \"a:1\"", "a table of hosts"),
        (
            "[upstream.connect_to]\n\"a:1\" = \"b:2\"",
            "its key must be a name without a port",
        ),
        ("[upstream.connect_to]\na = \"b\"", "must have a port: write \"b:443\""),
        ("[upstream.connect_to]\na = \"b:1\"\nA = \"b:2\"", "is there twice"),
    ]);
}

#[test]
fn tls_is_a_certificate_and_a_key_and_tunnels_need_it() {
    each(&[
        ("[listen]\ntls = \"cert.pem\"", "two PEM files"),
        ("[listen]\ntls = { cert = \"c\" }", "two PEM files"),
        ("[listen]\ntls = { crt = \"c\" }", "did you mean `cert`?"),
        ("[listen]\ntls = { cert = \"c\", key = 1 }", "a text"),
        (
            "[listen]\ntls = { cert = \"c\", key = \"-----BEGIN PRIVATE KEY-----hunter2\" }",
            "must be the path of a file",
        ),
        ("[listen]\ntunnel_hosts = [\"a\"]", "set `tls`, or remove this"),
        ("[listen]\ntunnel_hosts = [\"a:443\"]", "must be a name without a port"),
    ]);
    assert!(!fault("[listen]\ntls = { cert = \"c\", key = \"-----BEGIN hunter2\" }").contains("hunter2"));
}

#[test]
fn a_listener_has_an_address_of_its_own() {
    each(&[
        ("[listen]\nproxy = []", "at least one address"),
        ("[listen]\nproxy = \":8080\"", "must say which address"),
        ("[listen]\nproxy = [\"a.example:80\"]", "of names only localhost"),
        (
            "[listen]\nproxy = [\"0.0.0.0:1\", \"127.0.0.1:1\"]",
            "is listened on twice",
        ),
        ("[listen]\nadmin = \"127.0.0.1:8080\"", "cannot share an address"),
        (
            "[listen]\nproxy = \"[::]:9080\"\nadmin = \"[::1]:9080\"",
            "cannot share an address",
        ),
        ("[listen]\nallowed_hosts = \"a\"", "must be a list"),
        ("[listen]\nallowed_hosts = [\"a:80\"]", "without a port: write \"a\""),
    ]);
}

#[test]
fn bodies_fit_into_what_there_is_for_all_of_them() {
    each(&[
        (
            "[heal]\nbody_memory = \"2MiB\"\nmemory_total = \"1MiB\"",
            "lower the one or raise the other",
        ),
        (
            "[heal]\ndisk_total = \"1MiB\"",
            "one request's `body_disk` (128MiB) is more than `disk_total` (1MiB)",
        ),
        (
            "[heal]\nbody_memory = \"2GiB\"\nmemory_total = \"4GiB\"",
            "at most 1GiB, not 2GiB",
        ),
        ("[heal]\nmemory_total = 64", "needs a unit and quotes"),
        ("[heal]\ntoken_wait = \"11m\"", "from 0 to 10m, not 11m"),
        ("[heal]\nspool_dir = \"none\"", "must be \"off\", the full path"),
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
    ]);
}

#[test]
fn a_value_not_understood_contradicts_nothing() {
    let said = fault("[heal]\nbody_memory = \"2 megs\"\nmemory_total = \"512KiB\"");
    assert!(said.starts_with("g.toml:2: heal.body_memory: must be a whole number"));
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one_or_all_there_are() {
    for (text, words) in [
        ("[upstream]\nhead-timeout = \"5s\"", "did you mean `head_timeout`?"),
        ("[upstream]\nconnectTimeout = \"5s\"", "did you mean `connect_timeout`?"),
        ("connections = 2", "did you mean `connections` under [upstream]?"),
        (
            "[listen]\norigin = \"https://a\"",
            "did you mean `origin` under [upstream]?",
        ),
        ("[ready]\nxyz = 1", "[ready] has tokens"),
        (
            "zzz = 1",
            "there are [alerts], [app], [heal], [links], [listen], [log], [ready], [token], [upstream]",
        ),
        ("log = \"info\"", "is a section: write [log]"),
        ("[[log]]\nlevel = \"info\"", "is a section: write [log]"),
        ("\"log.level\" = \"info\"", "no such key outside a section"),
        ("[log]\n\"level.x\" = 1", "there is no such key"),
    ] {
        let said = fault(text);
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn keys_that_are_not_built_yet_are_refused_and_not_ignored() {
    for text in [
        "[admin]\nkey = { env = \"KEY\" }",
        "[tenants.a]\nsource = { file = \"/a\" }",
        "[drain]\npause = \"1s\"",
        "[drain]",
    ] {
        let said = fault(text);
        assert!(said.contains("there is no such"), "{text}: {said}");
    }
}

/// Each text has one fault, and it says what to do.
#[track_caller]
pub(super) fn each(texts: &[(&str, &str)]) {
    for (text, words) in texts {
        let said = fault(text);
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn the_apps_secret_is_somewhere_else_and_hosts_have_no_port() {
    each(&[
        ("[app]\nsecret = \"0123456789abcdef\"", "file"),
        ("[app]\nsecret = { file = \"/a\", env = \"B\" }", "or { env"),
        ("[app]\nsecret = { path = \"/a\" }", "no such key"),
        ("[app]\nsecret = { file = \"\" }", "the path of a file"),
        ("[app]\nsecret = 7", "must be { file"),
        ("[app]\nproof = \"timed\"", "needs `app.secret`"),
        ("[app]\nid = \"12a\"", "digits alone"),
        ("[app]\nid = 12", "a text in quotes"),
        ("[app]\nproof = \"on\"", "must be one of"),
        ("[links]\npaging = \"yes\"", "must be true or false"),
        ("[upstream]\nhosts = \"a\"", "must be a list"),
        ("[upstream]\nhosts = [\"a:443\"]", "without a port"),
        ("[upstream]\nhosts = [\"https://a\"]", "the name of a host"),
    ]);
}
