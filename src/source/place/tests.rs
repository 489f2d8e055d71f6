use std::os::unix::fs::symlink;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

fn place() -> (TempDir, Place) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    (directory, Place::new(path))
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn is_free(place: &Place) -> bool {
    timeout(TRY / 2, place.claim()).await.is_ok()
}

#[tokio::test]
async fn one_at_a_time_has_the_claim_and_it_is_given_back_when_dropped() {
    let (_directory, place) = place();
    let claim = place.claim().await.unwrap();
    assert!(format!("{claim:?}").contains("true"), "{claim:?}");
    assert!(!is_free(&place).await);
    let (waited, ()) = tokio::join!(place.claim(), async {
        sleep(TRY).await;
        drop(claim);
    });
    drop(waited.unwrap());
    assert!(is_free(&place).await);
}

#[tokio::test]
async fn a_wait_that_is_given_up_leaves_nothing_locked() {
    let (_directory, place) = place();
    for micros in 0..200 {
        drop(timeout(Duration::from_micros(micros), place.claim()).await);
    }
    // What was on its way on another thread comes to its end, and is dropped there.
    drop(
        timeout(Duration::from_secs(2), place.claim())
            .await
            .unwrap(),
    );
}

#[tokio::test]
async fn a_lock_that_somebody_removes_is_no_lock_for_those_who_come_then() {
    let (directory, place) = place();
    let held = place.claim().await.unwrap();
    fs::remove_file(directory.path().join("token.lock")).unwrap();
    let newer = place.claim().await.unwrap();
    drop(held);
    assert!(!is_free(&place).await);
    drop(newer);
    assert!(is_free(&place).await);
}

#[tokio::test]
async fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let (directory, place) = place();
    let elsewhere = directory.path().join("elsewhere");
    symlink(&elsewhere, directory.path().join("token.lock")).unwrap();
    let error = place.claim().await.unwrap_err();
    assert_eq!(error.reason(), "lock");
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn those_who_come_by_different_names_contend_for_one_claim() {
    let (directory, place) = place();
    fs::write(place.path(), "EAAfirst").unwrap();
    let link = directory.path().join("link");
    symlink("token", &link).unwrap();
    let claim = place.claim().await.unwrap();
    assert!(!is_free(&Place::new(link)).await);
    drop(claim);
}

#[test]
fn drafts_of_the_dead_are_swept_and_those_at_work_are_not() {
    let (directory, place) = place();
    place.replace(b"one", None).unwrap();
    fs::write(directory.path().join(".token.dead.draft"), "half").unwrap();
    let working = draft(&place.target().unwrap(), b"half", None).unwrap();
    fs::write(directory.path().join(".token.mine"), "a person's").unwrap();
    place.replace(b"two", Some(b"one")).unwrap();
    let at_work = working.path().file_name().unwrap().to_str().unwrap();
    let mut expected = vec![at_work, ".token.mine", "token", "token.previous"];
    expected.sort_unstable();
    assert_eq!(names(&directory), expected);
    drop(working);
    assert_eq!(place.now().unwrap().as_slice(), b"two");
    assert_eq!(place.before().unwrap().as_slice(), b"one");
}

#[test]
fn two_files_change_places_whether_or_not_both_are_there() {
    let (directory, place) = place();
    place.replace(b"two", Some(b"one")).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    place.exchange(b"one, in its place", b"two").unwrap();
    assert_eq!(place.now().unwrap().as_slice(), b"one, in its place");
    assert_eq!(place.before().unwrap().as_slice(), b"two");
    for name in ["token", "token.previous"] {
        let mode = fs::metadata(directory.path().join(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    fs::remove_file(place.path()).unwrap();
    place.exchange(b"two", b"").unwrap();
    assert_eq!(place.now().unwrap().as_slice(), b"two");
    assert_eq!(names(&directory), ["token"]);
}

#[test]
fn a_circle_of_links_has_no_end_to_write_to() {
    let (directory, place) = place();
    symlink("other", place.path()).unwrap();
    symlink("token", directory.path().join("other")).unwrap();
    assert!(matches!(place.keeps(), Err(Hindrance::Write(_))));
    assert!(matches!(
        Place::new(PathBuf::from("/")).keeps(),
        Err(Hindrance::Write(_))
    ));
}

#[test]
fn a_file_that_is_mounted_by_itself_is_known_by_the_list_of_mounts() {
    let mounts = b"22 1 8:1 / / rw - ext4 /dev/a rw\n\
        36 22 8:1 /a/token /run/graph\\040ward/token rw,relatime - ext4 /dev/a rw\n";
    let is_mounted = |path: &str| is_mounted(mounts, Path::new(path));
    assert!(is_mounted("/run/graph ward/token"));
    assert!(is_mounted("/"));
    assert!(!is_mounted("/run/graph ward"));
    assert!(!is_mounted("/a/token"));
}

#[tokio::test]
async fn a_claim_outlives_whoever_gives_up_waiting_for_what_is_written_under_it() {
    let (_directory, place) = place();
    let claim = place.claim().await.unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let work = place.apart(move || {
        let _woken = wait.recv();
        Ok(())
    });
    assert!(timeout(TRY, work).await.is_err());
    drop(claim);
    assert!(!is_free(&place).await, "somebody else may write meanwhile");
    drop(go);
    drop(
        timeout(Duration::from_secs(2), place.claim())
            .await
            .unwrap()
            .unwrap(),
    );
}
