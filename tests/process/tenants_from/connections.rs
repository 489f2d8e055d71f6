//! The connections of a process to the database of its tenants: two at rest, and one more for each renewal that runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fake_graph::{Effect, EndpointKind, Fault};
use graphward::net::Tasks;
use tokio::task::AbortHandle;

use super::support::{Service, assert_is, insertion, issue, me};
use crate::support::{Client, together, wait_until};

/// One that listens and reads the table, and one that reads single rows.
const AT_REST: i64 = 2;
const RENEWALS: usize = 4;
/// More than are renewed at the same time.
const TENANTS: usize = 12;

/// The number of connections of graphward, counted until this is dropped.
struct ConnectionCount {
    most: Arc<AtomicI64>,
    counting: AbortHandle,
}

// === impl ConnectionCount ===

impl ConnectionCount {
    /// Counts from now on, over a connection that is not counted. One that begins while another one of graphward's ends is not
    /// one more, so what is younger than the end of a session may take is left out.
    async fn start(service: &Service) -> Self {
        let (session, connection) = tokio_postgres::connect(&service.database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        let (tasks, most) = (Tasks::default(), Arc::new(AtomicI64::new(0)));
        drop(tasks.spawn(connection));
        let counted = Arc::clone(&most);
        let counting = tasks.spawn(async move {
            let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND application_name = 'graphward' AND backend_start < clock_timestamp() - interval '500 ms'";
            while let Ok(row) = session.query_one(count, &[]).await {
                counted.fetch_max(row.get(0), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { most, counting }
    }

    fn most(&self) -> i64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.counting.abort();
    }
}

fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

/// A service with tenants whose tokens are due.
async fn service_with_due_tokens() -> (Service, Vec<String>) {
    let service = Service::start().await;
    let insert = |tenant| {
        let (phone, account) = (format!("{}", 5_000 + tenant), format!("{}", 6_000 + tenant));
        service.insert(&name(tenant), &phone, &account)
    };
    let tokens: Vec<_> = (0..TENANTS).map(insert).collect();
    for token in &tokens {
        service.graph.set_due_for_hours(token);
    }
    service
        .database
        .psql("UPDATE tenant_whatsapp_config SET expires_at = now() + interval '6 seconds'");
    (service, tokens)
}

/// Looks up a tenant that the table does not announce.
async fn look_up(service: &Service, client: &mut Client, tenant: &str) {
    let token = issue(&service.graph, tenant, &[]);
    let insert = insertion(tenant, "300", "300", &token);
    service
        .database
        .psql(&format!("SET session_replication_role = replica; {insert}"));
    assert_is(&me(client, tenant).await, tenant);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_has_two_connections_at_rest_and_one_more_for_each_renewal() {
    let _turn = together().await;
    let (service, old) = service_with_due_tokens().await;
    let held = Fault::once(Effect::Hold).times(RENEWALS as u32);
    service.graph.sim.inject_fault_on(EndpointKind::Exchange, held);
    let count = ConnectionCount::start(&service).await;
    let (_dir, sidecar) = service.sidecar("[token]\nrenew = { exchange = {} }\n").await;
    wait_until("as many renewals run as may", async || {
        service.graph.sim.counts().exchanges == RENEWALS as u64
    })
    .await;
    let mut client = Client::connect(sidecar.proxy).await;
    look_up(&service, &mut client, "new").await;
    // Another session has the rows, so that each store waits.
    let (other, connection) = tokio_postgres::connect(&service.database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    drop(Tasks::default().spawn(connection));
    other
        .batch_execute("BEGIN; SELECT 1 FROM tenant_whatsapp_config FOR UPDATE")
        .await
        .unwrap();
    service.graph.sim.release_held(RENEWALS);
    wait_until("a store waits", async || {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        service.database.psql(waiting) != "0"
    })
    .await;
    look_up(&service, &mut client, "newer").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    other.batch_execute("COMMIT").await.unwrap();
    wait_until("each token is renewed and stored", async || {
        let mut tokens = old.iter().enumerate();
        tokens.all(|(tenant, old)| service.token_of(&name(tenant)) != *old)
    })
    .await;
    assert_eq!(count.most(), AT_REST + RENEWALS as i64);

    wait_until("the renewals have ended", async || {
        service.connections() as i64 <= AT_REST
    })
    .await;
    let count = ConnectionCount::start(&service).await;
    look_up(&service, &mut client, "newest").await;
    wait_until("the connection that reads rows is counted", async || count.most() > 1).await;
    for tenant in (0..TENANTS).map(name) {
        assert_is(&me(&mut client, &tenant).await, &tenant);
    }
    assert_eq!(count.most(), AT_REST);
}
