//! Measures what the proxy adds to a request: time and allocations.
//!
//! The benchmark sends a small WhatsApp message over one connection, once directly to a server and once through the whole
//! proxy to the same server. All connections are pipes in memory, and all tasks share one thread, so the difference is the
//! work of the proxy.
//!
//! ```text
//! cargo bench --bench overhead [-- ROUNDS | --quick]
//! ```
//!
//! # Why
//!
//! Times differ between machines and minutes, so the benchmark only prints them. Allocations do not: the same code
//! allocates the same each time. So they have a budget, and the benchmark fails if the proxy exceeds it. `benches/run`
//! measures the rest: sockets, TLS, and many connections.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this is a bench: it prints, and what should not happen ends it"
)]

use std::alloc::System;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use graphward::app::{self, Dependencies, MissingToken, ProxyListener};
use graphward::config::{Config, EnvVars, Overrides};
use graphward::net::{Connector, Listener, Stage, Tasks, boxed_io};
use graphward::telemetry::{LogFormat, LogLevel, LogSettings, log_subscriber};
use graphward::token::{BoxFuture, ObtainError, Source, Token, TokenProvider};
use graphward::types::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The budgets of all benchmarks. The proxy adds 16 allocations to a request, of which three are its own: the record, and two
/// for the headers to send. The others are hyper's, for a second connection; two of them detect that the app disconnects
/// while its request waits.
const BUDGETS: &str = include_str!("budgets");
/// The number of requests in a round.
const ROUND: usize = 1_000;
/// The number of rounds by default.
const ROUNDS: usize = 20;

const TOKEN: &str = "EAAtoken0of0the0bench";
const MESSAGE: &str = r#"{"messaging_product":"whatsapp","recipient_type":"individual","to":"16505551234","type":"text","text":{"preview_url":false,"body":"Your order 4711 has been shipped."}}"#;
const ANSWER: &str = r#"{"messaging_product":"whatsapp","contacts":[{"input":"16505551234","wa_id":"16505551234"}],"messages":[{"id":"wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"}]}"#;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (direct, through) = runtime.unwrap().block_on(measure(rounds()));
    println!("per request     p50 µs   p99 µs   allocations   bytes");
    direct.print("direct");
    through.print("through");
    let added = through.less(&direct);
    added.print("added");
    let budget = budget("allocations");
    if added.allocations <= budget {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "overhead: the proxy adds {:.2} allocations to a request, and {budget} is the budget",
        added.allocations
    );
    ExitCode::FAILURE
}

/// Reads a budget.
fn budget(name: &str) -> f64 {
    let mut lines = BUDGETS
        .lines()
        .filter_map(|line| line.split('#').next()?.split_once('='));
    let (_name, value) = lines.find(|(key, _value)| key.trim() == name).unwrap();
    value.trim().parse().unwrap()
}

/// Reads the number of rounds from the arguments, where cargo adds `--bench`.
fn rounds() -> usize {
    match std::env::args().skip(1).find(|word| word != "--bench") {
        None => ROUNDS,
        Some(word) if word == "--quick" => 1,
        Some(word) => word.parse().unwrap(),
    }
}

async fn measure(rounds: usize) -> (Figures, Figures) {
    log_as_a_process_does();
    let tasks = Tasks::default();
    let mut direct = Way::over(serve(&tasks), &tasks, true).await;
    let (door, _stops) = proxy(&tasks).await;
    let mut through = Way::over(door, &tasks, false).await;
    // Pools, buffers and timer wheels reach their size.
    direct.round().await;
    through.round().await;
    direct.forget(rounds);
    through.forget(rounds);
    for _ in 0..rounds {
        direct.round().await;
        through.round().await;
    }
    (direct.figures(), through.figures())
}

/// Writes the default log, and discards it.
fn log_as_a_process_does() {
    let settings = LogSettings {
        format: LogFormat::Json,
        level: LogLevel::Info,
    };
    tracing::subscriber::set_global_default(log_subscriber(settings, io::sink)).unwrap();
}

/// A whole proxy in front of a server, and a connection to it.
async fn proxy(tasks: &Tasks) -> (DuplexStream, mpsc::Sender<app::StopSignal>) {
    let flags = Overrides {
        config: Some(PathBuf::from("/dev/null")),
        ..Overrides::default()
    };
    let config = Config::load(flags, &EnvVars::new()).unwrap().config;
    let (listener, door) = Listener::in_memory();
    let (admin, _operators) = Listener::in_memory();
    let upstreams = tasks.clone();
    let seams = Dependencies {
        connector: Some(Connector::new(move |_uri| {
            let wire = boxed_io(serve(&upstreams), None);
            async move { Ok(wire) }
        })),
        token_provider: Some(TokenProvider::from_source(Fixed)),
        proxy: vec![ProxyListener { listener, tenant: None }],
        admin_listener: Some(admin),
        ..Dependencies::default()
    };
    let (stops, asked) = mpsc::channel(1);
    let (start, started) = oneshot::channel();
    let on_start = |handle| drop(start.send(handle));
    tasks.spawn(app::run(config, seams, MissingToken::Exit, asked, on_start));
    let handle: app::ServerHandle = started.await.unwrap();
    handle.lifecycle.wait_for(Stage::Serving).await;
    (door.connect().await, stops)
}

/// Acts as Graph: accepts a message that has a token.
fn serve(tasks: &Tasks) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let answer = service_fn(async |request: Request<Incoming>| {
        let signed = request.headers().contains_key(AUTHORIZATION);
        request.into_body().collect().await?;
        let mut response = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
        let json = HeaderValue::from_static("application/json; charset=UTF-8");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if !signed {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        Ok::<_, hyper::Error>(response)
    });
    tasks.spawn(http1::Builder::new().serve_connection(TokioIo::new(theirs), answer));
    ours
}

/// A connection and its measurements.
struct Way {
    line: SendRequest<Full<Bytes>>,
    /// The app sends the token itself if this is true.
    signs: bool,
    times: Vec<Duration>,
    allocations: usize,
    bytes: usize,
}

/// The cost of a request.
struct Figures {
    p50: f64,
    p99: f64,
    allocations: f64,
    bytes: f64,
}

/// A source that always returns the same token.
struct Fixed;

// === impl Way ===

impl Way {
    async fn over(io: DuplexStream, tasks: &Tasks, signs: bool) -> Self {
        let (line, connection) = handshake(TokioIo::new(io)).await.unwrap();
        tasks.spawn(connection);
        Self {
            line,
            signs,
            times: Vec::with_capacity(ROUND),
            allocations: 0,
            bytes: 0,
        }
    }

    async fn round(&mut self) {
        let region = Region::new(ALLOCATOR);
        for _ in 0..ROUND {
            let began = Instant::now();
            self.request().await;
            self.times.push(began.elapsed());
        }
        let spent = region.change();
        self.allocations += spent.allocations + spent.reallocations;
        self.bytes += spent.bytes_allocated;
    }

    async fn request(&mut self) {
        let mut request = Request::post("/v21.0/106540352242922/messages")
            .header(HOST, HeaderValue::from_static("localhost:8080"))
            .header(USER_AGENT, HeaderValue::from_static("axios/1.7.9"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(Bytes::from_static(MESSAGE.as_bytes())))
            .unwrap();
        if self.signs {
            let token = HeaderValue::from_static("Bearer EAAtoken0of0the0bench");
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        self.line.ready().await.unwrap();
        let response = self.line.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let answer = response.into_body().collect().await.unwrap();
        assert_eq!(answer.to_bytes(), ANSWER);
    }

    /// Starts again, with room for this many rounds: counting must not allocate.
    fn forget(&mut self, rounds: usize) {
        self.times = Vec::with_capacity(rounds * ROUND);
        self.allocations = 0;
        self.bytes = 0;
    }

    fn figures(mut self) -> Figures {
        self.times.sort_unstable();
        let count = self.times.len();
        let micros = |at: usize| self.times.get(at).unwrap().as_secs_f64() * 1e6;
        Figures {
            p50: micros(count / 2),
            p99: micros(count * 99 / 100),
            allocations: self.allocations as f64 / count as f64,
            bytes: self.bytes as f64 / count as f64,
        }
    }
}

// === impl Figures ===

impl Figures {
    fn less(&self, other: &Self) -> Self {
        Self {
            p50: self.p50 - other.p50,
            p99: self.p99 - other.p99,
            allocations: self.allocations - other.allocations,
            bytes: self.bytes - other.bytes,
        }
    }

    fn print(&self, name: &str) {
        println!(
            "{name:<12} {:>9.1} {:>8.1} {:>13.2} {:>7.0}",
            self.p50, self.p99, self.allocations, self.bytes
        );
    }
}

// === impl Fixed ===

impl Source for Fixed {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async { Ok(Token::without_expiry(Secret::new(TOKEN).unwrap())) })
    }

    fn describe(&self) -> String {
        "the bench".to_owned()
    }
}
