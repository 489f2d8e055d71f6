//! Many tenants under random traffic: no request reaches Graph with the token of another tenant.

mod answer;
mod call;
mod connections;
mod fleet;
mod progress;
mod table_changes;
mod tokens;

use std::env;
use std::sync::atomic::Ordering;

use answer::{PLACES, Tally};
use call::Call;
use connections::{Connections, Doors, socket};
use fastrand::Rng;
use futures_util::future::{Either, join, join_all, select};
use progress::{CLIENTS, Progress};
use tokens::{DEAD, Place, TENANTS, Tokens, name, phone};

use crate::support::{Graph, Sidecar, fact, tls_settings, together};
use crate::tenants_from::support::{Service, app_config};

/// The number of requests; `tests/run soak` sets a larger one.
const REQUESTS_VARIABLE: &str = "GRAPHWARD_ISOLATION_REQUESTS";
const REQUESTS: u64 = 20_000;
/// The same for tenants of a table, where a swap takes longer.
const TABLE_REQUESTS: u64 = 8_000;
/// A replaced token is found sooner than a hold ends, on any machine. Requests for dead tokens are held so long at first.
const HEAL: &str = "[heal]\ntoken_wait = \"60s\"\nhold_timeout = \"20s\"\n";
const LINKS: &str = "[links]\npaging = true\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_tenants_under_random_traffic_and_swaps_never_send_the_token_of_another() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let tokens = Tokens::new(&graph, Place::Files(dir.path().to_owned()));
    let mut config = app_config(&graph, dir.path()) + HEAL + LINKS + &tls_settings(dir.path());
    for tenant in 0..TENANTS {
        let (name, phone, socket) = (name(tenant), phone(tenant), socket(dir.path(), tenant));
        let section = format!(
            "[tenants.{name}]\nids = [\"{phone}\"]\nsource = {{ file = \"{name}\" }}\nlisten = \"unix:{}\"\n",
            socket.display()
        );
        config.push_str(&section);
    }
    let sidecar = Sidecar::start(dir.path(), &config).await;
    let mut doors = Doors::new(&sidecar, dir.path());
    doors.sockets = Some(dir.path().to_owned());
    send_and_replace(&graph, &doors, tokens, number(REQUESTS_VARIABLE, REQUESTS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_tenants_of_a_table_under_random_traffic_and_swaps_never_send_the_token_of_another() {
    let _turn = together().await;
    let service = Service::start().await;
    let tokens = Tokens::new(&service.graph, Place::Table(&service));
    let tls_dir = tempfile::tempdir().unwrap();
    let tls = tls_settings(tls_dir.path());
    let settings = format!("{HEAL}{LINKS}{tls}[token]\nrenew = {{ exchange = {{}} }}\n");
    let (_dir, sidecar) = service.sidecar(&settings).await;
    let doors = Doors::new(&sidecar, tls_dir.path());
    send_and_replace(
        &service.graph,
        &doors,
        tokens,
        number(REQUESTS_VARIABLE, TABLE_REQUESTS),
    )
    .await;
}

fn number(variable: &str, default: u64) -> u64 {
    env::var_os(variable).map_or(default, |number| number.to_str().unwrap().parse().unwrap())
}

/// Sends so many requests while the tokens are replaced.
async fn send_and_replace(graph: &Graph, doors: &Doors, tokens: Tokens<'_>, requests: u64) {
    let seed = fastrand::u64(..);
    fact(&format!("isolation: {requests} requests, seed {seed}"));
    let mut seeds = Rng::with_seed(seed);
    let (progress, tally) = (Progress::new(requests), Tally::default());
    let clients = join_all((0..CLIENTS).map(|client| {
        let (mut rng, progress, tally) = (seeds.fork(), &progress, &tally);
        async move {
            let mut connections = Connections::open(doors).await;
            while progress.begin() {
                let target = rng.usize(DEAD..TENANTS);
                let call = Call::random(target, doors, &mut rng);
                call.send(&mut connections, tally).await.unwrap();
                progress.answered(client);
            }
            progress.ended(client);
        }
    }));
    // Requests for tenants with dead tokens are held at first, so that they have clients of their own.
    let dead_clients = join_all((0..DEAD).map(|target| {
        let (mut rng, progress, tally) = (seeds.fork(), &progress, &tally);
        async move {
            let mut connections = Connections::open(doors).await;
            while progress.begin() {
                let call = Call::random(target, doors, &mut rng);
                call.send(&mut connections, tally).await.unwrap();
            }
        }
    }));
    let replacing = Box::pin(tokens.replace_forever(seeds.fork(), &progress));
    let sending = Box::pin(join(clients, dead_clients));
    assert!(matches!(select(sending, replacing).await, Either::Left(_)));

    let issued = graph.sim.counts().issued;
    fact(&format!("isolation: {tally:?}, {issued} tokens"));
    assert_eq!(graph.sim.violations(), []);
    for used in graph.sim.object_uses() {
        let tenant = used.token.strip_prefix("tenant-").unwrap().parse().unwrap();
        assert_eq!(used.object, phone(tenant), "{used:?}");
    }
    let counts = [&tally.own_token, &tally.dead_token, &tally.mixed, &tally.messages];
    let [own_token, dead_token, mixed, messages] = counts.map(|count| count.load(Ordering::Relaxed));
    assert_eq!(own_token + dead_token + mixed, requests);
    assert_eq!(graph.sim.counts().accepted, messages, "each message once");
    assert!(dead_token > 0 && mixed > requests / 8, "{tally:?}");
    let mut places: Vec<_> = PLACES.into();
    places.extend(doors.sockets.as_ref().map(|_| "Listener"));
    places.sort_unstable();
    assert_eq!(tally.tried_places(), places);
    assert!(issued > TENANTS as u64, "tokens were replaced meanwhile");
}
