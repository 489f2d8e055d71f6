//! What graphward tells the service manager that starts it, as systemd does for `Type=notify`.

use std::fs::{self, Permissions};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process;

use rustix::process::Signal;

use crate::support::{APP_SECRET, Client, Graph, Sidecar, TIMEOUT, graphward_command, replace_file, settings};
use crate::support::{together, wait_until};

/// The socket of the service manager.
struct Notifications(UnixDatagram);

impl Notifications {
    fn bind(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self(socket)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next message that is not about the watchdog, and does not only say what graphward waits for.
    fn next_change(&self) -> String {
        std::iter::repeat_with(|| self.next())
            .find(|message| message != "WATCHDOG=1" && !message.starts_with("STATUS="))
            .unwrap()
    }
}

/// A sidecar with the variables of a service manager.
async fn start(graph: &Graph, dir: &Path, variables: &[(&str, &str)]) -> Sidecar {
    replace_file(&dir.join("token"), graph.sim.issue(None));
    let mut command = graphward_command(dir, &["serve"]);
    command.envs(variables.iter().copied());
    Sidecar::start_with(dir, &settings(graph, "file = \"token\"", ""), &mut command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hears_of_the_start_the_watchdog_reloads_and_the_stop() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().join("notify");
    let notifications = Notifications::bind(&SocketAddr::from_pathname(&path).unwrap());
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let mut sidecar = start(&graph, dir.path(), &variables).await;
    assert!(notifications.next().starts_with("READY=1\nSTATUS=serving"));
    let mut heartbeats = std::iter::repeat_with(|| notifications.next()).filter(|message| message == "WATCHDOG=1");
    assert!(heartbeats.nth(2).is_some());

    let settings = settings(&graph, "file = \"token\"", "");
    for (text, status) in [
        ("no = 1", "serving; the changed configuration was rejected: see the log"),
        (&settings, "serving"),
    ] {
        replace_file(&dir.path().join("graphward.toml"), text);
        sidecar.signal(Signal::HUP);
        let reloading = notifications.next_change();
        let since = reloading
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .expect(&reloading);
        assert!(since.parse::<u64>().unwrap() > 0);
        assert_eq!(notifications.next_change(), format!("READY=1\nSTATUS={status}"));
    }

    sidecar.signal(Signal::TERM);
    assert_eq!(
        notifications.next_change(),
        "STOPPING=1\nSTATUS=draining: waiting for requests and changes in flight"
    );
    assert_eq!(sidecar.wait_exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_may_have_an_abstract_socket_and_the_watchdog_of_another_process_gets_no_message() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let name = format!("graphward-test-{}", process::id());
    let notifications = Notifications::bind(&SocketAddr::from_abstract_name(&name).unwrap());
    let socket = format!("@{name}");
    let variables = [
        ("NOTIFY_SOCKET", &*socket),
        ("WATCHDOG_USEC", "2000"),
        ("WATCHDOG_PID", "1"),
    ];
    let mut sidecar = start(&graph, dir.path(), &variables).await;
    assert!(notifications.next().starts_with("READY=1\n"));
    assert_eq!(Client::connect(sidecar.proxy).await.text("hello").await.status, 200);
    sidecar.signal(Signal::TERM);
    sidecar.wait_exit().await;
    let rest: Vec<_> = std::iter::repeat_with(|| notifications.next()).take(2).collect();
    assert_eq!(
        rest,
        [
            "STATUS=serving",
            "STOPPING=1\nSTATUS=draining: waiting for requests and changes in flight"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_reads_nothing_or_is_gone_keeps_no_request_from_being_answered() {
    let _turn = together().await;
    for is_bound in [true, false] {
        let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
        let path = dir.path().join("notify");
        let unread = is_bound.then(|| Notifications::bind(&SocketAddr::from_pathname(&path).unwrap()));
        let filler = UnixDatagram::unbound().unwrap();
        filler.set_nonblocking(true).unwrap();
        while filler.send_to(b"FILLER=1", &path).is_ok() {}
        let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "2000")];
        let sidecar = start(&graph, dir.path(), &variables).await;
        let mut client = Client::connect(sidecar.proxy).await;
        for _ in 0..20 {
            assert_eq!(client.text("hello").await.status, 200);
        }
        drop(unread);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_a_credential_of_the_unit_is_read_as_its_drop_in_says() {
    let _turn = together().await;
    let unit = include_str!("../../config/systemd/credentials.conf");
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    // What systemd makes of it: a directory that only the unit's user can read.
    let credentials = dir.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    let (name, _) = setting("LoadCredential=").split_once(':').unwrap();
    fs::write(credentials.join(name), format!("{APP_SECRET}\n")).unwrap();
    fs::set_permissions(credentials.join(name), Permissions::from_mode(0o400)).unwrap();
    let (variable, value) = setting("Environment=").split_once('=').unwrap();
    let value = value.replace("%d", credentials.to_str().unwrap());
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    let mut command = graphward_command(dir.path(), &["serve"]);
    command.env(variable, value);
    let app = "[app]\nid = \"1234567890123456\"\n";
    let sidecar = Sidecar::start_with(dir.path(), &settings(&graph, "file = \"token\"", app), &mut command).await;
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("the secret makes proofs", async || {
        assert_eq!(client.text("hello").await.status, 200);
        let calls = graph.sim.recorded_calls();
        calls.iter().any(|call| call.data && call.proof == "right")
    })
    .await;

    let (_, key) = unit.split_once("#   fernet").unwrap();
    let key = format!("fernet{}", key.lines().next().unwrap());
    let url = format!("postgres = {{ file = \"{}\" }}", credentials.join(name).display());
    let table = format!("{url}, query = \"SELECT 1\", {key}");
    let settings = settings(&graph, &table, "");
    replace_file(&dir.path().join("graphward.toml"), settings);
    let printed = graphward_command(dir.path(), &["print-config"]).output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
}
