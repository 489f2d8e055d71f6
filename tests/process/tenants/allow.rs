//! Each tenant has rules of its own, which hold for every sign and for each item of a batch.

use std::path::Path;

use serde_json::{Value, json};

use super::{FORM, code, config, issue, send};
use crate::support::{Graph, Sidecar, TestResponse, together};

/// A sidecar whose first tenant may only send, while the second one may also read objects.
async fn start(dir: &Path) -> (Graph, Sidecar) {
    let graph = Graph::start().await;
    issue(&graph, dir, "acme", "101");
    issue(&graph, dir, "Shop@eu", "201");
    let config = config(&graph, dir, "")
        .replace("[\"101\"]\n", "[\"101\"]\nallow = \"send-only\"\n")
        .replace(
            "[\"201\"]\n",
            "[\"201\"]\nallow = [\"POST /{id}/messages\", \"GET /{id}\"]\n",
        );
    assert_eq!(config.matches("allow").count(), 2);
    let sidecar = Sidecar::start(dir, &config).await;
    (graph, sidecar)
}

/// An item that sends a text, and one that reads an object.
fn items(phone: &str) -> [Value; 2] {
    let body = "messaging_product=whatsapp&to=4915100000000&type=text&text=%7B%22body%22%3A%22x%22%7D";
    [
        json!({"method": "POST", "relative_url": format!("{phone}/messages"), "body": body}),
        json!({"method": "GET", "relative_url": phone}),
    ]
}

/// Sends a batch as a form.
async fn send_batch(sidecar: &Sidecar, headers: &[(&str, &str)], items: &[Value]) -> TestResponse {
    let text = serde_json::to_string(items).unwrap();
    let encoded = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
    let headers = [&[("content-type", FORM)], headers].concat();
    send(sidecar, "POST", "/v26.0/", &headers, &format!("batch={encoded}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tenants_may_make_different_calls_by_whatever_sign() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let (graph, sidecar) = start(dir.path()).await;
    let asked = async |path: &str, headers: &[(&str, &str)]| send(&sidecar, "GET", path, headers, "").await;
    assert_eq!(asked("/v26.0/201", &[]).await.status, 200);
    assert_eq!(asked("/-/Shop%40eu/v26.0/201", &[]).await.status, 200);
    let calls = graph.sim.recorded_calls().len();
    for (path, headers) in [
        ("/v26.0/101", &[][..]),
        ("/-/acme/v26.0/101", &[]),
        ("/v26.0/999", &[("x-tenant-id", "acme")]),
        ("/v26.0/101?access_token=tenant:acme", &[]),
    ] {
        let (status, code, message) = code(&asked(path, headers).await);
        assert_eq!((status, code), (403, 990_029), "{path}");
        assert!(
            message.contains("`tenants.acme.allow`: it does not allow GET /v26.0/{id}"),
            "{message}"
        );
    }
    let (status, number, message) = code(&asked("/v26.0/me", &[("x-tenant-id", "Shop@eu")]).await);
    assert_eq!((status, number), (403, 990_029));
    assert!(message.contains("`tenants.Shop@eu.allow`"), "{message}");
    assert_eq!(graph.sim.recorded_calls().len(), calls, "Graph has seen none of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_checked_item_by_item_by_the_rules_of_its_tenant() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let (graph, sidecar) = start(dir.path()).await;
    let acme = [("x-tenant-id", "acme")];
    let sent = send_batch(&sidecar, &acme, &items("101")[..1]).await;
    assert_eq!(
        (sent.status, &sent.json()[0]["code"]),
        (200, &json!(200)),
        "{}",
        sent.json()
    );
    let sent = send_batch(&sidecar, &[], &items("201")).await;
    assert_eq!(
        (sent.status, &sent.json()[1]["code"]),
        (200, &json!(200)),
        "{}",
        sent.json()
    );
    let (messages, calls) = (graph.sim.accepted_messages().len(), graph.sim.recorded_calls().len());
    assert_eq!(messages, 2);

    // The first item alone would be allowed, and is not sent either.
    let (status, number, message) = code(&send_batch(&sidecar, &acme, &items("101")).await);
    assert_eq!((status, number), (403, 990_029));
    assert!(message.contains("GET /{id} in item 2 of the batch"), "{message}");
    // Only the items name the tenant.
    assert_eq!(code(&send_batch(&sidecar, &[], &items("101")).await).1, 990_029);
    let [send_one, _] = items("101");
    let [_, read_other] = items("201");
    let mixed = send_batch(&sidecar, &[], &[send_one, read_other]).await;
    assert_eq!(code(&mixed).1, 990_027, "the rules of neither tenant are those of both");
    let long = format!("{}&batch=[]", "x".repeat((8 << 20) + 1));
    let headers = [("content-type", FORM), acme[0]];
    let unsearched = send(&sidecar, "POST", "/v26.0/101/messages", &headers, &long).await;
    assert_eq!((code(&unsearched).0, code(&unsearched).1), (413, 990_028));
    assert_eq!(
        (graph.sim.accepted_messages().len(), graph.sim.recorded_calls().len()),
        (messages, calls)
    );
    assert_eq!(graph.sim.violations().len(), 0);
}
