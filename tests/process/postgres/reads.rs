//! The result of a query becomes a token, or an error that says what to do.

use std::time::{Duration, SystemTime};

use graphward::net::Tasks;
use graphward::source::{Fernet, PlainTokens, PostgresSettings, PostgresSource};
use graphward::token::Source as _;

use super::server::{Database, Server};
use super::support::{
    CONFIG_QUERY, CONFIG_TABLE, NUMBER_QUERY, NUMBER_TABLE, PHONE_NUMBER_ID, TENANT_ID, error_chain, load_token, open,
    secret, settings, source,
};
use crate::support::TIMEOUT;

#[tokio::test]
async fn the_tables_of_two_apps_are_read_whatever_the_type_of_their_key() {
    let database = Database::with(CONFIG_TABLE);
    database.psql(NUMBER_TABLE);
    let url = database.url();
    assert_eq!(
        load_token(&mut source(&url, CONFIG_QUERY, &[TENANT_ID])).await,
        "EAAGlive"
    );
    assert_eq!(
        load_token(&mut source(&url, NUMBER_QUERY, &[PHONE_NUMBER_ID])).await,
        "EAAGnumber"
    );
    let by_id = "SELECT access_token FROM tenant_whatsapp_config WHERE id = $1 AND is_active = $2;";
    assert_eq!(load_token(&mut source(&url, by_id, &["3", "true"])).await, "EAAGother");
    let described = source(&url, CONFIG_QUERY, &[TENANT_ID]).describe();
    let sockets = database.server.sockets().display();
    assert_eq!(described, format!("postgres {sockets}/{}", database.name));
}

#[tokio::test]
async fn text_of_any_type_is_read_without_the_decorations_that_people_paste() {
    let database = Database::with("CREATE DOMAIN token AS text; CREATE TABLE t (d token)");
    database.psql("INSERT INTO t VALUES (' \"EAAGdomain\" ')");
    for (query, token) in [
        ("SELECT 'EAAGunknown'", "EAAGunknown"),
        ("SELECT 'Bearer EAAGscheme'::varchar", "EAAGscheme"),
        ("SELECT 'EAAGchar'::char(20)", "EAAGchar"),
        ("SELECT convert_to('EAAGbytes', 'UTF8')", "EAAGbytes"),
        ("SELECT '{\"t\":\"EAAGjson\"}'::jsonb->>'t'", "EAAGjson"),
        ("SELECT d FROM t", "EAAGdomain"),
    ] {
        assert_eq!(load_token(&mut source(&database.url(), query, &[])).await, token);
    }
}

#[tokio::test]
async fn a_second_column_is_the_expiry_of_the_token() {
    let database = Database::with("");
    let at = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    for (column, expected) in [
        ("to_timestamp(1900000000)", at),
        ("to_timestamp(1900000000) AT TIME ZONE 'UTC'", at),
        ("1900000000", at),
        ("1900000000::bigint", at),
        ("1900000000000::bigint", at),
        ("1900000000::float8", at),
        ("0", None),
        ("NULL::timestamptz", None),
        ("'infinity'::timestamptz", None),
    ] {
        let mut source = source(&database.url(), &format!("SELECT 'EAAGx', {column}"), &[]);
        assert_eq!(source.load().await.unwrap().expires_at, expected, "{column}");
    }
}

#[tokio::test]
async fn a_fernet_column_is_decrypted_or_the_error_says_what_to_do() {
    let (old, new) = (
        secret("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="),
        secret("RVhBTVBMRUtFWUVYQU1QTEVLRVlFWEFNUExFS0VZQUE="),
    );
    let both = Fernet::new(vec![new.clone(), old.clone()]).unwrap();
    let encrypted = Fernet::new(vec![old]).unwrap().encrypt(&secret("EAAGencrypted"));
    let database = Database::with(CONFIG_TABLE);
    let open_with = |keys: &Fernet, plain| {
        open(&database.url(), settings(CONFIG_QUERY, &[TENANT_ID])).encrypted_with(Some(keys.clone()), plain)
    };
    let with = |keys: &Fernet| open_with(keys, PlainTokens::Refuse);
    let error = with(&both).load().await.unwrap_err();
    assert!(!error.is_transient());
    assert!(
        error_chain(&error).contains("not a Fernet token"),
        "{}",
        error_chain(&error)
    );

    // A row that is not encrypted yet.
    let mut accepting = open_with(&both, PlainTokens::Accept);
    let plain = load_token(&mut accepting).await;
    assert_eq!(
        plain,
        load_token(&mut source(&database.url(), CONFIG_QUERY, &[TENANT_ID])).await
    );

    let update = format!("UPDATE tenant_whatsapp_config SET access_token = '{encrypted}'");
    database.psql(&update);
    assert_eq!(load_token(&mut with(&both)).await, "EAAGencrypted");
    assert_eq!(load_token(&mut accepting).await, "EAAGencrypted");
    // As MIME writes base64: in lines, and in the other alphabet.
    let (first, rest) = encrypted.split_at(40);
    let lines = format!("{first}\r\n{rest}\n").replace('-', "+").replace('_', "/");
    database.psql(&format!("UPDATE tenant_whatsapp_config SET access_token = '{lines}'"));
    assert_eq!(load_token(&mut with(&both)).await, "EAAGencrypted");
    database.psql(&update);
    let error = with(&Fernet::new(vec![new]).unwrap()).load().await;
    let error = error_chain(&error.unwrap_err());
    assert!(error.contains("no configured Fernet key decrypts it"), "{error}");
    let bare = source(&database.url(), CONFIG_QUERY, &[TENANT_ID]).load().await;
    let error = error_chain(&bare.unwrap_err());
    assert!(error.contains("set `fernet_key`"), "{error}");
}

/// Asserts that a load fails with this reason and these words in its message.
async fn assert_load_fails(url: &str, query: &str, params: &[&str], reason: &str, words: &str) {
    let error = source(url, query, params).load().await;
    let error = error.expect_err(query);
    let message = format!("{} {error:?}", error_chain(&error));
    assert_eq!(error.reason(), reason, "{message}");
    assert_eq!(error.is_transient(), reason == "timeout", "{message}");
    assert_eq!(error.is_absence(), ["missing", "empty"].contains(&reason), "{message}");
    assert!(message.contains(words), "{message}");
    assert!(!message.contains("EAAGsecret"), "{message}");
}

#[tokio::test]
async fn a_result_other_than_one_row_is_explained() {
    let database = Database::with(CONFIG_TABLE);
    let url = database.url();
    let unknown_id = "00000000-0000-0000-0000-000000000009";
    let cases: [(&[&str], &str, &str); 5] = [
        (&[unknown_id], "missing", "returned no row"),
        (&[TENANT_ID], "multiple_rows", "narrow its WHERE"),
        (&["3f"], "parameters", "check `params`"),
        (&[], "parameters", "do not match `params`"),
        (&[TENANT_ID, "more"], "parameters", "do not match `params`"),
    ];
    for (params, reason, words) in cases {
        let query = "SELECT access_token FROM tenant_whatsapp_config WHERE tenant_id = $1";
        assert_load_fails(&url, query, params, reason, words).await;
    }
}

#[tokio::test]
async fn a_result_without_a_token_is_explained_and_never_repeated() {
    let database = Database::with("CREATE TABLE hidden (a text); CREATE TABLE secrets (t text)");
    database.psql("INSERT INTO secrets VALUES ('EAAGsecret')");
    let url = database.url();
    for (query, reason, words) in [
        ("SELECT NULL::text", "empty", "is NULL"),
        (
            "SELECT a FROM nowhere",
            "statement",
            "\"nowhere\" does not exist; fix the statement at character 15",
        ),
        (
            "SELECT a FROM secrets",
            "statement",
            "column that does not exist at character 8",
        ),
        ("SELEC 'EAAGsecret'", "statement", "SQLSTATE 42601"),
        ("SELECT t::int FROM secrets", "parameters", "SQLSTATE 22P02"),
        ("SELECT t, t, t FROM secrets", "column_count", "it selects 3"),
        ("SELECT 5", "wrong_type", "type int4"),
        ("SELECT '{}'::jsonb", "wrong_type", "config->>'access_token'"),
        ("SELECT t, t FROM secrets", "wrong_type", "as timestamptz"),
        (
            "SELECT t || ' and ' || t FROM secrets",
            "invalid_character",
            "was rejected",
        ),
        (
            "SELECT '${META_TOKEN}'",
            "unresolved_variable",
            "a variable that was not replaced",
        ),
        ("SELECT 'op://vault/meta/token'", "reference", "the address of a secret"),
        (
            "SELECT t || generate_series(1, 300000000) FROM secrets",
            "multiple_rows",
            "several rows",
        ),
        ("SELECT 'EAAGx' FROM pg_sleep(8)", "timeout", "took too long"),
    ] {
        assert_load_fails(&url, query, &[], reason, words).await;
    }
    let app_url = database.url_of("app:hunter2");
    let denied = "permission denied for table hidden; GRANT";
    assert_load_fails(&app_url, "SELECT a FROM hidden", &[], "permission_denied", denied).await;
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_not_shown() {
    let database = Database::with("");
    let mut wrong = source(&database.url_of("app:wrong-Pa55"), "SELECT 'EAAGx'", &[]);
    let error = wrong.load().await.unwrap_err();
    let message = format!("{} {error:?} {wrong:?}", error_chain(&error));
    assert!(!error.is_transient());
    assert!(message.contains("check user and password"), "{message}");
    assert!(message.contains("28P01") && !message.contains("Pa55"), "{message}");
    let mut without_password = source(&database.url_of("app"), "SELECT 'EAAGx'", &[]);
    let error = without_password.load().await.unwrap_err();
    assert!(error_chain(&error).contains("password"), "{}", error_chain(&error));
    assert_eq!(
        load_token(&mut source(&database.url_of("app:hunter2"), "SELECT 'EAAGx'", &[])).await,
        "EAAGx"
    );
    let nowhere = database.url().replace(&format!("/{}", database.name), "/nowhere");
    let error = source(&nowhere, "SELECT 'EAAGx'", &[]).load().await;
    let message = error_chain(&error.unwrap_err());
    assert!(
        message.contains("\"nowhere\" does not exist; fix the database"),
        "{message}"
    );
}

#[tokio::test]
async fn a_stopped_server_is_polled_until_it_is_back() {
    let server = Server::new();
    server.psql("postgres", CONFIG_TABLE);
    let url = server.url_of("postgres", "postgres");
    server.stop();
    let mut source = open(
        &url,
        PostgresSettings {
            listen: Some("tokens".to_owned()),
            ..settings(CONFIG_QUERY, &[TENANT_ID])
        },
    );
    let error = source.load().await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(error.reason(), "connect_failed");
    server.start();
    // No notification announces its return, and the poll interval is a minute: a failed load is soon repeated.
    let back = async {
        loop {
            source.changed().await;
            if source.load().await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
    // The next load does not depend on the connection that listened.
    server.stop();
    server.start();
    assert_eq!(load_token(&mut source).await, "EAAGlive");
}

#[tokio::test]
async fn a_server_that_does_not_respond_delays_a_load_by_seconds_only() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:p@{}/d", listener.local_addr().unwrap());
    let mut source = source(&url, "SELECT 1", &[]);
    let both = futures_util::future::join(async { source.load().await.unwrap_err() }, async {
        let mut other = super::support::source(&url, "SELECT 1", &[]);
        other.lock().await.unwrap_err()
    });
    let (loaded, locked) = tokio::time::timeout(TIMEOUT, both).await.unwrap();
    assert_eq!((loaded.reason(), locked.reason()), ("timeout", "timeout"));
}

#[test]
fn certificates_that_cannot_be_read_are_refused_at_start() {
    let mut settings = settings("SELECT 1", &[]);
    settings.ca_file = Some("/nowhere.pem".into());
    let source = PostgresSource::new("postgres://u@h/d", settings, Tasks::default());
    let error = source.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("/nowhere.pem"));
}

#[tokio::test]
async fn a_url_that_an_app_uses_with_another_driver_reaches_the_same_row() {
    let database =
        Database::with("CREATE SCHEMA \"tenant a\"; CREATE TABLE \"tenant a\".t AS SELECT 'EAAGschema' AS token");
    let (sockets, name) = (database.server.sockets().display(), &database.name);
    let url = database.url();
    let (_, rest) = url.split_once("://").unwrap();
    for url in [
        format!("postgresql+asyncpg://{rest}?schema=tenant%20a&pgbouncer=true&connection_limit=1&pool_timeout=0"),
        format!("{url}?currentSchema=tenant%20a&gssencmode=disable&client_encoding=UTF8&tcp_user_timeout=9000"),
        format!("host={sockets} user=postgres dbname={name} search_path='tenant a' target_session_attrs=primary"),
    ] {
        assert_eq!(
            load_token(&mut source(&url, "SELECT token FROM t", &[])).await,
            "EAAGschema"
        );
    }
    // A socket needs no TLS, and the app's password is read from the pairs.
    let pairs = format!("host={sockets} user=app password='hunter2' dbname={name} gssencmode=prefer");
    assert_eq!(
        load_token(&mut source(&pairs, "SELECT 'EAAGpairs'", &[])).await,
        "EAAGpairs"
    );
}
