//! Many tenants under random traffic: no request reaches Graph with the token of another tenant.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fake_graph::TokenChange;
use fastrand::Rng;
use futures_util::future::{Either, join_all, select};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use crate::support::{
    APP_SECRET, Body, Client, Graph, Sidecar, TestResponse, fact, get, network_settings, replace_file, together,
    wait_until,
};

/// The number of requests; `tests/run soak` sets a larger one.
const REQUESTS_VARIABLE: &str = "GRAPHWARD_ISOLATION_REQUESTS";
const REQUESTS: u64 = 20_000;
const TENANTS: usize = 64;
/// The first of them have dead tokens all the time.
const DEAD: usize = 4;
const CLIENTS: usize = 32;
const ENDED: u64 = u64::MAX;
const KINDS: [SignKind; 5] = [
    SignKind::Header,
    SignKind::Bearer,
    SignKind::Query,
    SignKind::Prefix,
    SignKind::Body,
];

/// A call of one tenant's app.
struct Call {
    kind: CallKind,
    /// The tenant whose phone number it names, unless it names none.
    target: usize,
    /// What else names a tenant.
    signs: Vec<(SignKind, usize)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CallKind {
    /// The only one that names no phone number.
    Me,
    Number,
    Ids,
    Message,
    Batch,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SignKind {
    Header,
    Bearer,
    Query,
    Prefix,
    Body,
}

/// The tenants' tokens: at Graph, and in the files of the sidecar.
struct Tokens<'a> {
    graph: &'a Graph,
    dir: PathBuf,
    current: Vec<String>,
}

/// How far the clients are.
struct Progress {
    begun: AtomicU64,
    limit: u64,
    /// The number of answers that each client has, or `ENDED`.
    answered: Vec<AtomicU64>,
}

/// What the answers were.
#[derive(Debug, Default)]
struct Tally {
    own_token: AtomicU64,
    dead_token: AtomicU64,
    mixed: AtomicU64,
    messages: AtomicU64,
}

fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

fn phone(tenant: usize) -> String {
    format!("{}", 5_000 + tenant)
}

// === impl Call ===

impl Call {
    /// A random call. A quarter has a sign of one more tenant.
    fn random(rng: &mut Rng) -> Self {
        let target = rng.usize(..TENANTS);
        let kinds = [
            CallKind::Me,
            CallKind::Number,
            CallKind::Ids,
            CallKind::Message,
            CallKind::Batch,
        ];
        let kind = kinds[rng.usize(..kinds.len())];
        let possible = if matches!(kind, CallKind::Message | CallKind::Batch) {
            &KINDS[..]
        } else {
            &KINDS[..4]
        };
        let mut signs: Vec<_> = possible.iter().map(|kind| (*kind, target)).collect();
        signs.retain(|_| rng.u8(..3) == 0);
        if kind == CallKind::Me && signs.is_empty() {
            signs.push((SignKind::Header, target));
        }
        if rng.u8(..4) == 0 {
            let other = (target + rng.usize(1..TENANTS)) % TENANTS;
            let sign = possible[rng.usize(..possible.len())];
            signs.retain(|(kind, _)| *kind != sign);
            signs.push((sign, other));
        }
        Self { kind, target, signs }
    }

    /// The one tenant that it is for; `None` if it names two.
    fn tenant(&self) -> Option<usize> {
        let target = (self.kind != CallKind::Me).then_some(self.target);
        let mut named = self.signs.iter().map(|(_, tenant)| *tenant).chain(target);
        let first = named.next()?;
        named.all(|other| other == first).then_some(first)
    }

    fn request(&self) -> Request<Body> {
        let phone = phone(self.target);
        let (method, path, body) = match self.kind {
            CallKind::Me => ("GET", "/v26.0/me?fields=id,name".to_owned(), None),
            CallKind::Number => ("GET", format!("/v26.0/{phone}?fields=id"), None),
            CallKind::Ids => ("GET", format!("/v26.0/?ids={phone}"), None),
            CallKind::Message => {
                let text = json!({"body": "hello"});
                let message =
                    json!({"messaging_product": "whatsapp", "to": "15550100200", "type": "text", "text": text});
                ("POST", format!("/v26.0/{phone}/messages?x=1"), Some(message))
            }
            CallKind::Batch => {
                let item = json!({"method": "GET", "relative_url": format!("v26.0/{phone}?fields=id")});
                ("POST", "/v26.0/?x=1".to_owned(), Some(json!({"batch": [item, item]})))
            }
        };
        let (mut path, mut body) = (path, body);
        let mut request = Request::builder().method(method);
        for (kind, tenant) in &self.signs {
            let slot = format!("tenant:{}", name(*tenant));
            match kind {
                SignKind::Header => request = request.header("x-tenant-id", name(*tenant)),
                SignKind::Bearer => request = request.header("authorization", format!("Bearer {slot}")),
                SignKind::Query => write!(path, "&access_token={slot}").unwrap(),
                SignKind::Prefix => path.insert_str(0, &format!("/-/{}", name(*tenant))),
                SignKind::Body => body.as_mut().unwrap()["access_token"] = json!(slot),
            }
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        request
            .uri(path)
            .header("content-type", "application/json")
            .body(Full::new(body).boxed())
            .unwrap()
    }

    /// Fails unless this is the answer for the tenant that the call names, or the refusal if it names two.
    fn check(&self, response: &TestResponse, tally: &Tally) {
        let (status, body) = (response.status, response.json());
        let context = || format!("{:?} for {}, {:?}: {status} {body}", self.kind, self.target, self.signs);
        let Some(tenant) = self.tenant() else {
            let answer = (status, body["error"]["code"].as_i64());
            assert_eq!(answer, (403, Some(990_027)), "{}", context());
            tally.mixed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if tenant < DEAD {
            assert_eq!(body["error"]["code"], 190, "{}", context());
            tally.dead_token.fetch_add(1, Ordering::Relaxed);
            return;
        }
        assert_eq!(status, 200, "{}", context());
        match self.kind {
            CallKind::Me => assert_eq!(body["name"], name(tenant), "{}", context()),
            CallKind::Number => assert_eq!(body["id"], phone(tenant), "{}", context()),
            CallKind::Ids => assert_eq!(body[phone(tenant)]["id"], phone(tenant), "{}", context()),
            CallKind::Message => {
                tally.messages.fetch_add(1, Ordering::Relaxed);
            }
            // graphward delivers the answer to a batch as it is, even if the token dies between its items.
            CallKind::Batch => {
                for item in body.as_array().unwrap() {
                    let content: Value = serde_json::from_str(item["body"].as_str().unwrap()).unwrap();
                    let is_answered = content["id"] == phone(tenant) || content["error"]["code"] == 190;
                    assert!(is_answered, "{}", context());
                }
            }
        }
        tally.own_token.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Tokens ===

impl<'a> Tokens<'a> {
    fn new(graph: &'a Graph, dir: &Path) -> Self {
        let mut tokens = Self {
            graph,
            dir: dir.to_owned(),
            current: Vec::new(),
        };
        for tenant in 0..TENANTS {
            tokens.current.push(String::new());
            tokens.replace(tenant);
        }
        for token in &tokens.current[..DEAD] {
            graph.sim.expire(token);
        }
        tokens
    }

    /// Puts a new token in place of a tenant's, which stays as it is.
    fn replace(&mut self, tenant: usize) {
        let token = self.graph.sim.issue(None);
        let change = TokenChange {
            target_ids: Some(vec![phone(tenant)]),
            name: Some(name(tenant)),
            ..TokenChange::default()
        };
        assert!(self.graph.sim.update_token(&token, change));
        replace_file(&self.dir.join(name(tenant)), &token);
        self.current[tenant] = token;
    }

    /// Replaces the tokens of all tenants, again and again. A third dies after it was replaced, a third at the moment, and a
    /// third before, so that its requests are held meanwhile.
    async fn replace_forever(mut self, mut rng: Rng, progress: &Progress) {
        let mut tenants: Vec<_> = (DEAD..TENANTS).collect();
        loop {
            rng.shuffle(&mut tenants);
            for tenant in &tenants {
                let old = self.current[*tenant].clone();
                match rng.u8(..3) {
                    0 => {
                        self.replace(*tenant);
                        progress.wait_for_requests(20).await;
                        self.graph.sim.expire(&old);
                    }
                    1 => {
                        self.graph.sim.expire(&old);
                        self.replace(*tenant);
                    }
                    _ => {
                        self.graph.sim.expire(&old);
                        progress.wait_for_requests(50).await;
                        self.replace(*tenant);
                    }
                }
                progress.wait_for_requests(20).await;
            }
            // A request is sent at most twice, so it must not see two tokens die.
            progress.wait_for_all_in_flight().await;
        }
    }
}

// === impl Progress ===

impl Progress {
    fn new(limit: u64) -> Self {
        Self {
            begun: AtomicU64::new(0),
            limit,
            answered: (0..CLIENTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Returns whether a client has one more request to send.
    fn begin(&self) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed) < self.limit
    }

    /// Waits until this many more requests have begun, or there are no more.
    async fn wait_for_requests(&self, count: u64) {
        let until = (self.begun.load(Ordering::Relaxed) + count).min(self.limit);
        wait_until("the clients go on", async || {
            self.begun.load(Ordering::Relaxed) >= until
        })
        .await;
    }

    /// Waits until each request that is in flight now has its answer.
    async fn wait_for_all_in_flight(&self) {
        let before: Vec<_> = self
            .answered
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        wait_until("each client has one more answer", async || {
            let mut pairs = self.answered.iter().zip(&before);
            pairs.all(|(count, before)| *before == ENDED || count.load(Ordering::Relaxed) > *before)
        })
        .await;
    }

    /// One client: random calls, one after the other.
    async fn send_all(&self, client: usize, sidecar: &Sidecar, mut rng: Rng, tally: &Tally) {
        let mut connection = Client::connect(sidecar.proxy).await;
        while self.begin() {
            let call = Call::random(&mut rng);
            let response = connection.send(call.request()).await;
            call.check(&response, tally);
            self.answered[client].fetch_add(1, Ordering::Relaxed);
        }
        self.answered[client].store(ENDED, Ordering::Relaxed);
    }
}

fn config(graph: &Graph, dir: &Path) -> String {
    std::fs::write(dir.join("secret"), APP_SECRET).unwrap();
    let mut config = format!(
        r#"{}
[app]
id = "1234567890123456"
secret = {{ file = "secret" }}
[routing]
header = "X-Tenant-Id"
[heal]
token_wait = "60s"
hold_timeout = "60s"
"#,
        network_settings(graph),
    );
    for tenant in 0..TENANTS {
        let (name, phone) = (name(tenant), phone(tenant));
        let section = format!("[tenants.{name}]\nids = [\"{phone}\"]\nsource = {{ file = \"{name}\" }}\n");
        config.push_str(&section);
    }
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_tenants_under_random_traffic_and_swaps_never_send_the_token_of_another() {
    let _turn = together().await;
    let requests = env::var_os(REQUESTS_VARIABLE).map_or(REQUESTS, |number| number.to_str().unwrap().parse().unwrap());
    let seed = fastrand::u64(..);
    fact(&format!("isolation: {requests} requests, seed {seed}"));
    let mut seeds = Rng::with_seed(seed);
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::new(&graph, dir.path());
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path())).await;
    wait_until("each tenant's token has been read", async || {
        let status = get(sidecar.admin, "/admin/token-status").await.json();
        status["tokens"]["usable"] == TENANTS - DEAD
    })
    .await;

    let (progress, tally) = (Progress::new(requests), Tally::default());
    let clients = join_all((0..CLIENTS).map(|client| progress.send_all(client, &sidecar, seeds.fork(), &tally)));
    let replacing = Box::pin(tokens.replace_forever(seeds.fork(), &progress));
    assert!(matches!(select(Box::pin(clients), replacing).await, Either::Left(_)));

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
    assert!(issued > TENANTS as u64, "tokens were replaced meanwhile");
}
