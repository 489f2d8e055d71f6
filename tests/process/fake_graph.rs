//! `graphward serve` in front of `graphward fake-graph`: two processes, as in the CI of a user.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::{
    Client, ServeProcess, Shell, Sidecar, TestResponse, assert_same_fields, block, get, graphward_command, replace_file,
};
use crate::support::{free_ports, together, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiry_commanded_through_the_control_api_is_healed() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeGraphProcess::start(dir.path()).await;
    let settings = format!(
        r#"
[listen]
proxy = "127.0.0.1:0"
admin = "127.0.0.1:0"
[upstream]
ca_file = "ca.pem"
connect_to = {{ "graph.facebook.com" = "{}" }}
[token]
source = {{ file = "token" }}
[heal]
hold_timeout = "30s"
"#,
        fake.graph
    );
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("before").await.status, 200);

    let expired = fake.post_control("/tokens/expire", &json!({"all": true})).await;
    assert_eq!(expired.json()["expired"], 1);
    let dropping = async {
        wait_until("Graph rejects it", async || {
            get(fake.control, "/state").await.json()["counts"]["rejected"] == 1
        })
        .await;
        let issued = fake.post_control("/tokens", &json!({})).await.json();
        replace_file(&dir.path().join("token"), issued["access_token"].as_str().unwrap());
    };
    let (response, ()) = futures_util::future::join(client.text("during"), dropping).await;
    assert_eq!(response.status, 200, "{response:?}");

    let messages = get(fake.control, "/messages").await.json();
    let texts: Vec<&Value> = messages["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["params"]["text"]["body"])
        .collect();
    assert_eq!(texts, ["before", "during"]);
    let state = get(fake.control, "/state").await.json();
    assert_eq!(state["counts"]["rejected"], 1);
    let calls = get(fake.control, "/calls").await.json();
    let sent = calls["data"].as_array().unwrap().iter();
    let sent = sent.filter(|call| call["target"].as_str().unwrap().contains("/messages"));
    assert_eq!(sent.count(), 3, "graphward also asks /me about each token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fake_graph_does_what_its_page_says() {
    let _turn = together().await;
    let [graph, control, proxy] = free_ports();
    let shell = Shell::new()
        .with("GRAPHWARD_LISTEN", format!("127.0.0.1:{proxy}"))
        .with("GRAPHWARD_ADMIN", "127.0.0.1:0");
    let local = |line: &str| {
        let ports = [("8443", graph), ("8444", control), ("8080", proxy)];
        let replaced = ports.iter().fold(line.to_owned(), |line, (usual, port)| {
            line.replace(&format!("127.0.0.1:{usual}"), &format!("127.0.0.1:{port}"))
        });
        let addresses = format!("graphward fake-graph --listen 127.0.0.1:{graph} --control 127.0.0.1:{control}");
        replaced.replace("graphward fake-graph", &addresses)
    };
    let is_open = async |port| TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    let mut running = Vec::new();
    let mut answers = Vec::new();
    let first = block("docs/fake-graph.md#A fake Graph for your own tests sh");
    let second = block("docs/fake-graph.md#Who may act on what sh");
    for line in first.lines().chain(second.lines()).map(local) {
        let Some(program) = line.strip_suffix(" & sleep 1") else {
            answers.push(shell.run(&line, ""));
            continue;
        };
        let output = tempfile::tempdir_in(shell.path()).unwrap();
        let process = ServeProcess::spawn(&mut shell.command(&format!("exec {program}")), output.path());
        running.push((process, output));
        let port = if running.len() == 1 { graph } else { proxy };
        wait_until("it listens", async || is_open(port).await).await;
    }
    let [
        me,
        expired,
        again,
        fault,
        limited,
        state,
        messages,
        calls,
        tokens,
        accounts,
        own,
        others,
        objects,
    ] = &answers[..]
    else {
        panic!("the blocks have other lines: {answers:?}");
    };
    assert!(me.contains("\"id\"") && again.contains("\"id\""), "{me} {again}");
    assert!(limited.contains("\"code\":130429"), "{limited}");
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert!(json(expired)["expired"].as_u64() > Some(0), "{expired}");
    assert_eq!(json(fault)["faults_pending"], 1);
    assert_eq!(json(state)["counts"]["rejected"], 1);
    assert_eq!(json(messages)["data"].as_array().map(Vec::len), Some(0));
    assert!(calls.contains("/v25.0/me"), "{calls}");
    assert_eq!(json(tokens)["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(json(accounts)["success"], true);
    assert_eq!(json(own)["data"].as_array().map(Vec::len), Some(2), "{own}");
    assert_eq!(json(others)["error"]["error_subcode"], 33, "{others}");
    let shown: Value = json(&block("docs/fake-graph.md#Who may act on what json"));
    let (found, shown) = (&json(objects)["violations"][0], &shown["violations"][0]);
    for field in ["token", "object", "owner", "method", "path"] {
        assert_eq!(found[field], shown[field], "{objects}");
    }
    let shown = json(&block("docs/fake-graph.md#Calls json"));
    assert_same_fields(&json(calls)["data"][0], &shown["data"][0], "a call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_of_the_readme_survives_expiries_without_an_account() {
    let _turn = together().await;
    let commands = block("README.md#Your app without an account sh");
    let [fake, exec] = commands.lines().collect::<Vec<_>>()[..] else {
        panic!("the block has other lines");
    };
    let (fake, _) = fake.split_once(" & sleep 1").unwrap();
    assert!(fake.contains("--token-ttl 10s --renew-every 11s"), "{fake}");
    let fake = fake.replace("10s", "500ms").replace("11s", "700ms");
    let shell = Shell::new().with("GRAPHWARD_ADMIN", "127.0.0.1:0");
    let output = tempfile::tempdir_in(shell.path()).unwrap();
    let fake = format!("exec {fake} --listen 127.0.0.1:0 --control 127.0.0.1:0");
    let fake = ServeProcess::spawn(&mut shell.command(&fake), output.path());
    wait_until("it has printed its addresses", async || {
        fake.stdout().contains("state ")
    })
    .await;
    let printed = fake.stdout();
    let address = |start: &str| {
        let mut lines = printed.lines();
        lines
            .find_map(|line| line.strip_prefix(start))
            .unwrap()
            .trim()
            .to_owned()
    };
    // It fails with a request that fails, and ends when Graph has rejected three tokens.
    let state = format!("curl -sS {}/state", address("control"));
    shell.write_program(
        "npm",
        &format!(
            "set -e; [ \"$*\" = 'run dev' ]
            until {state} | grep -q '\"rejected\": [3-9]'; do curl -sSf \"$GRAPHWARD_URL/v25.0/me\"; done"
        ),
    );
    let answers = shell.run(&exec.replace("https://127.0.0.1:8443", &address("graph")), "");
    assert!(answers.contains("\"id\""), "{answers}");
}

/// A running fake Graph; killed when dropped.
struct FakeGraphProcess {
    child: Child,
    graph: SocketAddr,
    control: SocketAddr,
}

impl FakeGraphProcess {
    async fn start(dir: &Path) -> Self {
        let args = "fake-graph --listen 127.0.0.1:0 --control 127.0.0.1:0 --ca-out ca.pem --token-out token";
        let args: Vec<_> = args.split(' ').collect();
        let child = graphward_command(dir, &args)
            .stdout(File::create(dir.join("fake")).unwrap())
            .spawn()
            .unwrap();
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut fake = Self {
            child,
            graph: unspecified,
            control: unspecified,
        };
        let output = || std::fs::read_to_string(dir.join("fake")).unwrap();
        wait_until("it has printed its addresses", async || output().contains("state ")).await;
        let address = |word: &str, scheme: &str| {
            let stdout = output();
            let fact = stdout.lines().find_map(|line| line.strip_prefix(word));
            fact.unwrap().trim().strip_prefix(scheme).unwrap().parse()
        };
        fake.graph = address("graph ", "https://").unwrap();
        fake.control = address("control ", "http://").unwrap();
        fake
    }

    async fn post_control(&self, path: &str, body: &Value) -> TestResponse {
        let mut client = Client::connect(self.control).await;
        let body = Full::from(body.to_string()).boxed();
        client.send(Request::post(path).body(body).unwrap()).await
    }
}

impl Drop for FakeGraphProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
