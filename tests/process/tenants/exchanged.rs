//! Tenants whose ids and tokens a reload exchanges, while a request is on its way.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{JSON, config, reload, send, start};
use crate::support::{together, wait_until};

const APPLIED: &str = "graphward_config_reloads_total{result=\"applied\"} ";
const MESSAGE: &str = r#"{"messaging_product":"whatsapp","to":"15550100200","type":"text","text":{"body":"hello"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_has_begun_keeps_the_token_of_the_id_by_which_it_was_routed() {
    let _turn = together().await;
    let (dir, graph, sidecar) = start().await;
    wait_until("each tenant has its token", async || {
        sidecar.metric("graphward_tokens{state=\"usable\"} ").await == 2
    })
    .await;
    let (begin, rest) = MESSAGE.split_at(20);
    let mut slow = TcpStream::connect(sidecar.proxy).await.unwrap();
    let head = format!(
        "POST /v26.0/101/messages HTTP/1.1\r\nHost: {}\r\nContent-Type: {JSON}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{begin}",
        sidecar.proxy,
        MESSAGE.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    wait_until("it has begun", async || {
        sidecar.metric("graphward_inflight_requests ").await == 1
    })
    .await;

    let text = config(&graph, dir.path(), "");
    let exchanged = text
        .replace("[tenants.acme]", "[tenants.x]")
        .replace("[tenants.\"Shop@eu\"]", "[tenants.acme]");
    let exchanged = exchanged.replace("[tenants.x]", "[tenants.\"Shop@eu\"]");
    reload(&sidecar, dir.path(), &exchanged);
    wait_until("it is reloaded", async || sidecar.metric(APPLIED).await == 1).await;

    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for id in ["101", "201"] {
        let path = format!("/v26.0/{id}/messages");
        let sent = async || send(&sidecar, "POST", &path, &[("content-type", JSON)], MESSAGE).await;
        wait_until("the exchanged ids have their tokens", async || {
            sent().await.status == 200
        })
        .await;
    }
    assert_eq!(graph.sim.violations(), []);
    assert!(!sidecar.stdout().contains("was withdrawn"), "both are still there");
}
