use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::*;

#[test]
fn the_names_of_sqlx_are_read_and_the_form_of_npgsql_is_named() {
    let parsed = parse("postgres://app@db/shop?ssl-mode=disable&statement-cache-capacity=0").unwrap();
    assert_eq!(parsed.config.get_ssl_mode(), SslMode::Disable);
    assert_eq!(parsed.ignored, ["statement_cache_capacity"]);
    let refused = parse("postgres://app@db/shop?ssl-cert=a.pem").unwrap_err().to_string();
    assert!(refused.contains("`ssl_cert`"), "{refused}");
    for text in [
        "Host=db;Port=5432;Username=app;Password=hush;Database=shop",
        "Server=db;User Id=app;Password=hush",
        "Data Source=db;Password=hush",
    ] {
        let refused = parse(text).unwrap_err().to_string();
        assert!(refused.contains("Npgsql") && !refused.contains("hush"), "{refused}");
    }
}

fn config(url: &str) -> Config {
    parse(url).unwrap_or_else(|error| panic!("{url}: {error}")).config
}

#[test]
fn a_url_of_any_framework_leads_to_the_same_database() {
    for url in [
        "postgres://app:p%40ss@db:6432/tenants",
        "postgresql://app:p%40ss@db:6432/tenants",
        "postgresql+asyncpg://app:p%40ss@db:6432/tenants",
        "postgresql+psycopg2://app:p%40ss@db:6432/tenants",
        "postgis://app:p%40ss@db:6432/tenants",
        "pgsql://app:p%40ss@db:6432/tenants",
        "jdbc:postgresql://db:6432/tenants?user=app&password=p%40ss",
        "postgresql:///tenants?host=db&port=6432&user=app&password=p%40ss",
        "host=db port=6432 user=app password=p@ss dbname=tenants",
        "host = db port = '6432' user=app\npassword='p@ss' dbname=tenants ",
    ] {
        let config = config(url);
        assert_eq!(config.get_hosts(), [Host::Tcp("db".to_owned())], "{url}");
        assert_eq!(config.get_ports(), [6432], "{url}");
        assert_eq!(config.get_user(), Some("app"), "{url}");
        assert_eq!(config.get_password(), Some(&b"p@ss"[..]), "{url}");
        assert_eq!(config.get_dbname(), Some("tenants"), "{url}");
    }
    let config = config(r"host=/run/pg user=o\'neil password='it\'s a \\ & % =x'");
    assert_eq!(config.get_user(), Some("o'neil"));
    assert_eq!(config.get_password(), Some(&br"it's a \ & % =x"[..]));
}

#[test]
fn parameters_of_other_drivers_are_passed_over_and_named() {
    for (query, ignored) in [
        (
            "schema=public&pgbouncer=true&connection_limit=1",
            "pgbouncer connection_limit",
        ),
        (
            "pool_timeout=20&socket_timeout=5&sslaccept=strict",
            "pool_timeout socket_timeout sslaccept",
        ),
        ("gssencmode=disable&client_encoding=UTF8", "gssencmode client_encoding"),
        (
            "gssencmode=prefer&sslrootcert=system&sslsni=1",
            "gssencmode sslrootcert sslsni",
        ),
        (
            "prepareThreshold=0&ApplicationName=x",
            "prepareThreshold ApplicationName",
        ),
        (
            "pool=5&encoding=unicode&prepared_statements=false",
            "pool encoding prepared_statements",
        ),
        (
            "pool_max_conns=9&statement_cache_size=0",
            "pool_max_conns statement_cache_size",
        ),
        ("sslmode=require&channel_binding=require&supa=base-pooler.x", "supa"),
    ] {
        let parsed = parse(&format!("postgres://u@h/d?{query}")).unwrap();
        assert_eq!(parsed.ignored.join(" "), ignored, "{query}");
    }
}

#[test]
fn parameters_with_another_name_or_unit_are_taken() {
    let parsed = parse("postgres://u@h/d?tcp_user_timeout=1500&schema=a%20b,public&keepalives_count=7").unwrap();
    assert_eq!(parsed.tcp_user_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(parsed.search_path, ["a b", "public"]);
    assert_eq!(parsed.config.get_keepalives_retries(), Some(7));
    for (value, expected) in [
        ("primary", TargetSessionAttrs::ReadWrite),
        ("read-write", TargetSessionAttrs::ReadWrite),
        ("standby", TargetSessionAttrs::ReadOnly),
        ("prefer-standby", TargetSessionAttrs::Any),
        ("any", TargetSessionAttrs::Any),
    ] {
        let url = format!("host=h user=u target_session_attrs={value}");
        assert_eq!(config(&url).get_target_session_attrs(), expected, "{value}");
    }
    for (query, mode) in [
        ("ssl=true", SslMode::Require),
        ("ssl=require", SslMode::Require),
        ("ssl=false", SslMode::Disable),
        ("sslmode=verify-full", SslMode::Require),
    ] {
        assert_eq!(config(&format!("postgres://u@h/d?{query}")).get_ssl_mode(), mode);
    }
    assert_eq!(config("host=h sslmode=verify-full").get_ssl_mode(), SslMode::Require);
}

#[test]
fn what_cannot_be_honored_is_refused_with_its_name_and_a_remedy() {
    for (query, name, remedy) in [
        ("gssencmode=require", "gssencmode", "sslmode=verify-full"),
        ("sslcert=hunter2", "sslcert", "use a password"),
        ("sslrootcert=hunter2", "sslrootcert", "ca_file"),
        ("sslaccept=accept_invalid_certs", "sslaccept", "ca_file"),
        ("sslmode=no-verify", "sslmode", "verify-full"),
        ("sslmode=require&ssl=true", "ssl", "once"),
        ("service=hunter2", "service", "read the URL from a file"),
        ("targetServerType=primary", "targetServerType", "target_session_attrs"),
        ("target_session_attrs=hunter2", "target_session_attrs", "primary"),
        ("tcp_user_timeout=hunter2", "tcp_user_timeout", "fix its value"),
        ("port=6432", "port", "host:port"),
        ("requirepeer=hunter2", "requirepeer", "remove it"),
    ] {
        let error = parse(&format!("postgres://u:hunter2@h/d?{query}"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("`{name}`")) && error.contains(remedy),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
    for text in [
        "DATABASE_URL=postgres://u:hunter2@h/d",
        "host=h password='hunter2",
        "host=h hunter2",
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@$host/d",
        "postgres://u:hunter2@h,%24host/d",
        "host=$HOST password=hunter2",
        "postgres://u:hunter2@h/d?EAAGhunter2=x",
        "hunter2",
        "",
    ] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, DatabaseUrlError::Invalid), "{error}");
    }
}
