//! Processes that share a table: each token is renewed once, and none is lost when one of them is killed.

use fake_graph::{Effect, EndpointKind, Fault};
use graphward::net::Tasks;
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::support::{Service, assert_is, me, table_settings};
use crate::support::{Client, Sidecar, fact, fingerprint, together, wait_until};

/// So many tenants, so that the processes share their renewals.
const TENANTS: usize = 8;
const PROCESSES: usize = 3;
/// The most renewals of a process at the same time.
const RENEWALS: usize = 4;
const RENEW: &str = "[token]\nrenew = { exchange = {} }\n";

fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

/// Inserts tenants whose tokens never end.
fn insert(service: &Service, tenants: usize) -> Vec<String> {
    let insert = |tenant| {
        service.insert(
            &name(tenant),
            &format!("{}", 5_000 + tenant),
            &format!("{}", 6_000 + tenant),
        )
    };
    (0..tenants).map(insert).collect()
}

/// Lets the tokens end in a few seconds. Graph accepts them longer, so that a busy machine changes nothing.
fn make_due(service: &Service, tokens: &[String]) {
    for token in tokens {
        service.graph.set_nearly_expired(token);
    }
    service
        .database
        .psql("UPDATE tenant_whatsapp_config SET expires_at = now() + interval '6 seconds'");
}

/// Waits until the row of each tenant has another token.
async fn wait_until_renewed(service: &Service, old: &[String]) {
    wait_until("each token is renewed and stored", async || {
        let mut tokens = old.iter().enumerate();
        tokens.all(|(tenant, old)| service.token_of(&name(tenant)) != *old)
    })
    .await;
}

/// Fails unless this process uses the token in the row of each tenant.
async fn assert_uses_rows(service: &Service, sidecar: &Sidecar, tenants: usize) {
    let mut client = Client::connect(sidecar.proxy).await;
    for tenant in (0..tenants).map(name) {
        let in_row = fingerprint(&service.token_of(&tenant));
        wait_until("the token in the row is used", async || {
            assert_is(&me(&mut client, &tenant).await, &tenant);
            service.graph.last_data_fingerprint().as_ref() == Some(&in_row)
        })
        .await;
    }
}

/// Fails unless all processes go on with the tokens in the rows when the old ones have ended, and each of these is the newest
/// that Graph has issued for its tenant. Returns how often each was renewed.
async fn assert_newest_in_use(service: &Service, sidecars: &[(TempDir, Sidecar)], old: &[String]) -> Vec<usize> {
    for (_dir, sidecar) in sidecars {
        assert_uses_rows(service, sidecar, old.len()).await;
    }
    for token in old {
        assert!(service.graph.sim.expire(token));
    }
    for (_dir, sidecar) in sidecars {
        assert_uses_rows(service, sidecar, old.len()).await;
    }
    let sim = &service.graph.sim;
    assert_eq!((sim.violations(), sim.rejected()), (vec![], 0));
    let renewals = (0..old.len()).map(|tenant| {
        let issued = sim.tokens_named(&name(tenant));
        assert_eq!(issued.last(), Some(&service.token_of(&name(tenant))), "tenant {tenant}");
        for (_dir, sidecar) in sidecars {
            assert_goes_forward(sidecar, &name(tenant), &issued);
        }
        issued.len() - 1
    });
    renewals.collect()
}

/// Fails if a process has used an older token after a newer one.
fn assert_goes_forward(sidecar: &Sidecar, tenant: &str, issued: &[String]) {
    let events = sidecar.log_events();
    let taken = events
        .iter()
        .filter(|event| event["message"] == "using a new token" && event["tenant"] == tenant);
    let positions = taken.map(|event| {
        let position = issued
            .iter()
            .position(|token| event["fingerprint"] == fingerprint(token));
        position.unwrap()
    });
    let positions: Vec<_> = positions.collect();
    assert!(
        !positions.is_empty() && positions.is_sorted(),
        "{tenant}: {positions:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_renew_each_token_once_without_any_request() {
    let _turn = together().await;
    let service = Service::start().await;
    let old = insert(&service, TENANTS);
    make_due(&service, &old);
    let mut sidecars = Vec::new();
    for _ in 0..PROCESSES {
        sidecars.push(service.sidecar(RENEW).await);
    }
    wait_until_renewed(&service, &old).await;
    assert_eq!(service.graph.sim.attempts(), 0, "no app has sent a request");
    let renewals = assert_newest_in_use(&service, &sidecars, &old).await;
    assert_eq!(renewals, [1; TENANTS]);
}

/// Another session, which does not end by itself, takes the renewal locks of these tenants.
async fn take_locks(service: &Service, names: impl Iterator<Item = String>) -> tokio_postgres::Client {
    let dir = tempfile::tempdir().unwrap();
    let settings = table_settings(dir.path(), &service.database.url());
    let query = settings.split("\"\"\"").nth(1).unwrap().trim_start_matches('\n');
    let (session, connection) = tokio_postgres::connect(&service.database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    drop(Tasks::default().spawn(connection));
    for name in names {
        let mut digest = Sha256::new_with_prefix(b"graphward's claim to mint\0");
        for text in [query, &name] {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        let key = i64::from_be_bytes(digest.finalize()[..8].try_into().unwrap());
        let lock = format!("SELECT pg_advisory_lock({key})");
        session.batch_execute(&lock).await.unwrap();
    }
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_goes_on_to_the_next_tokens_at_once_when_others_renew_the_first_ones() {
    let _turn = together().await;
    let service = Service::start().await;
    let old = insert(&service, 4 * TENANTS);
    let (locked, free) = old.split_at(old.len() - RENEWALS);
    let replica = take_locks(&service, (0..locked.len()).map(name)).await;
    make_due(&service, &old);
    for token in &old {
        service.graph.set_due_for_hours(token);
    }
    let sidecar = service.sidecar(RENEW).await;
    wait_until("the others are renewed", async || {
        let mut tokens = free.iter().zip(locked.len()..);
        tokens.all(|(old, tenant)| service.token_of(&name(tenant)) != *old)
    })
    .await;
    assert_eq!(service.graph.sim.counts().exchanges, free.len() as u64);
    drop(replica);
    wait_until_renewed(&service, &old).await;
    let renewals = assert_newest_in_use(&service, &[sidecar], &old).await;
    assert_eq!(renewals, vec![1; old.len()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_was_renewing_the_others_renew_once_more_and_nothing_else() {
    let _turn = together().await;
    let service = Service::start().await;
    let old = insert(&service, TENANTS);
    let mut sidecars = Vec::new();
    for _ in 1..PROCESSES {
        sidecars.push(service.sidecar(RENEW).await);
    }
    let killed = service.sidecar(RENEW).await;
    // Graph has issued the tokens, and its answers do not arrive. The other processes are suspended, so that these are of one.
    let held = Fault::once(Effect::Hold).times(RENEWALS as u32).after_handling();
    service.graph.sim.inject_fault_on(EndpointKind::Exchange, held);
    for (_dir, sidecar) in &sidecars {
        sidecar.signal(Signal::STOP);
    }
    make_due(&service, &old);
    wait_until("it renews as many tokens as it may", async || {
        service.graph.sim.counts().exchanges == RENEWALS as u64
    })
    .await;
    for (_dir, sidecar) in &sidecars {
        sidecar.signal(Signal::CONT);
    }
    // SIGKILL
    drop(killed);
    service.graph.sim.release_held(RENEWALS);
    wait_until_renewed(&service, &old).await;
    let mut renewals = assert_newest_in_use(&service, &sidecars, &old).await;
    renewals.sort_unstable();
    assert_eq!(renewals, [1, 1, 1, 1, 2, 2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_at_any_moment_leaves_only_unstored_tokens_to_be_renewed_again() {
    let _turn = together().await;
    let service = Service::start().await;
    let old = insert(&service, 3 * TENANTS);
    let killed = service.sidecar(RENEW).await;
    make_due(&service, &old);
    let some = fastrand::u64(1..old.len() as u64);
    fact(&format!("kill -9 after {some} of {} renewals have begun", old.len()));
    wait_until("it has begun to renew some", async || {
        service.graph.sim.counts().exchanges >= some
    })
    .await;
    drop(killed);
    // What it had sent to PostgreSQL may be stored even after its end.
    wait_until("its connections are closed", async || service.connections() == 0).await;
    let is_stored = |(tenant, old): (usize, &String)| service.token_of(&name(tenant)) != *old;
    let stored: Vec<bool> = old.iter().enumerate().map(is_stored).collect();
    let mut sidecars = Vec::new();
    for _ in 1..PROCESSES {
        sidecars.push(service.sidecar(RENEW).await);
    }
    wait_until_renewed(&service, &old).await;
    let renewals = assert_newest_in_use(&service, &sidecars, &old).await;
    let again = renewals.iter().filter(|renewals| **renewals == 2).count();
    fact(&format!("{again} are renewed again"));
    assert!(again <= RENEWALS, "{renewals:?}");
    for (tenant, (renewals, is_stored)) in renewals.iter().zip(stored).enumerate() {
        let most = if is_stored { 1 } else { 2 };
        assert!(
            (1..=most).contains(renewals),
            "tenant {tenant}: {renewals}, {is_stored}"
        );
    }
}
