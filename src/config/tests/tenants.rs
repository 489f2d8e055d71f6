//! `[tenants.NAME]` and `[routing]`.

use std::path::Path;

use super::{each, read};
use crate::config::Config;
use crate::types::TenantId;

fn tenant<'a>(config: &'a Config, name: &str) -> &'a crate::config::TenantConfig {
    &config.tenants[&TenantId::new(name).unwrap()]
}

#[test]
fn a_tenant_has_what_it_lacks_from_app_and_token_but_no_place_of_a_token() {
    let config = read(
        "[app]\nid = \"1\"\nsecret = { env = \"S\" }\n\
         [token]\nallow = \"send-only\"\nrenew = { exchange = {} }\nrenew_before = \"3d\"\nverify = false\nstore = { file = \"/s\" }\n\
         [tenants.acme]\nids = [\"106\"]\nsource = { file = \"/acme\" }\nverify = true\n\
         [tenants.\"Shop@eu\"]\nsource = [{ env = \"T\" }]\nallow = \"read-only\"\nrenew = {}\napp = { id = \"2\" }\nlisten = \"127.0.0.1:8081\"",
    )
    .unwrap();
    let acme = tenant(&config, "acme");
    assert_eq!((&acme.ids, &acme.app), (&vec!["106".to_owned()], &config.app));
    assert_eq!(
        acme.token.sources[0].file().map(|path| path.as_path()),
        Some(Path::new("/acme"))
    );
    assert_eq!(
        (&acme.token.renew, acme.token.renew_before),
        (&config.token.renew, config.token.renew_before)
    );
    assert!(acme.token.verify && acme.token.store.is_none());
    assert_eq!(acme.token.allow, config.token.allow);
    let shop = tenant(&config, "Shop@eu");
    assert_eq!(
        (shop.app.id.as_deref(), &shop.app.secret),
        (Some("2"), &config.app.secret)
    );
    assert!(!shop.token.verify && shop.token.renew.is_none() && shop.ids.is_empty());
    assert_eq!(shop.listen.len(), 1);
    assert_eq!(shop.token.allow, ["read-only".parse().unwrap()]);
    assert!(
        !config.has_default_tenant,
        "the default of token.source is no tenant beside others"
    );
}

#[test]
fn requests_without_a_sign_have_a_tenant_if_one_is_configured_for_them() {
    let acme = "[tenants.acme]\nsource = { file = \"/acme\" }\n";
    let has_default_tenant = |text: &str| read(text).unwrap().has_default_tenant;
    assert!(has_default_tenant(""));
    assert!(!has_default_tenant(acme));
    assert!(has_default_tenant(&format!(
        "{acme}[token]\nsource = {{ file = \"/t\" }}"
    )));
    assert!(has_default_tenant(&format!(
        "{acme}[tenants.default]\nsource = {{ file = \"/t\" }}"
    )));
}

#[test]
fn the_processes_that_may_use_a_token_are_a_list_of_user_ids() {
    let unix = "[listen]\nproxy = [\"unix:/s\", \"127.0.0.1:1\"]\n";
    let config = read(&format!(
        "{unix}[token]\nuids = [1000, 0]\n[tenants.a]\nsource = {{ env = \"A\" }}\n\
         [tenants.b]\nsource = {{ env = \"B\" }}\nuids = \"\"\nlisten = \"127.0.0.1:2\"\n\
         [tenants.c]\nsource = {{ env = \"C\" }}\nuids = [4294967294]"
    ))
    .unwrap();
    let uids = |name| tenant(&config, name).token.uids.clone();
    assert_eq!(uids("a"), Some(vec![1000, 0]), "as in [token]");
    assert_eq!((uids("b"), uids("c")), (None, Some(vec![4_294_967_294])));
    assert_eq!(read("").unwrap().token.uids, None);
    let own = "[tenants.a]\nsource = { env = \"A\" }\nuids = [1]\nlisten = \"unix:/a\"";
    assert!(read(own).is_ok(), "the default of listen.proxy is TCP");
}

#[test]
fn what_is_wrong_with_a_tenant_is_said_where_it_stands() {
    each(&[
        ("[tenants.acme]\nids = [\"1\"]", "is missing `source`"),
        ("[tenants.\"a b\"]\nsource = { file = \"/a\" }", "a tenant name is"),
        ("[tenants.\"..\"]\nsource = { file = \"/a\" }", "a tenant name is"),
        (
            "[tenants.acme]\nsource = { file = \"/a\" }\nsorce = 1",
            "did you mean `source`?",
        ),
        (
            "[tenants.acme]\nsource = { file = \"/a\" }\nids = [\"+49 170\"]",
            "the id of an object",
        ),
        (
            "[tenants.acme]\nsource = { file = \"/a\" }\nids = [106]",
            "a quoted string",
        ),
        (
            "[tenants.acme]\nsource = { file = \"/a\" }\napp = { secret = \"0123456789abcdef\" }",
            "file",
        ),
        (
            "[tenants.acme]\nsource = { file = \"/a\" }\nrenew = { exchange = {} }\napp = { id = \"1\" }",
            "`exchange` requires `app.secret`",
        ),
        (
            "[tenants.acme]\nsource = { file = \"/a\" }\nstore = { file = \"/a\" }",
            "is also a source's file",
        ),
        (
            "[tenants.a]\nsource = { env = \"A\" }\nstore = { file = \"/s\" }\n\
             [tenants.b]\nsource = { env = \"B\" }\nstore = { file = \"/s\" }",
            "/s is also written for the tenant a; use another file",
        ),
        (
            "[token]\nsource = { file = \"/a\" }\n[tenants.default]\nsource = { file = \"/b\" }",
            "is `[token]` by another name",
        ),
        (
            "[tenants.a]\nsource = { env = \"A\" }\nlisten = \"127.0.0.1:8080\"",
            "127.0.0.1:8080 conflicts with 127.0.0.1:8080",
        ),
        (
            "[tenants.a]\nsource = { env = \"A\" }\nuids = [1000]",
            "`uids` requires a listener on a Unix socket",
        ),
        (
            "[listen]\nproxy = \"unix:/s\"\n[tenants.a]\nsource = { env = \"A\" }\nuids = [1000]\nlisten = \"127.0.0.1:1\"",
            "; 127.0.0.1:1 is TCP",
        ),
        (
            "[token]\nuids = [1000]",
            "token.uids: `uids` requires a listener on a Unix socket",
        ),
        (
            "[token]\nuids = [1000]\n[tenants_from]\nfile = \"/tokens/{tenant}\"",
            "token.uids: `uids` requires a listener on a Unix socket",
        ),
        ("[token]\nuids = []", "a list of at least one"),
        ("[token]\nuids = [-1]", "between 0 and 4294967294"),
        ("[token]\nuids = [\"app\"]", "an integer"),
        ("[routing]\nheader = \"a b\"", "header"),
        ("[tenants]\nacme = \"/t\"", "must be"),
    ]);
}
