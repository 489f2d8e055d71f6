mod store;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::os::watch::MAX_FILE_BYTES;

/// The longest wait for an event, with room for a busy machine.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

fn temp_token_path() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    (directory, path)
}

async fn load_text(source: &mut FileSource) -> String {
    source.load().await.unwrap().secret.expose().to_owned()
}

/// Returns whether an event announces a change: there is no poll meanwhile.
async fn is_notified(source: &mut FileSource) -> bool {
    source.files.poll_interval = 2 * EVENT_TIMEOUT;
    timeout(EVENT_TIMEOUT, source.changed()).await.is_ok()
}

#[tokio::test]
async fn an_unchanged_file_sends_no_notification() {
    let (_directory, path) = temp_token_path();
    fs::write(&path, "EAAfirst").unwrap();
    let mut source = FileSource::new(path, Format::Raw);
    assert_eq!(load_text(&mut source).await, "EAAfirst");
    let change = timeout(Duration::from_millis(2_500), source.changed()).await;
    assert!(change.is_err(), "a notification without a change");
}

#[tokio::test]
async fn a_symlink_is_followed_to_its_target() {
    let (_link_directory, path) = temp_token_path();
    let (_target_directory, real) = temp_token_path();
    fs::write(&real, "EAAfirst").unwrap();
    symlink(&real, &path).unwrap();
    let mut source = FileSource::new(path, Format::Raw);
    assert_eq!(load_text(&mut source).await, "EAAfirst");
    let next = real.with_extension("next");
    fs::write(&next, "EAAsecond").unwrap();
    fs::rename(next, &real).unwrap();
    assert!(is_notified(&mut source).await);
    assert_eq!(load_text(&mut source).await, "EAAsecond");
}

#[tokio::test]
async fn a_directory_that_appears_is_watched_before_the_file_is_in_it() {
    let (root, _) = temp_token_path();
    let path = root.path().join("late").join("token");
    let mut source = FileSource::new(path.clone(), Format::Raw);
    assert_eq!(source.load().await.unwrap_err().reason(), "missing");
    let writing = async {
        sleep(Duration::from_millis(100)).await;
        fs::create_dir(path.parent().unwrap()).unwrap();
        sleep(Duration::from_millis(300)).await;
        fs::write(&path, "EAAfirst").unwrap();
    };
    // The directory may be noticed before the file is in it.
    let watching = async { while is_notified(&mut source).await && source.load().await.is_err() {} };
    tokio::join!(watching, writing);
    assert_eq!(load_text(&mut source).await, "EAAfirst");
}

#[tokio::test]
async fn a_notification_is_not_lost_when_the_wait_is_canceled() {
    let (_directory, path) = temp_token_path();
    fs::write(&path, "EAAfirst").unwrap();
    let mut source = FileSource::new(path.clone(), Format::Raw);
    assert_eq!(load_text(&mut source).await, "EAAfirst");
    fs::write(&path, "EAAsecond").unwrap();
    for _ in 0..20 {
        // Canceled while it waits or reads, as the refresher does when a rejection comes.
        drop(timeout(Duration::from_millis(3), source.changed()).await);
    }
    assert!(is_notified(&mut source).await);
    assert_eq!(load_text(&mut source).await, "EAAsecond");
}

#[tokio::test]
async fn a_truncated_file_is_read_once_it_is_completely_written() {
    let (_directory, path) = temp_token_path();
    let mut source = FileSource::new(path.clone(), Format::Raw);
    // A busy machine may take longer between the two writes than graphward waits for the second one.
    for _ in 0..1_000 {
        fs::write(&path, "EAAfirst").unwrap();
        assert_eq!(load_text(&mut source).await, "EAAfirst");
        let writing = async {
            let truncated_at = Instant::now();
            fs::write(&path, "").unwrap();
            sleep(Duration::from_millis(5)).await;
            fs::write(&path, "EAAsecond").unwrap();
            truncated_at.elapsed()
        };
        let (noticed, took) = tokio::join!(is_notified(&mut source), writing);
        assert!(noticed);
        if took < Duration::from_millis(15) {
            return assert_eq!(load_text(&mut source).await, "EAAsecond");
        }
    }
    panic!("two writes never came within 15 ms");
}

#[tokio::test]
async fn a_document_of_the_largest_size_is_read_and_a_larger_one_refused() {
    let (_directory, path) = temp_token_path();
    let max_bytes = usize::try_from(MAX_FILE_BYTES).unwrap();
    let padded = |length: usize| {
        let token = r#"{"access_token":"EAAfirst","padding":""#;
        format!("{token}{}\"}}", "x".repeat(length - token.len() - 2))
    };
    let format = Format::Pointer("/access_token".to_owned());
    let mut source = FileSource::new(path.clone(), format);
    fs::write(&path, padded(max_bytes)).unwrap();
    assert_eq!(load_text(&mut source).await, "EAAfirst");
    fs::write(&path, padded(max_bytes + 1)).unwrap();
    let refused = source.load().await.unwrap_err();
    assert!(!refused.is_transient(), "{refused}");
}
