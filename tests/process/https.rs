//! An app that insists on https: `graphward ca`, `serve` with its certificate, and curl as the app.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use super::support::{Graph, Sidecar, graphward_command, replace_file, settings, together, wait_until};

fn ca(dir: &Path, args: &[&str]) -> Output {
    graphward_command(dir, &[&["ca", "--out", "pki"], args].concat())
        .output()
        .unwrap()
}

/// Runs curl with only these environment variables; returns its exit code and output.
async fn curl(dir: &Path, env: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "20", "-w", " %{http_version} %{http_code}"])
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(env.iter().copied());
    // The fake Graph is served by this thread.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

const TLS: &str = "[listen]\ntls = { cert = \"pki/cert.pem\", key = \"pki/key.pem\" }\n";

/// A sidecar with the certificate that `ca` creates.
async fn sidecar(graph: &Graph, dir: &Path) -> Sidecar {
    assert!(ca(dir, &[]).status.success());
    let settings = settings(graph, "file = \"token\"", "[heal]\nhold_timeout = \"30s\"\n").replace("[listen]\n", TLS);
    Sidecar::start(dir, &settings).await
}

#[tokio::test]
async fn the_certificate_of_ca_serves_an_app_that_trusts_the_ca() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), graph.sim.issue(None)).unwrap();
    let sidecar = sidecar(&graph, dir.path()).await;
    let port = sidecar.proxy.port();
    let resolve = format!("graph.facebook.com:{port}:127.0.0.1");
    let by_name = format!("https://graph.facebook.com:{port}/v26.0/me");
    let by_address = format!("https://127.0.0.1:{port}/v26.0/me");
    let trust = ["--cacert", "pki/ca.pem"];
    for args in [
        &[&trust[..], &["--resolve", &resolve, &by_name]].concat(),
        &[&trust[..], &["--http1.1", &by_address]].concat(),
    ] {
        let (code, output) = curl(dir.path(), &[], args).await;
        assert_eq!(code, Some(0), "{output}");
        assert!(output.ends_with(" 200") && output.contains("\"id\""), "{output}");
    }
    // A client without the CA does not trust it.
    let (code, output) = curl(dir.path(), &[], &[&by_address]).await;
    assert_eq!(code, Some(60), "{output}");
}

#[tokio::test]
async fn an_expired_token_is_healed_through_a_tunnel() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, graph.sim.issue(None)).unwrap();
    let sidecar = sidecar(&graph, dir.path()).await;
    let proxy = format!("http://{}", sidecar.proxy);
    let env = [("HTTPS_PROXY", proxy.as_str()), ("CURL_CA_BUNDLE", "pki/ca.pem")];
    let me = "https://graph.facebook.com/v26.0/me";
    let (code, output) = curl(dir.path(), &env, &["-H", "Authorization: Bearer unused", me]).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.ends_with(" 2 200"), "{output}");
    graph.sim.expire_all();
    let next = graph.sim.issue(None);
    let swap = async {
        wait_until("Graph rejects it", async || graph.sim.rejected() == 1).await;
        replace_file(&token, &next);
    };
    let args = ["--http1.1", me];
    let ((code, output), ()) = tokio::join!(curl(dir.path(), &env, &args), swap);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.ends_with(" 1.1 200"), "{output}");
    assert_eq!(
        sidecar
            .metric("graphward_requests_total{tenant=\"default\",outcome=\"healed\"")
            .await,
        1
    );
    // A tunnel to any other host is refused.
    let (code, output) = curl(dir.path(), &env, &["https://example.com/"]).await;
    assert_eq!(code, Some(56), "{output}");
    assert!(output.contains("403"), "{output}");
    assert!(!sidecar.stdout().contains(&next));
}

#[test]
fn ca_overwrites_files_only_with_force_and_keeps_the_key_private() {
    let dir = tempfile::tempdir().unwrap();
    let made = ca(dir.path(), &["--name", "app.internal", "10.0.0.7", "--days", "90"]);
    assert!(made.status.success(), "{made:?}");
    let stdout = String::from_utf8(made.stdout).unwrap();
    for words in [
        "tls = { cert = \"",
        "NODE_EXTRA_CA_CERTS=",
        "REQUESTS_CA_BUNDLE=",
        "SSL_CERT_FILE=",
        "HTTPS_PROXY=http://127.0.0.1:8080",
        "127.0.0.1 graph.facebook.com ",
    ] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    // The entry for a hosts file has only hosts that are served without configuration.
    let entry = stdout.lines().find(|line| line.contains("127.0.0.1 graph."));
    assert!(!entry.unwrap().contains("beta"), "{stdout}");
    let pki = dir.path().join("pki");
    let read = |name: &str| fs::read_to_string(pki.join(name)).unwrap();
    let mode = fs::metadata(pki.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The only private key is that of the leaf; the key of the CA is not stored.
    let all: String = ["ca.pem", "cert.pem", "key.pem"].map(read).concat();
    assert_eq!(all.matches("PRIVATE KEY-----").count(), 2, "one BEGIN and one END");
    assert!(read("cert.pem").ends_with(&read("ca.pem")));
    if let Ok(bundle) = fs::read_to_string(pki.join("bundle.pem")) {
        assert!(bundle.ends_with(&read("ca.pem")) && bundle.len() > 10 * read("ca.pem").len());
    }
    let before = read("ca.pem");
    let again = ca(dir.path(), &[]);
    assert_eq!(again.status.code(), Some(2));
    let stderr = String::from_utf8(again.stderr).unwrap();
    assert!(stderr.contains("pki/ca.pem` already exists; use --force"), "{stderr}");
    assert_eq!(read("ca.pem"), before);
    assert!(ca(dir.path(), &["--force"]).status.success());
    assert_ne!(read("ca.pem"), before);
    for bad in [&["--name", "a b"][..], &["--days", "0"], &["--name", "http://a"]] {
        assert_eq!(ca(dir.path(), bad).status.code(), Some(2), "{bad:?}");
    }
}
