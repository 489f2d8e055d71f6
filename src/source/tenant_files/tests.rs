mod changes;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::super::encoding::PlainTokens;
use super::super::tenant_table::{StoredToken, TenantRow};
use super::*;
use crate::token::{StoreOutcome, Token};
use crate::types::{Secret, TenantId};

/// The longest wait for an event, with room for a busy machine.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn table(path: &Path) -> TenantFiles {
    table_of(path, Format::Raw, None)
}

/// A table that is not listed without an event.
fn table_of(path: &Path, format: Format, keys: Option<Fernet>) -> TenantFiles {
    let config = TenantFilesConfig {
        path: path.to_str().unwrap().parse().unwrap(),
        format,
        encryption: EncryptionConfig::default(),
    };
    let mut table = TenantFiles::new(&config, keys);
    table.poll_interval = DAY;
    table
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn token(text: &str) -> Token {
    Token::without_expiry(Secret::new(text).unwrap())
}

async fn contents(table: &mut TenantFiles) -> TableContents {
    table.read().await.unwrap().unwrap()
}

/// Each tenant with its token, or the reason why it has no token.
async fn tokens(table: &mut TenantFiles) -> Vec<String> {
    let rows = contents(table).await.rows;
    let mut shown: Vec<_> = rows.iter().map(shown).collect();
    shown.sort();
    shown
}

fn shown(row: &TenantRow) -> String {
    let token = row.token.as_ref();
    let token = token.map_or_else(|error| error.reason(), |token| token.secret.expose());
    format!("{}={token}", row.id)
}

#[tokio::test]
async fn each_file_is_the_token_of_a_tenant_and_a_bad_one_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("acme", "EAAacme\n"),
        ("Shop:7@eu", "Bearer EAAshop"),
        ("empty", ""),
        ("page", "<html>no token</html>"),
        ("two..dots", "EAAdots"),
        // Hidden, unfinished, or of no tenant.
        (".hidden", "EAAhidden"),
        (".acme.x7.tmp", "EAAhalf"),
        ("acme~", "EAAold"),
        (".acme.swp", "EAAold"),
        ("acme.tmp", "EAAhalf"),
        ("acme.lock", ""),
        ("two words", "EAAwords"),
        ("EAAGm0PX4ZCpsBAKZAlongAndWithout9Bounds+", "EAAx"),
    ] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    symlink("circle", dir.path().join("circle")).unwrap();
    symlink("gone", dir.path().join("dangling")).unwrap();
    let mut table = table(&dir.path().join("{tenant}"));
    let expected = [
        "Shop:7@eu=EAAshop",
        "acme=EAAacme",
        "circle=unreadable",
        "empty=empty",
        "page=placeholder",
        "two..dots=invalid_name",
    ];
    assert_eq!(tokens(&mut table).await, expected);
    let faults = contents(&mut table).await.faults;
    // Two names, and the circle.
    assert_eq!(faults.len(), 3, "{faults:?}");
    let is_about_words = |fault: &String| fault.contains("\"two words\" is not valid: a tenant name is");
    assert!(faults.iter().any(is_about_words), "{faults:?}");
    for row in contents(&mut table).await.rows {
        let shown = format!("{row:?} {}", table.rows().describe(&row.id));
        assert!(!shown.contains("EAA"), "{shown}");
        assert!(shown.contains(&format!("file {}/", dir.path().display())), "{shown}");
        assert_eq!(
            row.token.is_ok(),
            row.token.as_ref().is_ok_and(|token| token.modified_at.is_some())
        );
    }
}

#[tokio::test]
async fn names_have_a_beginning_and_an_end_and_tokens_a_place_in_a_document() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("wa-acme.json"), r#"{"token":"EAAacme"}"#).unwrap();
    fs::write(dir.path().join("wa-null.json"), r#"{"token":null}"#).unwrap();
    fs::write(dir.path().join("other"), "x").unwrap();
    let path = dir.path().join("wa-{tenant}.json");
    let mut table = table_of(&path, Format::Pointer("/token".to_owned()), None);
    assert_eq!(tokens(&mut table).await, ["acme=EAAacme", "null=null"]);
    let null = table.rows().read_row(&tenant("null")).await.unwrap().unwrap();
    assert!(null.token.unwrap_err().is_absence());
}

#[tokio::test]
async fn many_invalid_names_are_counted_and_only_some_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..30 {
        fs::write(dir.path().join(format!("no name {number}{}", "x".repeat(200))), "").unwrap();
    }
    let faults = contents(&mut table(&dir.path().join("{tenant}"))).await.faults;
    assert_eq!(faults.len(), 21);
    assert_eq!(faults[20], "10 more file names are not valid");
    assert!(faults.iter().all(|fault| fault.len() < 250), "{faults:?}");
}

#[tokio::test]
async fn a_directory_with_too_many_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", ".hidden", "not a name"] {
        fs::write(dir.path().join(name), "EAAtoken").unwrap();
    }
    let table = table(&dir.path().join("{tenant}"));
    let place = &table.rows.place;
    assert_eq!(listing::list_up_to(3, &place.path).unwrap().files.len(), 3);
    let error = place.failed(listing::list_up_to(2, &place.path).unwrap_err());
    assert_eq!((error.reason(), error.is_transient()), ("too_large", false));
    assert!(error.to_string().contains("more than 2 files"), "{error}");
}

#[tokio::test]
async fn one_file_is_read_locked_and_stored_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("{tenant}.token");
    let (mut table, replica) = (table(&path), table(&path));
    let (rows, others) = (table.rows(), replica.rows());
    let acme = tenant("acme");
    assert!(rows.read_row(&acme).await.unwrap().is_none());
    fs::write(dir.path().join("acme.token"), "EAAone\n").unwrap();
    fs::write(dir.path().join("shop.token"), "EAAshop\n").unwrap();
    rows.check_writable(&acme).unwrap();
    let row = rows.read_row(&acme).await.unwrap().unwrap();
    assert_eq!(shown(&row), "acme=EAAone");
    let expected = Some(row.token.unwrap().secret.fingerprint());

    let lock = rows.lock(&acme).await.unwrap();
    assert!(!lock.is_uncontended());
    let contended = others.lock(&acme).await.unwrap_err();
    assert!(contended.is_locked(), "it is skipped: {contended}");
    drop(others.lock(&tenant("shop")).await.unwrap());
    let new = token("EAAtwo");
    let stored = |token| StoredToken { token, expected };
    assert_eq!(rows.store(&acme, stored(&new)).await.unwrap(), StoreOutcome::Stored);
    drop(lock);
    let newest = token("EAAthree");
    drop(timeout(EVENT_TIMEOUT, others.lock(&acme)).await.unwrap().unwrap());
    assert_eq!(
        others.store(&acme, stored(&newest)).await.unwrap(),
        StoreOutcome::Conflict
    );
    assert_eq!(fs::read_to_string(dir.path().join("acme.token")).unwrap(), "EAAtwo\n");
    assert_eq!(tokens(&mut table).await, ["acme=EAAtwo", "shop=EAAshop"]);
    // What was removed is not created again.
    fs::remove_file(dir.path().join("acme.token")).unwrap();
    assert_eq!(
        rows.store(&acme, stored(&newest)).await.unwrap_err().reason(),
        "missing"
    );
    assert!(tokens(&mut table).await == ["shop=EAAshop"]);
}

#[tokio::test]
async fn a_name_that_is_no_file_of_the_directory_has_no_row() {
    let dir: TempDir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    fs::write(dir.path().join("acme.lock"), "EAAlock").unwrap();
    fs::write(dir.path().join(".hidden"), "EAAhidden").unwrap();
    let rows = table(&dir.path().join("{tenant}")).rows();
    for name in ["folder", "acme.lock", ".hidden", "acme"] {
        assert!(rows.read_row(&tenant(name)).await.unwrap().is_none(), "{name}");
    }
    for name in ["a..b", "..a"] {
        fs::write(dir.path().join(name), "EAAtoken").unwrap();
    }
    let row = rows.read_row(&tenant("a..b")).await.unwrap().unwrap();
    assert_eq!(row.token.unwrap_err().reason(), "invalid_name");
    assert_eq!(rows.lock(&tenant("a..b")).await.unwrap_err().reason(), "invalid_name");
}

#[tokio::test]
async fn an_encrypted_token_needs_its_key_and_a_plain_one_is_refused_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let keys = || {
        Some(
            Fernet::new(vec![
                Secret::new("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap(),
            ])
            .unwrap(),
        )
    };
    let encrypted = keys().unwrap().encrypt(&Secret::new("EAAsecret").unwrap());
    fs::write(dir.path().join("acme"), encrypted).unwrap();
    fs::write(dir.path().join("plain"), "EAAplain").unwrap();
    let path = dir.path().join("{tenant}");
    assert_eq!(tokens(&mut table(&path)).await, ["acme=encrypted", "plain=EAAplain"]);
    let mut with_keys = table_of(&path, Format::Raw, keys());
    assert_eq!(tokens(&mut with_keys).await, ["acme=EAAsecret", "plain=not_fernet"]);
    let config = TenantFilesConfig {
        path: path.to_str().unwrap().parse().unwrap(),
        format: Format::Raw,
        encryption: EncryptionConfig {
            fernet_keys: Vec::new(),
            plain: PlainTokens::Accept,
        },
    };
    let mut accepting = TenantFiles::new(&config, keys());
    assert_eq!(tokens(&mut accepting).await, ["acme=EAAsecret", "plain=EAAplain"]);
}
