//! A renewed token is stored before it is used, and is not lost if it cannot be stored.

use super::*;

fn store_with_due_token() -> (FakeStore, ScriptedRenewer) {
    let file = FakeStore::writable("file");
    file.put(expiring("one", HOUR));
    (file, ScriptedRenewer::new([Ok(token("two")), Ok(token("three"))]))
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_is_stored_before_it_is_used() {
    let (file, renewer) = store_with_due_token();
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(31 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(file.with_state(|state| state.stored.clone()), ["two"]);
    assert_eq!(file.with_state(|state| state.locks), 1);
    assert!(alerts.causes().is_empty());
    // The source has the token that was stored, which is not new.
    file.1.notify_one();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(tokens.current().unwrap().generation().get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_stored_is_not_used_while_the_previous_one_works_and_not_renewed_twice() {
    let (file, renewer) = store_with_due_token();
    file.with_state(|state| state.failures_left = 3);
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(30 * MINUTE).await;
    while file.with_state(|state| state.failures_left) > 0 {
        assert_eq!(in_use(&tokens).unwrap(), "one");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(file.with_state(|state| state.stored.clone()), ["two"]);
    assert_eq!(renewer.calls(), 1);
    assert_eq!(alerts.causes(), [AlertCause::RenewalFailed, AlertCause::Expiry(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_stored_is_used_if_the_previous_one_is_dead_and_stored_later() {
    let (file, renewer) = store_with_due_token();
    file.with_state(|state| state.failures_left = 3);
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    assert_eq!(reject_current(&tokens).await.unwrap(), "two");
    assert_eq!(alerts.causes(), [AlertCause::Rejected, AlertCause::StoreFailed]);
    assert!(file.with_state(|state| state.stored.is_empty()));
    tokio::time::sleep(4 * MINUTE).await;
    assert_eq!(file.with_state(|state| state.stored.clone()), ["two"]);
    assert_eq!(renewer.calls(), 1);
    assert_eq!(in_use(&tokens).unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_stored_concurrently_is_used_instead() {
    let (file, renewer) = store_with_due_token();
    file.with_state(|state| state.conflicting_token = Some(token("concurrent")));
    let (tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(31 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "concurrent");
    assert_eq!(renewer.calls(), 1);
    tokio::time::sleep(DAY).await;
    assert!(
        file.with_state(|state| state.stored.is_empty()),
        "the concurrent token was not overwritten"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_another_replica_renewed_meanwhile_is_used_without_a_renewal() {
    let (file, renewer) = store_with_due_token();
    let (tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    // The check before the lock finds the old token; the one under the lock finds the token of the other replica.
    tokio::time::sleep(20 * MINUTE).await;
    file.with_state(|state| state.current = Some(expiring("concurrent", 60 * DAY)));
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "concurrent");
    assert_eq!(renewer.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_writable_storage_an_alert_is_sent_at_start_and_the_renewed_token_is_used() {
    let file = FakeStore::named("file");
    file.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Ok(token("two"))]);
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer)).await;
    assert_eq!(alerts.causes(), [AlertCause::StoreFailed]);
    assert!(alerts.text().contains("it is read-only"), "{}", alerts.text());
    assert!(alerts.text().contains("token.store"), "{}", alerts.text());
    tokio::time::sleep(31 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn one_read_only_source_of_several_is_alerted_at_start_too() {
    let (file, variable) = (FakeStore::writable("file"), FakeStore::named("variable"));
    variable.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Ok(token("two"))]);
    let provider = TokenProvider::from_sources(vec![boxed(&file), boxed(&variable)]).with_renewer(renewer);
    let (_tokens, alerts) = start(provider).await;
    assert_eq!(alerts.causes(), [AlertCause::StoreFailed]);
    assert!(alerts.text().contains("of some sources"), "{}", alerts.text());
}

#[tokio::test(start_paused = true)]
async fn a_pending_store_does_not_overwrite_a_newer_token() {
    let (file, renewer) = store_with_due_token();
    file.with_state(|state| state.failures_left = 1);
    let (tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer)).await;
    assert_eq!(reject_current(&tokens).await.unwrap(), "two");
    file.put(token("concurrent"));
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(in_use(&tokens).unwrap(), "concurrent");
    tokio::time::sleep(4 * MINUTE).await;
    let current = file.with_state(|state| state.current.clone()).unwrap();
    assert_eq!(current.secret.expose(), "concurrent");
    assert!(file.with_state(|state| state.stored.is_empty()));
}
