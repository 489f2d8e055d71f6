//! Stores into a file.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use super::super::*;
use super::*;
use crate::types::Secret;

fn token(text: &str) -> Token {
    Token::without_expiry(Secret::new(text).unwrap())
}

fn fingerprint(text: &str) -> Fingerprint {
    Secret::new(text).unwrap().fingerprint()
}

async fn store(source: &mut FileSource, new: &str, expected: &str) -> Result<StoreOutcome, ObtainError> {
    source.store(&token(new), Some(fingerprint(expected))).await
}

/// The directory for previous tokens, apart from the file's own.
fn state_dir(path: &Path) -> PathBuf {
    path.parent().unwrap().with_extension("state")
}

/// A source that keeps the previous token.
fn source(path: &Path, format: Format) -> FileSource {
    FileSource::new(path.to_owned(), format).with_state_dir(state_dir(path))
}

/// The content of the only file with previous tokens.
fn kept(path: &Path) -> String {
    let files: Vec<_> = fs::read_dir(state_dir(path))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(
        (files.len(), mode(&files[0]), mode(&state_dir(path))),
        (1, 0o600, 0o700)
    );
    fs::read_to_string(&files[0]).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn a_stored_token_is_loaded_after_a_restart() {
    let (directory, path) = temp_token_path();
    fs::write(&path, "EAAfirst\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut source = source(&path, Format::Raw);
    assert_eq!(source.check_writable(), Ok(()));
    assert_eq!(load_text(&mut source).await, "EAAfirst");
    let outcome = store(&mut source, "EAAsecond", "EAAfirst").await.unwrap();
    assert_eq!(outcome, StoreOutcome::Stored);
    assert!(is_notified(&mut source).await);
    assert_eq!(load_text(&mut source).await, "EAAsecond");
    assert_eq!(fs::read(&path).unwrap(), b"EAAsecond\n");
    assert!(kept(&path).contains("EAAfirst"));
    assert_eq!(mode(&path), 0o644);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    // A repeated store changes nothing: the previous token stays the previous one.
    let outcome = store(&mut source, "EAAsecond", "EAAfirst").await.unwrap();
    assert_eq!(outcome, StoreOutcome::Stored);
    assert!(kept(&path).contains("EAAfirst") && !kept(&path).contains("EAAsecond"));
    fs::remove_dir_all(state_dir(&path)).unwrap();
}

#[tokio::test]
async fn surrounding_text_mode_and_owner_are_preserved_and_only_the_token_is_kept() {
    for (before, format, after, new_mode) in [
        (
            "# mine\nexport A='EAAfirst' # x\r\nB=hunter2",
            Format::Key("A".to_owned()),
            "# mine\nexport A='EAAsecond' # x\r\nB=hunter2",
            0o640,
        ),
        (
            "{ \"a\": [\"EAAfirst\"],\"b\": \"hunter2\" }",
            Format::Pointer("/a/0".to_owned()),
            "{ \"a\": [\"EAAsecond\"],\"b\": \"hunter2\" }",
            0o464,
        ),
    ] {
        let (directory, path) = temp_token_path();
        fs::write(&path, before).unwrap();
        // Only root may change the owner; for other users the file stays their own.
        drop(chown(&path, Some(12_345), Some(12_346)));
        fs::set_permissions(&path, fs::Permissions::from_mode(new_mode)).unwrap();
        let owner = fs::metadata(&path).unwrap();
        let mut source = source(&path, format);
        store(&mut source, "EAAsecond", "EAAfirst").await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), after);
        let now = fs::metadata(&path).unwrap();
        assert_eq!((now.uid(), now.gid()), (owner.uid(), owner.gid()));
        assert_eq!(mode(&path), new_mode);
        assert!(kept(&path).contains("EAAfirst") && !kept(&path).contains("hunter2"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::remove_dir_all(state_dir(&path)).unwrap();
    }
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_does_not_stop_a_renewal() {
    let (_directory, path) = temp_token_path();
    fs::write(&path, "EAAfirst").unwrap();
    fs::write(state_dir(&path), "a file").unwrap();
    let mut source = source(&path, Format::Raw);
    let outcome = store(&mut source, "EAAsecond", "EAAfirst").await.unwrap();
    assert_eq!(outcome, StoreOutcome::Stored);
    assert_eq!(load_text(&mut source).await, "EAAsecond");
    fs::remove_file(state_dir(&path)).unwrap();
}

#[tokio::test]
async fn a_concurrent_write_is_not_overwritten() {
    let (directory, path) = temp_token_path();
    fs::write(&path, "EAAconcurrent").unwrap();
    let mut source = FileSource::new(path.clone(), Format::Raw);
    let conflict = store(&mut source, "EAArenewed", "EAAfirst").await.unwrap();
    assert_eq!(conflict, StoreOutcome::Conflict);
    assert_eq!(fs::read(&path).unwrap(), b"EAAconcurrent");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_missing_or_incomplete_file_is_not_written() {
    let (directory, path) = temp_token_path();
    let mut source = FileSource::new(path.clone(), Format::Raw);
    let error = store(&mut source, "EAArenewed", "EAAfirst").await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("missing", true));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    fs::write(&path, "").unwrap();
    let error = store(&mut source, "EAArenewed", "EAAfirst").await.unwrap_err();
    assert_eq!(error.reason(), "empty");
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[tokio::test]
async fn a_token_that_could_not_be_read_back_is_not_written() {
    let (_directory, path) = temp_token_path();
    fs::write(&path, "A=\"EAAfirst\"").unwrap();
    let mut source = FileSource::new(path.clone(), Format::Key("A".to_owned()));
    let error = store(&mut source, "EAA\"x", "EAAfirst").await.unwrap_err();
    assert_eq!(error.reason(), "invalid_character");
    assert!(!format!("{error:?} {error}").contains("EAA"));
    assert_eq!(fs::read(&path).unwrap(), b"A=\"EAAfirst\"");
}

#[tokio::test]
async fn a_symlink_target_is_replaced_and_the_symlink_stays() {
    let (_link_directory, path) = temp_token_path();
    let (_target_directory, real) = temp_token_path();
    fs::write(&real, "EAAfirst").unwrap();
    symlink(&real, &path).unwrap();
    let mut source = FileSource::new(path.clone(), Format::Raw);
    assert_eq!(load_text(&mut source).await, "EAAfirst");
    store(&mut source, "EAAsecond", "EAAfirst").await.unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read(&real).unwrap(), b"EAAsecond\n");
    assert!(is_notified(&mut source).await);
}

#[tokio::test]
async fn a_kubernetes_secret_is_not_written() {
    let (volume, path) = temp_token_path();
    let version = volume.path().join("..2026_11_21_08_00_00.1");
    fs::create_dir(&version).unwrap();
    fs::write(version.join("token"), "EAAfirst").unwrap();
    symlink("..2026_11_21_08_00_00.1", volume.path().join("..data")).unwrap();
    symlink("..data/token", &path).unwrap();
    for path in [path, volume.path().join("..data/token")] {
        let mut source = FileSource::new(path, Format::Raw);
        assert_eq!(load_text(&mut source).await, "EAAfirst");
        let reason = source.check_writable().unwrap_err();
        assert!(
            reason.contains("Kubernetes") && reason.contains("token.store"),
            "{reason}"
        );
        let error = store(&mut source, "EAAsecond", "EAAfirst").await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("not_writable", false));
        assert!(format!("{:?}", source.lock().await.unwrap()).contains("false"));
    }
    assert_eq!(fs::read_dir(&version).unwrap().count(), 1);
}

#[tokio::test]
async fn an_unwritable_path_is_reported_at_once_without_waiting_for_a_lock() {
    let (directory, _) = temp_token_path();
    // In these directories not even root can create a file.
    for path in [Path::new("/proc/self/token"), &directory.path().join("late/token")] {
        let mut source = FileSource::new(path.to_owned(), Format::Raw);
        let reason = source.check_writable().unwrap_err();
        assert!(
            reason.contains("directory") && reason.contains("token.store"),
            "{reason}"
        );
        assert!(format!("{:?}", source.lock().await.unwrap()).contains("false"));
    }
}

#[tokio::test]
async fn an_encrypted_token_is_decrypted_and_its_successor_encrypted() {
    let (_directory, path) = temp_token_path();
    let (old, new) = (Fernet::generate().unwrap(), Fernet::generate().unwrap());
    let before = Fernet::new(vec![old.clone()]).unwrap();
    let both = Fernet::new(vec![new.clone(), old]).unwrap();
    let encrypted = before.encrypt(&Secret::new("EAAfirst").unwrap());
    fs::write(&path, format!("A=1\nTOKEN=\"{encrypted}\"\n")).unwrap();
    let format = Format::Key("TOKEN".to_owned());
    let mut source = FileSource::new(path.clone(), format.clone()).encrypted_with(Some(both), PlainTokens::Refuse);
    assert_eq!(load_text(&mut source).await, "EAAfirst");
    store(&mut source, "EAAsecond", "EAAfirst").await.unwrap();
    assert_eq!(load_text(&mut source).await, "EAAsecond");
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("A=1\nTOKEN=\"gAAAA") && !text.contains("EAAsecond"),
        "{text}"
    );

    let mut without_new_key =
        FileSource::new(path.clone(), format.clone()).encrypted_with(Some(before), PlainTokens::Refuse);
    let error = without_new_key.load().await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("fernet_wrong_key", false));
    assert!(
        error.to_string().contains("no configured Fernet key decrypts it"),
        "{error}"
    );
    let error = FileSource::new(path.clone(), format.clone()).load().await.unwrap_err();
    assert!(error.to_string().contains("`fernet_key`"), "{error}");
    let alone = Fernet::new(vec![new]).unwrap();

    assert_eq!(
        load_text(
            &mut FileSource::new(path.clone(), format.clone()).encrypted_with(Some(alone.clone()), PlainTokens::Refuse)
        )
        .await,
        "EAAsecond"
    );
    fs::write(&path, "TOKEN=EAAbare").unwrap();
    let mut refusing =
        FileSource::new(path.clone(), format.clone()).encrypted_with(Some(alone.clone()), PlainTokens::Refuse);
    let error = refusing.load().await.unwrap_err();
    assert_eq!(error.reason(), "not_fernet");
    assert!(!format!("{error:?}").contains("EAAbare"));

    // A token that is not encrypted yet is used where that is wanted, and its successor is encrypted.
    let mut accepting = FileSource::new(path.clone(), format).encrypted_with(Some(alone), PlainTokens::Accept);
    assert_eq!(load_text(&mut accepting).await, "EAAbare");
    store(&mut accepting, "EAAsealed", "EAAbare").await.unwrap();
    assert_eq!(load_text(&mut accepting).await, "EAAsealed");
    assert!(fs::read_to_string(&path).unwrap().starts_with("TOKEN=gAAAA"));
    for (text, reason) in [
        ("gAAAAwrong", "fernet_truncated"),
        ("${TOKEN_OF_META}", "unresolved_variable"),
    ] {
        fs::write(&path, format!("TOKEN={text}")).unwrap();
        assert_eq!(accepting.load().await.unwrap_err().reason(), reason);
    }
}

#[tokio::test]
async fn lock_files_send_no_notification() {
    let (_directory, path) = temp_token_path();
    fs::write(&path, "EAAfirst").unwrap();
    let mut source = FileSource::new(path.clone(), Format::Raw);
    let mut other = FileSource::new(path.clone(), Format::Raw);
    assert_eq!(load_text(&mut source).await, "EAAfirst");
    let working = async {
        for _ in 0..5 {
            drop(other.lock().await.unwrap());
            sleep(Duration::from_millis(100)).await;
        }
    };
    let change = timeout(Duration::from_millis(1_500), source.changed());
    let (change, ()) = tokio::join!(change, working);
    assert!(change.is_err(), "a notification without a change");
}

#[tokio::test]
async fn a_rollback_restores_the_previous_token_and_a_second_one_undoes_it() {
    let (_directory, path) = temp_token_path();
    fs::write(&path, "A=EAAfirst\n").unwrap();
    let mut source = source(&path, Format::Key("A".to_owned()));
    let error = source.roll_back().await.unwrap_err();
    assert_eq!(error.reason(), "no_previous_token");
    store(&mut source, "EAAsecond", "EAAfirst").await.unwrap();
    assert_eq!(load_text(&mut source).await, "EAAsecond");
    // The text around the token was edited since.
    fs::write(&path, "B=2\nA=EAAsecond\n").unwrap();
    source.roll_back().await.unwrap();
    assert!(is_notified(&mut source).await);
    assert_eq!(fs::read(&path).unwrap(), b"B=2\nA=EAAfirst\n");
    source.roll_back().await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"B=2\nA=EAAsecond\n");
    fs::remove_dir_all(state_dir(&path)).unwrap();

    let mut without = FileSource::new(path, Format::Key("A".to_owned()));
    let error = without.roll_back().await.unwrap_err();
    assert_eq!(error.reason(), "no_previous_token");
    assert!(error.to_string().contains("state.dir"), "{error}");
}

#[tokio::test]
async fn a_rollback_repairs_an_unusable_file_and_fails_without_a_usable_previous_one() {
    let (_directory, path) = temp_token_path();
    let mut source = source(&path, Format::Raw);
    fs::write(&path, "EAAfirst").unwrap();
    store(&mut source, "EAAsecond", "EAAfirst").await.unwrap();
    fs::write(&path, "EAA half \0").unwrap();
    source.roll_back().await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"EAAfirst\n");
    let error = source.roll_back().await.unwrap_err();
    assert_eq!(error.reason(), "no_previous_token");
    let file = fs::read_dir(state_dir(&path)).unwrap().next().unwrap().unwrap().path();
    fs::write(file, "no JSON").unwrap();
    let error = source.roll_back().await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("invalid_json", false));
    assert_eq!(fs::read(&path).unwrap(), b"EAAfirst\n");
    // The next token replaces what cannot be read.
    store(&mut source, "EAAthird", "EAAfirst").await.unwrap();
    source.roll_back().await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"EAAfirst\n");
    fs::remove_dir_all(state_dir(&path)).unwrap();
}
