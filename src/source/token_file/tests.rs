use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};

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
async fn nothing_of_a_lock_stays_in_the_directory() {
    let (directory, file) = token_file();
    let names = || file_names(&directory);
    let before = names();
    for _ in 0..3 {
        let held = file.lock().await.unwrap();
        assert_ne!(names(), before);
        drop(held);
        assert_eq!(names(), before);
    }
    // Many take turns, each with a lock of its own.
    let holders = AtomicUsize::new(0);
    let turns = (0..8).map(|_| async {
        for _ in 0..5 {
            let held = file.lock().await.unwrap();
            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
            sleep(Duration::from_millis(1)).await;
            holders.fetch_sub(1, Ordering::SeqCst);
            drop(held);
        }
    });
    futures_util::future::join_all(turns).await;
    assert_eq!(names(), before);
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
    file.replace(b"one").unwrap();
    fs::write(directory.path().join(".token.dead.tmp"), "half").unwrap();
    let working = write_temp_file(&file.resolve_target().unwrap(), b"half").unwrap();
    fs::write(directory.path().join(".token.backup"), "a person's").unwrap();
    file.replace(b"two").unwrap();
    let in_use = working.path().file_name().unwrap().to_str().unwrap();
    let mut expected = vec![in_use, ".token.backup", "token"];
    expected.sort_unstable();
    assert_eq!(file_names(&directory), expected);
    drop(working);
    assert_eq!(file.read().unwrap().as_slice(), b"two");
}

/// The ACL of a file: its owner and the user 12345 may write, the group may read.
const ACL: [u8; 44] = [
    2, 0, 0, 0, // version
    1, 0, 6, 0, 255, 255, 255, 255, // owner
    2, 0, 6, 0, 0x39, 0x30, 0, 0, // user 12345
    4, 0, 4, 0, 255, 255, 255, 255, // group
    16, 0, 6, 0, 255, 255, 255, 255, // mask
    32, 0, 0, 0, 255, 255, 255, 255, // others
];

#[test]
fn a_replaced_file_keeps_its_acl_and_gets_none_from_its_directory() {
    let (directory, file) = token_file();
    fs::write(file.path(), "one").unwrap();
    let set = |path: &Path, name: &str| rustix::fs::setxattr(path, name, &ACL, XattrFlags::empty());
    let acl_of = |path: &Path| {
        let mut acl = [0; 64];
        getxattr(path, "system.posix_acl_access", acl.as_mut_slice()).map(|length| acl[..length].to_vec())
    };
    if set(directory.path(), "system.posix_acl_default") == Err(Errno::NOTSUP) {
        // This filesystem has no ACLs, so none can be lost.
        assert_eq!(acl_of(file.path()), Err(Errno::NOTSUP));
        return;
    }
    assert_eq!(acl_of(file.path()), Err(Errno::NODATA));
    file.replace(b"two").unwrap();
    assert_eq!(acl_of(file.path()), Err(Errno::NODATA));
    set(file.path(), "system.posix_acl_access").unwrap();
    let before = (acl_of(file.path()), fs::metadata(file.path()).unwrap().mode());
    assert_eq!(file.check_writable().ok(), Some(()));
    file.replace(b"three").unwrap();
    assert_eq!((acl_of(file.path()), fs::metadata(file.path()).unwrap().mode()), before);
    assert_eq!(before.0.unwrap(), ACL);
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
