//! The inspection of a token before it is used, and daily after that.

use tokio::sync::Semaphore;

use super::*;

fn provider(file: &FakeStore, graph: &FakeInspector) -> TokenProvider {
    TokenProvider::from_source(file.clone()).with_inspector(graph.clone())
}

#[tokio::test(start_paused = true)]
async fn a_new_token_that_inspection_rejects_is_not_used_and_the_old_one_stays() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    graph.set("bad", EXPIRED());
    file.put(token("good"));
    let (tokens, alerts) = start(provider(&file, &graph)).await;
    file.put(token("bad"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "good");
    assert_eq!(alerts.causes(), [AlertCause::SourceTokenRejected]);
    assert!(alerts.text().contains("expired"), "{}", alerts.text());
    assert!(!alerts.text().contains("bad"), "the text of a token: {}", alerts.text());
    file.1.notify_one();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(graph.calls(), ["good", "bad"], "inspected once");
    file.put(token("better"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "better");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_according_to_graph_is_not_used() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    let past = Inspection {
        expires_at: Expiry::At(start_date() - DAY),
        ..Inspection::default()
    };
    graph.set("late", past);
    file.put(token("late"));
    let (tokens, alerts) = start(provider(&file, &graph)).await;
    assert_eq!(in_use(&tokens), None);
    assert_eq!(alerts.causes(), [AlertCause::SourceTokenRejected]);
}

#[tokio::test(start_paused = true)]
async fn while_graph_is_unreachable_a_token_is_used_after_three_seconds() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    graph.0.lock().unwrap().is_unreachable = true;
    file.put(token("new"));
    let started_at = Instant::now();
    let (tokens, _) = start(provider(&file, &graph)).await;
    assert_eq!(in_use(&tokens).unwrap(), "new");
    assert_eq!(started_at.elapsed().as_secs(), 3);
    // It is inspected again within the hour, once Graph is reachable.
    graph.set(
        "new",
        Inspection {
            expires_at: Expiry::At(start_date() + DAY),
            ..Inspection::default()
        },
    );
    graph.0.lock().unwrap().is_unreachable = false;
    tokio::time::sleep(HOUR).await;
    assert_eq!(graph.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_any_token_a_rejected_one_is_inspected_again_with_a_delay() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    graph.set("good", EXPIRED());
    file.put(token("good"));
    let (tokens, _) = start(provider(&file, &graph)).await;
    assert_eq!(in_use(&tokens), None);
    tokio::time::sleep(10 * MINUTE).await;
    let calls = graph.calls().len();
    assert!((8..=16).contains(&calls), "{calls} in ten minutes");
    graph.set("good", Inspection::default());
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "good", "Graph accepts it again");
}

#[tokio::test(start_paused = true)]
async fn the_current_token_is_inspected_daily_and_its_expiry_is_updated() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    file.put(token("one"));
    let (tokens, alerts) = start(provider(&file, &graph)).await;
    tokens.observations().add_whatsapp_call();
    graph.set(
        "one",
        Inspection {
            expires_at: Expiry::At(start_date() + 30 * DAY),
            data_access_expires_at: Expiry::At(start_date() + 5 * DAY),
            scopes: Some(vec!["whatsapp_business_messaging".to_owned()]),
            ..Inspection::default()
        },
    );
    tokio::time::sleep(DAY).await;
    assert_eq!(graph.calls().len(), 2);
    let first = [
        AlertCause::ExpiryUnknown,
        AlertCause::ScopesMissing,
        AlertCause::DataAccess(7),
    ];
    assert_eq!(alerts.causes(), first);
    assert!(alerts.text().contains("whatsapp_business_management"));
    tokio::time::sleep(5 * DAY).await;
    let later = [
        AlertCause::ExpiryUnknown,
        AlertCause::ScopesMissing,
        AlertCause::DataAccess(7),
        AlertCause::DataAccess(3),
        AlertCause::DataAccess(1),
    ];
    assert_eq!(alerts.causes(), later, "nothing is reported twice");
    assert!((6..=8).contains(&graph.calls().len()), "{}", graph.calls().len());
    assert!(tokens.is_usable());
}

#[tokio::test(start_paused = true)]
async fn missing_permissions_are_reported_once_and_only_if_whatsapp_is_called() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    file.put(expiring("one", 600 * DAY));
    graph.set(
        "one",
        Inspection {
            scopes: Some(vec!["instagram_basic".to_owned()]),
            ..Inspection::default()
        },
    );
    let (tokens, alerts) = start(provider(&file, &graph)).await;
    tokio::time::sleep(3 * DAY).await;
    assert_eq!(alerts.causes(), [], "this app has no need of them");
    for _ in 0..3 {
        tokens.observations().add_whatsapp_call();
        tokio::time::sleep(DAY).await;
        assert_eq!(alerts.causes(), [AlertCause::ScopesMissing]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_locked_account_is_reported_once_a_day() {
    let file = FakeStore::named("file");
    file.put(expiring("one", 600 * DAY));
    let (tokens, alerts) = start(TokenProvider::from_source(file)).await;
    let locked = GraphError {
        code: Some(131_031),
        ..GraphError::default()
    };
    for _ in 0..3 {
        for _ in 0..8 {
            tokens.observations().add_account_lock(&locked);
            tokio::time::sleep(3 * 60 * MINUTE).await;
        }
    }
    assert_eq!(alerts.keys(), ["default/account_locked/131031"; 3]);
    assert!(alerts.text().contains("Business Manager") && alerts.text().contains("131031"));
    assert!(tokens.is_usable(), "the token is not the cause");
}

#[tokio::test(start_paused = true)]
async fn a_current_token_that_inspection_rejects_is_marked_before_any_request_fails() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    file.put(token("one"));
    let (tokens, alerts) = start(provider(&file, &graph)).await;
    graph.set("one", EXPIRED());
    tokio::time::sleep(DAY).await;
    assert!(!tokens.is_usable());
    assert_eq!(alerts.causes(), [AlertCause::ExpiryUnknown, AlertCause::Rejected]);
    file.put(token("two"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(tokens.is_usable());
}

#[tokio::test(start_paused = true)]
async fn an_expiry_of_never_is_not_read_as_1970() {
    let (file, graph) = (FakeStore::writable("file"), FakeInspector::default());
    let never = Inspection {
        expires_at: Expiry::Never,
        data_access_expires_at: Expiry::Never,
        ..Inspection::default()
    };
    graph.set("one", never);
    file.put(token("one"));
    let renewer = ScriptedRenewer::new([Ok(token("two"))]);
    let provider = provider(&file, &graph).with_renewer(renewer.clone());
    let (tokens, alerts) = start(provider).await;
    tokio::time::sleep(300 * DAY).await;
    assert_eq!((in_use(&tokens).unwrap().as_str(), renewer.calls()), ("one", 0));
    assert!(alerts.causes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_expiry_of_a_renewed_token_comes_from_graph_and_a_rejected_one_is_rolled_back() {
    let (file, graph) = (FakeStore::writable("file"), FakeInspector::default());
    file.put(expiring("one", HOUR));
    let in_an_hour = Inspection {
        expires_at: Expiry::At(start_date() + HOUR),
        ..Inspection::default()
    };
    graph.set("one", in_an_hour);
    graph.set("bad", EXPIRED());
    graph.set(
        "two",
        Inspection {
            expires_at: Expiry::At(start_date() + 60 * DAY),
            ..Inspection::default()
        },
    );
    let renewer = ScriptedRenewer::new([Ok(token("bad")), Ok(token("two"))]);
    let (tokens, alerts) = start(provider(&file, &graph).with_renewer(renewer)).await;
    tokio::time::sleep(HOUR + MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(tokens.current().unwrap().expires_at(), Some(start_date() + 60 * DAY));
    assert_eq!(file.with_state(|state| state.stored.clone()), ["bad", "one", "two"]);
    assert_eq!(alerts.causes(), [AlertCause::RenewalFailed, AlertCause::Expiry(1)]);
}

#[tokio::test(start_paused = true)]
async fn each_rejection_that_requires_another_action_has_its_own_alert() {
    let file = FakeStore::named("file");
    file.put(token("one"));
    let (tokens, alerts) = start(TokenProvider::from_source(file.clone())).await;
    // A checkpoint; the successor's user is not confirmed.
    for (subcode, successor) in [(459, "two"), (464, "three")] {
        let error = GraphError {
            code: Some(190),
            subcode: Some(subcode),
            ..GraphError::default()
        };
        tokens.mark_rejected(tokens.current().unwrap().generation(), &error);
        tokio::time::sleep(MINUTE).await;
        file.put(token(successor));
        tokio::time::sleep(MINUTE).await;
    }
    let keys = ["default/action_required/190/459", "default/action_required/190/464"];
    assert_eq!(alerts.keys(), keys);
}

#[tokio::test(start_paused = true)]
async fn each_reason_of_a_rejection_a_refused_token_and_a_failed_renewal_has_its_own_alert() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    let error = |subcode| GraphError {
        code: Some(190),
        subcode: Some(subcode),
        ..GraphError::default()
    };
    for (text, subcode) in [("expired", 463), ("late", 463), ("revoked", 460)] {
        let refused = Inspection {
            error: Some(error(subcode)),
            ..Inspection::default()
        };
        graph.set(text, refused);
    }
    file.put(expiring("one", 600 * DAY));
    let renewer = ScriptedRenewer::new([Err("100/33"), Err("100/33"), Err("10")]);
    let (tokens, alerts) = start(provider(&file, &graph).with_renewer(renewer)).await;
    for bad in ["expired", "late", "revoked"] {
        file.put(token(bad));
        tokio::time::sleep(MINUTE).await;
    }
    for subcode in [460, 463] {
        tokens.mark_rejected(tokens.current().unwrap().generation(), &error(subcode));
        tokio::time::sleep(HOUR).await;
        file.put(expiring(&format!("after-{subcode}"), 600 * DAY));
        tokio::time::sleep(MINUTE).await;
    }
    let keys: std::collections::BTreeSet<_> = alerts.keys().into_iter().collect();
    let expected = [
        "default/rejected/190/460",
        "default/rejected/190/463",
        "default/renewal_failed/broken/10",
        "default/renewal_failed/broken/100/33",
        "default/source_token_rejected/rejected_by_inspection/190/460",
        "default/source_token_rejected/rejected_by_inspection/190/463",
    ];
    assert!(expected.iter().all(|key| keys.contains(*key)), "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn frequent_source_notifications_do_not_inspect_a_dead_token_each_time() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    graph.set("bad", EXPIRED());
    file.put(token("bad"));
    let (tokens, _) = start(provider(&file, &graph)).await;
    for _ in 0..10 * 60 {
        file.1.notify_one();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let calls = graph.calls().len();
    assert!((2..=8).contains(&calls), "{calls} in a minute");
    file.put(token("better"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "better");
}

#[tokio::test(start_paused = true)]
async fn a_block_of_one_action_does_not_hide_that_the_whole_account_is_locked() {
    let file = FakeStore::named("file");
    file.put(expiring("one", 600 * DAY));
    let (tokens, alerts) = start(TokenProvider::from_source(file)).await;
    for code in [368, 131_031, 368] {
        let locked = GraphError {
            code: Some(code),
            ..GraphError::default()
        };
        tokens.observations().add_account_lock(&locked);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let keys = ["default/account_locked/368", "default/account_locked/131031"];
    assert_eq!(alerts.keys(), keys);
}

/// Graph's answers take a while, and the calls at the same time are counted.
#[derive(Clone, Default)]
struct SlowGraph(Arc<Mutex<CountedCalls>>);

#[derive(Default)]
struct CountedCalls {
    running: usize,
    most: usize,
    all: usize,
}

impl Inspector for SlowGraph {
    fn inspect<'a>(&'a mut self, _token: &'a Token) -> BoxFuture<'a, Result<Inspection, ObtainError>> {
        Box::pin(async {
            {
                let mut calls = self.0.lock().unwrap();
                calls.running += 1;
                calls.all += 1;
                calls.most = calls.most.max(calls.running);
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            self.0.lock().unwrap().running -= 1;
            Ok(Inspection::default())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_that_are_opened_at_the_same_moment_inspect_their_tokens_a_few_at_a_time() {
    const TENANTS: usize = 1_000;
    let (graph, limit) = (SlowGraph::default(), Arc::new(Semaphore::new(4)));
    let mut tenants = Vec::new();
    for _ in 0..TENANTS {
        let file = FakeStore::named("row");
        file.put(token("good"));
        let provider = TokenProvider::from_source(file).with_inspector(graph.clone());
        let (publisher, tokens) = channel();
        drop(start_refresher(
            provider.with_background_inspections(Arc::clone(&limit)),
            publisher,
        ));
        tokens.wait_for_first_check().await;
        assert_eq!(in_use(&tokens).unwrap(), "good", "no request waits for it");
        tenants.push(tokens);
    }
    tokio::time::sleep(3 * HOUR).await;
    let calls = graph.0.lock().unwrap();
    assert_eq!(calls.most, 4);
    assert_eq!(calls.all, TENANTS, "and each once");
}

#[tokio::test(start_paused = true)]
async fn while_others_inspect_a_dead_token_is_replaced_at_once_and_a_visit_inspects() {
    let (graph, limit) = (FakeInspector::default(), Arc::new(Semaphore::new(1)));
    let _taken = Arc::clone(&limit).try_acquire_owned().unwrap();
    let file = FakeStore::named("row");
    file.put(token("old"));
    let provider = provider(&file, &graph).with_background_inspections(limit);
    let (publisher, tokens) = channel();
    let (clock, policy) = (Clock::manual(start_date()), RefreshPolicy::default());
    let refresher = Refresher::new(
        TenantId::default(),
        provider,
        publisher,
        policy,
        clock,
        Box::new(|_event| {}),
    );
    let operator = refresher.operator();
    drop(spawn(refresher.run()));
    tokens.wait_for_first_check().await;
    tokio::time::sleep(2 * HOUR).await;
    assert!(graph.calls().is_empty(), "there is no room");
    file.put(token("new"));
    assert_eq!(reject_current(&tokens).await.unwrap(), "new");
    operator.visit().await.unwrap();
    assert_eq!(graph.calls(), ["new"], "the visit was counted when it began");
}
