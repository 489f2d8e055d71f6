//! Which changes are announced, and what is read then.

use tokio::time::sleep;

use super::*;

async fn is_notified(table: &mut TenantFiles) -> bool {
    timeout(EVENT_TIMEOUT, table.changed()).await.is_ok()
}

/// Reads until nothing is left that could have changed within one tick of the clock.
async fn settle(table: &mut TenantFiles) {
    contents(table).await;
    while read_count(table) > 0 {
        sleep(Duration::from_millis(100)).await;
        contents(table).await;
    }
}

fn read_count(table: &TenantFiles) -> usize {
    table.known.lock().unwrap().read_count
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
