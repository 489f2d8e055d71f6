//! The ends of tokens whose rows do not say them: Graph is asked, and they are stored where that can be.

use std::fs;
use std::time::Duration;

use super::support::{Service, config, me, seal, unseal, wait_until_started};
use crate::admin_changes::{LOCAL, send};
use crate::support::{Client, Graph, Sidecar, together, wait_until};

/// So many that the first visit is due in seconds: the visits of all are spread over an hour.
const TENANTS: usize = 4_000;
const LIFETIME: Duration = Duration::from_secs(50 * 24 * 60 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_that_graph_reports_is_stored_in_a_row_that_has_none_without_a_request() {
    let _turn = together().await;
    let service = Service::start().await;
    let token = service.graph.sim.issue(Some(LIFETIME));
    service.database.psql(&format!(
        "INSERT INTO tenant_whatsapp_config (tenant_id, access_token)
         SELECT 'tenant-' || number, '{}' FROM generate_series(1, {TENANTS}) AS number",
        seal(&token)
    ));
    let (_dir, sidecar) = service.sidecar("").await;
    wait_until("ends are stored", async || {
        let count = "SELECT count(*) FROM tenant_whatsapp_config WHERE expires_at IS NOT NULL";
        service.database.psql(count).parse::<u32>().unwrap() >= 2
    })
    .await;
    let wrong = "SELECT count(*) FROM tenant_whatsapp_config WHERE expires_at IS NOT NULL
        AND expires_at NOT BETWEEN now() + interval '50 days' - interval '10 minutes' AND now() + interval '50 days'";
    assert_eq!(service.database.psql(wrong), "0");
    let stored = "SELECT access_token FROM tenant_whatsapp_config WHERE expires_at IS NOT NULL LIMIT 1";
    assert_eq!(unseal(&service.database.psql(stored)), token, "the token is the same");
    assert_eq!(service.graph.sim.counts().exchanges, 0);
    sidecar.assert_reveals_none_of(&[&token]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_that_graph_reports_is_known_after_the_tenant_of_a_file_was_closed() {
    const SOON: &str = "graphward_tokens{state=\"ends_1d\"} 1";
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let tokens = dir.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let token = graph.sim.issue(Some(Duration::from_secs(20 * 60 * 60)));
    fs::write(tokens.join("acme"), token).unwrap();
    let place = "file = \"tokens/{tenant}\"\nidle = \"1s\"";
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), place)).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(me(&mut client, "acme").await.status, 200);
    let answer = send(sidecar.admin, "POST /admin/refresh-token?tenant=acme", LOCAL, "");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(sidecar.metrics().await.contains(SOON), "Graph was asked when it ends");
    let status = || send(sidecar.admin, "GET /admin/token-status?tenant=acme", LOCAL, "").json()["tenants"][0].clone();
    wait_until("the tenant is closed", async || {
        status()["reason"]
            .as_str()
            .unwrap()
            .contains("no request for it lately")
    })
    .await;
    let status = status();
    assert_eq!(
        (&status["state"], &status["expiry"]),
        (&"ends_1d".into(), &"at".into()),
        "{status}"
    );
    assert!(sidecar.metrics().await.contains(SOON));
}
