//! Renewals: when, how often, and what is not taken for one.

use super::*;

fn since_today(at: Instant, began: Instant) -> Duration {
    at - began
}

#[tokio::test(start_paused = true)]
async fn sixty_days_are_renewed_between_ten_and_fourteen_days_before_their_end() {
    let began = Instant::now();
    let file = Shelf::keeping("file");
    file.show(ending("one", 60 * DAY));
    let renewer = Answers::of([Ok(ending("two", 108 * DAY))]);
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(50 * DAY).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    let at = since_today(renewer.at()[0], began);
    assert!((46 * DAY..=50 * DAY).contains(&at), "{at:?}");
    assert_eq!(renewer.0.lock().unwrap().dead, [false]);
    assert!(heard.causes().is_empty(), "{}", heard.text());
    assert_eq!(file.now(|shelved| shelved.kept.clone()), ["two"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_hour_is_renewed_thirty_minutes_early() {
    let began = Instant::now();
    let file = Shelf::keeping("file");
    file.show(ending("one", HOUR));
    let renewer = Answers::of([Ok(ending("two", 30 * DAY))]);
    let (tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(31 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    let at = since_today(renewer.at()[0], began);
    assert!((26 * MINUTE..=30 * MINUTE).contains(&at), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_renewed_before_a_day_is_renewed_after_it() {
    let began = Instant::now();
    let file = Shelf::keeping("file");
    file.show(ending("one", 30 * HOUR));
    let renewer = Answers::of([Ok(ending("two", 90 * DAY))]);
    renewer.0.lock().unwrap().earliest = DAY;
    let (_tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(30 * HOUR).await;
    assert_eq!(since_today(renewer.at()[0], began).as_secs() / 3_600, 24);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_still_shows_the_superseded_token_is_not_followed_back() {
    let file = Shelf::named("file");
    file.show(ending("one", HOUR));
    let renewer = Answers::of([Ok(ending("two", 60 * DAY))]);
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(40 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    for _ in 0..10 {
        file.1.notify_one();
        tokio::time::sleep(DAY).await;
        assert_eq!(in_use(&tokens).unwrap(), "two");
    }
    assert_eq!(renewer.calls(), 1);
    assert_eq!(
        heard.causes(),
        [Cause::NotStored],
        "told at start that it is kept nowhere"
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewer_that_answers_the_same_token_is_asked_ever_more_seldom() {
    let file = Shelf::keeping("file");
    file.show(ending("one", 60 * DAY));
    let renewer = Answers::of([Ok(ending("one", 60 * DAY))]);
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(50 * DAY).await;
    let calls = renewer.calls();
    tokio::time::sleep(DAY).await;
    assert!(
        renewer.calls() - calls <= 120,
        "{} in a day",
        renewer.calls() - calls
    );
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert_eq!(heard.causes()[0], Cause::RenewalFailed);
    // Dead, it is asked for more often, but not more than once a minute in the long run.
    let calls = renewer.calls();
    assert_eq!(rejected(&tokens).await.unwrap(), "one");
    tokio::time::sleep(HOUR).await;
    assert!(
        renewer.calls() - calls <= 180,
        "{} in an hour",
        renewer.calls() - calls
    );
    assert_eq!(tokens.current().unwrap().generation().get(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_token_with_a_later_end_is_a_renewal() {
    let file = Shelf::keeping("file");
    file.show(ending("one", HOUR));
    let renewer = Answers::of([Ok(ending("one", 60 * DAY))]);
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(
        tokens.current().unwrap().expires_at(),
        Some(today() + 60 * DAY)
    );
    assert_eq!(renewer.calls(), 1);
    assert!(heard.causes().is_empty());
    assert!(
        file.now(|shelved| shelved.kept.is_empty()),
        "it is there already"
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_that_has_expired_on_arrival_is_no_token_and_no_storm() {
    let file = Shelf::keeping("file");
    file.show(ending("one", HOUR));
    let renewer = Answers::of([Ok(Token {
        expires_at: Some(today() - DAY),
        ..token("stale")
    })]);
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert!(renewer.calls() <= 200, "{} calls", renewer.calls());
    assert!(heard.causes().contains(&Cause::RenewalFailed));
    assert!(file.now(|shelved| shelved.kept.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn renewed_tokens_of_which_each_is_due_at_once_are_no_storm() {
    let file = Shelf::keeping("file");
    file.show(ending("one", MINUTE));
    let answers = (0..5_000).map(|number| Ok(ending(&format!("t{number}"), 2 * MINUTE)));
    let renewer = Answers::of(answers);
    let (_tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(2 * MINUTE).await;
    let calls = renewer.calls();
    assert!(calls < 60, "{calls}");
    tokio::time::sleep(10 * MINUTE).await;
    assert!(renewer.calls() - calls < 300, "{}", renewer.calls() - calls);
}

#[tokio::test(start_paused = true)]
async fn minted_tokens_that_graph_rejects_at_once_are_no_storm() {
    let file = Shelf::keeping("file");
    file.show(token("one"));
    let answers = (0..5_000).map(|number| Ok(token(&format!("t{number}"))));
    let renewer = Answers::of(answers);
    let (tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    let began = Instant::now();
    while began.elapsed() < HOUR {
        let live = tokens.current().unwrap().generation();
        tokens.reject(live, &GraphError::default());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(renewer.calls() <= 75, "{} in an hour", renewer.calls());
}

#[tokio::test(start_paused = true)]
async fn renewals_that_fail_leave_the_token_and_say_so_once() {
    let file = Shelf::keeping("file");
    file.show(ending("one", 60 * DAY));
    let renewer = Answers::of([Err("out of order")]);
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(59 * DAY + 12 * HOUR).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert!(tokens.usable());
    let expected = [
        Cause::RenewalFailed,
        Cause::Expiry(14),
        Cause::Expiry(7),
        Cause::Expiry(3),
        Cause::Expiry(1),
    ];
    assert_eq!(heard.causes(), expected);
    assert!(heard.text().contains("out of order"));
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_is_renewed_at_its_end_by_what_needs_no_living_one() {
    let file = Shelf::keeping("file");
    file.show(ending("one", HOUR));
    let renewer = Answers::of([Err("not yet"), Err("not yet"), Ok(token("two"))]);
    let (tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    assert_eq!(rejected(&tokens).await.unwrap(), "one");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(renewer.0.lock().unwrap().dead, [true, true, true]);
}

#[tokio::test(start_paused = true)]
async fn warnings_come_at_fourteen_seven_three_and_one_days_when_nobody_renews() {
    let file = Shelf::named("file");
    file.show(ending("one", 60 * DAY));
    let (_tokens, heard) = live(Supply::of(file.clone())).await;
    tokio::time::sleep(45 * DAY).await;
    assert!(heard.causes().is_empty());
    tokio::time::sleep(16 * DAY).await;
    let expected = [14, 7, 3, 1].map(Cause::Expiry);
    assert_eq!(heard.causes(), expected);
    assert!(
        heard.text().contains("Put a new token into file."),
        "{}",
        heard.text()
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_unknown_end_is_renewed_after_a_day_if_only_living_ones_can_be() {
    // The second answer is the same token, whose end is news.
    for answer in [ending("two", 90 * DAY), ending("one", 90 * DAY)] {
        let file = Shelf::keeping("file");
        let renewer = Answers::of([Ok(answer)]);
        renewer.0.lock().unwrap().earliest = DAY;
        file.show(token("one"));
        let supply = Supply::of(file.clone()).renewed_by(renewer.clone());
        let (tokens, heard) = live(supply.inspected_by(Knows::default())).await;
        let began = Instant::now();
        tokio::time::sleep(30 * DAY).await;
        assert_eq!(renewer.calls(), 1);
        assert!(renewer.at()[0].duration_since(began) >= DAY - MINUTE);
        assert_eq!(
            tokens.current().unwrap().expires_at(),
            Some(today() + 90 * DAY)
        );
        assert!(heard.causes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_finds_only_a_dead_token_renews_it_with_what_needs_no_living_one() {
    for dead in [ending("one", Duration::ZERO), token("one")] {
        let (file, graph) = (Shelf::keeping("file"), Knows::default());
        file.show(dead);
        graph.says("one", DEAD());
        let renewer = Answers::of([Err("not yet"), Ok(token("two"))]);
        let empty = Shelf::named("empty");
        let supply = Supply::of_all(vec![boxed(&empty), boxed(&file)]);
        let supply = supply.renewed_by(renewer.clone());
        let (tokens, _) = live(supply.inspected_by(graph.clone())).await;
        tokio::time::sleep(MINUTE).await;
        assert_eq!(in_use(&tokens).unwrap(), "two");
        assert_eq!(renewer.0.lock().unwrap().dead, [true, true]);
        assert_eq!(
            file.now(|it| it.shown.clone()).unwrap().secret.expose(),
            "two"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_unknown_end_is_as_old_as_its_place_says_however_often_the_process_starts() {
    let file = Shelf::keeping("file");
    let renewer = Answers::of([Ok(ending("two", 90 * DAY))]);
    renewer.0.lock().unwrap().earliest = DAY;
    file.show(Token {
        there_since: Some(today() - 3 * DAY),
        ..token("one")
    });
    let (tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(
        (renewer.calls(), in_use(&tokens).unwrap().as_str()),
        (1, "two")
    );
    // A date that lies ahead is no date.
    let file = Shelf::keeping("file");
    let renewer = Answers::of([Ok(ending("two", 90 * DAY))]);
    renewer.0.lock().unwrap().earliest = DAY;
    file.show(Token {
        there_since: Some(today() + 30 * DAY),
        ..token("one")
    });
    let (_tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(DAY + MINUTE).await;
    assert_eq!(renewer.calls(), 1);
}
