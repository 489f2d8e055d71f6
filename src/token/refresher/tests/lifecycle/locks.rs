//! Another replica has the renewal lock of a row.

use super::super::super::super::{OperatorCommand, OperatorHandle};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A refresher whose row another replica has locked.
async fn start_locked(row: &FakeStore, renewer: &ScriptedRenewer) -> (TokenHandle, OperatorHandle, RecordedAlerts) {
    row.with_state(|state| state.is_locked = true);
    let (publisher, tokens) = channel();
    let alerts = RecordedAlerts::default();
    let recorded = Arc::clone(&alerts.0);
    let event_sink = Box::new(move |event: &TokenEvent<'_>| {
        if let TokenEvent::Alert(alert) = event {
            recorded.lock().unwrap().push((*alert).clone());
        }
    });
    let refresher = Refresher::new(
        TenantId::default(),
        TokenProvider::from_source(row.clone()).with_renewer(renewer.clone()),
        publisher,
        RefreshPolicy::default(),
        Clock::manual(start_date()),
        event_sink,
    );
    let operator = refresher.operator();
    drop(spawn(refresher.run()));
    tokens.wait_for_first_check().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    (tokens, operator, alerts)
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_lock_is_taken_is_skipped_at_once_and_tried_again_soon() {
    let row = FakeStore::writable("row");
    row.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Ok(expiring("two", 60 * DAY))]);
    let (tokens, operator, alerts) = start_locked(&row, &renewer).await;
    assert!(!operator.visit().await.unwrap().is_locked, "it is not due");
    tokio::time::sleep(31 * MINUTE).await;
    let visited_at = Instant::now();
    let report = operator.visit().await.unwrap();
    assert!(report.is_locked, "{report:?}");
    assert!(
        visited_at.elapsed() < SECOND,
        "the visit waits for the other replica: {:?}",
        visited_at.elapsed()
    );
    assert_eq!((renewer.calls(), in_use(&tokens).unwrap()), (0, "one".to_owned()));
    assert!(alerts.causes().is_empty(), "{}", alerts.text());
    // The other replica could not renew it either.
    row.with_state(|state| state.is_locked = false);
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!((renewer.calls(), in_use(&tokens).unwrap()), (1, "two".to_owned()));
    assert!(!operator.visit().await.unwrap().is_locked);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_token_that_another_replica_stores_and_no_visit_does() {
    let row = FakeStore::writable("row");
    row.put(token("one"));
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let (tokens, operator, alerts) = start_locked(&row, &renewer).await;
    let rejected = tokens.current().unwrap().generation();
    tokens.mark_rejected(rejected, &GraphError::default());
    let replica = async {
        tokio::time::sleep(4 * SECOND).await;
        let visited_at = Instant::now();
        assert!(operator.visit().await.unwrap().is_locked);
        assert!(visited_at.elapsed() < SECOND, "{:?}", visited_at.elapsed());
        tokio::time::sleep(4 * SECOND).await;
        // Nothing announces it.
        row.with_state(|state| state.current = Some(token("two")));
    };
    let deadline = Instant::now() + 20 * SECOND;
    let (healed, ()) = tokio::join!(tokens.wait_for_newer(rejected, deadline), replica);
    assert_eq!(healed.unwrap().token().secret.expose(), "two");
    assert_eq!(renewer.calls(), 0);
    assert!(
        !alerts.causes().contains(&AlertCause::RenewalFailed),
        "{}",
        alerts.text()
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_whose_lock_is_never_free_is_renewed_without_it() {
    let row = FakeStore::writable("row");
    row.put(token("one"));
    let renewer = ScriptedRenewer::new([Ok(token("two")), Ok(token("three"))]);
    let (tokens, _operator, _alerts) = start_locked(&row, &renewer).await;
    for renewed in ["two", "three"] {
        let rejected = tokens.current().unwrap().generation();
        let rejected_at = Instant::now();
        tokens.mark_rejected(rejected, &GraphError::default());
        let deadline = rejected_at + MINUTE;
        let healed = tokens.wait_for_newer(rejected, deadline).await.unwrap();
        assert_eq!(healed.token().secret.expose(), renewed);
        let waited = rejected_at.elapsed();
        assert!((25 * SECOND..=30 * SECOND).contains(&waited), "{waited:?}");
        // Longer than the renewal of a token that Graph rejects at once is put off.
        tokio::time::sleep(2 * MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_operator_is_stored_when_the_lock_is_free() {
    let row = FakeStore::writable("row");
    row.put(token("one"));
    let (tokens, operator, _alerts) = start_locked(&row, &ScriptedRenewer::default()).await;
    let replica = async {
        tokio::time::sleep(8 * SECOND).await;
        assert_eq!(row.with_state(|state| state.stored.len()), 0);
        row.with_state(|state| state.is_locked = false);
    };
    let (change, ()) = tokio::join!(operator.request(OperatorCommand::Set(token("two"))), replica);
    change.unwrap();
    assert_eq!(in_use(&tokens).unwrap(), "two");
}
