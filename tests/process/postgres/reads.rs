//! The result of a query becomes a token, or an error that says what to do.

use std::time::{Duration, SystemTime};

use graphward::net::Tasks;
use graphward::source::{Fernet, PostgresError, PostgresSettings, PostgresSource};
use graphward::token::Source as _;

use super::server::{Database, Server};
use super::support::{
    CONFIG_QUERY, CONFIG_TABLE, NUMBER_QUERY, NUMBER_TABLE, PHONE_NUMBER_ID, TENANT_ID, error_chain, load_token,
    secret, settings, source,
};
use crate::support::assert_quick;

#[tokio::test]
async fn both_apps_tables_are_read_whatever_the_type_of_their_key() {
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
async fn text_of_any_kind_is_a_token_and_what_people_paste_round_it_is_not() {
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
async fn a_second_column_is_the_tokens_end() {
    let database = Database::with("");
    let at = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    for (end, expected) in [
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
        let mut source = source(&database.url(), &format!("SELECT 'EAAGx', {end}"), &[]);
        assert_eq!(source.load().await.unwrap().expires_at, expected, "{end}");
    }
}

#[tokio::test]
async fn a_fernet_column_is_opened_and_one_that_cannot_be_is_explained() {
    let (old, new) = (
        secret("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="),
        secret("RVhBTVBMRUtFWUVYQU1QTEVLRVlFWEFNUExFS0VZQUE="),
    );
    let both = Fernet::new(vec![new.clone(), old.clone()]).unwrap();
    let sealed = Fernet::new(vec![old]).unwrap().encrypt(&secret("EAAGsealed"));
    let database = Database::with(CONFIG_TABLE);
    let with = |keys: &Fernet| {
        PostgresSource::new(
            PostgresSettings {
                fernet: Some(keys.clone()),
                ..settings(&database.url(), CONFIG_QUERY, &[TENANT_ID])
            },
            Tasks::default(),
        )
        .unwrap()
    };
    let error = with(&both).load().await.unwrap_err();
    assert!(!error.is_transient());
    assert!(
        error_chain(&error).contains("not a Fernet token"),
        "{}",
        error_chain(&error)
    );

    let update = format!("UPDATE tenant_whatsapp_config SET access_token = '{sealed}'");
    database.psql(&update);
    assert_eq!(load_token(&mut with(&both)).await, "EAAGsealed");
    let error = with(&Fernet::new(vec![new]).unwrap()).load().await;
    let error = error_chain(&error.unwrap_err());
    assert!(error.contains("no configured Fernet key decrypts it"), "{error}");
    let bare = source(&database.url(), CONFIG_QUERY, &[TENANT_ID]).load().await;
    let error = error_chain(&bare.unwrap_err());
    assert!(error.contains("set `fernet_key`"), "{error}");
}

/// Fails to read, for a reason, with these words.
async fn assert_load_fails(url: &str, query: &str, params: &[&str], reason: &str, words: &str) {
    let error = source(url, query, params).load().await;
    let error = error.expect_err(query);
    let said = format!("{} {error:?}", error_chain(&error));
    assert_eq!(error.reason(), reason, "{said}");
    assert_eq!(error.is_transient(), ["missing", "timeout"].contains(&reason), "{said}");
    assert!(said.contains(words), "{said}");
    assert!(!said.contains("EAAGsecret"), "{said}");
}

#[tokio::test]
async fn rows_that_are_not_one_are_explained() {
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
async fn what_shows_no_token_is_explained_and_never_repeated() {
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
            "SELECT t || generate_series(1, 300000000) FROM secrets",
            "multiple_rows",
            "several rows",
        ),
        ("SELECT 'EAAGx' FROM pg_sleep(8)", "timeout", "took too long"),
    ] {
        assert_load_fails(&url, query, &[], reason, words).await;
    }
    let app = database.url_of("app:hunter2");
    let denied = "permission denied for table hidden; GRANT";
    assert_load_fails(&app, "SELECT a FROM hidden", &[], "permission_denied", denied).await;
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let database = Database::with("");
    let mut wrong = source(&database.url_of("app:wrong-Pa55"), "SELECT 'EAAGx'", &[]);
    let error = wrong.load().await.unwrap_err();
    let said = format!("{} {error:?} {wrong:?}", error_chain(&error));
    assert!(!error.is_transient());
    assert!(said.contains("check user and password"), "{said}");
    assert!(said.contains("28P01") && !said.contains("Pa55"), "{said}");
    let mut none = source(&database.url_of("app"), "SELECT 'EAAGx'", &[]);
    let error = none.load().await.unwrap_err();
    assert!(error_chain(&error).contains("password"), "{}", error_chain(&error));
    assert_eq!(
        load_token(&mut source(&database.url_of("app:hunter2"), "SELECT 'EAAGx'", &[])).await,
        "EAAGx"
    );
    let nowhere = database.url().replace(&format!("/{}", database.name), "/nowhere");
    let error = source(&nowhere, "SELECT 'EAAGx'", &[]).load().await;
    let said = error_chain(&error.unwrap_err());
    assert!(said.contains("\"nowhere\" does not exist; fix the URL"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_waited_for_and_found_again() {
    let server = Server::new();
    server.psql("postgres", CONFIG_TABLE);
    let url = server.url_of("postgres", "postgres");
    server.stop();
    let mut source = PostgresSource::new(
        PostgresSettings {
            listen: Some("tokens".to_owned()),
            ..settings(&url, CONFIG_QUERY, &[TENANT_ID])
        },
        Tasks::default(),
    )
    .unwrap();
    let error = source.load().await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(error.reason(), "unreachable");
    server.start();
    // No notification says that it is back, and a minute is long: a failed check is soon followed by another.
    let back = async {
        loop {
            source.changed().await;
            if source.load().await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
    // The connection that listened is not what the next look depends on.
    server.stop();
    server.start();
    assert_eq!(load_token(&mut source).await, "EAAGlive");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for_long() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:p@{}/d", silent.local_addr().unwrap());
    let mut source = source(&url, "SELECT 1", &[]);
    let began = tokio::time::Instant::now();
    let (loaded, claimed) = tokio::join!(async { source.load().await.unwrap_err() }, async {
        let mut other = super::support::source(&url, "SELECT 1", &[]);
        other.lock().await.unwrap_err()
    });
    assert_quick(began.elapsed(), Duration::from_secs(7));
    assert_eq!((loaded.reason(), claimed.reason()), ("timeout", "timeout"));
}

#[test]
fn settings_that_cannot_work_are_refused_at_start() {
    let refused = |change: &dyn Fn(&mut PostgresSettings)| {
        let mut settings = settings("postgres://u@h/d", "SELECT 1", &[]);
        change(&mut settings);
        PostgresSource::new(settings, Tasks::default()).map(|_| ()).unwrap_err()
    };
    let query = refused(&|settings| settings.query = " ".to_owned());
    assert!(matches!(query, PostgresError::Query));
    let update = refused(&|settings| settings.update = Some("UPDATE t SET a = 1".to_owned()));
    assert!(matches!(update, PostgresError::Update));
    let listen = refused(&|settings| settings.listen = Some("x".repeat(64)));
    assert!(matches!(listen, PostgresError::Listen));
    let roots = refused(&|settings| settings.ca_file = Some("/nowhere.pem".into()));
    assert!(roots.to_string().contains("/nowhere.pem"));
}
