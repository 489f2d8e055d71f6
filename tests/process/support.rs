//! The harness: a fake Graph in this process, a sidecar in another one, and a client of the sidecar.

#[path = "../support/blocks.rs"]
mod blocks;
mod client;
mod graph;
pub(crate) mod place;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/serve_process.rs"]
mod serve_process;
mod shell;
mod sidecar;
mod terminal;
mod unseen;

use std::fs;
use std::io::Write as _;
use std::mem::discriminant;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, sleep};

pub(crate) use client::{Body, Client, TestResponse, get, text_message};
pub(crate) use graph::{Graph, fingerprint};
pub(crate) use ports::{free_ports, refusing_address};
pub(crate) use serve_process::ServeProcess;
pub(crate) use shell::{Shell, block};
pub(crate) use sidecar::{
    APP_SECRET, Sidecar, exchange_config, graphward_command, network_settings, sample, settings, tls_settings,
};
pub(crate) use terminal::terminal;
pub(crate) use unseen::Unseen;

/// The longest wait for an event that must come, with room for a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

static TEST_LOCK: RwLock<()> = RwLock::const_new(());

/// For tests that measure time, or load the machine: no other test runs meanwhile.
pub(crate) async fn exclusive() -> RwLockWriteGuard<'static, ()> {
    TEST_LOCK.write().await
}

/// For all others.
pub(crate) async fn together() -> RwLockReadGuard<'static, ()> {
    TEST_LOCK.read().await
}

/// Waits until a condition holds.
pub(crate) async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < TIMEOUT, "timed out waiting until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Replaces a file atomically.
pub(crate) fn replace_file(path: &Path, content: impl AsRef<[u8]>) {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(content.as_ref()).unwrap();
    file.persist(path).unwrap();
}

/// Retargets a symlink atomically.
pub(crate) fn retarget_symlink(link: &Path, target: &Path) {
    let next = link.with_file_name("..next");
    std::os::unix::fs::symlink(target, &next).unwrap();
    fs::rename(next, link).unwrap();
}

/// Prints a figure, which `--nocapture` shows.
pub(crate) fn fact(words: &str) {
    writeln!(std::io::stdout(), "{words}").unwrap();
}

/// Fails unless an answer has the fields that a page shows, here and in all that both have.
#[track_caller]
pub(crate) fn assert_same_fields(found: &Value, shown: &Value, place: &str) {
    match (found, shown) {
        (Value::Object(found), Value::Object(shown)) => {
            let names = |object: &Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(
                names(found),
                names(shown),
                "{place}: the answer on the left, the page on the right"
            );
            for (name, value) in found {
                assert_same_fields(value, &shown[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(found), Value::Array(shown)) => {
            for (found, shown) in found.iter().zip(shown) {
                assert_same_fields(found, shown, place);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        _ => assert_eq!(discriminant(found), discriminant(shown), "{place}: {found} {shown}"),
    }
}
