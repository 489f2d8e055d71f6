//! An app that insists on https: `graphward ca`, `serve` with what it made, and curl as the app.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use super::support::{Graph, Sidecar, graphward_command, replace_file, settings, together};

fn ca(place: &Path, args: &[&str]) -> Output {
    graphward_command(place, &[&["ca", "--out", "pki"], args].concat())
        .output()
        .unwrap()
}

/// curl, with nothing in its environment but what is given.
async fn curl(place: &Path, env: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "20", "-w", " %{http_version} %{http_code}"])
        .args(args)
        .current_dir(place)
        .env_clear()
        .envs(env.iter().copied());
    // The fake Graph is served by this thread.
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ended = ended.await.unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8(said).unwrap())
}

const TLS: &str = "[listen]\ntls = { cert = \"pki/cert.pem\", key = \"pki/key.pem\" }\n";

/// A sidecar with what `ca` made.
async fn sidecar(graph: &Graph, place: &Path) -> Sidecar {
    assert!(ca(place, &[]).status.success());
    let settings = settings(graph, "file = \"token\"", "").replace("[listen]\n", TLS);
    Sidecar::start(place, &settings).await
}

#[tokio::test]
async fn what_ca_makes_serves_an_app_that_is_told_to_trust_it() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("token"), graph.sim.issue(None)).unwrap();
    let sidecar = sidecar(&graph, place.path()).await;
    let port = sidecar.proxy.port();
    let detour = format!("graph.facebook.com:{port}:127.0.0.1");
    let by_name = format!("https://graph.facebook.com:{port}/v26.0/me");
    let by_address = format!("https://127.0.0.1:{port}/v26.0/me");
    let trust = ["--cacert", "pki/ca.pem"];
    for args in [
        &[&trust[..], &["--resolve", &detour, &by_name]].concat(),
        &[&trust[..], &["--http1.1", &by_address]].concat(),
    ] {
        let (code, said) = curl(place.path(), &[], args).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.ends_with(" 200") && said.contains("\"id\""), "{said}");
    }
    // Who is not told does not trust it.
    let (code, said) = curl(place.path(), &[], &[&by_address]).await;
    assert_eq!(code, Some(60), "{said}");
}

#[tokio::test]
async fn a_token_that_dies_is_healed_through_a_tunnel() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let place = tempfile::tempdir().unwrap();
    let token = place.path().join("token");
    fs::write(&token, graph.sim.issue(None)).unwrap();
    let sidecar = sidecar(&graph, place.path()).await;
    let proxy = format!("http://{}", sidecar.proxy);
    let env = [("HTTPS_PROXY", proxy.as_str()), ("CURL_CA_BUNDLE", "pki/ca.pem")];
    let me = "https://graph.facebook.com/v26.0/me";
    let (code, said) = curl(place.path(), &env, &["-H", "Authorization: Bearer unused", me]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with(" 2 200"), "{said}");
    graph.sim.expire_all();
    let next = graph.sim.issue(None);
    let swap = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        replace_file(&token, &next);
    };
    let args = ["--http1.1", me];
    let ((code, said), ()) = tokio::join!(curl(place.path(), &env, &args), swap);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with(" 1.1 200"), "{said}");
    assert_eq!(
        sidecar
            .metric("graphward_requests_total{tenant=\"default\",outcome=\"healed\"")
            .await,
        1
    );
    // Anything else is told where to go.
    let (code, said) = curl(place.path(), &env, &["https://example.com/"]).await;
    assert_eq!(code, Some(56), "{said}");
    assert!(said.contains("403"), "{said}");
    assert!(!sidecar.stdout().contains(&next));
}

#[test]
fn ca_overwrites_nothing_unless_told_and_keeps_the_key_to_its_owner() {
    let place = tempfile::tempdir().unwrap();
    let made = ca(place.path(), &["--name", "app.internal", "10.0.0.7", "--days", "90"]);
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).unwrap();
    for words in [
        "tls = { cert = \"",
        "NODE_EXTRA_CA_CERTS=",
        "REQUESTS_CA_BUNDLE=",
        "SSL_CERT_FILE=",
        "HTTPS_PROXY=http://127.0.0.1:8080",
        "127.0.0.1 graph.facebook.com ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // A host that is served only if it is configured is not led here by the way.
    let entry = said.lines().find(|line| line.contains("127.0.0.1 graph."));
    assert!(!entry.unwrap().contains("beta"), "{said}");
    let pki = place.path().join("pki");
    let read = |name: &str| fs::read_to_string(pki.join(name)).unwrap();
    let mode = fs::metadata(pki.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // One key, the leaf's; and it is not the CA's, as the other certificate is.
    let all: String = ["ca.pem", "cert.pem", "key.pem"].map(read).concat();
    assert_eq!(all.matches("PRIVATE KEY-----").count(), 2, "one, from begin to end");
    assert!(read("cert.pem").ends_with(&read("ca.pem")));
    if let Ok(bundle) = fs::read_to_string(pki.join("bundle.pem")) {
        assert!(bundle.ends_with(&read("ca.pem")) && bundle.len() > 10 * read("ca.pem").len());
    }
    let before = read("ca.pem");
    let again = ca(place.path(), &[]);
    assert_eq!(again.status.code(), Some(2));
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("pki/ca.pem` already exists; use --force"), "{said}");
    assert_eq!(read("ca.pem"), before);
    assert!(ca(place.path(), &["--force"]).status.success());
    assert_ne!(read("ca.pem"), before);
    for bad in [&["--name", "a b"][..], &["--days", "0"], &["--name", "http://a"]] {
        assert_eq!(ca(place.path(), bad).status.code(), Some(2), "{bad:?}");
    }
}
