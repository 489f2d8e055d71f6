use std::os::unix::fs::symlink;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

fn token_file() -> (TempDir, TokenFile) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    (directory, TokenFile::new(path))
}

fn file_names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn is_held(file: &TokenFile) -> bool {
    timeout(LOCK_RETRY_INTERVAL / 2, file.lock()).await.is_err()
}

/// Fails unless the lock can be had.
async fn assert_free(file: &TokenFile) {
    drop(timeout(Duration::from_secs(60), file.lock()).await.unwrap().unwrap());
}

#[tokio::test]
async fn the_lock_has_one_holder_and_is_released_on_drop() {
    let (_directory, file) = token_file();
    let lock = file.lock().await.unwrap();
    assert!(format!("{lock:?}").contains("true"), "{lock:?}");
    assert!(is_held(&file).await);
    let (waited, ()) = tokio::join!(file.lock(), async {
        sleep(LOCK_RETRY_INTERVAL).await;
        drop(lock);
    });
    drop(waited.unwrap());
    assert_free(&file).await;
}

#[tokio::test]
async fn a_canceled_wait_leaves_nothing_locked() {
    let (_directory, file) = token_file();
    for micros in 0..200 {
        drop(timeout(Duration::from_micros(micros), file.lock()).await);
    }
    // An attempt on another thread completes, and its lock is dropped there.
    assert_free(&file).await;
}

#[tokio::test]
async fn a_removed_lock_file_does_not_block_later_lockers() {
    let (directory, file) = token_file();
    let held = file.lock().await.unwrap();
    fs::remove_file(directory.path().join("token.lock")).unwrap();
    let newer = file.lock().await.unwrap();
    drop(held);
    assert!(is_held(&file).await);
    drop(newer);
    assert_free(&file).await;
}

#[tokio::test]
async fn a_symlink_at_the_lock_path_is_not_followed() {
    let (directory, file) = token_file();
    let elsewhere = directory.path().join("elsewhere");
    symlink(&elsewhere, directory.path().join("token.lock")).unwrap();
    let error = file.lock().await.unwrap_err();
    assert_eq!(error.reason(), "lock_failed");
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn different_names_of_one_file_contend_for_one_lock() {
    let (directory, file) = token_file();
    fs::write(file.path(), "EAAfirst").unwrap();
    let link = directory.path().join("link");
    symlink("token", &link).unwrap();
    let lock = file.lock().await.unwrap();
    assert!(is_held(&TokenFile::new(link)).await);
    drop(lock);
}

#[test]
fn stale_temporary_files_are_removed_and_those_in_use_are_not() {
    let (directory, file) = token_file();
    file.replace(b"one", None).unwrap();
    fs::write(directory.path().join(".token.dead.tmp"), "half").unwrap();
    let working = write_temp_file(&file.resolve_target().unwrap(), b"half", None).unwrap();
    fs::write(directory.path().join(".token.backup"), "a person's").unwrap();
    file.replace(b"two", Some(b"one")).unwrap();
    let in_use = working.path().file_name().unwrap().to_str().unwrap();
    let mut expected = vec![in_use, ".token.backup", "token", "token.previous"];
    expected.sort_unstable();
    assert_eq!(file_names(&directory), expected);
    drop(working);
    assert_eq!(file.read().unwrap().as_slice(), b"two");
    assert_eq!(file.read_previous().unwrap().as_slice(), b"one");
}

#[test]
fn the_token_and_its_predecessor_are_swapped_even_if_one_is_missing() {
    let (directory, file) = token_file();
    file.replace(b"two", Some(b"one")).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    file.swap_with_previous(b"one, edited", b"two").unwrap();
    assert_eq!(file.read().unwrap().as_slice(), b"one, edited");
    assert_eq!(file.read_previous().unwrap().as_slice(), b"two");
    for name in ["token", "token.previous"] {
        let mode = fs::metadata(directory.path().join(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    fs::remove_file(file.path()).unwrap();
    file.swap_with_previous(b"two", b"").unwrap();
    assert_eq!(file.read().unwrap().as_slice(), b"two");
    assert_eq!(file_names(&directory), ["token"]);
}

#[test]
fn a_symlink_loop_is_not_writable() {
    let (directory, file) = token_file();
    symlink("other", file.path()).unwrap();
    symlink("token", directory.path().join("other")).unwrap();
    assert!(matches!(file.check_writable(), Err(TokenFileError::Write(_))));
    assert!(matches!(
        TokenFile::new(PathBuf::from("/")).check_writable(),
        Err(TokenFileError::Write(_))
    ));
}

#[test]
fn a_bind_mounted_file_is_detected_in_mountinfo() {
    let mounts = b"22 1 8:1 / / rw - ext4 /dev/a rw\n\
        36 22 8:1 /a/token /run/graph\\040ward/token rw,relatime - ext4 /dev/a rw\n";
    let is_mounted = |path: &str| is_mount_point(mounts, Path::new(path));
    assert!(is_mounted("/run/graph ward/token"));
    assert!(is_mounted("/"));
    assert!(!is_mounted("/run/graph ward"));
    assert!(!is_mounted("/a/token"));
}

#[tokio::test]
async fn a_lock_is_held_until_the_write_under_it_ends_even_if_the_waiter_is_canceled() {
    let (_directory, file) = token_file();
    let lock = file.lock().await.unwrap();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let work = file.run_under_lock(move || {
        let _woken = receiver.recv();
        Ok(())
    });
    assert!(timeout(LOCK_RETRY_INTERVAL, work).await.is_err());
    drop(lock);
    assert!(is_held(&file).await, "another process could write meanwhile");
    drop(sender);
    assert_free(&file).await;
}
