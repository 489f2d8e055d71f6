//! Sources, renewers, stores: what is read, and what is refused.

use super::*;
use crate::renew::{ExchangeSettings, MintSettings, RenewerConfig, TokenLifetime, UnknownExpiry};
use crate::source::{AbsentPolicy, CommandConfig, EncryptionConfig, ExecSourceConfig, HttpSourceConfig, PlainTokens};
use crate::types::{MaybeSecret, SecretRef, TokenFamily};

fn sources(text: &str) -> Vec<TokenSource> {
    read(text).unwrap().token.sources
}

fn renewal(text: &str) -> RenewerConfig {
    let app = "[app]\nid = \"1\"\nsecret = { env = \"S\" }\nproof = \"off\"\n";
    let text = format!("{app}[token]\nrenew = {text}");
    read(&text).unwrap().token.renew.unwrap()
}

fn secret_file(path: &str) -> SecretRef {
    SecretRef::file(PathBuf::from(path))
}

#[test]
fn sources_are_one_place_or_a_list_in_order_inline_or_not() {
    let one = TokenSource::File(FileSourceConfig {
        path: PathBuf::from("/a"),
        format: Format::Key("K".to_owned()),
        encryption: EncryptionConfig {
            fernet_keys: vec![secret_file("/k"), SecretRef::env("OLD".to_owned())],
            plain: PlainTokens::Refuse,
        },
    });
    let other = TokenSource::Env(EnvSource { name: "B".to_owned() });
    let keys = "fernet_key = [{ file = \"/k\" }, { env = \"OLD\" }]";
    assert_eq!(
        sources(&format!("[token]\nsource = {{ file = \"/a\", key = \"K\", {keys} }}")),
        std::slice::from_ref(&one)
    );
    for text in [
        format!("[token]\nsource = [{{ file = \"/a\", key = \"K\", {keys} }}, {{ env = \"B\" }}]"),
        format!("[[token.source]]\nfile = \"/a\"\nkey = \"K\"\n{keys}\n[[token.source]]\nenv = \"B\""),
    ] {
        assert_eq!(sources(&text), [one.clone(), other.clone()]);
    }
}

#[test]
fn a_service_has_an_address_headers_and_a_rhythm() {
    let text = r#"
        [token.source]
        http = "http://tenant-service:3007/tenants/acme/credentials/meta"
        pointer = "/accessToken"
        headers = { X-Tenant = "acme", Authorization = { file = "/k" } }
        poll_interval = "30s"
        timeout = "2s"
    "#;
    let [TokenSource::Http(HttpSourceConfig { call, poll_interval })] = &sources(text)[..] else {
        panic!("not a service");
    };
    assert_eq!(call.url.uri().path(), "/tenants/acme/credentials/meta");
    assert_eq!(call.pointer.as_deref(), Some("/accessToken"));
    assert_eq!(
        (*poll_interval, call.timeout),
        (Duration::from_secs(30), Duration::from_secs(2))
    );
    let headers: Vec<_> = call
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    let acme = MaybeSecret::Inline("acme".to_owned());
    let key = MaybeSecret::Ref(secret_file("/k"));
    assert_eq!(headers, [("authorization", &key), ("x-tenant", &acme)]);

    let [TokenSource::Http(HttpSourceConfig { call, poll_interval })] =
        &sources("[token]\nsource = { http = \"https://a\" }")[..]
    else {
        panic!("not a service");
    };
    assert_eq!(
        (*poll_interval, call.timeout),
        (Duration::from_secs(60), Duration::from_secs(5))
    );
    assert!(call.headers.is_empty() && call.pointer.is_none());
}

#[test]
fn a_command_is_a_list_of_words() {
    let text = "[token]\nsource = { exec = [\"a\", \"\"], key = \"T\", poll_interval = \"1h\", timeout = \"1s\", keep_env = [\"X\"] }";
    let command = ExecSourceConfig {
        command: CommandConfig {
            argv: vec!["a".to_owned(), String::new()],
            format: Format::Key("T".to_owned()),
            timeout: Duration::from_secs(1),
            keep_env: vec!["X".to_owned()],
        },
        poll_interval: Some(Duration::from_secs(3600)),
    };
    assert_eq!(sources(text), [TokenSource::Exec(command)]);
    let [TokenSource::Exec(command)] = &sources("[token]\nsource = { exec = [\"a\"] }")[..] else {
        panic!("not a command");
    };
    assert_eq!(
        (command.command.timeout, command.poll_interval),
        (Duration::from_secs(10), None)
    );
}

#[test]
fn a_database_has_a_query_and_may_have_all_the_rest() {
    let text = r#"
        [token.source]
        postgres = "postgres://graphward@db/app?sslmode=verify-full"
        query = "SELECT api_token FROM whatsapp_numbers WHERE id = $1"
        params = ["7"]
        update = "UPDATE whatsapp_numbers SET api_token = $1 WHERE id = $2"
        listen = "token_changed"
        poll_interval = "5s"
        fernet_key = { env = "KEY" }
        ca_file = "ca.pem"
    "#;
    let [TokenSource::Postgres(row)] = &sources(text)[..] else {
        panic!("not a database");
    };
    assert!(matches!(&row.url, MaybeSecret::Inline(url) if url.ends_with("verify-full")));
    assert_eq!(row.encryption.fernet_keys, [SecretRef::env("KEY".to_owned())]);
    let row = &row.settings;
    assert!(row.query.starts_with("SELECT api_token"));
    assert_eq!(row.params, ["7"]);
    assert!(row.update.as_ref().is_some_and(|update| update.starts_with("UPDATE")));
    assert_eq!(row.listen.as_deref(), Some("token_changed"));
    assert_eq!(row.poll_interval, Duration::from_secs(5));
    assert_eq!(row.ca_file, Some(PathBuf::from("/etc/ca.pem")));

    let least = "[token]\nsource = { postgres = { env = \"DATABASE_URL\" }, query = \"SELECT 1\" }";
    let [TokenSource::Postgres(row)] = &sources(least)[..] else {
        panic!("not a database");
    };
    assert_eq!(row.url, MaybeSecret::Ref(SecretRef::env("DATABASE_URL".to_owned())));
    let row = &row.settings;
    assert!(row.update.is_none() && row.listen.is_none() && row.params.is_empty());
}

#[test]
fn a_renewal_is_one_of_six() {
    let lifetime = TokenLifetime::Default;
    let unknown_expiry = UnknownExpiry::Keep;
    assert_eq!(
        renewal("{ exchange = {} }"),
        RenewerConfig::Exchange(ExchangeSettings {
            lifetime,
            unknown_expiry
        })
    );
    let lifetime = TokenLifetime::SixtyDays;
    assert_eq!(
        renewal("{ exchange = { set_token_expires_in_60_days = true } }"),
        RenewerConfig::Exchange(ExchangeSettings {
            lifetime,
            unknown_expiry
        })
    );
    let renewer = "{ exchange = { when_expiry_unknown = true } }";
    let unknown_expiry = UnknownExpiry::Exchange;
    let lifetime = TokenLifetime::Default;
    assert_eq!(
        renewal(renewer),
        RenewerConfig::Exchange(ExchangeSettings {
            lifetime,
            unknown_expiry
        })
    );
    let mint =
        "{ mint = { system_user = \"9\", token = { file = \"/t\" }, scopes = [\"whatsapp_business_messaging\"] } }";
    let minted = RenewerConfig::Mint {
        token: secret_file("/t"),
        settings: MintSettings {
            system_user: "9".to_owned(),
            scopes: vec!["whatsapp_business_messaging".to_owned()],
            lifetime: TokenLifetime::Default,
        },
    };
    assert_eq!(renewal(mint), minted);
    assert_eq!(renewal("{ instagram = {} }"), RenewerConfig::Instagram {});
    assert_eq!(renewal("{ threads = {} }"), RenewerConfig::Threads {});
    let RenewerConfig::Http(call) = renewal("{ http = \"https://a/b\", pointer = \"/t\", timeout = \"1s\" }") else {
        panic!("not a service");
    };
    assert_eq!((call.url.uri().path(), call.timeout), ("/b", Duration::from_secs(1)));
    let RenewerConfig::Exec(command) = renewal("{ exec = [\"new-token\"] }") else {
        panic!("not a command");
    };
    assert_eq!(command.argv, ["new-token"]);
    assert_eq!(
        read("[token.renew]\nthreads = {}").unwrap().token.renew,
        Some(RenewerConfig::Threads {})
    );
    assert_eq!(read("[token]\nrenew = {}\nstore = {}").unwrap(), read("").unwrap());
}

#[test]
fn every_key_of_a_tokens_life_can_be_changed() {
    let config = read(
        r#"
        [token]
        source = [{ file = "t.json", pointer = "/a~1b" }, { env = "B" }]
        renew = { threads = {} }
        store = { file = "/var/lib/graphward/token", fernet_key = { env = "KEY" } }
        family = "instagram"
        cache = { file = "/var/lib/graphward/last-good", fernet_key = [{ env = "KEY" }, { file = "old" }] }
        absent = "keep"
        verify = false
        renew_before = "3d"
        [app]
        id = "12"
        [alerts]
        url = "https://a/b"
        "#,
    )
    .unwrap();
    assert_eq!(config.app.id.as_deref(), Some("12"));
    let token = &config.token;
    assert_eq!(token.sources.len(), 2);
    assert!(!token.verify && token.renew == Some(RenewerConfig::Threads {}));
    let store = token.store.as_ref().unwrap();
    assert_eq!(store.path, PathBuf::from("/var/lib/graphward/token"));
    assert_eq!(store.fernet_keys, [SecretRef::env("KEY".to_owned())]);
    let cache = token.cache.as_ref().unwrap();
    assert_eq!(cache.path, PathBuf::from("/var/lib/graphward/last-good"));
    assert_eq!(cache.fernet_keys.len(), 2);
    assert_eq!(token.absent, AbsentPolicy::Keep);
    assert_eq!(token.renew_before, Duration::from_secs(3 * 86_400));
    assert_eq!(token.family, Some(TokenFamily::Instagram));
    let url = MaybeSecret::Inline("https://a/b".to_owned());
    assert_eq!(config.alerts.url, Some(url));
}
