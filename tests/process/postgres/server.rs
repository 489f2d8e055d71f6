//! A PostgreSQL server from Debian's packages on a socket of its own; it stops when the test ends.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

/// A server. It stops when this is dropped or this process ends.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    running: Mutex<Option<ServerProcess>>,
}

/// A database of a server that tests share, empty at first.
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
}

/// A shell that stops the server when its standard input is closed.
struct ServerProcess {
    supervisor: Child,
    _stdin: ChildStdin,
}

/// Authentication: `app` needs a password, other users none; the network requires TLS.
const HBA: &str = "local all app scram-sha-256\nlocal all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";

const SUPERVISOR_SCRIPT: &str =
    r#"signal=$1; shift; "$@" & server=$!; read -r _; kill -"$signal" "$server"; wait "$server""#;

// === impl Server ===

impl Server {
    /// Starts a server for one test.
    pub(crate) fn new() -> Self {
        Self::with(5432, &[])
    }

    /// Starts a server on this port with additional settings.
    pub(crate) fn with(port: u16, settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("gwpg").tempdir().unwrap();
        if is_root() {
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
            let status = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(status.unwrap().success(), "there is no user postgres");
        }
        let server = Self {
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            folder,
            port,
            running: Mutex::new(None),
        };
        let mut initdb = server.command("initdb");
        initdb.args(["--no-sync", "--no-instructions", "--no-locale"]);
        initdb.args(["--encoding=UTF8", "--auth=trust", "--username=postgres", "-D"]);
        let output = initdb.arg(server.data()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        server.write("data/pg_hba.conf", HBA);
        server.start();
        server
    }

    /// The directory of its socket.
    pub(crate) fn sockets(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of a database for this user, with or without `:password`.
    pub(crate) fn url_of(&self, user: &str, database: &str) -> String {
        let sockets = self.sockets().display().to_string();
        format!("postgres://{user}@{}/{database}", sockets.replace('/', "%2F"))
    }

    /// Writes a file that only the server can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            let status = Command::new("chown").arg("postgres").arg(&path).status();
            assert!(status.unwrap().success());
        }
        path
    }

    /// Starts it.
    pub(crate) fn start(&self) {
        let mut shell = self.supervised(&bin().join("postgres"), "QUIT");
        shell.arg("-D").arg(self.data()).arg("-k").arg(self.sockets());
        shell.arg("-p").arg(self.port.to_string());
        // Of two values of a setting, the last one applies.
        for setting in [
            "listen_addresses=",
            "fsync=off",
            "max_connections=60",
            "shared_buffers=16MB",
        ] {
            shell.args(["-c", setting]);
        }
        for setting in &self.settings {
            shell.args(["-c", setting]);
        }
        let log = fs::File::create(self.folder.path().join("server.log")).unwrap();
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let mut shell = shell.spawn().unwrap();
        let stdin = shell.stdin.take().unwrap();
        *self.running() = Some(ServerProcess {
            supervisor: shell,
            _stdin: stdin,
        });
        let deadline = Instant::now() + crate::support::TIMEOUT;
        let pid = self.data().join("postmaster.pid");
        while !fs::read_to_string(&pid).is_ok_and(|text| text.lines().any(|line| line.trim() == "ready")) {
            let log = || fs::read_to_string(self.folder.path().join("server.log"));
            assert!(Instant::now() < deadline, "it does not start: {:?}", log());
            sleep(Duration::from_millis(20));
        }
    }

    /// A command that runs a program as the server's user, and stops it with a signal when its standard input is closed.
    pub(crate) fn supervised(&self, program: &Path, signal: &str) -> Command {
        let mut shell = self.command_as_server_user("sh");
        shell.args(["-c", SUPERVISOR_SCRIPT, "server", signal]).arg(program);
        shell
    }

    /// Stops it at once, as a crash would.
    pub(crate) fn stop(&self) {
        if let Some(ServerProcess {
            supervisor: mut shell,
            _stdin,
        }) = self.running().take()
        {
            drop(_stdin);
            drop(shell.wait());
        }
    }

    /// Runs statements as the superuser and returns psql's unaligned output.
    #[track_caller]
    pub(crate) fn psql(&self, database: &str, statements: &str) -> String {
        let mut psql = Command::new(bin().join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-U", "postgres", "-d", database, "-c", statements]);
        let output = psql
            .arg("-h")
            .arg(self.sockets())
            .arg("-p")
            .arg(self.port.to_string())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {stderr}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<ServerProcess>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, name: &str) -> Command {
        self.command_as_server_user(&bin().join(name).display().to_string())
    }

    /// PostgreSQL does not run as root.
    fn command_as_server_user(&self, program: &str) -> Command {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

// === impl Database ===

impl Database {
    /// A new database on the shared server, with its contents.
    #[track_caller]
    pub(crate) fn with(statements: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = shared();
        let name = format!("d{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server.psql("postgres", &format!("CREATE DATABASE {name}"));
        let database = Self { server, name };
        if !statements.is_empty() {
            database.psql(statements);
        }
        database
    }

    /// The superuser's URL of it.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of it for this user, with or without `:password`.
    pub(crate) fn url_of(&self, user: &str) -> String {
        self.server.url_of(user, &self.name)
    }

    /// Runs statements as the superuser and returns psql's output.
    #[track_caller]
    pub(crate) fn psql(&self, statements: &str) -> String {
        self.server.psql(&self.name, statements)
    }
}

/// The server that tests share; it runs as long as one of them uses it.
fn shared() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::new());
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'hunter2'");
    *shared = Arc::downgrade(&server);
    server
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Returns the directory of the newest server; Debian does not put these on the PATH.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.and_then(|name| name.parse::<u32>().ok())
        });
    newest
        .expect("there is no PostgreSQL server: apt-get install postgresql, as tests/run does")
        .join("bin")
}
