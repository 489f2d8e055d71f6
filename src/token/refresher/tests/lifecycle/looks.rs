//! How often the sources are read while the token is dead.

use super::*;
use crate::token::RejectedRequest;

fn with_looks(name: &'static str, every: Duration) -> FakeStore {
    let store = FakeStore::named(name);
    store.with_state(|state| state.look_interval = Some(LookInterval::fixed(every)));
    store.put(token(name));
    store
}

/// A dead token whose source, `row`, announces nothing, and is looked at ever less often.
async fn start_with_a_dead_token(row: &FakeStore) -> (TokenHandle, RejectedRequest) {
    let (first, longest) = (Duration::from_secs(2), Duration::from_secs(30));
    row.with_state(|state| state.look_interval = Some(LookInterval { first, longest }));
    let (tokens, _) = start(TokenProvider::from_source(row.clone())).await;
    let rejected = tokens.mark_rejected(tokens.current().unwrap().generation(), &GraphError::default());
    (tokens, rejected)
}

/// The loads in five minutes.
async fn loads_meanwhile(store: &FakeStore) -> u32 {
    let before = store.with_state(|state| state.loads);
    tokio::time::sleep(5 * MINUTE).await;
    store.with_state(|state| state.loads) - before
}

#[tokio::test(start_paused = true)]
async fn a_dead_tokens_sources_are_read_every_few_seconds_and_a_living_tokens_are_not() {
    let row = with_looks("row", Duration::from_secs(2));
    let renewer = ScriptedRenewer::new([Err("out of order")]);
    let (tokens, _) = start(TokenProvider::from_source(row.clone()).with_renewer(renewer.clone())).await;
    assert_eq!(loads_meanwhile(&row).await, 0);
    assert_eq!(reject_current(&tokens).await.unwrap(), "row");
    let loads = loads_meanwhile(&row).await;
    assert!((130..=200).contains(&loads), "{loads} loads in five minutes");
    // Fifteen or so, with random pauses of up to a minute: one test in a hundred has more than twenty.
    assert!(renewer.calls() <= 40, "{} renewals in five minutes", renewer.calls());
    // The source announces nothing, and graphward finds the new token.
    row.with_state(|state| state.current = Some(token("new")));
    tokio::time::sleep(Duration::from_millis(2300)).await;
    assert_eq!(in_use(&tokens).unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_looks_have_become_rare_is_read_within_seconds_of_a_request() {
    let row = with_looks("row", Duration::ZERO);
    let (tokens, rejected) = start_with_a_dead_token(&row).await;
    let loads = loads_meanwhile(&row).await;
    // Some are those of refreshes, with random pauses.
    assert!(loads <= 40, "{loads} loads in five minutes");
    // As many requests as come in a storm.
    for _ in 0..5 {
        for _ in 0..1000 {
            let wait = tokens.wait_for_successor(&rejected, Duration::ZERO, Instant::now());
            assert!(wait.await.is_err());
        }
        let before = row.with_state(|state| state.loads);
        tokio::time::sleep(Duration::from_millis(2300)).await;
        let loads = row.with_state(|state| state.loads) - before;
        assert!(
            (1..=3).contains(&loads),
            "{loads} loads within seconds of a thousand requests"
        );
    }
    row.with_state(|state| state.current = Some(token("new")));
    assert!(
        tokens
            .wait_for_successor(&rejected, Duration::ZERO, Instant::now())
            .await
            .is_err()
    );
    tokio::time::sleep(Duration::from_millis(2300)).await;
    assert_eq!(in_use(&tokens).unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn each_source_is_read_at_its_own_interval() {
    let row = with_looks("row", Duration::from_secs(2));
    let command = with_looks("command", Duration::from_secs(10));
    let file = FakeStore::named("file");
    file.put(token("file"));
    let sources = vec![boxed(&row), boxed(&command), boxed(&file)];
    let (tokens, _) = start(TokenProvider::from_sources(sources)).await;
    for name in ["command", "file", "file"] {
        assert_eq!(reject_current(&tokens).await.unwrap(), name);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let command_loads = command.with_state(|state| state.loads);
    let file_loads = file.with_state(|state| state.loads);
    let loads = loads_meanwhile(&row).await;
    assert!((130..=230).contains(&loads), "{loads} loads of the row in five minutes");
    let loads = command.with_state(|state| state.loads) - command_loads;
    assert!(
        (25..=90).contains(&loads),
        "{loads} runs of the command in five minutes"
    );
    let loads = file.with_state(|state| state.loads) - file_loads;
    assert!(loads <= 60, "{loads} loads of the file in five minutes");
}

#[tokio::test(start_paused = true)]
async fn a_start_without_a_token_finds_one_within_seconds() {
    let row = with_looks("row", Duration::from_secs(2));
    row.disconnect();
    let (tokens, _) = start(TokenProvider::from_source(row.clone())).await;
    tokio::time::sleep(5 * MINUTE).await;
    row.with_state(|state| state.current = Some(token("new")));
    tokio::time::sleep(Duration::from_millis(2300)).await;
    assert_eq!(in_use(&tokens).unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_during_a_look_has_one_of_its_own_within_seconds() {
    let row = with_looks("row", Duration::ZERO);
    let (tokens, rejected) = start_with_a_dead_token(&row).await;
    let wait = || tokens.wait_for_successor(&rejected, Duration::ZERO, Instant::now());
    loads_meanwhile(&row).await;
    row.with_state(|state| state.delay = Duration::from_secs(1));
    assert!(wait().await.is_err());
    let loads = row.with_state(|state| state.loads);
    while row.with_state(|state| state.loads) == loads {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The look has begun, and reads the old token.
    assert!(wait().await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    row.with_state(|state| state.current = Some(token("new")));
    tokio::time::sleep(Duration::from_millis(4500)).await;
    assert_eq!(in_use(&tokens).unwrap(), "new");
}
