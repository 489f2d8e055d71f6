//! A source says that there is no token any more.

use super::*;

/// Longer than two statements need.
const CONFIRMED: Duration = Duration::from_secs(3);

fn statement(tokens: &TokenHandle) -> Option<String> {
    Some(tokens.progress().withdrawal?.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_token_is_withdrawn_by_two_statements_of_its_source_and_served_again_at_once() {
    let row = FakeStore::named("row");
    row.put(token("one"));
    let (tokens, alerts) = start(TokenProvider::from_source(row.clone())).await;
    row.withdraw();
    tokio::time::sleep(Duration::from_millis(1900)).await;
    assert_eq!(in_use(&tokens).unwrap(), "one", "one statement is not enough");
    assert!(tokens.is_usable());
    tokio::time::sleep(CONFIRMED).await;
    assert_eq!(in_use(&tokens), None);
    assert!(!tokens.is_usable());
    assert_eq!(alerts.causes(), [AlertCause::Withdrawn]);
    assert!(alerts.text().contains("row is empty"), "{}", alerts.text());
    let before = Instant::now();
    let refused = tokens.current_or_wait(in_five_seconds()).await;
    assert!(matches!(refused, Err(RefreshError::Failed(error)) if error.is_absence()));
    assert_eq!(before.elapsed(), Duration::ZERO, "requests do not wait");
    // The same token is activated again.
    row.put(token("one"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert!(tokens.is_usable());
    assert_eq!(statement(&tokens), None);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_replaced_or_unreachable_in_between_withdraws_nothing() {
    let row = FakeStore::named("row");
    row.put(token("one"));
    let (tokens, alerts) = start(TokenProvider::from_source(row.clone())).await;
    for _ in 0..10 {
        row.withdraw();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        row.put(token("one"));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        row.withdraw();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        row.disconnect();
        tokio::time::sleep(MINUTE).await;
    }
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert!(!alerts.causes().contains(&AlertCause::Withdrawn));
}

#[tokio::test(start_paused = true)]
async fn only_the_source_of_the_token_can_withdraw_it() {
    let (first, second) = (FakeStore::named("first"), FakeStore::named("second"));
    first.withdraw();
    second.put(token("two"));
    let (tokens, _) = start(TokenProvider::from_sources(vec![boxed(&first), boxed(&second)])).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    for _ in 0..5 {
        first.withdraw();
        tokio::time::sleep(CONFIRMED).await;
    }
    assert_eq!(in_use(&tokens).unwrap(), "two");
    second.disconnect();
    tokio::time::sleep(CONFIRMED).await;
    assert_eq!(in_use(&tokens).unwrap(), "two", "a failure withdraws nothing");
    second.withdraw();
    tokio::time::sleep(CONFIRMED).await;
    assert_eq!(in_use(&tokens), None);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_source_takes_the_place_of_a_withdrawn_one() {
    let (row, file) = (FakeStore::named("row"), FakeStore::named("file"));
    row.put(token("one"));
    file.put(token("two"));
    let (tokens, alerts) = start(TokenProvider::from_sources(vec![boxed(&row), boxed(&file)])).await;
    row.withdraw();
    tokio::time::sleep(CONFIRMED).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    // The same token in another source is not withdrawn either.
    row.put(token("two"));
    tokio::time::sleep(CONFIRMED).await;
    row.withdraw();
    tokio::time::sleep(2 * CONFIRMED).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert!(!alerts.causes().contains(&AlertCause::Withdrawn));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_token_is_not_renewed() {
    let row = FakeStore::writable("row");
    row.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let (tokens, _) = start(TokenProvider::from_source(row.clone()).with_renewer(renewer.clone())).await;
    row.withdraw();
    tokio::time::sleep(CONFIRMED).await;
    assert_eq!(in_use(&tokens), None);
    tokio::time::sleep(3 * HOUR).await;
    assert_eq!((in_use(&tokens), renewer.calls()), (None, 0));
    // Nor is one that Graph rejected meanwhile.
    row.put(token("two"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    row.withdraw();
    assert_eq!(reject_current(&tokens).await.as_deref(), Some("two"));
    tokio::time::sleep(HOUR).await;
    assert_eq!((in_use(&tokens), renewer.calls()), (None, 0));
    assert!(statement(&tokens).unwrap().contains("row is empty"));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_outlasts_a_source_that_fails_later() {
    let row = FakeStore::named("row");
    row.put(token("one"));
    let (tokens, _) = start(TokenProvider::from_source(row.clone())).await;
    row.withdraw();
    tokio::time::sleep(CONFIRMED).await;
    row.disconnect();
    tokio::time::sleep(HOUR).await;
    let refused = tokens.current_or_wait(in_five_seconds()).await;
    assert!(matches!(refused, Err(RefreshError::Failed(error)) if error.is_absence()));
}
