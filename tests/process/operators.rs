//! What operators are told: parameters that mean nothing, tenants that cannot be read, tenants that were withdrawn.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Output, Stdio};
use std::time::Duration;

use graphward::types::Clock;
use serde_json::Value;

use crate::admin_changes::{LOCAL, send};
use crate::support::place::{Place, targets, text};
use crate::support::{
    Client, Graph, Sidecar, get, graphward_command, network_settings, settings, terminal, together, wait_until,
};
use crate::tenants_from::support::{config, issue, me, wait_until_started};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_would_be_ignored_is_refused_and_a_probe_may_have_any() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let token = graph.sim.issue(None);
    fs::write(dir.path().join("token"), &token).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    sidecar.wait_until_uses(&graph, &token).await;
    for (request, words) in [
        ("GET /admin/last-hour?minutes=5", "takes no parameter"),
        ("GET /admin/events?after=1&after=2", "`after` is there twice"),
        (
            "GET /admin/token-status?tenant=default&tenant=acme",
            "`tenant` is there twice",
        ),
        (
            "GET /admin/observed?state=dead",
            "unknown parameter; available: tenant, search",
        ),
        (
            "POST /admin/refresh-token?search=a",
            "unknown parameter; available: tenant, limit",
        ),
        ("POST /admin/rollback?force=yes", "unknown parameter; available: tenant"),
        ("PUT /admin/token?force=no", "`force` has to be force=yes"),
        (
            "PUT /admin/tenants/acme?tenant=shop",
            "unknown parameter; available: force",
        ),
        ("DELETE /admin/tenants/acme?force=yes", "takes no parameter"),
        (
            "POST /admin/signup?tenant=acme",
            "unknown parameter; available: force=yes",
        ),
    ] {
        let answer = send(sidecar.admin, request, LOCAL, "{}");
        assert_eq!(answer.status, 400, "{request}: {}", answer.text);
        assert!(answer.message().contains(words), "{request}: {}", answer.text);
    }
    for path in [
        "/livez?verbose",
        "/readyz?verbose&verbose",
        "/metrics?a=b",
        "/?from=mail",
    ] {
        assert_eq!(get(sidecar.admin, path).await.status, 200, "{path}");
    }
    // Errors are JSON, whatever they are about.
    for (request, status) in [("GET /admin/nosuch", 404), ("POST /livez", 405)] {
        let answer = send(sidecar.admin, request, LOCAL, "");
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(!answer.message().is_empty(), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_is_late_and_not_too_large() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    fs::write(dir.path().join("token"), graph.sim.issue(None)).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    let mut stream = TcpStream::connect(sidecar.admin).unwrap();
    write!(
        stream,
        "PUT /admin/token HTTP/1.1\r\n{LOCAL}Content-Length: 9\r\nConnection: close\r\n\r\n{{"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("did not arrive within 5 s") && !answer.contains("16 KiB"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_cannot_be_read_are_seen_in_the_status_and_the_metrics() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let settings = config(&graph, dir.path(), "file = \"tokens/{tenant}\"");
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    let admin = sidecar.admin.to_string();
    let status = || {
        graphward_command(dir.path(), &["status", "--admin", &admin])
            .output()
            .unwrap()
    };
    wait_until("the read has failed", async || {
        text(&status().stdout).contains("cannot be read since")
    })
    .await;
    let shown = text(&status().stdout);
    assert!(shown.contains("tokens` does not exist; create it"), "{shown}");
    assert_eq!(status().status.code(), Some(1));
    let metrics = sidecar.metrics().await;
    assert!(metrics.contains("\ngraphward_tenants_readable{} 0\n"), "{metrics}");
    fs::create_dir(dir.path().join("tokens")).unwrap();
    fs::write(dir.path().join("tokens/acme"), issue(&graph, "acme", &[])).unwrap();
    wait_until("it was read", async || {
        sidecar.metrics().await.contains("\ngraphward_tenants_readable{} 1\n")
    })
    .await;
    assert_eq!(status().status.code(), Some(0), "{}", text(&status().stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_was_withdrawn_on_purpose_is_no_fault() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join("tokens")).unwrap();
    for name in ["acme", "shop"] {
        fs::write(dir.path().join("tokens").join(name), issue(&graph, name, &[])).unwrap();
    }
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), "file = \"tokens/{tenant}\"")).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(me(&mut client, "shop").await.status, 200);
    let answer = send(sidecar.admin, "DELETE /admin/tenants/shop", LOCAL, "");
    assert_eq!(answer.status, 200, "{}", answer.text);
    let admin = sidecar.admin.to_string();
    for command in ["status", "refresh"] {
        let output = graphward_command(dir.path(), &[command, "--admin", &admin])
            .output()
            .unwrap();
        let shown = text(&output.stdout);
        assert!(shown.contains("shop    withdrawn"), "{shown}");
        assert_eq!(
            output.status.code(),
            Some(0),
            "{command}: {shown}{}",
            text(&output.stderr)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_the_app_is_not_taken_for_that_of_the_operators() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    fs::write(dir.path().join("token"), graph.sim.issue(None)).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    let proxy = sidecar.proxy.to_string();
    let output = graphward_command(dir.path(), &["status", "--admin", &proxy])
        .output()
        .unwrap();
    let shown = text(&output.stderr);
    let expected = format!("{proxy} is the address of the app, not of the operators");
    assert!(shown.contains(&expected) && shown.contains("listen.admin"), "{shown}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_cannot_be_written_is_a_failure() {
    let _turn = together().await;
    let place = Place::new().await;
    for args in [
        &["version"][..],
        &["explain", "190"],
        &["explain", "190", "--json"],
        &["check", "--offline"],
        &["print-config"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["--version"],
        &["token", "keygen"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = graphward_command(place.dir.path(), args);
        let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output.stderr));
        assert!(
            text(&output.stderr).contains("cannot write"),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn the_flag_for_json_may_follow_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let explain = |args: &[&str]| graphward_command(dir.path(), args).output().unwrap();
    let before = explain(&["explain", "--json", "190", "463"]);
    let after = explain(&["explain", "190", "463", "--json"]);
    let json = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    assert_eq!(json(&before), json(&after));
    assert_eq!(after.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_many_tenants_lists_the_bad_ones_and_then_those_with_warnings_and_says_how_far_it_is() {
    let _turn = together().await;
    let place = Place::new().await;
    fs::create_dir(place.dir.path().join("tokens")).unwrap();
    for number in 0..30 {
        let token = place.graph.sim.issue(None);
        match number {
            0..3 => drop(place.graph.sim.expire(&token)),
            3..25 => {
                let soon = Clock::system().now() + Duration::from_secs(3 * 24 * 60 * 60);
                let change = fake_graph::TokenChange {
                    expires_at: Some(fake_graph::Expiry::At(soon)),
                    ..targets("500")
                };
                assert!(place.graph.sim.update_token(&token, change));
            }
            _ => assert!(place.graph.sim.update_token(&token, targets("500"))),
        }
        place.write(&format!("tokens/tenant-{number:02}"), &token);
    }
    let app = crate::support::place::APP;
    let tenants = format!(
        "{}{app}[tenants_from]\nfile = \"tokens/{{tenant}}\"\n",
        network_settings(&place.graph)
    );
    place.write("graphward.toml", &tenants);
    let output = place.run(&["check", "--json"], "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let levels: Vec<_> = sections
        .iter()
        .filter(|section| section["tenant"].is_string())
        .map(|section| section["level"].as_str().unwrap())
        .collect();
    assert_eq!(levels.len(), 20, "{report:#}");
    assert_eq!(
        (&levels[..3], &levels[3..]),
        (&["bad"; 3][..], &["warning"; 17][..]),
        "{report:#}"
    );
    assert!(
        text(&output.stderr).is_empty(),
        "no terminal, no progress: {}",
        text(&output.stderr)
    );

    let (controller, end) = terminal();
    let mut command = graphward_command(place.dir.path(), &["check"]);
    let mut child = command.stdout(Stdio::null()).stderr(end).spawn().unwrap();
    drop(command);
    let mut shown = Vec::new();
    // The end of a terminal is an error.
    drop(File::from(controller).read_to_end(&mut shown));
    child.wait().unwrap();
    let shown = text(&shown);
    assert!(shown.contains("reading the tenants of tenants_from"), "{shown}");
    assert!(shown.ends_with("\u{1b}[K"), "it is erased: {shown}");
}
