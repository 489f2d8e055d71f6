//! Who may look and change something through the admin listener.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::admin_changes::{Answer, LOCAL, document, exchange, put, send};
use crate::support::{Graph, Sidecar, graphward_command, replace_file, settings, together, wait_until};

const KEY: &str = "the-key-of-the-operators";
/// The name of a Unix socket, which has to be quoted.
const SOCKET: &str = "it's a.sock";
const NEW_KEY: &str = "the-next-key-of-the-operators";

fn with_key(key: &str) -> String {
    format!("Host: graphward.internal:9080\r\nAuthorization: Bearer {key}\r\n")
}

/// The requests of operators, as the sidecar describes them.
fn requests(address: SocketAddr) -> Vec<String> {
    let description = send(address, "GET /openapi.json", LOCAL, "").json();
    let paths = description["paths"].as_object().unwrap().iter();
    let requests = paths.filter(|(path, _)| path.starts_with("/admin/"));
    let requests = requests.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
        let methods = methods.filter(|method| ["GET", "PUT", "POST", "DELETE"].contains(&&**method));
        methods.map(move |method| format!("{method} {}", path.replace("{tenant}", "acme")))
    });
    let requests: Vec<_> = requests.collect();
    for known in [
        "POST /admin/signup",
        "GET /admin/last-hour",
        "DELETE /admin/tenants/acme",
    ] {
        assert!(requests.iter().any(|request| request == known), "{requests:?}");
    }
    requests
}

/// An admin listener on this machine, whose sidecar uses a token.
pub(crate) struct Listener {
    pub(crate) dir: TempDir,
    pub(crate) graph: Graph,
    pub(crate) sidecar: Sidecar,
}

impl Listener {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0", "").await
    }

    /// Starts it at an address, in which `DIR` is the directory of the sidecar, with further settings. The file `key` has the key.
    async fn start_at(address: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let graph = Graph::start().await;
        let token = graph.sim.issue(None);
        replace_file(&dir.path().join("token"), &token);
        replace_file(&dir.path().join("key"), KEY);
        let address = address.replace("DIR", &dir.path().display().to_string());
        let config = settings(&graph, "file = \"token\"", more);
        let config = config.replace("admin = \"127.0.0.1:0\"", &format!("admin = \"{address}\""));
        let sidecar = Sidecar::start(dir.path(), &config).await;
        sidecar.wait_until_uses(&graph, &token).await;
        Self { dir, graph, sidecar }
    }

    fn send(&self, request: &str, headers: &str) -> Answer {
        match UnixStream::connect(self.dir.path().join(SOCKET)) {
            Ok(stream) => exchange(stream, request, headers, ""),
            Err(_) => send(self.address(), request, headers, ""),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.sidecar.admin
    }
}

/// Runs a command line as a person who pastes it does, and returns the last line of its output, which is the status.
pub(crate) fn paste(line: &str, input: &str, dir: &Path) -> String {
    let line = line.replacen("curl ", "curl -sS -w '\\n%{http_code}' ", 1);
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).env("ADMIN_KEY", KEY).current_dir(dir);
    let piped = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{line}: {stderr}");
    stdout.lines().last().unwrap_or_default().to_owned()
}

fn status(address: SocketAddr, headers: &str) -> Answer {
    send(address, "GET /admin/token-status", headers, "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_a_listener_that_other_machines_reach_and_only_the_key() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    replace_file(&dir.path().join("token"), &first);
    replace_file(&dir.path().join("key"), format!("{KEY}\n"));
    let more = "[admin]\nkey = { file = \"key\" }\n[state]\ndir = \"state\"\n";
    let config = settings(&graph, "file = \"token\"", more).replace("admin = \"127.0.0.1:0\"", "admin = \"0.0.0.0:0\"");
    let sidecar = Sidecar::start(dir.path(), &config).await;
    sidecar.wait_until_uses(&graph, &first).await;
    let admin = SocketAddr::from(([127, 0, 0, 1], sidecar.admin.port()));
    let body = document(&second);
    for request in requests(admin) {
        for headers in [
            LOCAL.to_owned(),
            with_key(""),
            with_key(NEW_KEY),
            with_key(KEY.trim_start_matches('t')),
            format!("{LOCAL}Authorization: Basic {KEY}\r\n"),
        ] {
            let answer = send(admin, &request, &headers, &body);
            assert_eq!(answer.status, 401, "{request} {headers}: {}", answer.text);
            assert!(
                answer.head.to_lowercase().contains("www-authenticate: bearer"),
                "{}",
                answer.head
            );
            let line = "-H \"Authorization: Bearer $ADMIN_KEY\"";
            assert!(answer.message().contains(line), "{}", answer.text);
            assert!(
                !answer.text.contains(KEY) && !answer.text.contains(NEW_KEY),
                "{}",
                answer.text
            );
        }
    }
    // Probes and scrapers have no key.
    for path in ["/livez", "/startupz", "/readyz", "/metrics"] {
        assert_eq!(
            send(admin, &format!("GET {path}"), "Host: graphward\r\n", "").status,
            200,
            "{path}"
        );
    }
    let open = status(admin, &with_key(KEY));
    assert_eq!(
        (open.status, &open.json()["accepts_changes"]),
        (200, &true.into()),
        "{}",
        open.text
    );
    assert_eq!(put(admin, &with_key(KEY), &body).status, 200);
    sidecar.wait_until_uses(&graph, &second).await;
    let page = format!("{}Origin: https://evil.example\r\n", with_key(KEY));
    assert_eq!(send(admin, "POST /admin/rollback", &page, "").status, 403);

    // The file of the key is read again when it changes.
    replace_file(&dir.path().join("key"), NEW_KEY);
    wait_until("the new key counts", async || {
        status(admin, &with_key(NEW_KEY)).status == 200
    })
    .await;
    assert_eq!(status(admin, &with_key(KEY)).status, 401);
    sidecar.assert_reveals_none_of(&[KEY, NEW_KEY, &first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_proves_itself_with_the_key_of_its_configuration() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    replace_file(&dir.path().join("token"), &first);
    replace_file(&dir.path().join("key"), KEY);
    let config = settings(&graph, "file = \"token\"", "[admin]\nkey = { file = \"key\" }\n");
    let sidecar = Sidecar::start(dir.path(), &config).await;
    sidecar.wait_until_uses(&graph, &first).await;
    let running = config.replace("admin = \"127.0.0.1:0\"", &format!("admin = \"{}\"", sidecar.admin));
    fs::write(dir.path().join("running.toml"), running).unwrap();
    let mut command = graphward_command(dir.path(), &["token", "set", "--config", "running.toml"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(second.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("by the sidecar"), "{said}");
    sidecar.wait_until_uses(&graph, &second).await;
    sidecar.assert_reveals_none_of(&[KEY, &first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_with_another_key_changes_nothing_unless_told_and_one_for_a_sidecar_that_may_not_warns() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let tokens = [(); 3].map(|()| graph.sim.issue(None));
    replace_file(&dir.path().join("token"), &tokens[0]);
    replace_file(&dir.path().join("key"), KEY);
    let config = settings(
        &graph,
        "file = \"token\"",
        "[admin]\nkey = { file = \"key\" }\nwrites = false\n",
    );
    let sidecar = Sidecar::start(dir.path(), &config).await;
    sidecar.wait_until_uses(&graph, &tokens[0]).await;
    for (headers, words) in [
        (LOCAL, "needs the key"),
        (&with_key("wrong"), "the key of the request is wrong"),
    ] {
        let answer = send(sidecar.admin, "PUT /admin/token", headers, &document(&tokens[1]));
        assert_eq!(answer.status, 401, "{}", answer.text);
        assert!(answer.message().contains(words), "{}", answer.text);
    }
    let set = |token: &str, args: &[&str]| {
        let mut command = graphward_command(dir.path(), &[&["token", "set"], args].concat());
        command.env("GRAPHWARD_ADMIN", sidecar.admin.to_string());
        let mut input = tempfile::tempfile().unwrap();
        input.write_all(token.as_bytes()).unwrap();
        input.rewind().unwrap();
        let output = command.stdin(input).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (said, output.status.code())
    };
    let stored = || {
        fs::read_to_string(dir.path().join("token"))
            .unwrap()
            .trim_end()
            .to_owned()
    };
    let (said, code) = set(&tokens[1], &[]);
    assert!(
        said.contains("warning: the sidecar at ") && said.contains("admin.writes is false"),
        "{said}"
    );
    assert_eq!((code, stored()), (Some(0), tokens[1].clone()), "{said}");
    let other = config.replace("file = \"key\"", "file = \"other\"");
    replace_file(&dir.path().join("other"), NEW_KEY);
    replace_file(&dir.path().join("other.toml"), other);
    let (said, code) = set(&tokens[2], &["--config", "other.toml"]);
    assert!(
        said.contains("set admin.key as in its configuration, or name that with --config, or pass --offline"),
        "{said}"
    );
    assert_eq!((code, stored()), (Some(1), tokens[1].clone()), "{said}");
    let admin = sidecar.admin.to_string();
    let status = graphward_command(dir.path(), &["status", "--config", "other.toml", "--admin", &admin])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&status.stderr);
    assert!(
        said.contains("answered 401; set admin.key as in its configuration"),
        "{said}"
    );
    assert_eq!(status.status.code(), Some(1), "{said}");
    let (said, code) = set(&tokens[2], &["--config", "other.toml", "--offline"]);
    assert_eq!((code, stored()), (Some(0), tokens[2].clone()), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_switched_off_and_a_short_key_fails_the_start() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    replace_file(&dir.path().join("token"), &first);
    let config = settings(&graph, "file = \"token\"", "[admin]\nwrites = false\n");
    let sidecar = Sidecar::start(dir.path(), &config).await;
    sidecar.wait_until_uses(&graph, &first).await;
    let changes = requests(sidecar.admin).into_iter();
    for request in changes.filter(|request| !request.starts_with("GET ")) {
        let answer = send(sidecar.admin, &request, LOCAL, &document(&second));
        assert_eq!(answer.status, 403, "{request}: {}", answer.text);
        assert!(answer.message().contains("admin.writes"), "{request}: {}", answer.text);
    }
    let shown = status(sidecar.admin, LOCAL).json();
    assert_eq!(shown["accepts_changes"], false);
    let reason = shown["changes_refused"].as_str().unwrap();
    assert!(
        reason.contains("admin.writes") && reason.contains("set it to true"),
        "{reason}"
    );
    drop(sidecar);
    replace_file(&dir.path().join("key"), "short");
    let config = settings(&graph, "file = \"token\"", "[admin]\nkey = { file = \"key\" }\n");
    fs::write(dir.path().join("short.toml"), config).unwrap();
    for command in [&["serve"][..], &["check", "--offline"]] {
        let output = graphward_command(dir.path(), &[command, &["--config", "short.toml"]].concat())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains("admin.key") && said.contains("fewer than 16"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_through_a_rebound_name_or_from_another_page_is_refused_with_the_line_that_works() {
    let _turn = together().await;
    let listener = Listener::start().await;
    for headers in [
        "Host: rebound.example\r\n",
        "Host: localhost.evil.example:9080\r\n",
        "Host: localhost\r\nOrigin: https://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
    ] {
        let answer = status(listener.address(), headers);
        assert_eq!(answer.status, 403, "{headers}: {}", answer.text);
        let line = format!("curl http://{}/admin/token-status", listener.address());
        assert!(answer.message().ends_with(&line), "{headers}: {}", answer.text);
        assert!(
            !answer.text.contains("fingerprint") && !answer.text.contains("evil"),
            "{}",
            answer.text
        );
    }
    let refused = send(listener.address(), "PUT /admin/token", "Host: localhost\r\n", "");
    let line = format!(
        "curl -X PUT -H 'Graphward-Admin: yes' -d @- http://{}/admin/token",
        listener.address()
    );
    assert!(refused.message().ends_with(&line), "{}", refused.text);
    assert_eq!(
        status(listener.address(), "Host: localhost\r\nSec-Fetch-Site: same-origin\r\n").status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_that_a_refusal_prints_works_when_it_is_pasted_and_runs_nothing_else() {
    let _turn = together().await;
    let unix = format!("unix:DIR/{SOCKET}");
    for (address, more) in [
        ("127.0.0.1:0", ""),
        ("[::1]:0", "[admin]\nkey = { file = \"key\" }\n"),
        (&unix, ""),
    ] {
        let listener = Listener::start_at(address, more).await;
        let second = listener.graph.sim.issue(None);
        let named = "?tenant=default&force=yes";
        for (request, body, status) in [
            (
                "GET /admin/tenants?search=def&limit=7&state=usable".to_owned(),
                String::new(),
                "200",
            ),
            (
                "POST /admin/refresh-token?tenant=default".to_owned(),
                String::new(),
                "200",
            ),
            (format!("PUT /admin/token{named}"), document(&second), "200"),
            // A shell would run what is in the name, and curl expand it.
            (
                "GET /admin/tenants?search=';touch$IFS'hit';'".to_owned(),
                String::new(),
                "200",
            ),
            (
                "GET /admin/tenants?search=$(touch$IFS''hit)&after=[1-3]{a,b}".to_owned(),
                String::new(),
                "200",
            ),
            (
                "DELETE /admin/tenants/%27%3btouch%20hit%3b%27".to_owned(),
                String::new(),
                "400",
            ),
        ] {
            // A page of another origin, without the header, without the key: a refusal in any case.
            let refused = listener.send(&request, "Host: localhost\r\nOrigin: https://evil.example\r\n");
            assert!([401, 403].contains(&refused.status), "{request}: {}", refused.text);
            let message = refused.message();
            let line = format!("curl {}", message.split_once("curl ").unwrap().1);
            assert!(!line.contains(KEY) && !line.contains(['{', '`']), "{line}");
            assert_eq!(paste(&line, &body, listener.dir.path()), status, "{line}");
        }
        let misplaced = listener.send(
            &format!("PUT /admin/token?access_token={second}"),
            "Host: localhost\r\n",
        );
        assert!(!misplaced.text.contains(&second), "{}", misplaced.text);
        assert!(!listener.dir.path().join("hit").exists());
        assert_eq!(listener.graph.sim.violations(), []);
    }
}
