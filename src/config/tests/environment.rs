//! A variable for every key.

use serde_json::Value as Json;

use super::*;

fn load(vars: &[(&str, &str)]) -> Result<LoadedConfig, String> {
    let vars = vars
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load_from(Overrides::default(), &vars.collect(), &[]).map_err(|error| error.to_string())
}

/// The same for a key of `[tenants_from]`: as for a source, with a place for the name of the tenant.
fn tenants_from_example(key: &str) -> (Vec<(String, &'static str)>, &'static str) {
    let (mut with, value) = match key {
        "idle" => (Vec::new(), "7s"),
        "renewals" | "max_open" => (Vec::new(), "7"),
        "upsert" | "withdraw" => (example("token.source.update").0, "SET a = $1 WHERE b = $2"),
        _ if key.starts_with("cache") => example(&format!("token.{key}")),
        _ => example(&format!("token.source.{key}")),
    };
    if key.starts_with("cache") || matches!(key, "idle" | "renewals" | "max_open") {
        with.push(("GRAPHWARD_TOKEN_SOURCE_FILE".to_owned(), "/a"));
    }
    let renamed = |name: String| {
        name.replace("TOKEN_SOURCE", "TENANTS_FROM")
            .replace("TOKEN_CACHE", "TENANTS_FROM_CACHE")
    };
    let placed = |name: &str, value| match name {
        "GRAPHWARD_TENANTS_FROM_FILE" => "/a/{tenant}",
        "GRAPHWARD_TENANTS_FROM_HTTP" => "http://a/{tenant}",
        "GRAPHWARD_TENANTS_FROM_EXEC" => "a,{tenant}",
        _ => value,
    };
    let with = with.into_iter().map(|(name, value)| (renamed(name), value));
    let with = with.map(|(name, value)| (name.clone(), placed(&name, value))).collect();
    let name = format!("GRAPHWARD_TENANTS_FROM_{}", key.to_uppercase());
    (with, placed(&name, value))
}

/// What else a key's table needs, as variables, and a value that is valid and not the default.
#[expect(clippy::too_many_lines, reason = "a line for each key")]
fn example(path: &str) -> (Vec<(String, &'static str)>, &'static str) {
    let with = |names: &[(&'static str, &'static str)]| {
        let names = names.iter().map(|(name, value)| (format!("GRAPHWARD_{name}"), *value));
        names.collect::<Vec<_>>()
    };
    let file = ("TOKEN_SOURCE_FILE", "/a");
    let http = ("TOKEN_SOURCE_HTTP", "http://a");
    let tls = [("LISTEN_TLS_KEY", "k.pem"), ("LISTEN_TLS_CERT", "c.pem")];
    let store = [("TOKEN_STORE_FILE", "/a"), ("TOKEN_STORE_FERNET_KEY_FILE", "/k")];
    let cache = [("TOKEN_CACHE_FILE", "/a"), ("TOKEN_CACHE_FERNET_KEY_FILE", "/k")];
    let exec = ("TOKEN_SOURCE_EXEC", "a,b");
    let row = [
        ("TOKEN_SOURCE_POSTGRES", "postgres://a"),
        ("TOKEN_SOURCE_QUERY", "SELECT 1"),
    ];
    let app = [("APP_ID", "1"), ("APP_SECRET", "hunter2")];
    let mint = [
        ("TOKEN_RENEW_MINT_SYSTEM_USER", "1"),
        ("TOKEN_RENEW_MINT_TOKEN_ENV", "A"),
        ("TOKEN_RENEW_MINT_SCOPES", "a,b"),
    ];
    match path {
        "listen.proxy" | "listen.admin" => (with(&[]), "unix:/run/a.sock"),
        "listen.tls" | "app.secret" | "token.store" | "token.renew" | "upstream.connect_to" => (with(&[]), "{}"),
        "listen.socket_mode" => (with(&[]), "0600"),
        "listen.tls.cert" => (with(&tls[..1]), "c.pem"),
        "listen.tls.key" => (with(&tls[1..]), "k.pem"),
        "listen.tunnel_hosts" => (with(&tls), "a,b"),
        "listen.allowed_hosts" | "upstream.hosts" | "upstream.remove_headers" => (with(&[]), "a,b"),
        "upstream.origin" => (with(&[]), "https://a"),
        "upstream.proxy" => (with(&[]), "http://a:3128"),
        "upstream.http" | "listen.max_connections" => (with(&[]), "2"),
        "upstream.via" | "links.paging" => (with(&[]), "true"),
        "links.media" | "links.uploads" | "token.verify" | "admin.writes" => (with(&[]), "false"),
        "app.id" => (with(&[]), "12"),
        "app.proof" => (with(&[]), "off"),
        "token.family" => (with(&[]), "threads"),
        "token.source" => (with(&[file]), "{}"),
        "token.source.key" => (with(&[file]), "KEY"),
        "token.source.pointer" => (with(&[file]), "/a"),
        "token.source.fernet_key" => (with(&[file, ("TOKEN_SOURCE_FERNET_KEY_FILE", "/k")]), "{}"),
        "token.source.fernet_key.file" | "token.source.fernet_key.env" => (with(&[file]), "K"),
        "token.source.plain" => (with(&[file]), "accept"),
        "token.source.http" | "token.renew.http" => (with(&[]), "http://a/b"),
        "token.source.headers" => (with(&[http]), "{}"),
        "token.source.timeout" | "token.source.poll_interval" => (with(&[http]), "7s"),
        "token.source.exec" | "token.renew.exec" => (with(&[]), "vault,read"),
        "token.source.keep_env" => (with(&[exec]), "A,B"),
        "token.source.postgres" => (with(&[("TOKEN_SOURCE_QUERY", "SELECT 1")]), "postgres://a/b"),
        "token.source.postgres.file" | "token.source.ca_file" if path.ends_with("postgres.file") => {
            (with(&[("TOKEN_SOURCE_QUERY", "SELECT 1")]), "/url")
        }
        "token.source.postgres.env" => (with(&[("TOKEN_SOURCE_QUERY", "SELECT 1")]), "URL"),
        "token.source.query" => (with(&row[..1]), "SELECT 2"),
        "token.source.params" => (with(&row), "a,b"),
        "token.source.update" => (with(&row), "UPDATE a SET b = $1"),
        "token.source.listen" => (with(&row), "changed"),
        "token.source.ca_file" => (with(&row), "ca.pem"),
        "token.renew.exchange" => (with(&app), "{}"),
        path if path.starts_with("token.renew.exchange.") => (with(&app), "true"),
        "token.renew.mint" => (with(&[&app[..], &mint].concat()), "{}"),
        "token.renew.mint.system_user" => (with(&[&app[..], &mint[1..]].concat()), "7"),
        "token.renew.mint.token" => (with(&[&app[..], &mint].concat()), "{}"),
        "token.renew.mint.token.file" => (with(&[&app[..], &[mint[0], mint[2]]].concat()), "/a"),
        "token.renew.mint.token.env" => (with(&[&app[..], &[mint[0], mint[2]]].concat()), "B"),
        "token.renew.mint.scopes" => (with(&[&app[..], &mint[..2]].concat()), "c"),
        "token.renew.mint.set_token_expires_in_60_days" => (with(&[&app[..], &mint].concat()), "true"),
        "token.cache" | "token.renew.instagram" | "token.renew.threads" => (with(&[]), "{}"),
        "token.renew.key" | "token.renew.keep_env" => (with(&[("TOKEN_RENEW_EXEC", "a")]), "KEY"),
        "token.renew.pointer" => (with(&[("TOKEN_RENEW_HTTP", "http://a")]), "/a"),
        "token.renew.headers" | "admin.key" => (with(&[("TOKEN_RENEW_HTTP", "http://a")]), "{}"),
        "token.renew.timeout" => (with(&[("TOKEN_RENEW_HTTP", "http://a")]), "7s"),
        "token.store.fernet_key" => (with(&store), "{}"),
        "token.store.fernet_key.file" | "token.store.fernet_key.env" => (with(&store[..1]), "K"),
        "token.allow" => (with(&[]), "GET /me,send-only"),
        "token.uids" => (with(&[("LISTEN", "unix:/s")]), "1000,0"),
        "token.absent" => (with(&[]), "keep"),
        "token.cache.file" => (with(&cache[1..]), "/a"),
        "token.cache.fernet_key" => (with(&cache), "{}"),
        "token.cache.fernet_key.file" | "token.cache.fernet_key.env" => (with(&cache[..1]), "K"),
        "heal.mode" => (with(&[]), "observe"),
        "heal.dead_token" | "heal.client_credentials" => (with(&[]), "refuse"),
        "heal.body_memory" | "heal.body_disk" => (with(&[]), "7B"),
        "heal.memory_total" | "heal.disk_total" => (with(&[]), "7GiB"),
        "heal.spool_dir" => (with(&[]), "off"),
        "ready.tokens" | "log.requests" => (with(&[]), "all"),
        "alerts.url" => (with(&[]), "https://a/b"),
        "routing.header" | "check.phone_number_id" => (with(&[]), "x-tenant-id"),
        "log.format" => (with(&[]), "json"),
        "metrics.tenant_label" => (with(&[]), "true"),
        "log.level" => (with(&[]), "debug"),
        path if path.ends_with("_timeout") || path.ends_with("_wait") || path.ends_with("_before") => (with(&[]), "7s"),
        path if path.ends_with("file") || path == "state.dir" => (with(&[]), "/a"),
        path if path.ends_with("env") => (with(&[]), "A"),
        path if let Some((secret, key @ ("key" | "pointer"))) = path.rsplit_once('.') => {
            let (mut with, file) = example(&format!("{secret}.file"));
            let name = secret.replace('.', "_").to_uppercase();
            with.push((format!("GRAPHWARD_{name}_FILE"), file));
            (with, if key == "key" { "A" } else { "/a" })
        }
        path => panic!("write an example for {path}"),
    }
}

#[test]
fn every_key_of_the_schema_is_set_by_its_variable() {
    let keys = Keys::new();
    for path in &keys.settings {
        let name = format!("GRAPHWARD_{}", path.replace('.', "_").to_uppercase());
        let of_tenants = path.strip_prefix("tenants_from.").map(tenants_from_example);
        let (with, value) = of_tenants.unwrap_or_else(|| example(path));
        let with: Vec<_> = with.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let vars = [&with[..], &[(name.as_str(), value)]].concat();
        let loaded = load(&vars).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(loaded.warnings.is_empty(), "{name}");
        if value == "{}" {
            continue;
        }
        let without = load(&with).map_or_else(|_incomplete| read("").unwrap(), |loaded| loaded.config);
        assert_ne!(loaded.config, without, "{name}");
    }
    assert!(keys.settings.len() > 80, "{}", keys.settings.len());
}

#[test]
fn the_variable_of_a_key_has_its_type() {
    let loaded = load(&[
        ("GRAPHWARD_LISTEN_MAX_CONNECTIONS", "many"),
        ("GRAPHWARD_UPSTREAM_VIA", "yes"),
        ("GRAPHWARD_UPSTREAM_HOSTS", "a, b:1"),
        ("GRAPHWARD_HEAL_HOLD_TIMEOUT", "5"),
        ("GRAPHWARD_LOG_LEVEL", "loud"),
    ]);
    let error = loaded.unwrap_err();
    for line in [
        "GRAPHWARD_HEAL_HOLD_TIMEOUT: heal.hold_timeout: must be an integer followed by",
        "GRAPHWARD_LISTEN_MAX_CONNECTIONS: listen.max_connections: must be an integer",
        "GRAPHWARD_LOG_LEVEL: log.level: must be one of",
        "GRAPHWARD_UPSTREAM_HOSTS: upstream.hosts: must be a name without a port",
        "GRAPHWARD_UPSTREAM_VIA: upstream.via: must be true or false",
    ] {
        assert!(error.contains(line), "{line}: {error}");
    }
}

#[test]
fn maps_with_free_keys_stand_only_in_the_file() {
    for (name, table) in [
        ("GRAPHWARD_UPSTREAM_CONNECT_TO_X", "upstream.connect_to"),
        ("GRAPHWARD_UPSTREAM_CONNECT_TO_FOO", "upstream.connect_to"),
        (
            "GRAPHWARD_UPSTREAM_CONNECT_TO_GRAPH_FACEBOOK_COM",
            "upstream.connect_to",
        ),
        ("GRAPHWARD_TOKEN_SOURCE_HEADERS_X_API_KEY", "token.source.headers"),
        ("GRAPHWARD_TOKEN_RENEW_HEADERS_AUTHORIZATION", "token.renew.headers"),
    ] {
        let loaded = load(&[(name, "hunter2")]).unwrap();
        assert_eq!(loaded.config, read("").unwrap());
        let expected =
            format!("the environment variable {name} sets nothing: the keys of `{table}` are set in the file only");
        assert_eq!(loaded.warnings, [expected]);
    }
    let error = load(&[("GRAPHWARD_UPSTREAM_CONNECT_TO", "hunter2")]).unwrap_err();
    let expected =
        "GRAPHWARD_UPSTREAM_CONNECT_TO: upstream.connect_to: has keys of its own, which are set in the file only";
    assert!(error.contains(expected), "{error}");
    let schema = json_schema();
    let free = schema.pointer("/properties/upstream/properties/connect_to/additionalProperties");
    assert!(free.is_some_and(Json::is_object));
}

#[test]
fn a_variable_that_is_nearly_a_known_one_is_refused_and_another_unknown_one_warned_of() {
    for (name, meant) in [
        ("GRAPHWARD_TOKN", "GRAPHWARD_TOKEN"),
        ("GRAPHWARD_TOKEN_FIEL", "GRAPHWARD_TOKEN_FILE"),
        ("GRAPHWARD_CONFG", "GRAPHWARD_CONFIG"),
        ("GRAPHWARD_HEAL_HOLDTIMEOUT", "GRAPHWARD_HEAL_HOLD_TIMEOUT"),
    ] {
        let error = load(&[(name, "EAAGhunter2")]).unwrap_err();
        assert!(
            error.contains(&format!("{name}: unknown variable; did you mean {meant}?")),
            "{error}"
        );
        assert!(!error.contains("hunter2"));
    }
    let loaded = load(&[("GRAPHWARD_VERSION", "EAAGhunter2"), ("GRAPHWARD_TOKN", "")]).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("GRAPHWARD_VERSION") && !loaded.warnings[0].contains("hunter2"));
}

#[test]
fn a_variable_that_a_secret_is_read_from_is_known() {
    let vars = [
        ("GRAPHWARD_TOKEN_SOURCE_ENV", "GRAPHWARD_TOKN"),
        ("GRAPHWARD_TOKN", "hunter2"),
    ];
    let loaded = load(&vars).unwrap();
    assert!(loaded.warnings.is_empty());
}

#[test]
fn service_links_of_kubernetes_change_nothing() {
    let loaded = load(&[
        ("GRAPHWARD_SERVICE_HOST", "10.0.0.1"),
        ("GRAPHWARD_SERVICE_PORT", "80"),
        ("GRAPHWARD_PORT", "tcp://10.0.0.1:80"),
        ("GRAPHWARD_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("GRAPHWARD_ADMIN_SERVICE_HOST", "10.0.0.1"),
        ("GRAPHWARD_ADMIN_PORT", "tcp://10.0.0.1:8080"),
        ("GRAPHWARD_ADMIN_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("GRAPHWARD_ADMIN", "127.0.0.1:7"),
    ])
    .unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.config.listen.admin.to_string(), "127.0.0.1:7");
}

#[test]
fn two_variables_for_one_key_contradict_each_other() {
    for (vars, message) in [
        (
            [("GRAPHWARD_LOG", "info"), ("GRAPHWARD_LOG_LEVEL", "info")],
            "GRAPHWARD_LOG_LEVEL: log.level: is set together with GRAPHWARD_LOG; unset one of them",
        ),
        (
            [
                ("GRAPHWARD_ALERTS_URL", "http://a"),
                ("GRAPHWARD_ALERTS_URL_FILE", "/a"),
            ],
            "GRAPHWARD_ALERTS_URL_FILE: alerts.url.file: is set together with GRAPHWARD_ALERTS_URL; unset one of them",
        ),
        (
            [("GRAPHWARD_APP_SECRET", "hunter2"), ("GRAPHWARD_APP_SECRET_FILE", "/a")],
            "GRAPHWARD_APP_SECRET: app.secret: `env` is set together with `file` (GRAPHWARD_APP_SECRET_FILE); remove one",
        ),
    ] {
        let error = load(&vars).unwrap_err();
        assert!(error.contains(message), "{error}");
        assert!(!error.contains("hunter2"));
    }
}

#[test]
fn a_key_written_as_a_variable_or_a_flag_is_shown_as_the_file_has_it() {
    for (text, expected) in [
        ("token_file = \"/a\"", "write `[token] source = { file = … }`"),
        ("[token]\ntoken_file = \"/a\"", "write `[token] source = { file = … }`"),
        ("app_secret_file = \"/a\"", "write `[app] secret = { file = … }`"),
        ("log_level = \"info\"", "write `[log] level = …`"),
    ] {
        let said = error(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
}
