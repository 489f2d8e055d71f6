//! Which events count; that a change of the content is found with and without one is tested at the sources.

use std::fs;
use std::os::unix::fs::symlink;

use tokio::time::timeout;

use super::*;

/// Watches a file, whose content is not compared without an event.
async fn watched(path: &Path) -> WatchedFiles<1> {
    let mut files = WatchedFiles::new([path.to_owned()]);
    files.poll_interval = Duration::from_secs(86_400);
    drop(files.read().await);
    // The read itself opens the file.
    assert!(!is_notified_soon(&files).await);
    files
}

async fn is_notified(files: &WatchedFiles<1>) -> bool {
    is_notified_within(Duration::from_secs(30), files).await
}

/// An event that comes at all comes at once.
async fn is_notified_soon(files: &WatchedFiles<1>) -> bool {
    is_notified_within(Duration::from_millis(300), files).await
}

async fn is_notified_within(limit: Duration, files: &WatchedFiles<1>) -> bool {
    timeout(limit, files.events.notify.notified()).await.is_ok()
}

#[tokio::test]
async fn a_busy_file_beside_the_token_causes_no_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "first").unwrap();
    let files = watched(&path).await;
    for number in 0..100 {
        fs::write(dir.path().join("app.log"), number.to_string()).unwrap();
        fs::write(dir.path().join("app.tmp"), "x").unwrap();
        fs::rename(dir.path().join("app.tmp"), dir.path().join("app.json")).unwrap();
    }
    assert!(!is_notified_soon(&files).await);
    fs::write(&path, "second").unwrap();
    assert!(is_notified(&files).await);
}

#[tokio::test]
async fn every_way_to_replace_a_file_causes_an_event() {
    type Replace = fn(&Path);
    let ways: [(&str, Replace); 4] = [
        ("written in place", |dir| {
            fs::write(dir.join("token"), "second").unwrap();
        }),
        ("renamed over it", |dir| {
            fs::write(dir.join("token.tmp"), "second").unwrap();
            fs::rename(dir.join("token.tmp"), dir.join("token")).unwrap();
        }),
        ("removed", |dir| {
            fs::remove_file(dir.join("token")).unwrap();
        }),
        ("a link to another", |dir| {
            fs::write(dir.join("other"), "second").unwrap();
            fs::remove_file(dir.join("token")).unwrap();
            symlink("other", dir.join("token")).unwrap();
        }),
    ];
    for (way, replace) in ways {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "first").unwrap();
        let files = watched(&dir.path().join("token")).await;
        replace(dir.path());
        assert!(is_notified(&files).await, "{way}");
    }
}

#[tokio::test]
async fn a_swapped_link_on_the_way_to_the_file_causes_an_event() {
    // As Kubernetes mounts secrets, and as releases are deployed.
    for link in ["..data", "current"] {
        let dir = tempfile::tempdir().unwrap();
        for release in ["one", "two"] {
            fs::create_dir(dir.path().join(release)).unwrap();
            fs::write(dir.path().join(release).join("token"), release).unwrap();
        }
        symlink("one", dir.path().join(link)).unwrap();
        symlink(format!("{link}/token"), dir.path().join("token")).unwrap();
        let files = watched(&dir.path().join("token")).await;
        symlink("two", dir.path().join("new")).unwrap();
        fs::rename(dir.path().join("new"), dir.path().join(link)).unwrap();
        assert!(is_notified(&files).await, "{link}");
    }
}

#[tokio::test]
async fn a_directory_that_appears_causes_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let files = watched(&dir.path().join("secrets/graph/token")).await;
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    assert!(!is_notified_soon(&files).await);
    fs::create_dir(dir.path().join("secrets")).unwrap();
    assert!(is_notified(&files).await);
}
