//! A process may be killed at any moment: the next one finds a complete token, and no lock is left behind.
//!
//! # Why
//!
//! Atomic replacement needs evidence. Here a process only replaces a file, and is killed by SIGKILL some
//! hundred times at random moments. The process is this test binary, started again.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use graphward::source::decode::Format;
use graphward::source::{FileSource, RenewedTokenStore};
use graphward::token::{Source, StoreOutcome, Token};
use graphward::types::{Clock, Secret};
use tempfile::TempDir;

/// The variable that makes this test binary a child, with the name of its work.
const WORK_VARIABLE: &str = "DURABILITY_WORK";
/// The variable with the path of the token file.
const PATH_VARIABLE: &str = "DURABILITY_PATH";
/// The line that the child prints when it begins.
const STARTED_LINE: &str = "started";
/// The number of kills of the process that replaces a file.
const KILLS: u32 = 200;
/// The number of kills in the other tests.
const OTHER_KILLS: u32 = 60;
/// The longest time until a kill: that of some stores.
const MAX_KILL_DELAY: Duration = Duration::from_millis(40);

#[test]
fn a_file_is_whole_whenever_its_writer_is_killed() {
    let dir = TokenDir::new("token");
    let (mut last, mut interrupted) = (0, 0);
    for kill in 0..KILLS {
        dir.run_and_kill("store");
        let now = dir.token_number("token").expect("there is always one");
        assert!(now >= last, "{now} after {last}: a store was undone");
        let kept = dir.kept_numbers();
        assert!(
            now == 0 || kept.contains(&now) || kept.contains(&(now - 1)),
            "{kept:?} before {now}"
        );
        last = now;
        interrupted += u32::from(dir.assert_recovered(kill) > 0);
    }
    assert!(last > 20, "only {last} stores");
    assert!(interrupted > 0, "no kill came within a store");
    print_line(&format!(
        "{last} stores, {KILLS} kills, {interrupted} of them with a temporary file on the disk"
    ));
}

#[test]
fn a_record_is_whole_whenever_its_writer_is_killed() {
    let dir = TokenDir::new("origin");
    let mut last = 0;
    for kill in 0..OTHER_KILLS {
        dir.run_and_kill("record");
        let mut stored = stored_source(dir.path());
        let now = number_of(&block_on(stored.load()).expect("there is always one"));
        assert!(now >= last, "{now} after {last}: a store was undone");
        last = now;
        dir.assert_recovered(kill);
    }
    assert!(last > 20, "only {last} stores");
}

#[test]
fn neither_of_two_tokens_is_lost_whenever_a_rollback_is_killed() {
    let dir = TokenDir::new("token");
    let mut source = file_source(dir.path());
    let (one, two) = (token(1), token(2));
    block_on(source.store(&one, Some(token(0).secret.fingerprint()))).unwrap();
    block_on(source.store(&two, Some(one.secret.fingerprint()))).unwrap();
    let mut seen = [0, 0];
    for kill in 0..OTHER_KILLS {
        dir.run_and_kill("rollback");
        let (now, kept) = (dir.token_number("token").unwrap(), dir.kept_numbers());
        assert!(
            [1, 2].contains(&now) && kept.contains(&(3 - now)),
            "{kept:?} before {now}"
        );
        seen[usize::from(now == 2)] += 1;
        dir.assert_recovered(kill);
    }
    assert!(seen[0] > 0 && seen[1] > 0, "nothing was rolled back: {seen:?}");
}

#[test]
fn the_renewal_lock_is_free_when_its_holder_is_killed() {
    let dir = TokenDir::new("token");
    let holder = dir.spawn("hold");
    let mut source = FileSource::new(dir.path(), Format::Raw);
    let waited = block_on(async { tokio::time::timeout(Duration::from_millis(400), source.lock()).await });
    assert!(waited.is_err(), "two processes hold it");
    drop(holder);
    dir.assert_recovered(0);
}

/// The work of the child until it is killed. Run as a test, it stores three tokens.
#[test]
fn the_work_of_the_child() {
    let Some(work) = std::env::var_os(WORK_VARIABLE) else {
        let dir = TokenDir::new("token");
        assert_eq!(block_on(store_tokens(FileSource::new(dir.path(), Format::Raw), 3)), 3);
        assert_eq!(dir.token_number("token"), Some(3));
        return;
    };
    let path = PathBuf::from(std::env::var_os(PATH_VARIABLE).unwrap());
    let file = || file_source(path.clone());
    let begin = || print_line(STARTED_LINE);
    if work != "hold" {
        begin();
    }
    block_on(async {
        match work.to_str().unwrap() {
            "store" => drop(store_tokens(file(), u64::MAX).await),
            "record" => drop(store_tokens(stored_source(path.clone()), u64::MAX).await),
            "hold" => {
                let _lock = file().lock().await.unwrap();
                begin();
                std::future::pending::<()>().await;
            }
            "rollback" => loop {
                file().roll_back().await.unwrap();
            },
            other => panic!("{other}"),
        }
    });
}

/// Stores one token after the other, as a refresher does.
async fn store_tokens(mut source: impl Source, times: u64) -> u64 {
    for done in 0..times {
        let lock = source.lock().await.unwrap();
        let now = source.load().await.unwrap();
        let next = token(number_of(&now) + 1);
        let outcome = source.store(&next, Some(now.secret.fingerprint())).await;
        assert_eq!(outcome.unwrap(), StoreOutcome::Stored, "after {done}");
        drop(lock);
    }
    times
}

/// A source that keeps the previous token.
fn file_source(path: PathBuf) -> FileSource {
    let state_dir = path.with_file_name("state");
    FileSource::new(path, Format::Raw).with_state_dir(state_dir)
}

/// A store over a file that always has the first token.
fn stored_source(path: PathBuf) -> RenewedTokenStore {
    let origin = path.with_file_name("origin");
    let origin = FileSource::new(origin, Format::Raw);
    RenewedTokenStore::new(Box::new(origin), path, Clock::system())
}

/// A child that is killed when dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

struct TokenDir {
    directory: TempDir,
}

impl TokenDir {
    fn new(first: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dir = Self { directory };
        let first = dir.directory.path().join(first);
        fs::write(&first, token_text(0)).unwrap();
        fs::set_permissions(&first, fs::Permissions::from_mode(0o600)).unwrap();
        dir
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    /// Starts a child that does this work, and kills it at a random moment.
    fn run_and_kill(&self, work: &str) {
        let mut child = self.spawn(work);
        let micros = u64::try_from(MAX_KILL_DELAY.as_micros()).unwrap();
        sleep(Duration::from_micros(fastrand::u64(..micros)));
        child.0.kill().unwrap();
        let status = child.0.wait().unwrap();
        assert!(status.code().is_none(), "it ended by itself: {status}");
    }

    fn spawn(&self, work: &str) -> KillOnDrop {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "durability::the_work_of_the_child",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(WORK_VARIABLE, work)
            .env(PATH_VARIABLE, self.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = KillOnDrop(child);
        let mut lines = BufReader::new(child.0.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with(STARTED_LINE)));
        child
    }

    /// Returns the number of the token in this file, which must be complete and private to its owner.
    fn token_number(&self, name: &str) -> Option<u64> {
        let path = self.directory.path().join(name);
        let mode = fs::metadata(&path).ok()?.permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{name}");
        Some(number_of(&block_on(FileSource::new(path, Format::Raw).load()).unwrap()))
    }

    /// Returns the numbers of the tokens that are kept for a rollback, newest first.
    fn kept_numbers(&self) -> Vec<u64> {
        let Ok(files) = fs::read_dir(self.directory.path().join("state")) else {
            return Vec::new();
        };
        let paths = files.map(|file| file.unwrap().path());
        let Some(path) = paths.into_iter().find(|path| path.extension() == Some("json".as_ref())) else {
            return Vec::new();
        };
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let number = |index| {
            let format = Format::Pointer(format!("/previous/{index}/access_token"));
            let token = block_on(FileSource::new(path.clone(), format).load()).ok()?;
            Some(number_of(&token))
        };
        (0..2).map_while(number).collect()
    }

    /// Asserts that at most the temporary files of one write are left and that the lock is free; returns their number.
    fn assert_recovered(&self, kill: u32) -> usize {
        let known = ["origin", "token", "state", "token.lock"].map(OsString::from);
        let names = fs::read_dir(self.directory.path()).unwrap();
        let temp_files = names
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| !known.contains(name))
            .count();
        assert!(temp_files <= 2, "{temp_files} temporary files after {kill} kills");
        let mut source = FileSource::new(self.path(), Format::Raw);
        let lock = block_on(async { tokio::time::timeout(Duration::from_secs(30), source.lock()).await });
        drop(lock.expect("the lock is free").unwrap());
        temp_files
    }
}

/// Prints a line past the harness, which captures the output of tests.
fn print_line(line: &str) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").unwrap();
    stdout.flush().unwrap();
}

/// The text of the token with this number; a truncated or mixed text is recognized.
fn token_text(number: u64) -> String {
    format!("EAA{number:010}{}{number:010}Z", "x".repeat(180))
}

fn token(number: u64) -> Token {
    Token::without_expiry(Secret::new(&token_text(number)).unwrap())
}

fn number_of(token: &Token) -> u64 {
    let number = token.secret.expose().get(3..13).unwrap().parse().unwrap();
    assert_eq!(token.secret.expose(), token_text(number));
    number
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}
