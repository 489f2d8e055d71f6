//! SIGHUP without a terminal: the configuration and its secrets are read again, and no request notices.

use std::fs;
use std::path::Path;
use std::process::Command;

use graphward::net::Tasks;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{
    APP_SECRET, Client, Graph, Sidecar, fingerprint, get, graphward_command, replace_file, settings, together,
    wait_until,
};
use crate::tenants_from::support::wait_until_started;

const APPLIED: &str = "graphward_config_reloads_total{result=\"applied\"} ";
const REJECTED: &str = "graphward_config_reloads_total{result=\"rejected\"} ";

/// A sidecar, its Graph, and the directory with its configuration and its token.
struct Setup {
    dir: tempfile::TempDir,
    graph: Graph,
    sidecar: Sidecar,
    token: String,
}

impl Setup {
    async fn start(more: &str) -> Self {
        Self::start_with(more, |_dir| {}).await
    }

    async fn start_with(more: &str, prepare: impl FnOnce(&Path)) -> Self {
        let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
        let token = graph.sim.issue(None);
        replace_file(&dir.path().join("token"), &token);
        prepare(dir.path());
        let settings = settings(&graph, "file = \"token\"", more);
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        // A reload may take its first source away.
        wait_until_started(&sidecar).await;
        Self {
            dir,
            graph,
            sidecar,
            token,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Writes another configuration with these lines, and waits until it is in use or rejected.
    async fn reload(&self, source: &str, more: &str) {
        self.reload_text(&settings(&self.graph, source, more)).await;
    }

    async fn reload_text(&self, text: &str) {
        replace_file(&self.path("graphward.toml"), text);
        self.hang_up().await;
    }

    async fn hang_up(&self) {
        let before = self.reloads().await;
        self.sidecar.signal(Signal::HUP);
        wait_until("it has reloaded", async || self.reloads().await > before).await;
    }

    async fn reloads(&self) -> u64 {
        self.sidecar.metric(APPLIED).await + self.sidecar.metric(REJECTED).await
    }

    /// Whether a line of the log has all these words.
    fn logged(&self, words: &[&str]) -> bool {
        let log = self.sidecar.stdout();
        log.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_settings_and_keeps_connections_and_the_credential() {
    let _turn = together().await;
    let setup = Setup::start("").await;
    let mut client = Client::connect(setup.sidecar.proxy).await;
    assert_eq!(client.text("before").await.status, 200);
    let started_at = setup
        .sidecar
        .metric("graphward_config_last_reload_success_timestamp_seconds ")
        .await;
    let more = "[heal]\nclient_credentials = \"refuse\"\n[log]\nrequests = \"all\"\nformat = \"text\"\n[ready]\ntokens = \"ignore\"\n";
    setup.reload("file = \"token\"", more).await;
    assert_eq!(setup.sidecar.metric(APPLIED).await, 1);
    assert!(
        setup
            .sidecar
            .metric("graphward_config_last_reload_success_timestamp_seconds ")
            .await
            >= started_at
    );
    // The same connection, other rules.
    assert_eq!(client.get("/v26.0/me?access_token=EAAGother").await.status, 403);
    assert_eq!(client.text("after").await.status, 200);
    wait_until("requests are logged as text", async || {
        setup.logged(&["INFO graphward::proxy::record", "outcome=\"delivered\""])
    })
    .await;
    assert_eq!(setup.sidecar.metric("graphward_token_generation").await, 1);
    setup.graph.sim.expire(&setup.token);
    client.get("/v26.0/me").await;
    assert_eq!(
        get(setup.sidecar.admin, "/readyz").await.status,
        200,
        "tokens are ignored"
    );
    setup.graph.assert_accepted_once(["before", "after"].map(str::to_owned));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_configuration_changes_nothing_and_is_told_in_full() {
    let _turn = together().await;
    let setup = Setup::start("[log]\nrequests = \"all\"").await;
    let good = fs::read_to_string(setup.path("graphward.toml")).unwrap();
    let faulty = [
        (
            good.replace(
                "requests = \"all\"",
                "requests = \"none\"\nlevle = \"info\"\n[heal]\nhold_timeout = \"soon\"",
            ),
            &["levle", "heal.hold_timeout"][..],
        ),
        (
            good.replace("[log]", "[app]\nid = \"1\"\nsecret = { file = \"absent\" }\n[log]\n"),
            &["app.secret", "absent"],
        ),
        (
            good.replace("[log]", "[alerts]\nurl = { file = \"absent\" }\n[log]\n"),
            &["alerts.url", "absent"],
        ),
        (good.replace("[log]", "not toml"), &["TOML syntax error"]),
        (good.replace("[token]", "[token]\nverify = 1"), &["token.verify"]),
    ];
    for (text, words) in &faulty {
        let before = setup.sidecar.metric(REJECTED).await;
        setup.reload_text(text).await;
        assert_eq!(setup.sidecar.metric(REJECTED).await, before + 1, "{text}");
        let told = [&["\"ERROR\"", "the configuration was not reloaded"], *words].concat();
        assert!(setup.logged(&told), "{words:?}: {}", setup.sidecar.stdout());
    }
    // A file that is gone is no reason to use defaults.
    fs::remove_file(setup.path("graphward.toml")).unwrap();
    setup.hang_up().await;
    assert_eq!(setup.sidecar.metric(REJECTED).await, 6);
    assert_eq!(setup.sidecar.metric(APPLIED).await, 0);
    let mut client = Client::connect(setup.sidecar.proxy).await;
    assert_eq!(client.text("still served").await.status, 200);
    wait_until("it is logged as before", async || {
        setup.logged(&["\"outcome\":\"delivered\""])
    })
    .await;
    setup.reload_text(&good).await;
    assert_eq!(setup.sidecar.metric(APPLIED).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_need_a_restart_are_named_and_the_others_are_applied() {
    let _turn = together().await;
    let setup = Setup::start("").await;
    let more = "[heal]\nclient_credentials = \"refuse\"\n[state]\ndir = \"other\"";
    let text = settings(&setup.graph, "file = \"token\"", more);
    let text = text
        .replacen("127.0.0.1:0", "127.0.0.1:1", 1)
        .replace("[upstream]", "[upstream]\nhttp = \"1.1\"\nvia = true");
    for _ in 0..2 {
        setup.reload_text(&text).await;
    }
    let warnings = setup.sidecar.log_events();
    let warnings = warnings
        .iter()
        .filter(|event| event["level"] == "WARN" && event["keys"].is_string());
    let keys: Vec<_> = warnings.map(|event| event["keys"].as_str().unwrap()).collect();
    assert_eq!(keys, ["listen.proxy, state.dir, upstream.http, upstream.via"; 2]);
    assert!(setup.logged(&["\"cause\":\"the operator requested it\""]));
    assert!(!setup.path("other").exists(), "the directory is the one of the start");
    let response = get(setup.sidecar.proxy, "/v26.0/me?access_token=EAAGother").await;
    assert_eq!(response.status, 403);
    assert_eq!(get(setup.sidecar.proxy, "/v26.0/me").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_source_takes_over_when_it_has_a_token() {
    let _turn = together().await;
    let setup = Setup::start("").await;
    setup.reload("file = \"other\"", "").await;
    let mut client = Client::connect(setup.sidecar.proxy).await;
    assert_eq!(client.text("with the old one").await.status, 200);
    assert_eq!(setup.graph.last_fingerprint(), Some(fingerprint(&setup.token)));
    let next = setup.graph.sim.issue(None);
    replace_file(&setup.path("other"), &next);
    wait_until("the new source is used", async || {
        client.text("with either").await;
        setup.graph.last_fingerprint() == Some(fingerprint(&next))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_read_again() {
    let _turn = together().await;
    let write_secret = |dir: &Path| fs::write(dir.join("secret"), APP_SECRET.replace('0', "f")).unwrap();
    let app = "verify = false\n[app]\nid = \"1234567890123456\"\nsecret = { file = \"secret\" }\n";
    let setup = Setup::start_with(app, write_secret).await;
    let proof = async || {
        get(setup.sidecar.proxy, "/v26.0/me?fields=id").await;
        setup.graph.sim.recorded_calls().last().unwrap().proof
    };
    assert_eq!(proof().await, "wrong");
    fs::write(setup.path("secret"), APP_SECRET).unwrap();
    setup.hang_up().await;
    wait_until("the proof is right", async || proof().await == "right").await;
    assert_eq!(setup.sidecar.metric("graphward_token_generation").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_whose_file_changes_is_read_again_without_a_signal() {
    let _turn = together().await;
    let document = |secret: &str| format!(r#"{{"SecretString":"{{\"app\":\"{secret}\"}}"}}"#);
    let wrong = APP_SECRET.replace('0', "f");
    let write_secret = |dir: &Path| fs::write(dir.join("app.json"), document(&wrong)).unwrap();
    let app = "verify = false\n[app]\nid = \"1234567890123456\"\n\
        proof = \"timed\"\nsecret = { file = \"app.json\", pointer = \"/SecretString/app\" }\n";
    let setup = Setup::start_with(app, write_secret).await;
    let proof = async || {
        get(setup.sidecar.proxy, "/v26.0/me?fields=id").await;
        setup.graph.sim.recorded_calls().last().unwrap().proof
    };
    assert_eq!(proof().await, "wrong");
    // What is no secret changes nothing, and is told.
    replace_file(&setup.path("app.json"), "{\"SecretString\":\"hunter2\"}");
    wait_until("the secret is rejected", async || {
        setup.sidecar.metric(REJECTED).await == 1
    })
    .await;
    assert!(setup.logged(&["was not reloaded", "app.secret", "app.json"]));
    assert_eq!(proof().await, "wrong");
    replace_file(&setup.path("app.json"), document(APP_SECRET));
    wait_until("the proof is right", async || proof().await == "right").await;
    // The configuration itself is read only when that is asked for.
    replace_file(&setup.path("graphward.toml"), "no configuration");
    replace_file(&setup.path("app.json"), document(&wrong));
    wait_until("the proof is wrong", async || proof().await == "wrong").await;
    setup
        .sidecar
        .assert_reveals_none_of(&["hunter2", APP_SECRET, &wrong])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_refuses_a_replaced_key_is_asked_with_the_next_one() {
    let _turn = together().await;
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = service.local_addr().unwrap();
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let token = graph.sim.issue(None);
    let body = format!("{{\"t\":\"{token}\"}}");
    // Only the new key is accepted.
    let tasks = Tasks::default();
    let _service = tasks.spawn(async move {
        loop {
            let (mut stream, _) = service.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let is_new = String::from_utf8_lossy(&head[..length]).contains("Bearer new-key");
            let (status, body) = if is_new {
                ("200 OK", body.as_str())
            } else {
                ("401 Unauthorized", "")
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    fs::write(dir.path().join(".env"), "SERVICE_KEY=old-key\n").unwrap();
    let source = format!(
        "http = \"http://{address}\", pointer = \"/t\", poll_interval = \"1d\", \
         headers = {{ Authorization = {{ file = \".env\", key = \"SERVICE_KEY\" }} }}"
    );
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, "")).await;
    wait_until("the key is refused", async || {
        sidecar.stdout().contains("not authorized")
    })
    .await;
    replace_file(&dir.path().join(".env"), "OTHER=1\nSERVICE_KEY='new-key'\n");
    sidecar.wait_until_uses(&graph, &token).await;
    sidecar.assert_reveals_none_of(&["old-key", "new-key"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_go_to_another_webhook() {
    let _turn = together().await;
    let (first, second) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let section = |webhook: &TcpListener| format!("[alerts]\nurl = \"http://{}/\"\n", webhook.local_addr().unwrap());
    let setup = Setup::start(&section(&first)).await;
    setup.reload("file = \"token\"", &section(&second)).await;
    setup.graph.sim.expire(&setup.token);
    let request = async {
        let (mut stream, _) = second.accept().await.unwrap();
        let mut start = [0; 4];
        stream.read_exact(&mut start).await.unwrap();
        start
    };
    let rejected = get(setup.sidecar.proxy, "/v26.0/me");
    let (start, _rejected) = futures_util::future::join(request, rejected).await;
    assert_eq!(&start, b"POST");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_certificate_is_not_used() {
    let _turn = together().await;
    let make = |dir: &Path| {
        let made = graphward_command(dir, &["ca", "--out", "pki"]).output().unwrap();
        assert!(made.status.success());
    };
    let setup = Setup::start_with("", make).await;
    drop(setup.sidecar);
    let text = fs::read_to_string(setup.dir.path().join("graphward.toml")).unwrap();
    let tls = "[listen]\ntls = { cert = \"pki/cert.pem\", key = \"pki/key.pem\" }\n";
    let text = text.replace("[listen]\n", tls);
    let sidecar = Sidecar::start(setup.dir.path(), &text).await;
    let setup = Setup { sidecar, ..setup };
    setup.hang_up().await;
    assert_eq!(setup.sidecar.metric(APPLIED).await, 1);
    fs::write(setup.path("pki/cert.pem"), "no certificate").unwrap();
    setup.hang_up().await;
    assert_eq!(setup.sidecar.metric(REJECTED).await, 1);
    assert!(setup.logged(&["\"ERROR\"", "cert.pem", "no PEM certificate"]));
    assert_eq!(get(setup.sidecar.proxy, "/v26.0/me").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_lose_no_request() {
    let _turn = together().await;
    let setup = Setup::start("").await;
    let mut client = Client::connect(setup.sidecar.proxy).await;
    let names: Vec<_> = (0..200).map(|number| format!("message {number}")).collect();
    for name in &names {
        setup.sidecar.signal(Signal::HUP);
        assert_eq!(client.text(name).await.status, 200);
    }
    setup.hang_up().await;
    assert_eq!(setup.sidecar.metric(REJECTED).await, 0);
    assert_eq!(setup.sidecar.metric("graphward_token_generation").await, 1);
    setup.graph.assert_accepted_once(names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_cannot_be_read_to_its_end_holds_up_no_request() {
    let _turn = together().await;
    let mut setup = Setup::start("").await;
    // Reading a pipe without a writer waits.
    let made = Command::new("mkfifo").arg(setup.path("secret")).status().unwrap();
    assert!(made.success());
    let app = "[app]\nid = \"1234567890123456\"\nsecret = { file = \"secret\" }\n";
    replace_file(
        &setup.path("graphward.toml"),
        settings(&setup.graph, "file = \"token\"", app),
    );
    // More often than there are threads for files.
    let mut client = Client::connect(setup.sidecar.proxy).await;
    for number in 0..20 {
        setup.sidecar.signal(Signal::HUP);
        assert_eq!(client.text(&format!("during {number}")).await.status, 200);
    }
    wait_until("the reload is given up", async || {
        setup.sidecar.metric(REJECTED).await > 0
    })
    .await;
    assert!(setup.logged(&["longer than 10 s"]), "{}", setup.sidecar.stdout());
    let next = setup.graph.sim.issue(None);
    replace_file(&setup.path("token"), &next);
    wait_until("files are still watched", async || {
        client.text("with either").await;
        setup.graph.last_fingerprint() == Some(fingerprint(&next))
    })
    .await;
    setup.sidecar.signal(Signal::TERM);
    assert_eq!(setup.sidecar.wait_exit().await.code(), Some(0));
}
