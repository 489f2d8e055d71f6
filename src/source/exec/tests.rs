use std::time::SystemTime;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};

use super::super::polled::PolledSource;
use super::*;
use crate::token::Source as _;

const SECRET: &str = "EAAGm0PX4ZCpsBAKZA";

fn shell_source(script: &str, format: Format, poll_interval: Option<Duration>) -> PolledSource<TokenCommand> {
    let command = CommandConfig {
        argv: ["sh", "-c", script].map(str::to_owned).into(),
        format,
        timeout: Duration::from_secs(60),
        keep_env: Vec::new(),
    };
    PolledSource::new(TokenCommand::new(command, Clock::system()), poll_interval)
}

#[tokio::test]
async fn the_output_is_a_raw_token_or_a_document() {
    let raw = format!("echo noise >&2; echo {SECRET}");
    let key = format!("echo OTHER=x; echo TOKEN={SECRET}");
    let json = format!(r#"echo '{{"data":{{"token":"{SECRET}"}}}}'"#);
    for (script, format) in [
        (raw, Format::Raw),
        (key, Format::Key("TOKEN".to_owned())),
        (json, Format::Pointer("/data/token".to_owned())),
    ] {
        let mut source = shell_source(&script, format, None);
        for _ in 0..2 {
            assert_eq!(source.load().await.unwrap().secret.expose(), SECRET);
        }
    }
}

#[tokio::test]
async fn expires_in_is_counted_from_the_start_of_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("started");
    let json = format!(
        r#"date +%s%N >'{}'; sleep 0.1; echo '{{"token":"{SECRET}","expires_in":5184000}}'"#,
        file.display()
    );
    let mut source = shell_source(&json, Format::Pointer("/token".to_owned()), None);
    let called_at = Clock::system().now();
    let expires_at = source.load().await.unwrap().expires_at.unwrap();
    let counted_from = expires_at - Duration::from_secs(60 * 24 * 60 * 60);
    let started = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    let started = SystemTime::UNIX_EPOCH + Duration::from_nanos(started);
    assert!(
        (called_at..=started).contains(&counted_from),
        "{counted_from:?} is not in {called_at:?}..={started:?}"
    );
}

#[tokio::test]
async fn a_token_that_is_replaced_is_seen_and_its_absence_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let mut source = shell_source(&format!("cat '{}'", file.display()), Format::Raw, None);
    let error = source.load().await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("exit_status", true));
    for text in ["EAAfirst", "EAAsecond"] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(source.load().await.unwrap().secret.expose(), text);
    }
}

#[tokio::test]
async fn no_error_contains_the_output_or_an_argument() {
    for (script, reason, transient) in [
        (format!("echo {SECRET} {SECRET}"), "invalid_character", false),
        (format!("echo '{{\"t\":\"{SECRET}\"'"), "missing_pointer", false),
        (
            format!("echo {SECRET}; echo no {SECRET} >&2; exit 1"),
            "exit_status",
            true,
        ),
        (format!(": {SECRET}"), "empty", false),
        (format!("yes {SECRET}"), "too_large", false),
        (SECRET.to_owned(), "exit_status", true),
    ] {
        let mut source = shell_source(&script, Format::Raw, None);
        assert_eq!(source.describe(), "command sh");
        let error = source.load().await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), (reason, transient), "{script}");
        let text = format!("{error} {error:?} {source:?}");
        assert!(!text.contains(SECRET), "{text}");
        assert!(error.to_string().contains("command sh"), "{text}");
    }
}

#[tokio::test]
async fn it_runs_again_after_the_poll_interval_and_never_without_one() {
    let poll_interval = Duration::from_millis(300);
    let mut source = shell_source(&format!("echo {SECRET}"), Format::Raw, Some(poll_interval));
    drop(source.load().await);
    let loaded_at = Instant::now();
    while timeout(Duration::from_millis(7), source.changed()).await.is_err() {}
    let waited = loaded_at.elapsed();
    assert!(waited >= poll_interval * 8 / 10, "{waited:?}");
    // Without a load, `changed` does not complete again at once.
    assert_eq!(source.changed().now_or_never(), None);
    let mut without_interval = shell_source(&format!("echo {SECRET}"), Format::Raw, None);
    drop(without_interval.load().await);
    assert!(timeout(2 * poll_interval, without_interval.changed()).await.is_err());
}
