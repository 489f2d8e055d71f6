//! The ends of tokens whose rows do not say them: Graph is asked, and they are stored where that can be.

use std::time::Duration;

use super::support::{Service, seal, unseal};
use crate::support::{together, wait_until};

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
