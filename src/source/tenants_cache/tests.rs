use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::types::Secret;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const OTHER_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn keys(keys: &[&str]) -> Fernet {
    Fernet::new(keys.iter().map(|key| Secret::new(key).unwrap()).collect()).unwrap()
}

fn cache(path: &Path, key: &str, identity: &str) -> TenantsCache {
    TenantsCache::new(path.to_owned(), keys(&[key]), identity.to_owned())
}

fn row(name: &str, token: &str) -> TenantRow {
    TenantRow {
        id: TenantId::new(name).unwrap(),
        object_ids: ["106".into(), "107".into()].into(),
        app: Some("9".into()),
        reported_expires_at: None,
        token: Ok(Token {
            expires_at: Some(UNIX_EPOCH + Duration::from_secs(1_900_000_000)),
            ..Token::without_expiry(Secret::new(token).unwrap())
        }),
    }
}

fn table(rows: &[TenantRow]) -> Arc<CachedTable> {
    Arc::new(CachedTable {
        rows: rows.to_vec(),
        former: FormerIds::new(),
    })
}

#[tokio::test]
async fn tenants_outlive_the_process_encrypted_and_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants");
    let writer = cache(&path, KEY, "the table");
    assert!(writer.load().await.unwrap().is_none());
    let mut bad = row("bad", "EAAGx");
    bad.token = Err(Arc::new(ObtainError::absent("empty", "the token column is NULL")));
    writer.replace(table(&[row("acme", "EAAGsecret"), bad])).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("EAAGsecret") && text.contains("gAAAA"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let found = cache(&path, KEY, "the table").load().await.unwrap().unwrap().rows;
    let [acme, bad] = &found[..] else {
        panic!("{found:?}");
    };
    let token = acme.token.as_ref().unwrap();
    assert_eq!((acme.id.as_str(), token.secret.expose()), ("acme", "EAAGsecret"));
    assert_eq!(token.expires_at, Some(UNIX_EPOCH + Duration::from_secs(1_900_000_000)));
    assert_eq!((&*acme.object_ids[1], acme.app.as_deref()), ("107", Some("9")));
    let fault = bad.token.as_ref().unwrap_err();
    assert!(
        fault.is_absence() && fault.reason() == "empty" && fault.to_string().contains("is NULL"),
        "{fault:?}"
    );

    writer.replace(table(&[])).await.unwrap();
    assert_eq!(writer.load().await.unwrap().unwrap().rows.len(), 0);
    // Nothing else is left behind.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn the_tenants_of_another_table_are_ignored_and_a_damaged_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants");
    cache(&path, KEY, "the table")
        .replace(table(&[row("acme", "EAAGsecret")]))
        .await
        .unwrap();
    assert!(cache(&path, KEY, "another table").load().await.unwrap().is_none());
    let whole = fs::read(&path).unwrap();
    for damaged in [&b""[..], b"EAAGplain", b"{}", b"[]", &whole[..whole.len() / 2], b"\0"] {
        fs::write(&path, damaged).unwrap();
        let error = cache(&path, KEY, "the table").load().await.unwrap_err();
        assert_eq!(error.reason(), "damaged");
        let message = error.to_string();
        assert!(message.contains("delete it") && !message.contains("EAAG"), "{message}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = cache(&path, KEY, "the table").load().await.unwrap_err();
    assert!(error.is_transient() && error.reason() == "cache_failed", "{error}");
}

#[tokio::test]
async fn a_token_that_no_key_decrypts_is_left_out_and_the_others_are_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants");
    cache(&path, OTHER_KEY, "the table")
        .replace(table(&[row("old", "EAAGold")]))
        .await
        .unwrap();
    let old = fs::read_to_string(&path).unwrap();
    cache(&path, KEY, "the table")
        .replace(table(&[row("new", "EAAGnew")]))
        .await
        .unwrap();
    let new = fs::read_to_string(&path).unwrap();
    let tenants = |text: &str| {
        text.split_once("\"tenants\":[")
            .unwrap()
            .1
            .split_once("],\"former\"")
            .unwrap()
            .0
            .to_owned()
    };
    let plain = tenants(&new).replace("gAAAA", "EAAGplain");
    let all = [tenants(&old), tenants(&new), plain].join(",");
    fs::write(&path, format!("{{\"identity\":\"the table\",\"tenants\":[{all}]}}")).unwrap();
    let found = cache(&path, KEY, "the table").load().await.unwrap().unwrap().rows;
    let names: Vec<_> = found.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(names, ["new"]);

    // A new key goes before the old one.
    let both = TenantsCache::new(path, keys(&[OTHER_KEY, KEY]), "the table".to_owned());
    assert_eq!(both.load().await.unwrap().unwrap().rows.len(), 2);
}

#[tokio::test]
async fn the_ids_that_tenants_had_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory.path().join("tenants"), KEY, "the table");
    let gone = TenantId::new("gone").unwrap();
    let former = FormerIds::from([("107".into(), gone.clone()), ("108".into(), gone)]);
    let written = CachedTable {
        rows: vec![row("acme", "EAAGsecret")],
        former: former.clone(),
    };
    cache.replace(Arc::new(written)).await.unwrap();
    let found = cache.load().await.unwrap().unwrap();
    assert_eq!((found.rows.len(), found.former), (1, former));
}

/// The kind after this one, until all were there.
fn kind_after(kind: ErrorKind) -> Option<ErrorKind> {
    match kind {
        ErrorKind::Transient => Some(ErrorKind::Permanent),
        ErrorKind::Permanent => Some(ErrorKind::Absent),
        ErrorKind::Absent => Some(ErrorKind::NothingNew),
        ErrorKind::NothingNew => Some(ErrorKind::Locked),
        ErrorKind::Locked => None,
    }
}

#[tokio::test]
async fn the_reason_why_a_token_cannot_be_used_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory.path().join("tenants"), KEY, "the table");
    let kinds = std::iter::successors(Some(ErrorKind::Transient), |kind| kind_after(*kind));
    let faults = kinds.flat_map(|kind| REASONS.split_whitespace().map(move |reason| (kind, reason)));
    let rows: Vec<_> = faults
        .enumerate()
        .map(|(number, (kind, reason))| {
            let fault = ObtainError::new(kind, reason, format!("fault {number}"));
            TenantRow::of_token(TenantId::new(&format!("t{number}")).unwrap(), Err(fault))
        })
        .collect();
    cache.replace(table(&rows)).await.unwrap();
    let found = cache.load().await.unwrap().unwrap().rows;
    assert_eq!(found.len(), rows.len());
    for (found, row) in found.iter().zip(&rows) {
        let (found, fault) = (found.token.as_ref().unwrap_err(), row.token.as_ref().unwrap_err());
        assert_eq!((found.kind(), found.reason()), (fault.kind(), fault.reason()));
        assert_eq!(found.to_string(), fault.to_string());
    }
}

#[tokio::test]
async fn a_reason_of_another_version_is_permanent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants");
    let cache = cache(&path, KEY, "the table");
    for members in [
        "",
        r#","kind":null,"reason":null"#,
        r#","kind":"later","reason":"a later one""#,
    ] {
        let row = format!(r#"{{"id":"acme","object_ids":[],"app":null,"problem":"no key decrypts it"{members}}}"#);
        fs::write(&path, format!(r#"{{"identity":"the table","tenants":[{row}]}}"#)).unwrap();
        let found = cache.load().await.unwrap().unwrap().rows;
        let fault = found[0].token.as_ref().unwrap_err();
        assert_eq!(
            (fault.kind(), fault.reason()),
            (ErrorKind::Permanent, "cached"),
            "{members}"
        );
        assert_eq!(fault.to_string(), "no key decrypts it");
    }
}

#[test]
fn every_reason_that_a_decoder_has_is_kept() {
    for (file, count) in [
        (include_str!("../decode/error.rs"), 15),
        (include_str!("../fernet.rs"), 5),
        (include_str!("../encoding.rs"), 5),
    ] {
        let labels = file
            .split("fn label(")
            .nth(1)
            .unwrap()
            .split("\n    }\n")
            .next()
            .unwrap();
        let labels: Vec<_> = labels
            .split(" => \"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(labels.len() >= count, "{labels:?}");
        for label in labels {
            let is_of_rows = !matches!(label, "damaged" | "missing_lineage");
            assert!(
                !is_of_rows || REASONS.split_whitespace().any(|reason| reason == label),
                "{label}"
            );
        }
    }
}

#[tokio::test]
async fn thousands_of_tenants_are_written_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory.path().join("tenants"), KEY, "the table");
    let token = format!("EAAG{}", "m0PX4ZCps".repeat(22));
    let rows: Vec<_> = (0..2_000).map(|number| row(&format!("t{number}"), &token)).collect();
    cache.replace(table(&rows)).await.unwrap();
    let found = cache.load().await.unwrap().unwrap().rows;
    assert_eq!(found.len(), rows.len());
    assert!(found.iter().all(|row| row.token.is_ok()));
}

#[tokio::test]
async fn a_file_that_would_be_too_large_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants");
    let cache = cache(&path, KEY, "the table");
    let mut large = row("acme", "EAAGx");
    large.token = Err(Arc::new(ObtainError::permanent("empty", "x".repeat(64 * 1024 * 1024))));
    let error = cache.replace(table(&[large])).await.unwrap_err();
    assert_eq!(error.reason(), "cache_failed");
    assert!(!path.exists());
}
