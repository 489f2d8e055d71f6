//! `[tenants_from]`.

use std::time::Duration;

use super::{each, read};
use crate::source::TenantsFrom;

#[test]
fn each_place_of_the_tokens_of_tenants_is_read_with_what_is_the_same_for_all() {
    let place = |text: &str| read(&format!("[tenants_from]\n{text}")).unwrap().tenants_from;
    assert_eq!(place(""), None);
    let Some(TenantsFrom::Files(files)) =
        place("file = \"/run/graphward/tokens/{tenant}.json\"\npointer = \"/access_token\"")
    else {
        panic!("a directory");
    };
    assert_eq!(files.common.idle, Duration::from_secs(600));
    assert_eq!((files.common.renewals.get(), files.common.max_open.get()), (4, 10_000));
    let service = "http = \"http://tenants:3007/{tenant}/meta\"\npointer = \"/accessToken\"\nidle = \"1m\"\nrenewals = 2\nmax_open = 500\n\
                   cache = { file = \"/c\", fernet_key = { env = \"K\" } }";
    let Some(TenantsFrom::Http(service)) = place(service) else {
        panic!("a service");
    };
    assert_eq!(service.common.idle, Duration::from_secs(60));
    assert_eq!(service.common.max_open.get(), 500);
    assert!(service.common.cache.is_some());
    assert!(matches!(
        place("exec = [\"tenant-token\", \"{tenant}\"]"),
        Some(TenantsFrom::Exec(_))
    ));
}

#[test]
fn beside_tenants_from_a_place_requests_without_a_sign_need_a_token_of_their_own() {
    let place = "[tenants_from]\nfile = \"/tokens/{tenant}\"\n";
    assert!(!read(place).unwrap().has_default_tenant);
    assert!(
        read(&format!("{place}[token]\nsource = {{ file = \"/t\" }}"))
            .unwrap()
            .has_default_tenant
    );
}

#[test]
fn what_is_wrong_with_the_place_is_said_where_it_stands() {
    each(&[
        ("[tenants_from]\nfile = \"/tokens\"", "{tenant} once, in its last part"),
        (
            "[tenants_from]\nfile = \"/{tenant}/token\"",
            "{tenant} once, in its last part",
        ),
        ("[tenants_from]\nhttp = \"http://{tenant}:1/\"", "outside of the path"),
        ("[tenants_from]\nidle = \"5m\"", "must be"),
        (
            "[tenants_from]\nexec = [\"{tenant}\"]",
            "`/etc/g.toml:2`: tenants_from.exec: the program must not contain {tenant}; write it in an argument",
        ),
        (
            "[tenants_from]\nexec = [\"vault\", \"acme\"]",
            "/etc/g.toml:2`: tenants_from.exec: {tenant} is missing",
        ),
        (
            "[tenants_from]\nhttp = \"http://a/b\"",
            "/etc/g.toml:2`: tenants_from.http: {tenant} is missing",
        ),
        (
            "[tenants_from]\nfile = \"/t/{tenant}\"\nquery = \"SELECT 1\"",
            "remove one",
        ),
        ("[tenants_from]\nfile = \"/t/{tenant}\"\nidle = \"1ms\"", "idle"),
        (
            "[tenants_from]\nfile = \"/t/{tenant}\"\ncache = { file = \"/c\" }",
            "fernet_key",
        ),
    ]);
}

#[test]
fn a_table_is_read_and_stored_by_the_statements_of_the_operator() {
    let table = "[tenants_from]\npostgres = { env = \"DATABASE_URL\" }\nquery = \"SELECT tenant_id AS tenant, access_token AS token FROM t\"\n\
                 update = \"UPDATE t SET access_token = $1 WHERE tenant_id = $2\"\nlisten = \"tenants\"\nrenewals = 2";
    let Some(TenantsFrom::Postgres(table)) = read(table).unwrap().tenants_from else {
        panic!("a table");
    };
    assert_eq!(table.place.settings.listen.as_deref(), Some("tenants"));
    assert_eq!(table.common.renewals.get(), 2);
    each(&[
        ("[tenants_from]\npostgres = { env = \"D\" }", "query"),
        (
            "[tenants_from]\npostgres = { env = \"D\" }\nquery = \"SELECT 1\"\nparams = [\"x\"]",
            "unknown key",
        ),
        (
            "[tenants_from]\npostgres = { env = \"D\" }\nquery = \"SELECT 1\"\nrenewals = 65",
            "64",
        ),
    ]);
}
