use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

#[test]
fn a_path_has_the_placeholder_once_in_its_last_part() {
    for (text, file) in [
        ("/run/graphward/tokens/{tenant}", "/run/graphward/tokens/acme"),
        ("/run/tokens/wa-{tenant}.token", "/run/tokens/wa-acme.token"),
        ("/{tenant}", "/acme"),
        ("tokens/{tenant}", "tokens/acme"),
        ("{tenant}.json", "acme.json"),
    ] {
        let path: TenantPath = text.parse().unwrap();
        assert_eq!(path.file_of(&tenant("acme")), Path::new(file));
        assert_eq!(path.to_string(), text);
        let name = Path::new(file).file_name().unwrap();
        assert_eq!(path.name_in(name).as_deref(), Some("acme"), "{text}");
        assert!(!path.directory().as_os_str().is_empty());
    }
    for (text, error) in [
        ("/run/tokens", TenantPatternError::Path),
        ("", TenantPatternError::Path),
        ("/run/{tenant}/token", TenantPatternError::Path),
        ("/run/{tenant}/{tenant}", TenantPatternError::Path),
        ("/run/{tenant}-{tenant}", TenantPatternError::Path),
        ("file:///run/{tenant}", TenantPatternError::Path),
        ("/run/{tenant}\0", TenantPatternError::Path),
        ("/run/${tenant}", TenantPatternError::OtherBrace),
        ("/run/{{tenant}}", TenantPatternError::OtherBrace),
        ("/run/{app}/{tenant}", TenantPatternError::OtherBrace),
        ("/run/.{tenant}", TenantPatternError::SkippedFiles),
        ("/run/{tenant}.tmp", TenantPatternError::SkippedFiles),
        ("/run/{tenant}~", TenantPatternError::SkippedFiles),
        ("/run/{tenant}.lock", TenantPatternError::SkippedFiles),
    ] {
        assert_eq!(text.parse::<TenantPath>(), Err(error), "{text}");
    }
}

#[test]
fn files_that_are_hidden_or_not_whole_are_of_no_tenant() {
    let path: TenantPath = "/run/{tenant}".parse().unwrap();
    for name in [
        "..data",
        "..2026_11_21",
        ".acme.x1.tmp",
        ".acme.swp",
        "acme~",
        "acme.swp",
        "a.tmp",
        "a.lock",
    ] {
        assert_eq!(path.name_in(OsStr::new(name)), None, "{name}");
    }
    assert_eq!(path.name_in(OsStr::new("two words")).as_deref(), Some("two words"));
    let path: TenantPath = "/run/wa-{tenant}.token".parse().unwrap();
    for name in [
        "acme",
        "wa-acme",
        "acme.token",
        "wa-acme.token.tmp",
        "wa-acme.token~",
        "wa-.toke",
    ] {
        assert_eq!(path.name_in(OsStr::new(name)), None, "{name}");
    }
    assert_eq!(path.name_in(OsStr::new("wa-.token")).as_deref(), Some(""));
}

#[test]
fn a_name_is_percent_encoded_in_the_path_and_the_query_of_a_url() {
    for (text, url) in [
        (
            "http://tenants:3007/tenants/{tenant}/credentials/meta",
            "http://tenants:3007/tenants/Acme%3A7%40eu/credentials/meta",
        ),
        (
            "https://tenants/?id={tenant}&key=1",
            "https://tenants/?id=Acme%3A7%40eu&key=1",
        ),
        (
            "https://tenants/{tenant}?of={tenant}",
            "https://tenants/Acme%3A7%40eu?of=Acme%3A7%40eu",
        ),
        ("https://tenants/token", "https://tenants/token"),
    ] {
        let template: TenantUrl = text.parse().unwrap();
        assert_eq!(template.of_tenant(&tenant("Acme:7@eu")).unwrap(), url);
        assert_eq!(template.to_string(), text);
    }
    let plain: TenantUrl = "http://tenants/{tenant}".parse().unwrap();
    assert_eq!(plain.of_tenant(&tenant("a-b.c_d")).unwrap(), "http://tenants/a-b.c_d");
}

#[test]
fn a_name_is_never_a_part_of_the_host() {
    for text in [
        "http://{tenant}/token",
        "http://{tenant}.tenants.example/token",
        "http://tenants{tenant}/token",
        "http://{tenant}@tenants/token",
        "http://key:{tenant}@tenants/token",
        "http://tenants/token#{tenant}",
        "http://tenants:{tenant}/",
    ] {
        assert_eq!(
            text.parse::<TenantUrl>(),
            Err(TenantPatternError::OutsidePath),
            "{text}"
        );
    }
    for text in ["{tenant}", "{tenant}://tenants/", "tenants:3007/{tenant}"] {
        let error = text.parse::<TenantUrl>();
        assert_eq!(error, Err(TenantPatternError::Url(ServiceTextError::Url)), "{text}");
    }
    for text in [
        "http://tenants/${tenant_id}",
        "http://tenants/{{tenant}}",
        "http://tenants/{id}/{tenant}",
        "http://tenants/{Tenant}",
    ] {
        assert_eq!(text.parse::<TenantUrl>(), Err(TenantPatternError::OtherBrace), "{text}");
    }
    let unresolved = "http://tenants/$ENVIRONMENT/{tenant}".parse::<TenantUrl>();
    assert_eq!(unresolved, Err(TenantPatternError::Url(ServiceTextError::Variable)));
}

#[test]
fn a_header_has_the_name_and_stays_a_secret() {
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant-id", HeaderValue::from_static("of {tenant}"));
    headers.insert("x-key", HeaderValue::from_static("s3cret"));
    let filled = headers_of_tenant(&headers, &tenant("Acme:7"));
    assert_eq!(filled["x-tenant-id"], "of Acme:7");
    assert!(filled["x-tenant-id"].is_sensitive());
    assert_eq!(filled["x-key"], "s3cret");
}

#[test]
fn a_name_is_an_argument_and_neither_an_option_nor_a_reference() {
    let argv = ["vault-token", "--", "{tenant}", "secret/{tenant}/meta"].map(str::to_owned);
    let filled = argv_of_tenant(&argv, &tenant("Acme:7@eu")).unwrap();
    assert_eq!(filled, ["vault-token", "--", "Acme:7@eu", "secret/Acme:7@eu/meta"]);
    for name in ["-rf", "--help", "a..b", "...", "@token", ".hidden", ":x"] {
        let error = argv_of_tenant(&argv, &tenant(name)).unwrap_err();
        assert_eq!(error.reason(), "invalid_name");
        assert!(error.to_string().contains("cannot be used in a command"), "{error}");
        assert!(!error.is_transient());
    }
}
