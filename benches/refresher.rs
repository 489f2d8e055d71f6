//! Measures 10,000 requests whose token is rejected at once: the cost of each, and that one renewal serves them all.
//!
//! ```text
//! cargo bench --bench refresher [-- ROUNDS | --quick]
//! ```
//!
//! # Why
//!
//! A token dies under all requests in flight at once. Graph would throttle a renewal for each; a lock that they queue
//! for would show here as time. The renewer waits until all of them wait, so that no request is early.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this is a bench: it prints, and what should not happen ends it"
)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use graphward::graph::GraphError;
use graphward::net::Tasks;
use graphward::token::{
    BoxFuture, ObtainError, RefreshPolicy, Refresher, RenewalRequest, Renewer, Source, Token, TokenHandle,
    TokenProvider, channel,
};
use graphward::types::{Clock, Secret, TenantId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// The number of requests.
const ASKERS: usize = 10_000;
/// The number of rounds by default.
const ROUNDS: usize = 20;
/// The longest that a request may wait: far more than it needs.
const LONGEST: Duration = Duration::from_secs(60);
/// The shortest time between two renewals: short, because each round waits for it.
const MIN_GAP: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut times: Vec<Duration> = Vec::new();
    for round in 1..=rounds() {
        let seen = runtime.block_on(one_round());
        if seen.generations != ASKERS || seen.looks != 1 || seen.renewals != 1 {
            eprintln!("refresher: in round {round}: {seen:?}");
            return ExitCode::FAILURE;
        }
        times.push(seen.took);
    }
    times.sort_unstable();
    let each = times.get(times.len() / 2).unwrap().as_secs_f64() * 1e6 / ASKERS as f64;
    println!("{ASKERS} askers: one look and one renewal for all, {each:.2} µs each");
    ExitCode::SUCCESS
}

/// Reads the number of rounds from the arguments, where cargo adds `--bench`.
fn rounds() -> usize {
    match std::env::args().skip(1).find(|word| word != "--bench") {
        None => ROUNDS,
        Some(word) if word == "--quick" => 1,
        Some(word) => word.parse().unwrap(),
    }
}

/// The result of a round.
#[derive(Debug)]
struct Round {
    /// The number of requests that got the second generation.
    generations: usize,
    /// Checks of the source, and renewals, since the token was rejected.
    looks: usize,
    renewals: usize,
    took: Duration,
}

async fn one_round() -> Round {
    let (writer, tokens) = channel();
    let counts = Arc::new(Counts::default());
    let supply = TokenProvider::from_source(Stale(Arc::clone(&counts))).with_renewer(Mint {
        counts: Arc::clone(&counts),
        tokens: tokens.clone(),
    });
    let refresher = Refresher::new(
        TenantId::default(),
        supply,
        writer,
        RefreshPolicy {
            min_interval: MIN_GAP,
            ..RefreshPolicy::default()
        },
        Clock::system(),
        Box::new(|_report| {}),
    );
    let tasks = Tasks::default();
    let refresher = tasks.spawn(refresher.run());
    tokens.wait_for_first_check().await;
    let looks = counts.looks.load(Ordering::Relaxed);

    let (served, mut answers) = mpsc::channel(ASKERS);
    let began = Instant::now();
    for _ in 0..ASKERS {
        let (tokens, served) = (tokens.clone(), served.clone());
        tasks.spawn(async move { served.send(ask(&tokens).await).await });
    }
    drop(served);
    let mut generations = 0;
    while let Some(generation) = answers.recv().await {
        generations += usize::from(generation == Some(2));
    }
    let took = began.elapsed();
    // A second renewal would start after the gap.
    sleep(MIN_GAP * 2).await;
    refresher.abort();
    tasks.wait().await;
    Round {
        generations,
        looks: counts.looks.load(Ordering::Relaxed) - looks,
        renewals: counts.renewals.load(Ordering::Relaxed),
        took,
    }
}

/// Acts as a request whose token was rejected. It rejects once more after the renewal, as a slow request does.
async fn ask(tokens: &TokenHandle) -> Option<u64> {
    let rejected = tokens.current()?.generation();
    tokens.mark_rejected(rejected, &GraphError::default());
    let fresh = tokens.wait_for_newer(rejected, Instant::now() + LONGEST).await;
    tokens.mark_rejected(rejected, &GraphError::default());
    fresh.ok().map(|fresh| fresh.generation().get())
}

#[derive(Default)]
struct Counts {
    looks: AtomicUsize,
    renewals: AtomicUsize,
}

/// Returns the rejected token, and no other.
struct Stale(Arc<Counts>);

/// Renews once all requests wait.
struct Mint {
    counts: Arc<Counts>,
    tokens: TokenHandle,
}

impl Source for Stale {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        self.0.looks.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(token("EAAstale")) })
    }

    fn describe(&self) -> String {
        "the bench".to_owned()
    }
}

impl Renewer for Mint {
    fn describe(&self) -> String {
        "the test's mint".to_owned()
    }

    fn renew<'a>(&'a mut self, _outgoing: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        self.counts.renewals.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            while self.tokens.waiters() < ASKERS {
                sleep(Duration::from_millis(1)).await;
            }
            Ok(token("EAAfresh"))
        })
    }
}

fn token(text: &str) -> Token {
    Token::without_expiry(Secret::new(text).unwrap())
}
