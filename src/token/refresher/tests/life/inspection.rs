//! What Graph says of a token before it goes into service, and daily after that.

use super::*;

fn supply(file: &Shelf, graph: &Knows) -> Supply {
    Supply::of(file.clone()).inspected_by(graph.clone())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_token_that_graph_calls_dead_is_not_taken_and_the_old_one_stays() {
    let (file, graph) = (Shelf::named("file"), Knows::default());
    graph.says("bad", DEAD());
    file.show(token("good"));
    let (tokens, heard) = live(supply(&file, &graph)).await;
    file.show(token("bad"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "good");
    assert_eq!(heard.causes(), [Cause::Quarantined]);
    assert!(heard.text().contains("expired"), "{}", heard.text());
    assert!(
        !heard.text().contains("bad"),
        "the text of a token: {}",
        heard.text()
    );
    file.1.notify_one();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(graph.calls(), ["good", "bad"], "asked about it once");
    file.show(token("better"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "better");
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_end_has_passed_by_graphs_word_is_not_taken() {
    let (file, graph) = (Shelf::named("file"), Knows::default());
    let past = Inspection {
        expires: Ends::At(today() - DAY),
        ..Inspection::default()
    };
    graph.says("late", past);
    file.show(token("late"));
    let (tokens, heard) = live(supply(&file, &graph)).await;
    assert_eq!(in_use(&tokens), None);
    assert_eq!(heard.causes(), [Cause::Quarantined]);
}

#[tokio::test(start_paused = true)]
async fn while_graph_cannot_be_asked_a_token_is_taken_after_three_seconds() {
    let (file, graph) = (Shelf::named("file"), Knows::default());
    graph.0.lock().unwrap().gone = true;
    file.show(token("new"));
    let began = Instant::now();
    let (tokens, _) = live(supply(&file, &graph)).await;
    assert_eq!(in_use(&tokens).unwrap(), "new");
    assert_eq!(began.elapsed().as_secs(), 3);
    // It is asked about again within the hour, once Graph is back.
    graph.says(
        "new",
        Inspection {
            expires: Ends::At(today() + DAY),
            ..Inspection::default()
        },
    );
    graph.0.lock().unwrap().gone = false;
    tokio::time::sleep(HOUR).await;
    assert_eq!(graph.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn with_no_token_at_all_one_that_was_called_dead_is_asked_about_again_in_time() {
    let (file, graph) = (Shelf::named("file"), Knows::default());
    graph.says("good", DEAD());
    file.show(token("good"));
    let (tokens, _) = live(supply(&file, &graph)).await;
    assert_eq!(in_use(&tokens), None);
    tokio::time::sleep(10 * MINUTE).await;
    let calls = graph.calls().len();
    assert!((8..=16).contains(&calls), "{calls} in ten minutes");
    graph.says("good", Inspection::default());
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "good", "Graph had a bad hour");
}

#[tokio::test(start_paused = true)]
async fn the_live_token_is_asked_about_daily_and_its_dates_are_believed() {
    let (file, graph) = (Shelf::named("file"), Knows::default());
    file.show(token("one"));
    let (tokens, heard) = live(supply(&file, &graph)).await;
    graph.says(
        "one",
        Inspection {
            expires: Ends::At(today() + 30 * DAY),
            data_access: Ends::At(today() + 5 * DAY),
            scopes: Some(vec!["whatsapp_business_messaging".to_owned()]),
            ..Inspection::default()
        },
    );
    tokio::time::sleep(DAY).await;
    assert_eq!(graph.calls().len(), 2);
    assert_eq!(heard.causes(), [Cause::ScopesMissing, Cause::DataAccess(7)]);
    assert!(heard.text().contains("whatsapp_business_management"));
    tokio::time::sleep(5 * DAY).await;
    let later = [
        Cause::ScopesMissing,
        Cause::DataAccess(7),
        Cause::DataAccess(3),
        Cause::DataAccess(1),
    ];
    assert_eq!(heard.causes(), later, "nothing is said twice");
    assert!(
        (6..=8).contains(&graph.calls().len()),
        "{}",
        graph.calls().len()
    );
    assert!(tokens.usable());
}

#[tokio::test(start_paused = true)]
async fn a_live_token_that_graph_calls_dead_when_asked_is_rejected_before_any_request_is() {
    let (file, graph) = (Shelf::named("file"), Knows::default());
    file.show(token("one"));
    let (tokens, heard) = live(supply(&file, &graph)).await;
    graph.says("one", DEAD());
    tokio::time::sleep(DAY).await;
    assert!(!tokens.usable());
    assert_eq!(heard.causes(), [Cause::Rejected]);
    file.show(token("two"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(tokens.usable());
}

#[tokio::test(start_paused = true)]
async fn never_is_never_and_not_1970() {
    let (file, graph) = (Shelf::keeping("file"), Knows::default());
    let never = Inspection {
        expires: Ends::Never,
        data_access: Ends::Never,
        ..Inspection::default()
    };
    graph.says("one", never);
    file.show(token("one"));
    let renewer = Answers::of([Ok(token("two"))]);
    let supply = supply(&file, &graph).renewed_by(renewer.clone());
    let (tokens, heard) = live(supply).await;
    tokio::time::sleep(300 * DAY).await;
    assert_eq!(
        (in_use(&tokens).unwrap().as_str(), renewer.calls()),
        ("one", 0)
    );
    assert!(heard.causes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_minted_token_is_learnt_from_graph_and_a_dead_one_is_taken_back_out_of_its_place()
 {
    let (file, graph) = (Shelf::keeping("file"), Knows::default());
    file.show(ending("one", HOUR));
    graph.says("bad", DEAD());
    graph.says(
        "two",
        Inspection {
            expires: Ends::At(today() + 60 * DAY),
            ..Inspection::default()
        },
    );
    let renewer = Answers::of([Ok(token("bad")), Ok(token("two"))]);
    let (tokens, heard) = live(supply(&file, &graph).renewed_by(renewer)).await;
    tokio::time::sleep(HOUR + MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(
        tokens.current().unwrap().expires_at(),
        Some(today() + 60 * DAY)
    );
    assert_eq!(
        file.now(|shelved| shelved.kept.clone()),
        ["bad", "one", "two"]
    );
    assert_eq!(heard.causes(), [Cause::RenewalFailed, Cause::Expiry(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_needs_a_person_says_whom() {
    let file = Shelf::named("file");
    file.show(token("one"));
    let (tokens, heard) = live(Supply::of(file.clone())).await;
    let checkpoint = GraphError {
        code: Some(190),
        subcode: Some(459),
        ..GraphError::default()
    };
    tokens.reject(tokens.current().unwrap().generation(), &checkpoint);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(heard.causes(), [Cause::NeedsPerson]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_source_does_not_make_graph_be_asked_about_a_dead_token_each_time_it_rings() {
    let (file, graph) = (Shelf::named("file"), Knows::default());
    graph.says("bad", DEAD());
    file.show(token("bad"));
    let (tokens, _) = live(supply(&file, &graph)).await;
    for _ in 0..10 * 60 {
        file.1.notify_one();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let calls = graph.calls().len();
    assert!((2..=8).contains(&calls), "{calls} in a minute");
    file.show(token("better"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "better");
}
