use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::token::Token;
use crate::types::Secret;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const OTHER_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn cache(path: &Path, key: &str, sources: &str) -> FileTokenCache {
    let keys = Fernet::new(vec![Secret::new(key).unwrap()]).unwrap();
    FileTokenCache::new(path.to_owned(), keys, sources.to_owned(), Clock::system())
}

fn from_row(token: &Token) -> CachedToken {
    CachedToken {
        token: token.clone(),
        source: "the row".to_owned(),
    }
}

async fn cached(cache: &mut FileTokenCache) -> Option<(String, Option<SystemTime>)> {
    let CachedToken { token, source } = cache.load().await.unwrap()?;
    assert_eq!(source, "the row");
    Some((token.secret.expose().to_owned(), token.expires_at))
}

#[tokio::test]
async fn a_token_outlives_the_process_encrypted_and_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last-good");
    let mut writer = cache(&path, KEY, "here");
    assert_eq!(cached(&mut writer).await, None);
    let token = Token {
        expires_at: Some(UNIX_EPOCH + Duration::from_secs(1_900_000_000)),
        ..Token::without_expiry(Secret::new("EAAsecret").unwrap())
    };
    writer.replace(Some(&from_row(&token))).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("EAAsecret") && text.contains("gAAAA"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let found = cached(&mut cache(&path, KEY, "here")).await;
    assert_eq!(found, Some(("EAAsecret".to_owned(), token.expires_at)));
    // Nothing else is left behind.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    writer.replace(None).await.unwrap();
    assert!(!path.exists());
    writer.replace(None).await.unwrap();
    assert_eq!(cached(&mut writer).await, None);
}

#[tokio::test]
async fn the_token_of_another_source_and_damaged_files_are_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last-good");
    let token = Token::without_expiry(Secret::new("EAAsecret").unwrap());
    cache(&path, KEY, "here")
        .replace(Some(&from_row(&token)))
        .await
        .unwrap();
    assert_eq!(cached(&mut cache(&path, KEY, "elsewhere")).await, None);
    let error = cache(&path, OTHER_KEY, "here").load().await.unwrap_err();
    assert_eq!(error.reason(), "fernet_wrong_key");
    let plain = r#"{"access_token":"EAAplain","sources":"here"}"#;
    for text in [
        "",
        "EAAplain",
        "{}",
        r#"{"sources":"here"}"#,
        plain,
        "\0\u{feff}",
        "[1]",
    ] {
        fs::write(&path, text).unwrap();
        let found = cache(&path, KEY, "here").load().await;
        let error = found.unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains("last-good") && shown.contains("; delete it"),
            "{text}: {shown}"
        );
        assert!(!format!("{error:?}").contains("EAAplain"));
    }
}

#[tokio::test]
async fn a_directory_that_is_missing_is_a_failure_with_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent/last-good");
    let token = Token::without_expiry(Secret::new("EAAsecret").unwrap());
    let mut cache = cache(&path, KEY, "here");
    let error = cache.replace(Some(&from_row(&token))).await.unwrap_err();
    assert!(error.to_string().contains("absent/last-good"), "{error}");
    assert_eq!(cached(&mut cache).await, None);
}
