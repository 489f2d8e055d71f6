//! `uids`: which processes may use a token, by the user id that a Unix socket tells.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, getuid};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::{Graph, Sidecar, get, graphward_command, network_settings, replace_file, together, wait_until};

const NOT_ALLOWED: i64 = 990_030;
/// A user id that is not that of the tests.
const OTHER_UID: u32 = 4_000_000_000;

/// A sidecar that listens on TCP and on a Unix socket, with this configuration besides. The token of each of these is the one
/// that Graph knows by the name of its file.
async fn start(graph: &Graph, tokens: &[&str], extra: &str) -> (TempDir, Sidecar) {
    let dir = tempfile::tempdir().unwrap();
    for name in tokens {
        let token = graph.sim.issue(None);
        let change = fake_graph::TokenChange {
            name: Some((*name).to_owned()),
            ..fake_graph::TokenChange::default()
        };
        assert!(graph.sim.update_token(&token, change));
        fs::write(dir.path().join(name), token).unwrap();
    }
    let sidecar = Sidecar::start(dir.path(), &config(graph, dir.path(), extra)).await;
    (dir, sidecar)
}

fn config(graph: &Graph, dir: &Path, extra: &str) -> String {
    let both = format!("proxy = [\"127.0.0.1:0\", \"unix:{}/app.sock\"]", dir.display());
    network_settings(graph).replace("proxy = \"127.0.0.1:0\"", &both) + extra
}

/// The name of the token that Graph saw, or the code of the refusal and its message.
async fn curl(dir: &Path, path: &str, args: &[&str]) -> Result<String, (i64, String)> {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "20", "--unix-socket"])
        .arg(dir.join("app.sock"))
        .args(args)
        .arg(format!("http://localhost{path}"));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    read(&serde_json::from_slice(&output.await.unwrap().stdout).unwrap())
}

fn read(answer: &Value) -> Result<String, (i64, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match answer["error"]["code"].as_i64() {
        Some(code) => Err((code, text(&answer["error"]["message"]))),
        None => Ok(text(&answer["name"])),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_shared_socket_each_tenant_is_for_the_processes_in_its_list() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let tenants = |mine: u32, others: u32| {
        format!(
            "[token]\nverify = false\n[routing]\nheader = \"x-tenant-id\"\n[tenants.mine]\nsource = {{ file = \"mine\" }}\nuids = [{mine}]\n\
             [tenants.others]\nsource = {{ file = \"others\" }}\nuids = [{others}]\n\
             [tenants.open]\nsource = {{ file = \"open\" }}\n\
             [tenants.default]\nsource = {{ file = \"default\" }}\nuids = [{others}]\n"
        )
    };
    let uid = getuid().as_raw();
    let (dir, sidecar) = start(&graph, &["mine", "others", "open", "default"], &tenants(uid, OTHER_UID)).await;
    let calls = graph.sim.recorded_calls().len();
    let slot = "access_token=tenant:mine&method=get";
    assert_eq!(curl(dir.path(), "/-/mine/v26.0/me", &[]).await.unwrap(), "mine");
    assert_eq!(curl(dir.path(), "/-/open/v26.0/me", &[]).await.unwrap(), "open");
    // Before the body has been read, it is a request of the default tenant.
    assert_eq!(curl(dir.path(), "/v26.0/me", &["-d", slot]).await.unwrap(), "mine");
    let allowed = graph.sim.recorded_calls().len();
    assert_eq!(allowed - calls, 3);

    let of_another = "access_token=tenant:others&method=get";
    let head = "x-tenant-id: others";
    for (path, args, place) in [
        ("/-/others/v26.0/me", &[][..], "`tenants.others.uids`"),
        ("/v26.0/me", &["-H", head], "`tenants.others.uids`"),
        ("/v26.0/me", &["-d", of_another], "`tenants.others.uids`"),
        (
            "/v26.0/me",
            &["-F", "access_token=tenant:others"],
            "`tenants.others.uids`",
        ),
        ("/v26.0/me", &[], "`token.uids`"),
        ("/v26.0/me", &["-d", "a=b"], "`token.uids`"),
    ] {
        let (code, message) = curl(dir.path(), path, args).await.unwrap_err();
        assert_eq!(code, NOT_ALLOWED, "{path} {args:?}: {message}");
        assert!(
            message.contains(place) && message.contains(&format!("process, {uid}")),
            "{message}"
        );
    }
    // Over TCP, no process has a user id.
    let over_tcp = async |name: &str| read(&get(sidecar.proxy, &format!("/-/{name}/v26.0/me")).await.json());
    let (code, message) = over_tcp("mine").await.unwrap_err();
    assert!(code == NOT_ALLOWED && message.contains("not over TCP"), "{message}");
    assert_eq!(over_tcp("open").await.unwrap(), "open");
    assert_eq!(
        graph.sim.recorded_calls().len(),
        allowed + 1,
        "none of the refused is sent"
    );
    let refused = "graphward_requests_total{tenant=\"others\",outcome=\"refused_uid_not_allowed\"}";
    assert_eq!(sidecar.metric(refused).await, 4);

    replace_file(
        &dir.path().join("graphward.toml"),
        config(&graph, dir.path(), &tenants(OTHER_UID, uid)),
    );
    sidecar.signal(Signal::HUP);
    wait_until("the reload applies the lists", async || {
        curl(dir.path(), "/-/others/v26.0/me", &[]).await.is_ok()
    })
    .await;
    assert_eq!(
        curl(dir.path(), "/-/mine/v26.0/me", &[]).await.unwrap_err().0,
        NOT_ALLOWED
    );
    assert_eq!(curl(dir.path(), "/v26.0/me", &[]).await.unwrap(), "default");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenants_of_a_directory_are_for_the_processes_in_the_list_of_the_token_section() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let uid = getuid().as_raw();
    let settings = |rules: &str| {
        format!(
            "[token]\nverify = false\n{rules}\n[routing]\nheader = \"x-tenant-id\"\n[tenants_from]\nfile = \"of-{{tenant}}\"\n"
        )
    };
    let refusals = [
        (format!("uids = [{OTHER_UID}]"), "`token.uids`"),
        (
            format!("uids = [{uid}]\nallow = \"send-only\""),
            "`token.allow`: it does not allow GET",
        ),
    ];
    for (rules, place) in refusals {
        let (dir, _sidecar) = start(&graph, &["of-acme"], &settings(&rules)).await;
        let (_code, message) = curl(dir.path(), "/-/acme/v26.0/me", &[]).await.unwrap_err();
        assert!(message.contains(place), "{message}");
    }
    let (dir, sidecar) = start(&graph, &["of-acme"], &settings(&format!("uids = [{uid}]"))).await;
    assert_eq!(curl(dir.path(), "/-/acme/v26.0/me", &[]).await.unwrap(), "of-acme");
    let over_tcp = get(sidecar.proxy, "/-/acme/v26.0/me").await.json();
    assert_eq!(read(&over_tcp).unwrap_err().0, NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_token_is_for_the_processes_in_its_list_and_a_tunnel_is_of_the_process_that_opened_it() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let uid = getuid().as_raw();
    for (uids, expected) in [
        (format!("[{OTHER_UID}, {uid}]"), None),
        (format!("[{OTHER_UID}]"), Some(NOT_ALLOWED)),
    ] {
        let pki = tempfile::tempdir().unwrap();
        assert!(
            graphward_command(pki.path(), &["ca", "--out", "pki"])
                .output()
                .unwrap()
                .status
                .success()
        );
        let pki = pki.path().join("pki").display().to_string();
        let extra = format!(
            "[token]\nsource = {{ file = \"token\" }}\nuids = {uids}\n\
             [listen.tls]\ncert = \"{pki}/cert.pem\"\nkey = \"{pki}/key.pem\"\n"
        );
        let (dir, sidecar) = start(&graph, &["token"], &extra).await;
        let code = |answer: Result<String, (i64, String)>| answer.err().map(|(code, _)| code);
        assert_eq!(code(curl(dir.path(), "/v26.0/me", &[]).await), expected, "{uids}");
        let over_tcp = get(sidecar.proxy, "/v26.0/me").await;
        assert_eq!(code(read(&over_tcp.json())), Some(NOT_ALLOWED), "{uids}");

        let mut stream = UnixStream::connect(dir.path().join("app.sock")).await.unwrap();
        let connect = "CONNECT graph.facebook.com:443 HTTP/1.1\r\nhost: graph.facebook.com:443\r\n\r\n";
        stream.write_all(connect.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
        let request = "GET /v26.0/me HTTP/1.1\r\nhost: graph.facebook.com\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            code(read(&serde_json::from_str(body).unwrap())),
            expected,
            "{uids}: {answer}"
        );
    }
}
