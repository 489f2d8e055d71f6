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
        !config.serves_unnamed,
        "the default of token.source is no tenant beside others"
    );
}

#[test]
fn requests_without_a_sign_have_a_tenant_if_one_is_configured_for_them() {
    let acme = "[tenants.acme]\nsource = { file = \"/acme\" }\n";
    let serves_unnamed = |text: &str| read(text).unwrap().serves_unnamed;
    assert!(serves_unnamed(""));
    assert!(!serves_unnamed(acme));
    assert!(serves_unnamed(&format!("{acme}[token]\nsource = {{ file = \"/t\" }}")));
    assert!(serves_unnamed(&format!(
        "{acme}[tenants.default]\nsource = {{ file = \"/t\" }}"
    )));
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
        ("[routing]\nheader = \"a b\"", "header"),
        ("[tenants]\nacme = \"/t\"", "must be"),
    ]);
}
