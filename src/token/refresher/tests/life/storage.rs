//! What is minted is stored before it is used, and not lost when it cannot be.

use super::*;

fn due_now() -> (Shelf, Answers) {
    let file = Shelf::keeping("file");
    file.show(ending("one", HOUR));
    (file, Answers::of([Ok(token("two")), Ok(token("three"))]))
}

#[tokio::test(start_paused = true)]
async fn a_token_in_use_is_one_that_is_stored() {
    let (file, renewer) = due_now();
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(31 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(file.now(|shelved| shelved.kept.clone()), ["two"]);
    assert_eq!(file.now(|shelved| shelved.claims), 1);
    assert!(heard.causes().is_empty());
    // What the place shows now is what was put there, and no news.
    file.1.notify_one();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(tokens.current().unwrap().generation().get(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_not_used_while_the_one_before_works_and_not_minted_twice() {
    let (file, renewer) = due_now();
    file.now(|shelved| shelved.broken = 3);
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(30 * MINUTE).await;
    while file.now(|shelved| shelved.broken) > 0 {
        assert_eq!(in_use(&tokens).unwrap(), "one");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
    assert_eq!(file.now(|shelved| shelved.kept.clone()), ["two"]);
    assert_eq!(renewer.calls(), 1);
    assert_eq!(heard.causes(), [Cause::RenewalFailed, Cause::Expiry(1)]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_used_if_the_one_before_is_dead_and_stored_later() {
    let (file, renewer) = due_now();
    file.now(|shelved| shelved.broken = 3);
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    assert_eq!(rejected(&tokens).await.unwrap(), "two");
    assert_eq!(heard.causes(), [Cause::Rejected, Cause::NotStored]);
    assert!(file.now(|shelved| shelved.kept.is_empty()));
    tokio::time::sleep(4 * MINUTE).await;
    assert_eq!(file.now(|shelved| shelved.kept.clone()), ["two"]);
    assert_eq!(renewer.calls(), 1);
    assert_eq!(in_use(&tokens).unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_somebody_else_put_there_meanwhile_is_taken_instead() {
    let (file, renewer) = due_now();
    file.now(|shelved| shelved.overtaken_by = Some(token("theirs")));
    let (tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    tokio::time::sleep(31 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "theirs");
    assert_eq!(renewer.calls(), 1);
    tokio::time::sleep(DAY).await;
    assert!(
        file.now(|shelved| shelved.kept.is_empty()),
        "nothing was written over theirs"
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_renewed_while_this_one_waited_is_taken_and_nothing_minted() {
    let (file, renewer) = due_now();
    let (tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer.clone())).await;
    // The first look of the renewal sees the old one; under the claim, there is the other replica's.
    tokio::time::sleep(20 * MINUTE).await;
    file.now(|shelved| shelved.shown = Some(ending("theirs", 60 * DAY)));
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "theirs");
    assert_eq!(renewer.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn with_nowhere_to_store_that_is_said_at_start_and_the_renewed_token_is_used() {
    let file = Shelf::named("file");
    file.show(ending("one", HOUR));
    let renewer = Answers::of([Ok(token("two"))]);
    let (tokens, heard) = live(Supply::of(file.clone()).renewed_by(renewer)).await;
    assert_eq!(heard.causes(), [Cause::NotStored]);
    assert!(heard.text().contains("it is read-only"), "{}", heard.text());
    assert!(heard.text().contains("token.store"), "{}", heard.text());
    tokio::time::sleep(31 * MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_which_one_place_keeps_nothing_is_told_at_start_too() {
    let (file, variable) = (Shelf::keeping("file"), Shelf::named("variable"));
    variable.show(ending("one", HOUR));
    let renewer = Answers::of([Ok(token("two"))]);
    let supply = Supply::of_all(vec![boxed(&file), boxed(&variable)]).renewed_by(renewer);
    let (_tokens, heard) = live(supply).await;
    assert_eq!(heard.causes(), [Cause::NotStored]);
    assert!(heard.text().contains("of some sources"), "{}", heard.text());
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_stored_is_not_written_over_what_a_person_put_there_since() {
    let (file, renewer) = due_now();
    file.now(|shelved| shelved.broken = 1);
    let (tokens, _) = live(Supply::of(file.clone()).renewed_by(renewer)).await;
    assert_eq!(rejected(&tokens).await.unwrap(), "two");
    file.show(token("theirs"));
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(in_use(&tokens).unwrap(), "theirs");
    tokio::time::sleep(4 * MINUTE).await;
    let shown = file.now(|shelved| shelved.shown.clone()).unwrap();
    assert_eq!(shown.secret.expose(), "theirs");
    assert!(file.now(|shelved| shelved.kept.is_empty()));
}
