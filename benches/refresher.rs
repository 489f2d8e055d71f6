//! 10,000 requests whose token was rejected, at once: what each pays, and that one renewal serves them all.
//!
//! ```text
//! cargo bench --bench refresher [-- ROUNDS | --quick]
//! ```
//!
//! # Why
//!
//! A token dies under all requests in flight together. A renewal for each would be what Graph throttles; a lock
//! that they queue at would be seen here as time. The renewer waits until all of them wait, so none is early.

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

/// How many requests ask.
const ASKERS: usize = 10_000;
/// How many rounds there are, unless somebody says otherwise.
const ROUNDS: usize = 20;
/// The longest that one of them may wait: far more than it takes.
const LONGEST: Duration = Duration::from_secs(60);
/// The least time between two renewals: short, since each round waits for it.
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

/// How many rounds are asked for. cargo adds a `--bench` of its own.
fn rounds() -> usize {
    match std::env::args().skip(1).find(|word| word != "--bench") {
        None => ROUNDS,
        Some(word) if word == "--quick" => 1,
        Some(word) => word.parse().unwrap(),
    }
}

/// What a round came to.
#[derive(Debug)]
struct Round {
    /// How many heard of the second generation.
    generations: usize,
    /// Looks at the source, and renewals, since the token was rejected.
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
    // A second renewal would come when the gap is over.
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

/// What a request does whose token was rejected. It rejects once more when all is well, as a request does that
/// was slower than the renewal.
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

/// Shows the token that was rejected, and no other.
struct Stale(Arc<Counts>);

/// Mints when all who ask wait.
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
