//! When a token expires: what sources say, what Graph says, and what nothing tells.

use std::fs;
use std::time::{Duration, SystemTime};

use fake_graph::{AppTokenPolicy, Effect, EndpointKind, Fault, TokenResponse};
use graphward::types::Clock;

use crate::support::{Client, Graph, Sidecar, exchange_config, fingerprint, settings, together, wait_until};

/// 2001-09-09T01:46:40Z.
const LONG_AGO: u64 = 1_000_000_000;

fn json(token: &str, expires_at: u64) -> String {
    format!("{{\"access_token\": \"{token}\", \"expires_at\": {expires_at}}}\n")
}

fn recorded_expiry(text: &str) -> u64 {
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    document["expires_at"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_token_whose_recorded_expiry_has_passed_is_served() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    for (source, verify) in [
        ("file = \"token.json\", pointer = \"/access_token\"", "true"),
        ("file = \"token.json\", pointer = \"/access_token\"", "false"),
        ("exec = [\"cat\", \"token.json\"], pointer = \"/access_token\"", "true"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token.json");
        fs::write(&path, json(&token, LONG_AGO)).unwrap();
        let source = source.replace("\"token.json\"]", &format!("\"{}\"]", path.display()));
        let settings = settings(&graph, &source, &format!("verify = {verify}"));
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        sidecar.wait_until_uses(&graph, &token).await;
        let known = "graphward_token_expiry_known{tenant=\"default\"}";
        assert!(sidecar.metrics().await.contains(&format!("{known} 0\n")), "{source}");
        sidecar.assert_reveals_none_of(&[&token]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_token_whose_date_has_passed_is_served_and_a_dead_one_gives_way_to_the_source() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let [older, renewed] = [(); 2].map(|()| graph.sim.issue(None));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), &older).unwrap();
    let source = format!("file {}", dir.path().join("token").display());
    let record = serde_json::json!({
        "access_token": renewed, "expires_at": LONG_AGO, "stored_at": LONG_AGO,
        "renewed_from": fingerprint(&older), "source": source,
    });
    fs::write(dir.path().join("renewed"), record.to_string()).unwrap();
    for expected in [&renewed, &older] {
        for verify in ["true", "false"] {
            let store = format!("verify = {verify}\nstore = {{ file = \"renewed\" }}");
            let settings = settings(&graph, "file = \"token\"", &store);
            let sidecar = Sidecar::start(dir.path(), &settings).await;
            sidecar.wait_until_uses(&graph, expected).await;
        }
        graph.sim.expire(&renewed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_graph_cannot_be_asked_the_date_counts_and_is_named() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token.json"), json(&token, LONG_AGO)).unwrap();
    let source = "file = \"token.json\", pointer = \"/access_token\"";
    for kind in [EndpointKind::DebugToken, EndpointKind::Me] {
        graph.sim.inject_fault_on(
            kind,
            Fault {
                times: u32::MAX,
                ..Fault::once(Effect::HtmlPage(http::StatusCode::BAD_GATEWAY))
            },
        );
    }
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, source, "")).await;
    let answer = Client::connect(sidecar.proxy).await.text("hello").await;
    assert_eq!(answer.status, 401, "as if it had expired in use");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    for words in ["2001-09-09T01:46:40Z", "`expires_at`", "token.json"] {
        assert!(text.contains(words), "{text}");
        assert!(sidecar.stdout().contains(words), "{}", sidecar.stdout());
    }
    assert!(graph.sim.accepted_messages().is_empty());
    graph.sim.reset();
    sidecar.wait_until_uses(&graph, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_prolongs_the_same_token_stores_its_expiry() {
    let _turn = together().await;
    let graph = Graph::start().await;
    for store in ["", "store = { file = \"renewed\" }\n"] {
        let dir = tempfile::tempdir().unwrap();
        let token = graph.issue_nearly_expired();
        let path = dir.path().join("token.json");
        let now = Clock::system()
            .now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        fs::write(&path, json(&token, now + 60)).unwrap();
        let same = Fault::once(Effect::TokenResponse(TokenResponse::SameToken));
        graph.sim.inject_fault_on(EndpointKind::Exchange, same);
        let source = "file = \"token.json\", pointer = \"/access_token\"";
        let extra = format!("{store}{}", exchange_config(dir.path()));
        let settings = settings(&graph, source, &extra);
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        let updated = if store.is_empty() {
            path.clone()
        } else {
            dir.path().join("renewed")
        };
        let sixty_days = 60 * 24 * 60 * 60;
        wait_until("the later expiry is stored", async || {
            let text = fs::read_to_string(&updated).unwrap_or_default();
            text.ends_with("}\n") && recorded_expiry(&text).abs_diff(now + sixty_days) < 600
        })
        .await;
        assert!(
            !dir.path().join("token.json.previous").exists(),
            "there is no other token"
        );
        drop(sidecar);
        if store.is_empty() {
            assert!(fs::read_to_string(&path).unwrap().contains(&token));
        } else {
            // After the expiry that the source still has.
            fs::write(&path, json(&token, LONG_AGO)).unwrap();
        }
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        sidecar.wait_until_uses(&graph, &token).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_expiry_of_a_system_users_token_is_known_once_the_app_is() {
    let _turn = together().await;
    for app_tokens in [AppTokenPolicy::Any, AppTokenPolicy::Issued] {
        let graph = Graph::with(|config| config.app_tokens = app_tokens).await;
        let token = graph.sim.issue(Some(Duration::from_secs(90 * 24 * 60 * 60)));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), &token).unwrap();
        let app = exchange_config(dir.path()).replace("renew = { exchange = {} }\n", "");
        for (extra, is_known) in [("", false), (app.as_str(), true)] {
            let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", extra)).await;
            sidecar.wait_until_uses(&graph, &token).await;
            let metrics = sidecar.metrics().await;
            let known = format!(
                "graphward_token_expiry_known{{tenant=\"default\"}} {}\n",
                u8::from(is_known)
            );
            assert!(metrics.contains(&known), "{metrics}");
            let has_date = metrics.contains("\ngraphward_token_expiry_timestamp_seconds{");
            assert_eq!(has_date, is_known);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_unknown_expiry_is_exchanged_only_if_the_operator_wants_it() {
    let _turn = together().await;
    for is_wanted in [false, true] {
        let graph = Graph::start().await;
        let token = graph.sim.issue(None);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, &token).unwrap();
        let three_days_ago = Clock::system().now() - Duration::from_secs(3 * 24 * 60 * 60);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(three_days_ago)
            .unwrap();
        let renew = format!("exchange = {{ when_expiry_unknown = {is_wanted} }}");
        let extra = exchange_config(dir.path()).replace("exchange = {}", &renew);
        let settings = settings(&graph, "file = \"token\"", &format!("verify = false\n{extra}"));
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        if is_wanted {
            wait_until("it is exchanged", async || {
                fs::read_to_string(&path).unwrap().trim() != token
            })
            .await;
        } else {
            sidecar.wait_until_uses(&graph, &token).await;
            let metrics = sidecar.metrics().await;
            assert!(
                !metrics.contains("graphward_token_renewal_due_timestamp_seconds{"),
                "{metrics}"
            );
            assert_eq!(graph.sim.counts().exchanges, 0);
        }
    }
}
