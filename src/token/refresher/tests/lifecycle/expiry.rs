//! The date at which a source says that a token expires is a hint, and Graph's answer counts.

use super::super::super::super::vetting::InspectionScope;
use super::*;

fn expired(text: &str) -> Token {
    Token {
        expires_at: Some(start_date() - DAY),
        ..token(text)
    }
}

fn provider(file: &FakeStore, graph: &FakeInspector) -> TokenProvider {
    TokenProvider::from_source(file.clone()).with_inspector(graph.clone())
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_date_has_passed_is_used_if_graph_accepts_it() {
    for scope in [InspectionScope::AllTokens, InspectionScope::ExpiredTokens] {
        let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
        file.put(expired("living"));
        let (tokens, alerts) = start(provider(&file, &graph).with_inspection_scope(scope)).await;
        assert_eq!(in_use(&tokens).unwrap(), "living");
        assert_eq!(tokens.current().unwrap().expires_at(), None, "the date is wrong");
        assert_eq!((graph.calls(), alerts.causes()), (vec!["living".to_owned()], vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn graph_counts_more_than_a_date_in_the_future_too() {
    for (reported, expected) in [
        (Expiry::At(start_date() + 50 * DAY), Some(start_date() + 50 * DAY)),
        (Expiry::Never, None),
        (Expiry::Unknown, Some(start_date() + DAY)),
    ] {
        let (file, graph) = (FakeStore::writable("file"), FakeInspector::default());
        graph.set(
            "one",
            Inspection {
                expires_at: reported,
                ..Inspection::default()
            },
        );
        file.put(expiring("one", DAY));
        let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
        let (tokens, _) = start(provider(&file, &graph).with_renewer(renewer.clone())).await;
        assert_eq!(tokens.current().unwrap().expires_at(), expected);
        tokio::time::sleep(10 * DAY).await;
        assert_eq!(renewer.calls() > 0, reported == Expiry::Unknown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_date_has_passed_is_refused_with_the_date_only_if_graph_cannot_be_asked() {
    let file = FakeStore::named("file /run/token.json");
    file.put(expired("one"));
    let (tokens, alerts) = start(TokenProvider::from_source(file)).await;
    assert_eq!(in_use(&tokens), None);
    let text = alerts.text();
    for words in ["2024-10-03T00:00:00Z", "file /run/token.json", "could not be asked"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(!text.contains("one "), "{text}");

    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    graph.0.lock().unwrap().is_unreachable = true;
    file.put(expired("one"));
    let (tokens, alerts) = start(provider(&file, &graph)).await;
    assert_eq!(
        (in_use(&tokens), alerts.causes()),
        (None, vec![AlertCause::SourceTokenRejected])
    );
    for _ in 0..600 {
        file.1.notify_one();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let calls = graph.calls().len();
    assert!((2..=8).contains(&calls), "{calls} questions in a minute");
    graph.0.lock().unwrap().is_unreachable = false;
    tokio::time::sleep(MINUTE + MINUTE / 6).await;
    assert_eq!(in_use(&tokens).unwrap(), "one", "Graph answers again");
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_date_passes_in_use_is_asked_about() {
    let (file, graph) = (FakeStore::writable("file"), FakeInspector::default());
    file.put(expiring("one", HOUR));
    let renewer = ScriptedRenewer::new([Err("out of order")]);
    let provider = provider(&file, &graph).with_inspection_scope(InspectionScope::ExpiredTokens);
    let (tokens, _) = start(provider.with_renewer(renewer.clone())).await;
    tokio::time::sleep(HOUR - MINUTE).await;
    let calls = renewer.calls();
    assert!(graph.calls().is_empty() && calls > 0);
    tokio::time::sleep(DAY).await;
    assert_eq!(graph.calls().len(), 1);
    assert!(tokens.is_usable());
    assert!(renewer.0.lock().unwrap().were_dead.iter().all(|dead| !dead));
    assert!(renewer.calls() - calls <= 1, "it is not due any more");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_graph_calls_dead_when_its_date_passes_is_renewed() {
    let (file, graph) = (FakeStore::writable("file"), FakeInspector::default());
    file.put(expiring("one", HOUR));
    let provider = provider(&file, &graph).with_inspection_scope(InspectionScope::ExpiredTokens);
    let (tokens, alerts) = start(provider).await;
    graph.set("one", EXPIRED());
    tokio::time::sleep(HOUR + MINUTE).await;
    assert!(!tokens.is_usable());
    assert!(
        alerts.causes().contains(&AlertCause::Rejected),
        "before a request fails"
    );
    file.put(token("two"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
}

/// A source whose renewed token expired yesterday, by its date, and that has the token from before as well.
fn renewed_store(fallback: Token) -> FakeStore {
    let store = FakeStore::writable("store");
    store.put(expired("renewed"));
    store.with_state(|state| state.fallback = Some(fallback));
    store
}

#[tokio::test(start_paused = true)]
async fn graph_is_asked_about_the_renewed_token_before_the_older_one() {
    for fallback in [token("older"), expired("older"), expiring("older", DAY)] {
        let (store, graph) = (renewed_store(fallback), FakeInspector::default());
        let (tokens, alerts) = start(provider(&store, &graph)).await;
        assert_eq!(in_use(&tokens).unwrap(), "renewed");
        assert_eq!((graph.calls(), alerts.causes()), (vec!["renewed".to_owned()], vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn the_older_token_is_used_if_graph_rejects_the_renewed_one_or_cannot_be_asked() {
    for fallback in [token("older"), expired("older")] {
        let (store, graph) = (renewed_store(fallback), FakeInspector::default());
        graph.set("renewed", EXPIRED());
        let (tokens, alerts) = start(provider(&store, &graph)).await;
        assert_eq!(in_use(&tokens).unwrap(), "older");
        assert_eq!(alerts.causes(), [AlertCause::SourceTokenRejected]);
        assert_eq!(graph.calls(), ["renewed", "older"]);
        // It is in the source, so it stays, and a newer one replaces it.
        store.1.notify_one();
        tokio::time::sleep(HOUR).await;
        assert_eq!(
            (in_use(&tokens).unwrap(), tokens.is_usable()),
            ("older".to_owned(), true)
        );
        store.put(token("another"));
        tokio::time::sleep(MINUTE).await;
        assert_eq!(in_use(&tokens).unwrap(), "another");
    }
    let (store, graph) = (renewed_store(token("older")), FakeInspector::default());
    graph.0.lock().unwrap().is_unreachable = true;
    let (tokens, _) = start(provider(&store, &graph)).await;
    assert_eq!(in_use(&tokens).unwrap(), "older");
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_that_dies_in_use_gives_way_to_the_older_one_once() {
    let (store, graph) = (FakeStore::writable("store"), FakeInspector::default());
    store.put(token("renewed"));
    store.with_state(|state| state.fallback = Some(token("older")));
    let (tokens, _) = start(provider(&store, &graph)).await;
    assert_eq!(in_use(&tokens).unwrap(), "renewed");
    for text in ["renewed", "older"] {
        graph.set(text, EXPIRED());
        assert_eq!(
            reject_current(&tokens).await.unwrap(),
            "older",
            "after the end of {text}"
        );
    }
    assert!(!tokens.is_usable(), "both are dead");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_expiry_is_reported_weekly() {
    let file = FakeStore::writable("file");
    file.put(token("one"));
    let (_tokens, alerts) = start(TokenProvider::from_source(file)).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(alerts.causes(), [], "an inspection that fails is repeated first");
    for weeks in 1..=3 {
        tokio::time::sleep(7 * DAY).await;
        assert_eq!(alerts.causes(), vec![AlertCause::ExpiryUnknown; weeks]);
    }
    assert!(alerts.text().contains("app.id and app.secret"));
}

#[tokio::test(start_paused = true)]
async fn an_expiry_that_a_renewal_will_tell_is_not_reported_as_unknown() {
    let file = FakeStore::writable("file");
    file.put(token("one"));
    let renewer = ScriptedRenewer::new([Ok(expiring("two", 600 * DAY))]);
    renewer.0.lock().unwrap().earliest_renewal = 5 * DAY;
    let (tokens, alerts) = start(TokenProvider::from_source(file).with_renewer(renewer)).await;
    tokio::time::sleep(30 * DAY).await;
    assert_eq!((in_use(&tokens).unwrap().as_str(), alerts.causes()), ("two", vec![]));
}
