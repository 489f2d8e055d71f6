use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Response;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::super::build::{ProxyDeps, build_proxy};
use super::super::tenant_look_ups::LookUps;
use super::*;
use crate::config::{EnvVars, Overrides};
use crate::net::{HttpClient, Tasks};
use crate::proxy::LazyTenant;
use crate::telemetry::metrics::Metrics;
use crate::token::{BoxFuture, TokenHandle};
use crate::types::{Clock, Secret};

/// A table without rows: those of the tests are in their cells.
#[derive(Debug)]
struct NoRows;

impl TenantRows for NoRows {
    fn describe(&self, tenant: &TenantId) -> String {
        format!("table, tenant {tenant}")
    }

    fn read_row<'a>(&'a self, _tenant: &'a TenantId) -> BoxFuture<'a, Result<Option<TenantRow>, ObtainError>> {
        Box::pin(async { Ok(None) })
    }
}

/// The tenants of a table, and what lives as long as they do.
struct Fixture {
    tenants: Arc<RowTenants>,
    _proxy: Arc<Proxy>,
}

/// The renewals, and the inspections, at the same time.
const RENEWALS: u8 = 4;

impl Fixture {
    /// Tenants that ask Graph with this client.
    fn new(graph_client: HttpClient) -> Self {
        let flags = Overrides {
            config: Some(PathBuf::from("/dev/null")),
            ..Overrides::default()
        };
        let config = Config::load(flags, &EnvVars::new()).unwrap().config;
        let context = BuildContext::new(&config, Tasks::default(), Clock::system(), Metrics::new());
        let mut context = context.unwrap();
        context.graph_client = graph_client;
        let deps = ProxyDeps {
            connector: None,
            max_inflight: 1,
            context: &context,
            tenants: &[],
            addresses: &[],
        };
        let proxy = Arc::new(build_proxy(&config, deps).unwrap());
        let rows: Arc<dyn TenantRows> = Arc::new(NoRows);
        let requests = TableRequests {
            table: mpsc::channel(1).0,
            rows: LookUps::new(Arc::clone(&rows)).0,
            reloads: mpsc::channel(1).0,
        };
        let alerts = Arc::new(ArcSwapOption::empty());
        let renewals = NonZeroU8::new(RENEWALS).unwrap();
        let tenants = RowTenants::new(rows, &config, &context, &alerts, &proxy, renewals, requests);
        Self {
            tenants: tenants.unwrap(),
            _proxy: proxy,
        }
    }

    /// The entry of a directory for a tenant.
    fn entry(&self, cell: &Arc<RowCell>) -> LazyTenant {
        LazyTenant::closed(self.tenants.opener(Arc::clone(cell)))
    }

    /// Opens tenants with these numbers.
    fn open(&self, numbers: std::ops::Range<usize>) -> Vec<(TenantId, TokenHandle)> {
        let cells = numbers.map(cell);
        let opened = cells.map(|cell| (cell.id().clone(), self.entry(&cell).get().tokens.clone()));
        opened.collect()
    }
}

fn cell(number: usize) -> Arc<RowCell> {
    let id = TenantId::new(&format!("tenant-{number}")).unwrap();
    let token = Token::without_expiry(Secret::new(&format!("EAA0of0tenant0{number}")).unwrap());
    Arc::new(RowCell::new(TenantRow::of_token(id, Ok(token)), Instant::now()))
}

/// A Graph that does not answer.
fn silent_graph() -> HttpClient {
    HttpClient::from_fn(|_request| std::future::pending(), Duration::from_secs(1))
}

#[tokio::test(start_paused = true)]
async fn the_inspections_of_all_tenants_that_are_open_share_one_limit() {
    const TENANTS: usize = 1_000;
    /// Almost as long as an inspection may take.
    const TAKES: Duration = Duration::from_millis(2_900);
    let calls = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let graph = {
        let calls = Arc::clone(&calls);
        HttpClient::from_fn(
            move |_request| {
                let calls = Arc::clone(&calls);
                async move {
                    let [running, most, all] = &*calls;
                    most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    all.fetch_add(1, Ordering::Relaxed);
                    sleep(TAKES).await;
                    running.fetch_sub(1, Ordering::Relaxed);
                    let valid = Bytes::from_static(br#"{"data":{"is_valid":true,"expires_at":0}}"#);
                    Ok(Response::new(valid))
                }
            },
            Duration::from_secs(10),
        )
    };
    let fixture = Fixture::new(graph);
    let open = fixture.open(0..TENANTS);
    for (_id, tokens) in &open {
        tokens.wait_for_first_check().await;
        assert!(tokens.is_usable(), "no request waits for an inspection");
    }
    sleep(Duration::from_secs(3 * 60 * 60)).await;
    let [_running, most, all] = &*calls;
    assert_eq!(most.load(Ordering::Relaxed), usize::from(RENEWALS));
    assert_eq!(all.load(Ordering::Relaxed), TENANTS, "and each once");
}

#[tokio::test(start_paused = true)]
async fn so_many_tenants_at_most_stay_while_they_close_and_those_that_closed_first_end() {
    const MOST: usize = 1_000;
    const MORE: usize = 50;
    let fixture = Fixture::new(silent_graph());
    let open = fixture.open(0..MOST + MORE);
    let (ids, tokens): (Vec<_>, Vec<_>) = open.into_iter().unzip();
    for tokens in &tokens {
        tokens.wait_for_first_check().await;
    }
    let ended = async || {
        // Their tasks end meanwhile.
        sleep(Duration::from_secs(1)).await;
        tokens.iter().map(TokenHandle::is_closed).collect::<Vec<_>>()
    };
    // A visit is not cut.
    let visited = &ids[0];
    fixture.tenants.change_open(visited, |row| row.is_visited = true);
    let (first, rest) = ids.split_at(MOST);
    fixture.tenants.close(first);
    assert!(ended().await.iter().all(|ended| !ended), "they are not too many");
    fixture.tenants.close(rest);
    let ended = ended().await;
    assert_eq!(ended.iter().filter(|ended| **ended).count(), MORE);
    assert!(!ended[0], "it is visited");
    assert!(ended[1..=MORE].iter().all(|ended| *ended), "they closed first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_several_directories_open_at_the_same_moment_is_opened_once() {
    const DIRECTORIES: usize = 4;
    let fixture = Fixture::new(silent_graph());
    let runtime = Handle::current();
    for round in 0..200 {
        let cell = cell(round);
        let entries: Vec<_> = (0..DIRECTORIES).map(|_| fixture.entry(&cell)).collect();
        let together = Barrier::new(DIRECTORIES);
        let open = |entry: &LazyTenant| {
            let _runtime = runtime.enter();
            together.wait();
            entry.get().tokens.clone()
        };
        let opened: Vec<TokenHandle> = thread::scope(|scope| {
            let openers: Vec<_> = entries.iter().map(|entry| scope.spawn(|| open(entry))).collect();
            openers.into_iter().map(|opener| opener.join().unwrap()).collect()
        });
        let is_same = |tokens: &TokenHandle| tokens.is_same(&opened[0]);
        assert!(opened.iter().all(is_same), "two refreshers in round {round}");
    }
}
