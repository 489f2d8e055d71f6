//! Several sources: which token counts.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_does_not_hide_a_live_one_further_down() {
    let (file, row) = (Shelf::named("file"), Shelf::named("row"));
    file.show(Token {
        expires_at: Some(today() - DAY),
        ..token("expired")
    });
    row.show(token("living"));
    let supply = Supply::of_all(vec![boxed(&file), boxed(&row)]);
    let (tokens, _) = live(supply).await;
    assert_eq!(in_use(&tokens).unwrap(), "living");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_graph_rejects_does_not_hide_a_live_one_further_down() {
    let (file, row) = (Shelf::named("file"), Shelf::named("row"));
    file.show(token("expired unbeknown".replace(' ', "-").as_str()));
    row.show(token("living"));
    let (tokens, _) = live(Supply::of_all(vec![boxed(&file), boxed(&row)])).await;
    assert_eq!(in_use(&tokens).unwrap(), "expired-unbeknown");
    assert_eq!(rejected(&tokens).await.unwrap(), "living");
    // The file is touched, and shows what it showed: nobody goes back to it.
    file.1.notify_one();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "living");
}

#[tokio::test(start_paused = true)]
async fn the_first_source_counts_most_and_news_further_down_wait_for_their_need() {
    let (file, row) = (Shelf::named("file"), Shelf::named("row"));
    file.show(token("one"));
    row.show(token("two"));
    let (tokens, _) = live(Supply::of_all(vec![boxed(&file), boxed(&row)])).await;
    row.show(token("three"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert_eq!(rejected(&tokens).await.unwrap(), "three");
    file.show(token("four"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        in_use(&tokens).unwrap(),
        "four",
        "the first one counts again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_empty_at_first_is_heard_when_it_fills() {
    let (file, row) = (Shelf::named("file"), Shelf::named("row"));
    row.show(token("row"));
    let (tokens, heard) = live(Supply::of_all(vec![boxed(&file), boxed(&row)])).await;
    assert_eq!(in_use(&tokens).unwrap(), "row");
    file.show(token("file"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "file");
    assert!(heard.causes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn when_every_token_is_rejected_nobody_spins_and_each_was_tried_once() {
    let shelves = ["a", "b", "c"].map(Shelf::named);
    for shelf in &shelves {
        shelf.show(token(shelf.now(|shelved| shelved.name)));
    }
    let (tokens, _) = live(Supply::of_all(shelves.iter().map(boxed).collect())).await;
    let mut tried = vec![in_use(&tokens).unwrap()];
    for _ in 0..20 {
        let next = rejected(&tokens).await.unwrap();
        if tried.last() != Some(&next) {
            tried.push(next);
        }
        tokio::time::sleep(MINUTE * 2).await;
    }
    assert_eq!(tried, ["a", "b", "c"]);
    let before = shelves
        .each_ref()
        .map(|shelf| shelf.now(|shelved| shelved.loads));
    tokio::time::sleep(HOUR).await;
    let after = shelves
        .each_ref()
        .map(|shelf| shelf.now(|shelved| shelved.loads));
    for (before, after) in before.into_iter().zip(after) {
        assert!(after - before <= 200, "{} looks in an hour", after - before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_that_is_dropped_again_is_not_taken_and_that_is_said() {
    let file = Shelf::named("file");
    file.show(token("one"));
    let (tokens, heard) = live(Supply::of(file.clone())).await;
    assert_eq!(rejected(&tokens).await.unwrap(), "one");
    file.show(token("two"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    file.show(token("one"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(heard.causes(), [Cause::Rejected, Cause::Quarantined]);
    assert!(
        heard.text().contains("rejected already"),
        "{}",
        heard.text()
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_renewed_at_the_source_may_be_taken_back_by_hand() {
    let file = Shelf::named("file");
    file.show(token("one"));
    let (tokens, _) = live(Supply::of(file.clone())).await;
    for text in ["two", "one", "two"] {
        file.show(token(text));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(in_use(&tokens).unwrap(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_token_the_reason_is_heard() {
    let (file, row) = (Shelf::named("file"), Shelf::named("row"));
    file.show(Token {
        expires_at: Some(today()),
        ..token("late")
    });
    let (tokens, heard) = live(Supply::of_all(vec![boxed(&file), boxed(&row)])).await;
    let Err(NoSuccessor::Failed(why)) = tokens.live(soon()).await else {
        panic!("there is none");
    };
    assert!(why.to_string().contains("has expired already"), "{why}");
    assert_eq!(heard.causes(), [Cause::Quarantined]);
}

#[tokio::test(start_paused = true)]
async fn why_a_token_is_passed_over_is_said_once_whatever_stands_further_down() {
    let (file, row) = (Shelf::named("file"), Shelf::named("row"));
    let graph = Knows::default();
    for bad in ["bad", "worse"] {
        graph.says(bad, DEAD());
    }
    file.show(token("bad"));
    row.show(token("alive"));
    let supply = Supply::of_all(vec![boxed(&file), boxed(&row)]).inspected_by(graph.clone());
    let (tokens, heard) = live(supply).await;
    assert_eq!(heard.causes(), [Cause::Quarantined]);
    assert!(heard.text().contains("from file"), "{}", heard.text());
    // A person drops another one that is no better.
    file.show(token("worse"));
    tokio::time::sleep(MINUTE).await;
    file.show(token("worse"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(heard.causes(), [Cause::Quarantined; 2]);
    assert_eq!(in_use(&tokens).unwrap(), "alive");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_does_not_hold_up_what_stands_before_it() {
    let (file, row) = (Shelf::named("file"), Shelf::named("row"));
    file.show(token("one"));
    row.now(|shelved| shelved.hangs = true);
    let began = Instant::now();
    let (tokens, _) = live(Supply::of_all(vec![boxed(&file), boxed(&row)])).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert!(began.elapsed() < Duration::from_secs(1));
    // What it shows once it answers again is found, too.
    row.now(|shelved| shelved.hangs = false);
    row.show(token("two"));
    assert_eq!(rejected(&tokens).await.unwrap(), "two");
}
