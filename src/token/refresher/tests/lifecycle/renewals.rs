//! The times of renewals, their number, and results that do not count as one.

use super::*;

#[tokio::test(start_paused = true)]
async fn sixty_days_are_renewed_between_ten_and_fourteen_days_before_their_expiry() {
    let started_at = Instant::now();
    let file = FakeStore::writable("file");
    file.put(expiring("one", 60 * DAY));
    let renewer = ScriptedRenewer::new([Ok(expiring("two", 108 * DAY))]);
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(50 * DAY).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    let at = renewer.called_at()[0] - started_at;
    assert!((46 * DAY..=50 * DAY).contains(&at), "{at:?}");
    assert_eq!(renewer.0.lock().unwrap().were_dead, [false]);
    assert!(alerts.causes().is_empty(), "{}", alerts.text());
    assert_eq!(file.with_state(|state| state.stored.clone()), ["two"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_hour_is_renewed_thirty_minutes_early() {
    let started_at = Instant::now();
    let file = FakeStore::writable("file");
    file.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Ok(expiring("two", 30 * DAY))]);
    let (tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(31 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    let at = renewer.called_at()[0] - started_at;
    assert!((26 * MINUTE..=30 * MINUTE).contains(&at), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_renewed_within_a_day_is_renewed_after_it() {
    let started_at = Instant::now();
    let file = FakeStore::writable("file");
    file.put(expiring("one", 30 * HOUR));
    let renewer = ScriptedRenewer::new([Ok(expiring("two", 90 * DAY))]);
    renewer.0.lock().unwrap().earliest_renewal = DAY;
    let (_tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(30 * HOUR).await;
    assert_eq!((renewer.called_at()[0] - started_at).as_secs() / 3_600, 24);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_still_has_the_superseded_token_does_not_revert_it() {
    let file = FakeStore::named("file");
    file.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Ok(expiring("two", 60 * DAY))]);
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(40 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    for _ in 0..10 {
        file.1.notify_one();
        tokio::time::sleep(DAY).await;
        assert_eq!(in_use(&tokens).unwrap(), "two");
    }
    assert_eq!(renewer.calls(), 1);
    assert_eq!(
        alerts.causes(),
        [AlertCause::StoreFailed],
        "reported at start that it cannot be stored"
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewer_that_returns_the_same_token_is_called_with_growing_backoff() {
    let file = FakeStore::writable("file");
    file.put(expiring("one", 60 * DAY));
    let renewer = ScriptedRenewer::new([Ok(expiring("one", 60 * DAY))]);
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(50 * DAY).await;
    let calls = renewer.calls();
    tokio::time::sleep(DAY).await;
    assert!(renewer.calls() - calls <= 120, "{} in a day", renewer.calls() - calls);
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert_eq!(alerts.causes()[0], AlertCause::RenewalFailed);
    // For a dead token it is called more often, but not more than once a minute in the long run.
    let calls = renewer.calls();
    assert_eq!(reject_current(&tokens).await.unwrap(), "one");
    tokio::time::sleep(HOUR).await;
    assert!(renewer.calls() - calls <= 180, "{} in an hour", renewer.calls() - calls);
    assert_eq!(tokens.current().unwrap().generation().get(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_token_with_a_later_expiry_is_a_renewal() {
    let file = FakeStore::writable("file");
    file.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Ok(expiring("one", 60 * DAY))]);
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(tokens.current().unwrap().expires_at(), Some(start_date() + 60 * DAY));
    assert_eq!(renewer.calls(), 1);
    assert!(alerts.causes().is_empty());
    assert_eq!(
        file.with_state(|state| state.stored.clone()),
        ["one"],
        "with its new expiry"
    );
    assert_eq!(
        file.with_state(|state| state.current.clone()).unwrap().expires_at,
        Some(start_date() + 60 * DAY)
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_that_has_already_expired_is_not_used_and_causes_no_retry_storm() {
    let file = FakeStore::writable("file");
    file.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Ok(Token {
        expires_at: Some(start_date() - DAY),
        ..token("stale")
    })]);
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert!(renewer.calls() <= 200, "{} calls", renewer.calls());
    assert!(alerts.causes().contains(&AlertCause::RenewalFailed));
    assert!(file.with_state(|state| state.stored.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn renewed_tokens_that_are_each_due_at_once_cause_no_retry_storm() {
    let file = FakeStore::writable("file");
    file.put(expiring("one", MINUTE));
    let results = (0..5_000).map(|number| Ok(expiring(&format!("t{number}"), 2 * MINUTE)));
    let renewer = ScriptedRenewer::new(results);
    let (_tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(2 * MINUTE).await;
    let calls = renewer.calls();
    assert!(calls < 60, "{calls}");
    tokio::time::sleep(10 * MINUTE).await;
    assert!(renewer.calls() - calls < 300, "{}", renewer.calls() - calls);
}

#[tokio::test(start_paused = true)]
async fn renewed_tokens_that_graph_rejects_at_once_cause_no_retry_storm() {
    let file = FakeStore::writable("file");
    file.put(token("one"));
    let results = (0..5_000).map(|number| Ok(token(&format!("t{number}"))));
    let renewer = ScriptedRenewer::new(results);
    let (tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    let started_at = Instant::now();
    while started_at.elapsed() < HOUR {
        let current = tokens.current().unwrap().generation();
        tokens.mark_rejected(current, &GraphError::default());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(renewer.calls() <= 75, "{} in an hour", renewer.calls());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_graph_that_differs_in_its_trace_id_is_reported_once() {
    let file = FakeStore::writable("file");
    file.put(expiring("one", 600 * DAY));
    let refusals = [
        "100/33 fbtrace_id A",
        "100/33 fbtrace_id B",
        "100/33 fbtrace_id C",
        "10 fbtrace_id D",
    ];
    let renewer = ScriptedRenewer::new(refusals.map(Err));
    let (_tokens, alerts) = start(TokenProvider::from_source(file).with_renewer(renewer.clone())).await;
    tokio::time::sleep(550 * DAY).await;
    assert!(renewer.calls() > 4);
    let keys = [
        "default/renewal_failed/broken/100/33",
        "default/renewal_failed/broken/10",
    ];
    assert_eq!(alerts.keys(), keys);
    assert!(alerts.text().contains("fbtrace_id A") && !alerts.text().contains("fbtrace_id B"));
}

#[tokio::test(start_paused = true)]
async fn failed_renewals_keep_the_token_and_alert_once() {
    let file = FakeStore::writable("file");
    file.put(expiring("one", 60 * DAY));
    let renewer = ScriptedRenewer::new([Err("broken renewer")]);
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(59 * DAY + 12 * HOUR).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert!(tokens.is_usable());
    let expected = [
        AlertCause::RenewalFailed,
        AlertCause::Expiry(14),
        AlertCause::Expiry(7),
        AlertCause::Expiry(3),
        AlertCause::Expiry(1),
    ];
    assert_eq!(alerts.causes(), expected);
    assert!(alerts.text().contains("broken renewer"));
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_is_renewed_by_a_renewer_that_needs_no_valid_token() {
    let file = FakeStore::writable("file");
    file.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Err("not yet"), Err("not yet"), Ok(token("two"))]);
    let (tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    assert_eq!(reject_current(&tokens).await.unwrap(), "one");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(renewer.0.lock().unwrap().were_dead, [true, true, true]);
}

#[tokio::test(start_paused = true)]
async fn expiry_warnings_come_at_fourteen_seven_three_and_one_days_without_a_renewer() {
    let file = FakeStore::named("file");
    file.put(expiring("one", 60 * DAY));
    let (_tokens, alerts) = start(TokenProvider::from_source(file.clone())).await;
    tokio::time::sleep(45 * DAY).await;
    assert!(alerts.causes().is_empty());
    tokio::time::sleep(16 * DAY).await;
    let expected = [14, 7, 3, 1].map(AlertCause::Expiry);
    assert_eq!(alerts.causes(), expected);
    assert!(
        alerts.text().contains("Store a new token in file."),
        "{}",
        alerts.text()
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_of_unknown_expiry_is_renewed_after_a_day_if_only_valid_tokens_can_be_renewed() {
    // The second result is the same token with a known expiry.
    for renewed in [expiring("two", 90 * DAY), expiring("one", 90 * DAY)] {
        let file = FakeStore::writable("file");
        let renewer = ScriptedRenewer::new([Ok(renewed)]);
        renewer.0.lock().unwrap().earliest_renewal = DAY;
        file.put(token("one"));
        let provider = TokenProvider::from_source(file.clone()).with_renewer(renewer.clone());
        let (tokens, alerts) = start(provider.with_inspector(FakeInspector::default())).await;
        let started_at = Instant::now();
        tokio::time::sleep(30 * DAY).await;
        assert_eq!(renewer.calls(), 1);
        assert!(renewer.called_at()[0].duration_since(started_at) >= DAY - MINUTE);
        assert_eq!(tokens.current().unwrap().expires_at(), Some(start_date() + 90 * DAY));
        assert!(alerts.causes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_finds_only_a_dead_token_renews_it_with_a_renewer_that_needs_no_valid_token() {
    for dead in [expiring("one", Duration::ZERO), token("one")] {
        let (file, graph) = (FakeStore::writable("file"), FakeInspector::default());
        file.put(dead);
        graph.set("one", EXPIRED());
        let renewer = ScriptedRenewer::new([Err("not yet"), Ok(token("two"))]);
        let empty = FakeStore::named("empty");
        let provider = TokenProvider::from_sources(vec![boxed(&empty), boxed(&file)]);
        let provider = provider.with_renewer(renewer.clone());
        let (tokens, _) = start(provider.with_inspector(graph.clone())).await;
        tokio::time::sleep(MINUTE).await;
        assert_eq!(in_use(&tokens).unwrap(), "two");
        assert_eq!(renewer.0.lock().unwrap().were_dead, [true, true]);
        assert_eq!(file.with_state(|it| it.current.clone()).unwrap().secret.expose(), "two");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_unknown_expiry_is_as_old_as_its_file_across_restarts() {
    let file = FakeStore::writable("file");
    let renewer = ScriptedRenewer::new([Ok(expiring("two", 90 * DAY))]);
    renewer.0.lock().unwrap().earliest_renewal = DAY;
    file.put(Token {
        modified_at: Some(start_date() - 3 * DAY),
        ..token("one")
    });
    let (tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!((renewer.calls(), in_use(&tokens).unwrap().as_str()), (1, "two"));
    // A date in the future is ignored.
    let file = FakeStore::writable("file");
    let renewer = ScriptedRenewer::new([Ok(expiring("two", 90 * DAY))]);
    renewer.0.lock().unwrap().earliest_renewal = DAY;
    file.put(Token {
        modified_at: Some(start_date() + 30 * DAY),
        ..token("one")
    });
    let (_tokens, _) = start(TokenProvider::from_source(file.clone()).with_renewer(renewer.clone())).await;
    tokio::time::sleep(DAY + MINUTE).await;
    assert_eq!(renewer.calls(), 1);
}
