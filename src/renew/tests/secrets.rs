use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::subscriber::set_default;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::fmt::MakeWriter;

use super::world::{
    ADMIN, APP_SECRET, Then, World, answering, exchange, inspected, key, mint, renewed, said, whole,
};
use crate::graph::Prover;
use crate::renew::Lasting;
use crate::sim::{Effect, Endpoint, Family, Fault, Grant};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every event of every crate: more than ours ever writes.
fn all(
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(writer)
        .finish()
}

/// While only one subscriber exists, `tracing` asks the *current thread's* whether a kind of event matters to anybody, and
/// keeps the answer: a test beside this one would say no for all. So there are always two more.
fn prepare() {
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    let other = || Dispatch::new(all(io::sink));
    let _kept = OTHERS.get_or_init(|| [other(), other()]);
}

/// The ways in which a call can fail, each with all that Graph can be made to say.
fn troubles() -> Vec<Effect> {
    let error = |code, subcode| Effect::Error {
        code,
        subcode,
        status: None,
    };
    vec![
        error(1, None),
        error(4, None),
        error(100, None),
        error(190, Some(463)),
        Effect::Malformed,
        Effect::Page(http::StatusCode::BAD_GATEWAY),
        Effect::Page(http::StatusCode::OK),
        Effect::Grant(Grant::Huge),
        Effect::Grant(Grant::Stale),
        Effect::Reset,
        Effect::Cut,
        Effect::Grant(Grant::Usual),
    ]
}

#[tokio::test]
async fn no_secret_is_in_an_error_or_in_a_log_at_trace_level() {
    prepare();
    let kept = Kept::default();
    let writer = kept.clone();
    let guard = set_default(all(move || writer.clone()));

    let world = World::start().await;
    world.sim.accept(ADMIN, None);
    let (graph, threads) = (
        world.sim.issue(None),
        world.sim.issue_for(Family::Threads, None),
    );
    let mut errors = Vec::new();
    let mut new = Vec::new();
    for trouble in troubles() {
        for endpoint in [
            Endpoint::Exchange,
            Endpoint::Mint,
            Endpoint::Refresh,
            Endpoint::DebugToken,
        ] {
            world
                .sim
                .fault_on(endpoint, Fault::once(trouble.clone()).times(2));
        }
        let renewals = [
            renewed(&mut world.exchange(Lasting::Usual), &graph).await,
            renewed(&mut world.exchange(Lasting::SixtyDays), &graph).await,
            renewed(&mut world.mint(Lasting::Usual), &graph).await,
            renewed(&mut world.mint(Lasting::SixtyDays), &graph).await,
            renewed(&mut world.threads(), &threads).await,
        ];
        for renewal in renewals {
            match renewal {
                Ok(token) => {
                    new.push(token.secret.expose().to_owned());
                    errors.push(format!("{token:?}"));
                }
                Err(error) => errors.push(said(&error)),
            }
        }
        for token in [&graph, &threads] {
            let asked = inspected(&mut world.debug_token(Some(key(APP_SECRET))), token).await;
            errors.push(asked.map_or_else(|error| said(&error), |said| format!("{said:?}")));
        }
    }
    world.sim.reset();
    let wrong = inspected(
        &mut world.debug_token(Some(key("f0f0f0f0f0f0f0f0"))),
        &graph,
    )
    .await;
    assert!(wrong.is_ok());
    drop(guard);

    let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("Graph does not tell the app"),
        "the log is kept"
    );
    assert!(log.contains("h2::"), "down to the wire");
    assert!(!new.is_empty() && errors.len() == 84);
    let proofs = [graph.as_str(), ADMIN].map(|token| {
        let proof = Prover::new(APP_SECRET.as_bytes()).lasting(token.as_bytes());
        let (_name, hex) = proof.parameters().split_once('=').unwrap();
        hex.to_owned()
    });
    let secrets = [APP_SECRET, ADMIN, "f0f0f0f0f0f0f0f0", &graph, &threads];
    let secrets = secrets.into_iter().chain(new.iter().map(String::as_str));
    for secret in secrets.chain(proofs.iter().map(String::as_str)) {
        assert!(!log.contains(secret), "a secret is in the log");
        for error in &errors {
            assert!(!error.contains(secret), "a secret is in: {error}");
        }
    }
    for word in ["client_secret", "input_token", "grant_type"] {
        assert!(
            !errors.iter().any(|error| error.contains(word)),
            "a query is shown"
        );
    }
}

#[tokio::test]
async fn what_graph_repeats_is_not_repeated() {
    let echo = format!(
        r#"{{"error":{{"message":"Malformed access token EAAold0token client secret {APP_SECRET}","type":"EAAold0token x","code":190,"fbtrace_id":"A1"}}}}"#
    );
    for (status, kind, body) in [
        ("400 Bad Request", "application/json", echo.clone()),
        ("200 OK", "application/json", echo),
        (
            "200 OK",
            "text/html",
            format!("<p>EAAold0token {APP_SECRET} {ADMIN}"),
        ),
        ("200 OK", "text/plain", format!("access_token=%ff{ADMIN}")),
        ("502 Bad", "text/html", format!("EAAold0token {APP_SECRET}")),
    ] {
        let caller = answering(whole(status, kind, &body), Then::Ends);
        let errors = [
            renewed(&mut exchange(&caller, Lasting::Usual), "EAAold0token").await,
            renewed(&mut mint(&caller, Lasting::Usual), "EAAold0token").await,
        ];
        for error in errors {
            let text = said(&error.unwrap_err());
            for secret in ["EAAold0token", APP_SECRET, ADMIN] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}
