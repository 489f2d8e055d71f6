use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::*;
use crate::token::ErrorKind;
use crate::types::Secret;

/// A row that a test sets, and whether it cannot be read. A read of it takes a second, once it is its turn.
#[derive(Debug)]
struct OneRow(Mutex<Option<TenantRow>>, AtomicBool, Semaphore);

fn token(text: &str) -> Token {
    Token::without_expiry(Secret::new(text).unwrap())
}

fn row(text: &str) -> TenantRow {
    TenantRow::of_token(TenantId::new("acme").unwrap(), Ok(token(text)))
}

/// A cell with the row of a token, and its source, which has loaded that.
async fn cell_with(text: &str) -> (Arc<RowCell>, Arc<OneRow>, RowSource) {
    let rows = Arc::new(OneRow(
        Mutex::new(Some(row(text))),
        AtomicBool::new(false),
        Semaphore::new(1),
    ));
    let cell = Arc::new(RowCell::new(row(text), Instant::now()));
    let mut source = RowSource::new(Arc::clone(&cell), Arc::<OneRow>::clone(&rows));
    assert_eq!(load(&mut source).await, text);
    (cell, rows, source)
}

async fn load(source: &mut RowSource) -> String {
    source.load().await.unwrap().secret.expose().to_owned()
}

impl TenantRows for OneRow {
    fn describe(&self, _tenant: &TenantId) -> String {
        "table".to_owned()
    }

    fn read_row<'a>(&'a self, _tenant: &'a TenantId) -> BoxFuture<'a, Result<Option<TenantRow>, ObtainError>> {
        let row = self.0.lock().unwrap().clone();
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.1.load(Ordering::Relaxed) {
                return Err(ObtainError::transient("unreachable", "the table is unreachable"));
            }
            Ok(row)
        })
    }

    fn take_turn(&self) -> BoxFuture<'_, Option<SemaphorePermit<'_>>> {
        Box::pin(async { self.2.acquire().await.ok() })
    }

    fn look_interval(&self) -> Duration {
        Duration::from_secs(7)
    }

    fn store<'a>(&'a self, _tenant: &'a TenantId, stored: StoredToken<'a>) -> StoreFuture<'a> {
        self.0.lock().unwrap().as_mut().unwrap().token = Ok(stored.token.clone());
        Box::pin(async { Ok(StoreOutcome::Stored) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_began_before_a_token_was_stored_changes_nothing() {
    let (cell, _rows, mut source) = cell_with("EAAGold").await;
    let read_at = Instant::now();
    tokio::time::advance(Duration::from_millis(10)).await;
    let expected = token("EAAGold").secret.fingerprint();
    let stored = source.store(&token("EAAGnew"), Some(expected)).await.unwrap();
    assert_eq!(stored, StoreOutcome::Stored);
    assert_eq!(cell.update(Some(row("EAAGold")), read_at), RowChange::Outdated);
    assert_eq!(load(&mut source).await, "EAAGnew");
    // One that began later counts.
    assert_eq!(cell.update(Some(row("EAAGnew")), Instant::now()), RowChange::Same);
    assert_eq!(cell.update(Some(row("EAAGnext")), Instant::now()), RowChange::Changed);
    assert_eq!(load(&mut source).await, "EAAGnext");
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_of_one_row_does_not_undo_a_later_read_of_the_table() {
    let (cell, _rows, mut source) = cell_with("EAAGold").await;
    let table_read = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let change = cell.update(Some(row("EAAGnew")), Instant::now());
        assert_eq!(change, RowChange::Changed);
    };
    let (loaded, ()) = tokio::join!(load(&mut source), table_read);
    assert_eq!(loaded, "EAAGnew");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_waits_for_its_turn_is_newer_than_a_read_of_the_table_meanwhile() {
    let (cell, rows, mut source) = cell_with("EAAGold").await;
    let others = rows.2.acquire().await.unwrap();
    let table_read = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cell.update(Some(row("EAAGold")), Instant::now()), RowChange::Same);
        *rows.0.lock().unwrap() = Some(row("EAAGnew"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(others);
    };
    let (loaded, ()) = tokio::join!(load(&mut source), table_read);
    assert_eq!(loaded, "EAAGnew");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_gone_is_gone_at_each_load_until_it_is_there_again() {
    let (_cell, rows, mut source) = cell_with("EAAGold").await;
    *rows.0.lock().unwrap() = None;
    for _ in 0..3 {
        let error = source.load().await.unwrap_err();
        assert!(error.is_absence(), "{error}");
    }
    *rows.0.lock().unwrap() = Some(row("EAAGold"));
    assert_eq!(load(&mut source).await, "EAAGold");
}

#[tokio::test(start_paused = true)]
async fn a_row_of_another_app_or_of_a_tenant_that_was_withdrawn_is_not_used_with_the_cell_that_was_there() {
    let (cell, rows, mut source) = cell_with("EAAGold").await;
    *rows.0.lock().unwrap() = Some(TenantRow {
        app: Some("another".into()),
        ..row("EAAGnew")
    });
    assert_eq!(source.load().await.unwrap_err().reason(), "row_changed");
    assert_eq!(cell.update(None, Instant::now()), RowChange::Changed);
    for _ in 0..3 {
        assert!(source.load().await.unwrap_err().is_absence());
        assert!(cell.row().is_none(), "its row may have another app");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_read_has_the_fault_that_it_had_which_takes_no_token_out_of_use() {
    let fault = |kind| {
        TenantRow::of_token(
            row("EAAG").id,
            Err(ObtainError::new(kind, "empty", "it is NULL".into())),
        )
    };
    for kind in [ErrorKind::Absent, ErrorKind::Permanent] {
        let rows = Arc::new(OneRow(Mutex::new(None), AtomicBool::new(true), Semaphore::new(1)));
        let cell = Arc::new(RowCell::new(fault(kind), Instant::now()));
        let mut at_rest = RowSource::new(Arc::clone(&cell), rows);
        for _ in 0..3 {
            assert_eq!(at_rest.load().await.unwrap_err().kind(), kind);
        }
        let (cell, rows, mut in_use) = cell_with("EAAGold").await;
        assert_eq!(cell.update(Some(fault(kind)), Instant::now()), RowChange::Changed);
        rows.1.store(true, Ordering::Relaxed);
        assert_eq!(in_use.load().await.unwrap_err().kind(), kind);
        for _ in 0..3 {
            assert_eq!(in_use.load().await.unwrap_err().reason(), "unreachable");
        }
    }
}

#[test]
fn a_token_that_is_read_again_is_as_old_as_when_it_was_first_seen() {
    let row = |token: &str, seen: u64| {
        Some(TenantRow {
            id: TenantId::new("acme").unwrap(),
            object_ids: Arc::default(),
            app: None,
            reported_expires_at: None,
            token: Ok(Token {
                modified_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seen)),
                ..Token::without_expiry(Secret::new(token).unwrap())
            }),
        })
    };
    let age_after = |before: Option<TenantRow>, read| {
        let token = with_age_of(&before, Option::unwrap(read)).token.unwrap();
        token
            .modified_at
            .unwrap()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    assert_eq!(age_after(row("EAAGone", 1), row("EAAGone", 2)), 1);
    assert_eq!(age_after(row("EAAGone", 1), row("EAAGtwo", 2)), 2);
    assert_eq!(age_after(None, row("EAAGone", 2)), 2);
}

#[tokio::test(start_paused = true)]
async fn what_holds_an_earlier_cell_reads_the_row_as_soon_as_the_latest_one_has_another_token() {
    let (first, rows, mut source) = cell_with("EAAGold").await;
    let second = Arc::new(first.successor(row("EAAGold"), Instant::now()));
    let third = Arc::new(second.successor(row("EAAGold"), Instant::now()));
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(timeout(day, source.changed()).await.is_err(), "nothing has changed");
    *rows.0.lock().unwrap() = Some(row("EAAGnew"));
    assert_eq!(third.update(Some(row("EAAGnew")), Instant::now()), RowChange::Changed);
    assert!(timeout(day, source.changed()).await.is_ok());
    assert_eq!(load(&mut source).await, "EAAGnew");
    *rows.0.lock().unwrap() = Some(row("EAAGnext"));
    let fourth = Arc::new(third.successor(row("EAAGnext"), Instant::now()));
    assert!(timeout(day, source.changed()).await.is_ok());
    assert_eq!(load(&mut source).await, "EAAGnext");
    // That of a cell that is not used any more is forgotten.
    drop((first, second, third, source));
    fourth.update(Some(row("EAAGlater")), Instant::now());
}

#[tokio::test(start_paused = true)]
async fn its_place_says_how_soon_a_row_is_read_again_and_later_reads_are_less_frequent() {
    let (_cell, _rows, source) = cell_with("EAAG").await;
    let interval = source.look_interval().unwrap();
    let seconds = Duration::from_secs;
    assert_eq!((interval.first, interval.longest), (seconds(7), seconds(30)));
}
