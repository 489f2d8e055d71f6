//! The steps of a roll-out, `heal.mode`, in a running sidecar.

use std::fs;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use rustix::process::Signal;

use crate::support::{
    Client, Graph, ServeProcess, Sidecar, fingerprint, get, graphward_command, replace_file, settings, together,
    wait_until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_goes_from_observe_to_inject_to_heal_on_one_connection() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let [of_app, first, second, third] = std::array::from_fn(|_| graph.sim.issue(None));
    // A command is run when a token is needed, and at no other time.
    let token = dir.path().join("token");
    let in_mode = |mode: &str| {
        let more = format!("[heal]\nmode = \"{mode}\"\n");
        settings(&graph, "exec = [\"cat\", \"token\"]", &more)
    };
    replace_file(&token, &first);
    let sidecar = Sidecar::start(dir.path(), &in_mode("observe")).await;
    let reload = async |mode: &str| {
        let applied = "graphward_config_reloads_total{result=\"applied\"} ";
        let before = sidecar.metric(applied).await;
        fs::write(dir.path().join("graphward.toml"), in_mode(mode)).unwrap();
        sidecar.signal(Signal::HUP);
        wait_until("it has reloaded", async || sidecar.metric(applied).await > before).await;
    };
    let outcomes = async |outcome: &str| {
        let series = format!("graphward_requests_total{{tenant=\"default\",outcome=\"{outcome}\"}} ");
        sidecar.metric(&series).await
    };
    let mut client = Client::connect(sidecar.proxy).await;
    let mut status_and_token = async || {
        let request = Request::get("/v26.0/me").header("Authorization", format!("Bearer {of_app}"));
        let answer = client
            .send(request.body(Full::new(Bytes::new()).boxed()).unwrap())
            .await;
        (answer.status, graph.last_data_fingerprint().unwrap())
    };
    assert_eq!(status_and_token().await, (200, fingerprint(&of_app)));
    graph.sim.expire(&of_app);
    assert_eq!(
        status_and_token().await.1,
        fingerprint(&of_app),
        "nothing is altered or sent twice"
    );

    reload("inject").await;
    assert_eq!(status_and_token().await, (200, fingerprint(&first)));
    graph.sim.expire(&first);
    replace_file(&token, &second);
    assert_eq!(status_and_token().await, (401, fingerprint(&first)));
    assert_eq!(outcomes("unhealed_by_mode").await, 1);
    wait_until("the next token is in use", async || {
        status_and_token().await == (200, fingerprint(&second))
    })
    .await;

    reload("heal").await;
    graph.sim.expire(&second);
    replace_file(&token, &third);
    assert_eq!(status_and_token().await, (200, fingerprint(&third)));
    assert_eq!(outcomes("healed").await, 1);
}

/// The setting `allow` as these lines show it, to paste as it is.
fn allow_setting(lines: &str) -> String {
    let (_, rules) = lines.split_once("allow = [").unwrap_or_else(|| panic!("{lines}"));
    let (rules, _) = rules.split_once(']').unwrap_or_else(|| panic!("{lines}"));
    format!("allow = [{rules}]")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_that_were_observed_are_settings_as_the_log_and_the_admin_listener_show_them() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    for format in ["json", "text"] {
        let dir = tempfile::tempdir().unwrap();
        replace_file(&dir.path().join("token"), &token);
        let with = |more: &str| settings(&graph, "file = \"token\"", more);
        let observe = with(&format!("[heal]\nmode = \"observe\"\n[log]\nformat = \"{format}\"\n"));
        fs::write(dir.path().join("graphward.toml"), observe).unwrap();
        let mut process = ServeProcess::spawn(&mut graphward_command(dir.path(), &["serve"]), dir.path());
        // A text has no fields to read addresses from.
        let address = async |name: &str| {
            let start = format!("{name} listener started");
            wait_until("it listens", async || process.stdout().contains(&start)).await;
            let stdout = process.stdout();
            let line = stdout.lines().find(|line| line.contains(&start)).unwrap();
            let (_, address) = line.split_once("http://").unwrap();
            let rest = |byte: char| byte != '.' && byte != ':' && !byte.is_ascii_digit();
            address.split(rest).next().unwrap().parse().unwrap()
        };
        let (admin, proxy) = (address("admin").await, address("proxy").await);
        let mut client = Client::connect(proxy).await;
        for path in ["/v26.0/me", "/v26.0/me/it's", "/v26.0/106540352242922"] {
            client.get(path).await;
        }
        let answer = get(admin, "/admin/observed").await;
        process.signal(Signal::TERM);
        wait_until("it stops", async || process.try_wait().is_some()).await;
        let shown = String::from_utf8(answer.body.to_vec()).unwrap();
        for raw in [&shown, &process.stdout()] {
            let allow = allow_setting(raw);
            fs::write(dir.path().join("graphward.toml"), with(&allow)).unwrap();
            let loaded = graphward_command(dir.path(), &["print-config"]).output().unwrap();
            assert!(
                loaded.status.success(),
                "{format}: {}",
                String::from_utf8_lossy(&loaded.stderr)
            );
            let sidecar = Sidecar::start(dir.path(), &with(&allow)).await;
            let mut client = Client::connect(sidecar.proxy).await;
            for (path, status) in [
                ("/v26.0/me", 200),
                ("/v26.0/106540352242922", 200),
                ("/v26.0/me/accounts", 403),
            ] {
                assert_eq!(client.get(path).await.status, status, "{path}: {allow}");
            }
        }
    }
}
