//! `graphward serve` in front of `graphward fake-graph`: two processes, as in the CI of a user.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use crate::support::{Client, Sidecar, TestResponse, get, graphward_command, replace_file, together, wait_until};

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
