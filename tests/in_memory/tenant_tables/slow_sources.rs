//! A credential service that is slow for some tenants, and sources that many tenants with dead tokens need.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use graphward::net::HttpClient;
use graphward::source::TenantTemplate;
use graphward::types::Clock;
use http::{HeaderMap, Response};
use serde_json::json;
use tokio::time::Instant;

use super::*;

/// A proxy whose tenants are those of a service. It never answers for a name that begins with `slow`.
async fn start_with_service() -> (TestProxy, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let answer = move |request: http::Request<Bytes>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let is_slow = request.uri().path().starts_with("/slow");
        async move {
            if is_slow {
                std::future::pending::<()>().await;
            }
            let answer = json!({ "accessToken": NEW_TOKEN });
            Ok(Response::new(Bytes::from(answer.to_string())))
        }
    };
    let client = HttpClient::from_fn(answer, Duration::from_secs(5));
    let config = json!({ "http": "http://tenants/{tenant}", "pointer": "/accessToken" });
    let config = serde_json::from_value(config).unwrap();
    let template = TenantTemplate::http(&config, HeaderMap::new(), client, Clock::system()).unwrap();
    let proxy = TestProxyBuilder::new()
        .with(|config| config.routing.header = Some("x-tenant-id".to_owned()))
        .with_table(template);
    let proxy = proxy.start().await;
    proxy.graph.accept(NEW_TOKEN);
    (proxy, calls)
}

/// Does this beside requests for 150 slow tenants, and returns how many of those have ended by then.
async fn beside_slow_tenants(proxy: &TestProxy, work: impl Future<Output = ()>) -> usize {
    let names: Vec<_> = (0..150).map(|number| format!("slow{number}")).collect();
    let mut storm: FuturesUnordered<_> = names.iter().map(|name| get_for(proxy, name)).collect();
    let mut work = pin!(work);
    loop {
        tokio::select! {
            () = &mut work => return names.len() - storm.len(),
            Some(refused) = storm.next() => assert_eq!(refused.code(), 990_003),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_requests_of_tenants_are_served_beside_more_slow_ones_than_there_are_places() {
    let (proxy, _calls) = start_with_service().await;
    let first_requests = async {
        sleep(Duration::from_millis(10)).await;
        for number in 0..20 {
            assert_sent_with(&proxy, &format!("well{number}"), NEW_TOKEN).await;
        }
    };
    let ended = beside_slow_tenants(&proxy, first_requests).await;
    assert!(ended < 110, "{ended}: 32 are called, and others wait");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_known_does_not_wait_for_slow_ones_although_it_was_closed() {
    let (proxy, calls) = start_with_service().await;
    assert_sent_with(&proxy, "well", NEW_TOKEN).await;
    sleep(Duration::from_secs(20 * 60)).await;
    let before = calls.load(Ordering::Relaxed);
    let next_request = async {
        sleep(Duration::from_millis(10)).await;
        let started_at = Instant::now();
        assert_sent_with(&proxy, "well", NEW_TOKEN).await;
        assert!(
            started_at.elapsed() < Duration::from_millis(100),
            "{:?}",
            started_at.elapsed()
        );
    };
    beside_slow_tenants(&proxy, next_request).await;
    assert_eq!(calls.load(Ordering::Relaxed) - before, 17, "16 slow ones, and this one");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn tenants_that_stay_without_a_valid_token_read_their_rows_ever_less_often() {
    const TENANTS: usize = 500;
    let table = ScriptedTable::default();
    let names: Vec<_> = (0..TENANTS).map(|number| format!("t{number}")).collect();
    for name in &names {
        table.set_faulty(name, "no configured Fernet key decrypts it");
    }
    let proxy = start(&table).await;
    for some in names.chunks(50) {
        let responses = join_all(some.iter().map(|name| get_for(&proxy, name))).await;
        assert!(responses.iter().all(|response| response.status == 503), "{responses:?}");
    }
    let before = table.row_reads();
    sleep(Duration::from_secs(5 * 60)).await;
    let reads = (table.row_reads() - before) / TENANTS;
    // Some ten looks, and a refresh each minute.
    assert!((5..25).contains(&reads), "{reads} reads of each row in five minutes");

    table.set("unlisted", NEW_TOKEN, &[]);
    assert_sent_with(&proxy, "unlisted", NEW_TOKEN).await;
    // Nothing is announced.
    table.set("t7", NEW_TOKEN, &[]);
    sleep(Duration::from_secs(35)).await;
    assert_sent_with(&proxy, "t7", NEW_TOKEN).await;
    proxy.shutdown().await;
}
