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

/// Each tenant with its token, or the reason why there is none.
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

async fn is_notified(table: &mut TenantFiles) -> bool {
    timeout(EVENT_TIMEOUT, table.changed()).await.is_ok()
}

/// Reads until nothing is left that could have changed within one tick of the clock.
async fn settle(table: &mut TenantFiles) {
    contents(table).await;
    while read_count(table) > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        contents(table).await;
    }
}

fn read_count(table: &TenantFiles) -> usize {
    table.known.lock().unwrap().read_count
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
    assert!(
        faults[1].contains("\"two words\" is not valid: a tenant name is"),
        "{faults:?}"
    );
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
async fn a_swapped_kubernetes_secret_is_announced_and_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let release = |name: &str, files: &[(&str, &str)]| {
        fs::create_dir(dir.path().join(name)).unwrap();
        for (file, content) in files {
            fs::write(dir.path().join(name).join(file), content).unwrap();
        }
        symlink(name, dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    release(
        "..2026_11_28_1",
        &[("acme", "EAAacme1"), ("shop", "EAAshop1"), ("old", "EAAold")],
    );
    for name in ["acme", "shop", "old"] {
        symlink(format!("..data/{name}"), dir.path().join(name)).unwrap();
    }
    let mut table = table(&dir.path().join("{tenant}"));
    assert_eq!(
        tokens(&mut table).await,
        ["acme=EAAacme1", "old=EAAold", "shop=EAAshop1"]
    );
    settle(&mut table).await;
    // The link of a removed key is removed after the swap, and dangles until then.
    release("..2026_11_28_2", &[("acme", "EAAacme2"), ("shop", "EAAshop1")]);
    assert!(is_notified(&mut table).await);
    assert_eq!(tokens(&mut table).await, ["acme=EAAacme2", "shop=EAAshop1"]);
    let error = table.rows().check_writable(&tenant("acme")).unwrap_err();
    assert!(error.contains("Kubernetes"), "{error}");
    assert!(table.rows().lock(&tenant("acme")).await.unwrap().is_uncontended());
}

#[tokio::test]
async fn ten_thousand_files_are_read_once_and_then_only_what_changes() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..10_000 {
        fs::write(dir.path().join(format!("t{number}")), format!("EAAtoken{number}")).unwrap();
    }
    let mut table = table(&dir.path().join("{tenant}"));
    assert_eq!(contents(&mut table).await.rows.len(), 10_000);
    assert_eq!(read_count(&table), 10_000);
    settle(&mut table).await;
    assert_eq!(contents(&mut table).await.rows.len(), 10_000);
    assert_eq!(read_count(&table), 0);
    fs::write(dir.path().join("t7"), "EAAother").unwrap();
    fs::remove_file(dir.path().join("t8")).unwrap();
    assert!(is_notified(&mut table).await);
    let rows = contents(&mut table).await.rows;
    assert_eq!((rows.len(), read_count(&table)), (9_999, 1));
    assert!(rows.iter().any(|row| shown(row) == "t7=EAAother"));
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
async fn a_write_that_leaves_size_and_modification_time_as_they_were_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("acme");
    let mut table = table(&dir.path().join("{tenant}"));
    for is_settled in [false, true] {
        fs::write(&path, "EAAone").unwrap();
        assert_eq!(tokens(&mut table).await, ["acme=EAAone"]);
        if is_settled {
            settle(&mut table).await;
        }
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "EAAtwo").unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert!(is_notified(&mut table).await, "{is_settled}");
        assert_eq!(tokens(&mut table).await, ["acme=EAAtwo"], "{is_settled}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_listed_is_an_error_and_an_empty_one_is_not() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("late/tokens");
    let mut table = table(&directory.join("{tenant}"));
    let rows = table.rows();
    for _ in 0..2 {
        let error = table.read().await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("missing", true));
        // This says nothing about the tenant.
        assert_eq!(rows.read_row(&tenant("acme")).await.unwrap_err().reason(), "missing");
    }
    fs::create_dir_all(&directory).unwrap();
    assert!(is_notified(&mut table).await);
    assert!(tokens(&mut table).await.is_empty());
    assert!(rows.read_row(&tenant("acme")).await.unwrap().is_none());
    fs::write(directory.join("acme"), "EAAacme").unwrap();
    assert!(is_notified(&mut table).await);
    assert_eq!(tokens(&mut table).await, ["acme=EAAacme"]);
    fs::remove_dir_all(&directory).unwrap();
    assert!(is_notified(&mut table).await);
    // The file may have been gone before the directory was.
    while table.read().await.is_ok() {
        assert!(is_notified(&mut table).await);
    }
    fs::write(&directory, "a file").unwrap();
    assert_eq!(table.read().await.unwrap_err().reason(), "unreadable");
}

#[tokio::test]
async fn a_swapped_directory_causes_no_event_and_is_found_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    for release in ["one", "two"] {
        fs::create_dir(root.path().join(release)).unwrap();
        fs::write(root.path().join(release).join("acme"), format!("EAA{release}")).unwrap();
    }
    symlink("one", root.path().join("current")).unwrap();
    let mut table = table(&root.path().join("current/{tenant}"));
    assert_eq!(tokens(&mut table).await, ["acme=EAAone"]);
    settle(&mut table).await;
    symlink("two", root.path().join("next")).unwrap();
    fs::rename(root.path().join("next"), root.path().join("current")).unwrap();
    table.next_poll = Instant::now();
    table.poll_interval = Duration::from_millis(50);
    assert!(is_notified(&mut table).await);
    assert_eq!(tokens(&mut table).await, ["acme=EAAtwo"]);
}

#[tokio::test]
async fn unchanged_files_are_not_announced_and_no_change_is_lost_when_the_wait_is_canceled() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("acme"), "EAAone").unwrap();
    let mut table = table(&dir.path().join("{tenant}"));
    settle(&mut table).await;
    table.poll_interval = Duration::from_millis(20);
    table.next_poll = Instant::now();
    assert!(timeout(Duration::from_millis(500), table.changed()).await.is_err());
    table.poll_interval = DAY;
    table.rest_after(Instant::now());
    fs::write(dir.path().join("acme"), "EAAtwo").unwrap();
    let mut is_announced = false;
    for _ in 0..20 {
        // Canceled while it waits or lists.
        is_announced |= timeout(Duration::from_millis(3), table.changed()).await.is_ok();
    }
    assert!(is_announced || is_notified(&mut table).await);
    assert_eq!(tokens(&mut table).await, ["acme=EAAtwo"]);
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
    let expected = row.token.unwrap().secret.fingerprint();

    let lock = rows.lock(&acme).await.unwrap();
    assert!(!lock.is_uncontended());
    let contended = timeout(Duration::from_millis(300), others.lock(&acme)).await;
    assert!(contended.is_err(), "a replica got the same lock");
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

#[tokio::test]
async fn a_file_that_is_being_written_has_its_last_token_and_one_that_stays_empty_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = table(&dir.path().join("{tenant}"));
    fs::write(dir.path().join("new"), "").unwrap();
    fs::write(dir.path().join("acme"), "EAAone").unwrap();
    assert_eq!(tokens(&mut table).await, ["acme=EAAone", "new=empty"]);
    fs::write(dir.path().join("acme"), "").unwrap();
    // Unless this machine stood still for longer than one tick.
    let written_at = Instant::now();
    let while_written = tokens(&mut table).await;
    assert!(while_written == ["acme=EAAone", "new=empty"] || written_at.elapsed() > Duration::from_secs(1));
    settle(&mut table).await;
    assert_eq!(tokens(&mut table).await, ["acme=empty", "new=empty"]);
    fs::write(dir.path().join("acme"), "EAAtwo").unwrap();
    assert!(is_notified(&mut table).await);
    assert_eq!(tokens(&mut table).await, ["acme=EAAtwo", "new=empty"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_for_the_moment_keeps_its_token_and_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("real"), "EAAone").unwrap();
    symlink("real", dir.path().join("wa-acme")).unwrap();
    let mut table = table(&dir.path().join("wa-{tenant}"));
    settle(&mut table).await;
    // A link that leads in a circle stands for an input/output error.
    fs::remove_file(dir.path().join("wa-acme")).unwrap();
    symlink("wa-acme", dir.path().join("wa-acme")).unwrap();
    assert!(is_notified(&mut table).await);
    for _ in 0..2 {
        let contents = contents(&mut table).await;
        assert_eq!(contents.rows.iter().map(shown).collect::<Vec<_>>(), ["acme=EAAone"]);
        assert!(
            contents.faults[0].starts_with("1 files cannot be read"),
            "{:?}",
            contents.faults
        );
    }
    fs::remove_file(dir.path().join("wa-acme")).unwrap();
    fs::write(dir.path().join("wa-acme"), "EAAtwo").unwrap();
    assert!(is_notified(&mut table).await);
    assert_eq!(tokens(&mut table).await, ["acme=EAAtwo"]);
    assert!(contents(&mut table).await.faults.is_empty());
}
