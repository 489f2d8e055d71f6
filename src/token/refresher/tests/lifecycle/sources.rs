//! Several sources and their priority.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_expired_token_does_not_hide_a_valid_one_of_a_later_source() {
    let (file, row) = (FakeStore::named("file"), FakeStore::named("row"));
    file.put(Token {
        expires_at: Some(start_date() - DAY),
        ..token("expired")
    });
    row.put(token("valid"));
    let provider = TokenProvider::from_sources(vec![boxed(&file), boxed(&row)]);
    let (tokens, _) = start(provider).await;
    assert_eq!(in_use(&tokens).unwrap(), "valid");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_graph_rejects_does_not_hide_a_valid_one_of_a_later_source() {
    let (file, row) = (FakeStore::named("file"), FakeStore::named("row"));
    file.put(token("revoked"));
    row.put(token("valid"));
    let (tokens, _) = start(TokenProvider::from_sources(vec![boxed(&file), boxed(&row)])).await;
    assert_eq!(in_use(&tokens).unwrap(), "revoked");
    assert_eq!(reject_current(&tokens).await.unwrap(), "valid");
    // The file is touched, and has the same token: it is not used again.
    file.1.notify_one();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "valid");
}

#[tokio::test(start_paused = true)]
async fn the_first_source_has_priority_and_changes_of_later_ones_wait_until_needed() {
    let (file, row) = (FakeStore::named("file"), FakeStore::named("row"));
    file.put(token("one"));
    row.put(token("two"));
    let (tokens, _) = start(TokenProvider::from_sources(vec![boxed(&file), boxed(&row)])).await;
    row.put(token("three"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert_eq!(reject_current(&tokens).await.unwrap(), "three");
    file.put(token("four"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "four", "the first source has priority again");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_empty_at_first_is_used_once_it_has_a_token() {
    let (file, row) = (FakeStore::named("file"), FakeStore::named("row"));
    row.put(token("row"));
    let (tokens, alerts) = start(TokenProvider::from_sources(vec![boxed(&file), boxed(&row)])).await;
    assert_eq!(in_use(&tokens).unwrap(), "row");
    file.put(token("file"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "file");
    assert!(alerts.causes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn when_every_token_is_rejected_each_is_tried_once_without_a_busy_loop() {
    let stores = ["a", "b", "c"].map(FakeStore::named);
    for store in &stores {
        store.put(token(store.with_state(|state| state.name)));
    }
    let (tokens, _) = start(TokenProvider::from_sources(stores.iter().map(boxed).collect())).await;
    let mut tried = vec![in_use(&tokens).unwrap()];
    for _ in 0..20 {
        let next = reject_current(&tokens).await.unwrap();
        if tried.last() != Some(&next) {
            tried.push(next);
        }
        tokio::time::sleep(MINUTE * 2).await;
    }
    assert_eq!(tried, ["a", "b", "c"]);
    let before = stores.each_ref().map(|store| store.with_state(|state| state.loads));
    tokio::time::sleep(HOUR).await;
    let after = stores.each_ref().map(|store| store.with_state(|state| state.loads));
    for (before, after) in before.into_iter().zip(after) {
        assert!(after - before <= 200, "{} loads in an hour", after - before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_that_is_delivered_again_is_not_used_and_alerts() {
    let file = FakeStore::named("file");
    file.put(token("one"));
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone())).await;
    assert_eq!(reject_current(&tokens).await.unwrap(), "one");
    file.put(token("two"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    file.put(token("one"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(alerts.causes(), [AlertCause::Rejected, AlertCause::SourceTokenRejected]);
    assert!(alerts.text().contains("already rejected"), "{}", alerts.text());
}

#[tokio::test(start_paused = true)]
async fn a_token_changed_at_the_source_may_be_reverted_by_hand() {
    let file = FakeStore::named("file");
    file.put(token("one"));
    let (tokens, _) = start(TokenProvider::from_source(file.clone())).await;
    for text in ["two", "one", "two"] {
        file.put(token(text));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(in_use(&tokens).unwrap(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_token_the_reason_is_reported() {
    let (file, row) = (FakeStore::named("file"), FakeStore::named("row"));
    file.put(Token {
        expires_at: Some(start_date()),
        ..token("late")
    });
    let (tokens, alerts) = start(TokenProvider::from_sources(vec![boxed(&file), boxed(&row)])).await;
    let Err(RefreshError::Failed(error)) = tokens.current_or_wait(in_five_seconds()).await else {
        panic!("there is a token");
    };
    assert!(error.to_string().contains("has expired"), "{error}");
    assert_eq!(alerts.causes(), [AlertCause::SourceTokenRejected]);
}

#[tokio::test(start_paused = true)]
async fn the_reason_for_skipping_a_token_is_reported_once() {
    let (file, row) = (FakeStore::named("file"), FakeStore::named("row"));
    let graph = FakeInspector::default();
    for bad in ["bad", "worse"] {
        graph.set(bad, EXPIRED());
    }
    file.put(token("bad"));
    row.put(token("valid"));
    let provider = TokenProvider::from_sources(vec![boxed(&file), boxed(&row)]).with_inspector(graph.clone());
    let (tokens, alerts) = start(provider).await;
    assert_eq!(alerts.causes(), [AlertCause::SourceTokenRejected]);
    assert!(alerts.text().contains("from file"), "{}", alerts.text());
    // The operator delivers another invalid one.
    file.put(token("worse"));
    tokio::time::sleep(MINUTE).await;
    file.put(token("worse"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(alerts.causes(), [AlertCause::SourceTokenRejected; 2]);
    assert_eq!(in_use(&tokens).unwrap(), "valid");
}

#[tokio::test(start_paused = true)]
async fn content_that_is_no_token_is_reported_once_until_the_source_is_in_order_again() {
    let (file, row) = (FakeStore::named("file"), FakeStore::named("row"));
    file.put(token("one"));
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone())).await;
    let after = async |content: &'static str| {
        file.refuse(content);
        tokio::time::sleep(MINUTE).await;
        alerts.causes().len()
    };
    assert_eq!(
        (after("bad").await, after("bad").await, after("worse").await),
        (1, 1, 2)
    );
    file.disconnect();
    tokio::time::sleep(MINUTE).await;
    file.put(token("one"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(alerts.causes(), [AlertCause::SourceTokenRejected; 2]);
    assert_eq!(after("worse").await, 3);
    assert_eq!(in_use(&tokens).unwrap(), "one");

    // A source after it has the token in use, and hides it no more.
    row.put(token("two"));
    file.refuse("bad");
    let (tokens, alerts) = start(TokenProvider::from_sources(vec![boxed(&file), boxed(&row)])).await;
    for loads in 1..3 {
        assert_eq!(in_use(&tokens).unwrap(), "two");
        assert_eq!(alerts.causes(), [AlertCause::SourceTokenRejected], "{loads}");
        file.refuse("bad");
        tokio::time::sleep(MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_does_not_delay_an_earlier_one() {
    let (file, row) = (FakeStore::named("file"), FakeStore::named("row"));
    file.put(token("one"));
    row.with_state(|state| state.is_hanging = true);
    let started_at = Instant::now();
    let (tokens, _) = start(TokenProvider::from_sources(vec![boxed(&file), boxed(&row)])).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert!(started_at.elapsed() < Duration::from_secs(1));
    // Its token is found once it responds again.
    row.with_state(|state| state.is_hanging = false);
    row.put(token("two"));
    assert_eq!(reject_current(&tokens).await.unwrap(), "two");
}
