//! The locks that a request may meet: the list has all of them, and says when each is taken.
//!
//! # Why
//!
//! A request finds its tenant and its token without a lock, so ten thousand tenants cost it no more than one. A lock is easily
//! added where it is taken by each request; nothing else would notice it before a benchmark on many cores.

use super::{code_without_comments, is_test, source_files};

/// The modules that serve requests.
const MODULES: [&str; 9] = [
    // It opens the tenants of a table.
    "app",
    "graph",
    "net",
    "proxy",
    "telemetry",
    "tenants",
    "token",
    "types",
    "upstream",
];

/// A file with locks.
struct Locks {
    path: &'static str,
    count: usize,
    taken: Taken,
}

/// When the locks of a file are taken. None is held across a wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Taken {
    /// By each request, for some instructions. docs/speed.md names them.
    ByEachRequest,
    /// By a request that is the first one of its tenant, or not delivered at once: its token is missing or dead, it is refused, or it
    /// changes what is known.
    ByFewRequests,
    /// By none: when a connection opens or closes, a token or a tenant changes, metrics are read.
    Beside,
}

const LOCKS: [Locks; 20] = {
    use Taken::{Beside, ByEachRequest, ByFewRequests};
    [
        locks("src/app/reload.rs", 1, Beside),
        // The first request of a tenant opens it.
        locks("src/app/row_tenants.rs", 1, ByFewRequests),
        locks("src/net/activity.rs", 1, Beside),
        locks("src/net/lazy_timer.rs", 1, ByEachRequest),
        locks("src/net/resolve.rs", 1, Beside),
        locks("src/net/server_connection.rs", 1, Beside),
        locks("src/proxy/outage.rs", 1, ByFewRequests),
        locks("src/telemetry/events.rs", 1, Beside),
        locks("src/telemetry/line_limit.rs", 1, ByFewRequests),
        locks("src/telemetry/metrics/places.rs", 2, Beside),
        locks("src/telemetry/metrics/series.rs", 1, ByFewRequests),
        locks("src/telemetry/metrics/usage.rs", 1, ByEachRequest),
        locks("src/tenants/observed_calls.rs", 1, ByFewRequests),
        locks("src/tenants/row_cell.rs", 1, Beside),
        locks("src/token/confirmation.rs", 1, Beside),
        locks("src/token/observations.rs", 1, ByFewRequests),
        locks("src/token/watched.rs", 1, ByFewRequests),
        // It takes those of the others, and has none.
        locks("src/types/lock.rs", 1, Beside),
        locks("src/upstream.rs", 1, ByEachRequest),
        locks("src/upstream/pool.rs", 1, ByEachRequest),
    ]
};

const fn locks(path: &'static str, count: usize, taken: Taken) -> Locks {
    Locks { path, count, taken }
}

#[test]
fn a_request_meets_no_lock_but_those_of_the_list() {
    let files = source_files().into_iter().filter(|(path, _)| serves_requests(path));
    let found: Vec<_> = files.map(|(path, text)| (count_locks(&text), path)).collect();
    assert!(found.len() > 100, "they are not all seen");
    let found: Vec<_> = found.into_iter().filter(|(count, _)| *count > 0).collect();
    let unlisted =
        |(count, path): &&(usize, String)| !LOCKS.iter().any(|listed| listed.path == path && listed.count == *count);
    let unlisted: Vec<_> = found.iter().filter(unlisted).collect();
    assert!(
        unlisted.is_empty(),
        "say in the list when these locks are taken: {unlisted:#?}"
    );
    let is_gone = |listed: &&Locks| !found.iter().any(|(_, path)| path == listed.path);
    let gone: Vec<_> = LOCKS.iter().filter(is_gone).map(|listed| listed.path).collect();
    assert!(gone.is_empty(), "these have no lock any more: {gone:?}");
}

#[test]
fn the_docs_name_the_locks_that_each_request_takes() {
    let docs = super::read("docs/speed.md");
    let (_, section) = docs.split_once("## Locks").unwrap();
    let section = section.split("\n## ").next().unwrap();
    for listed in &LOCKS {
        let is_named = section.contains(&format!("`{}`", listed.path));
        assert_eq!(is_named, listed.taken == Taken::ByEachRequest, "{}", listed.path);
    }
}

#[test]
fn a_new_lock_would_be_noticed() {
    for (text, count) in [
        (
            "struct A {\n    b: Mutex<u8>,\n    c: Arc<std::sync::RwLock<u8>>,\n}",
            2,
        ),
        ("static A: LazyLock<Mutex<u8>> = LazyLock::new(Mutex::default);", 1),
        ("fn f(guard: MutexGuard<'_, u8>) {}\n// Mutex<u8>", 0),
        ("struct A(DashMap<u8, u8>, Condvar);", 2),
    ] {
        assert_eq!(count_locks(text), count, "{text}");
    }
    assert!(serves_requests("src/proxy.rs") && serves_requests("src/tenants/route.rs"));
    assert!(!serves_requests("src/config/file.rs") && !serves_requests("src/proxy/tests.rs"));
}

fn serves_requests(path: &str) -> bool {
    let module = path.strip_prefix("src/").and_then(|path| path.split(['/', '.']).next());
    module.is_some_and(|module| MODULES.contains(&module)) && !is_test(path)
}

/// The number of locks that a text declares.
fn count_locks(text: &str) -> usize {
    let code = code_without_comments(text);
    let words = ["Mutex<", "RwLock<", "ReentrantLock<", "DashMap<", "Condvar"];
    let uses = code.lines().filter(|line| !line.trim_start().starts_with("use "));
    uses.map(|line| words.iter().map(|word| line.matches(word).count()).sum::<usize>())
        .sum()
}
