//! Changes that the operator requests.

use super::super::super::super::{OperatorCommand, OperatorHandle};
use super::*;

async fn start_with_operator(provider: TokenProvider) -> (TokenHandle, OperatorHandle) {
    let (publisher, tokens) = channel();
    let (tenant, policy) = (TenantId::default(), RefreshPolicy::default());
    let clock = Clock::manual(start_date());
    let refresher = Refresher::new(tenant, provider, publisher, policy, clock, Box::new(|_event| {}));
    let operator = refresher.operator();
    drop(spawn(refresher.run()));
    tokens.wait_for_first_check().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    (tokens, operator)
}

fn set(text: &str) -> OperatorCommand {
    OperatorCommand::Set(token(text))
}

#[tokio::test(start_paused = true)]
async fn a_token_is_stored_in_the_nearest_source_that_can_and_comes_first_there() {
    let (first, second) = (FakeStore::writable("first"), FakeStore::named("second"));
    first.put(token("old"));
    second.put(token("one"));
    let provider = TokenProvider::from_sources(vec![Box::new(first.clone()), Box::new(second.clone())]);
    let (tokens, operator) = start_with_operator(provider).await;
    reject_current(&tokens).await.unwrap();
    assert_eq!(in_use(&tokens).unwrap(), "one");
    let change = operator.request(set("two")).await.unwrap();
    assert_eq!(
        (change.stored_in.as_str(), in_use(&tokens).unwrap()),
        ("first", "two".to_owned())
    );
    assert_eq!(first.with_state(|state| state.stored.clone()), ["two"]);
    assert_eq!(first.with_state(|state| state.locks), 1);
    // The source has what the operator stored, which is not new; the same token again changes nothing.
    first.1.notify_one();
    tokio::time::sleep(MINUTE).await;
    operator.request(set("two")).await.unwrap();
    assert_eq!(tokens.current().unwrap().generation().get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_stored_or_was_rejected_is_not_used() {
    let source = FakeStore::writable("file");
    source.put(token("one"));
    let (tokens, operator) = start_with_operator(TokenProvider::from_source(source.clone())).await;
    source.with_state(|state| state.failures_left = 1);
    let error = operator.request(set("two")).await.unwrap_err();
    assert_eq!((error.reason(), in_use(&tokens).unwrap()), ("disk", "one".to_owned()));
    operator.request(set("two")).await.unwrap();
    tokens.mark_rejected(tokens.current().unwrap().generation(), &GraphError::default());
    tokio::time::sleep(Duration::from_millis(1)).await;
    let error = operator.request(set("two")).await.unwrap_err();
    assert_eq!(error.reason(), "previously_rejected");
    let error = operator.request(OperatorCommand::RollBack).await.unwrap_err();
    assert_eq!(error.reason(), "no_previous_token");
    assert_eq!(operator.request(set("three")).await.unwrap().stored_in, "file");
    assert_eq!(in_use(&tokens).unwrap(), "three");
}

#[tokio::test(start_paused = true)]
async fn a_look_of_the_operator_tries_a_failed_renewal_again_at_once_and_renews_nothing_that_is_not_due() {
    let file = FakeStore::writable("file");
    file.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Err("out of order"), Ok(expiring("two", 60 * DAY))]);
    let provider = TokenProvider::from_source(file.clone()).with_renewer(renewer.clone());
    let (tokens, operator) = start_with_operator(provider).await;
    operator.refresh().await;
    assert_eq!((renewer.calls(), in_use(&tokens).unwrap()), (0, "one".to_owned()));
    while renewer.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let failed_at = Instant::now();
    operator.refresh().await;
    assert_eq!((renewer.calls(), in_use(&tokens).unwrap()), (2, "two".to_owned()));
    assert!(failed_at.elapsed() < RefreshPolicy::default().min_interval);
    operator.refresh().await;
    assert_eq!(renewer.calls(), 2);
}
