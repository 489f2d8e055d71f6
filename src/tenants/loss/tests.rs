use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::token::ObtainError;
use crate::types::Secret;

const NOW: u64 = 1_900_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn row(number: usize, token: &str) -> TenantRow {
    let token = Token {
        expires_at: Some(at(NOW + 60)),
        ..Token::without_expiry(Secret::new(token).unwrap())
    };
    TenantRow {
        object_ids: [format!("1{number}").into(), format!("2{number}").into()].into(),
        app: Some("9".into()),
        ..TenantRow::of_token(TenantId::new(&format!("t{number}")).unwrap(), Ok(token))
    }
}

/// Ten rows with tokens of their own.
fn rows() -> Vec<TenantRow> {
    (0..10)
        .map(|number| row(number, &format!("EAAGtoken{number}")))
        .collect()
}

fn loss(before: &[TenantRow], read: &[TenantRow]) -> Loss {
    Loss::of_rows(read, &before.iter().map(|row| (&row.id, row)).collect(), at(NOW))
}

/// The loss if all rows, or the first three, change like this.
fn losses(change: impl Fn(&mut TenantRow)) -> (Loss, Loss) {
    let (before, mut some, mut all) = (rows(), rows(), rows());
    some.iter_mut().take(3).for_each(&change);
    all.iter_mut().for_each(&change);
    (loss(&before, &some), loss(&before, &all))
}

fn lost_tokens(tokens: usize, is_total: bool) -> Loss {
    Loss {
        tokens,
        rows: tokens,
        is_total,
        ..Loss::default()
    }
}

fn lost_ids(ids: usize, is_total: bool) -> Loss {
    Loss {
        ids,
        rows: ids,
        is_total,
        ..Loss::default()
    }
}

fn unusable() -> ObtainError {
    ObtainError::absent("empty", "the token column is NULL")
}

#[test]
fn a_token_that_cannot_be_used_any_more_is_lost() {
    let in_tokens = (lost_tokens(3, false), lost_tokens(10, true));
    assert_eq!(losses(|row| row.token = Err(Arc::new(unusable()))), in_tokens);
    let expire = |row: &mut TenantRow| row.token.as_mut().unwrap().expires_at = Some(at(NOW));
    assert_eq!(losses(expire), in_tokens);
    assert_eq!(losses(|row| row.app = None), in_tokens);
}

#[test]
fn ids_are_lost_if_a_row_has_them_no_more() {
    assert_eq!(
        losses(|row| row.object_ids = Arc::default()),
        (lost_ids(3, false), lost_ids(10, true))
    );
    let shorten = |row: &mut TenantRow| row.object_ids = row.object_ids[..1].into();
    assert_eq!(losses(shorten), (lost_ids(3, false), lost_ids(10, false)));
    // An UPDATE without its WHERE.
    let overwrite = |row: &mut TenantRow| row.object_ids = ["1000".into(), "2000".into()].into();
    assert_eq!(losses(overwrite), (lost_ids(3, false), lost_ids(10, false)));
    let add = |row: &mut TenantRow| row.object_ids = row.object_ids.iter().cloned().chain(["3".into()]).collect();
    assert_eq!(losses(add), Default::default());
    let reorder = |row: &mut TenantRow| Arc::make_mut(&mut row.object_ids).reverse();
    assert_eq!(losses(reorder), Default::default());
}

#[test]
fn a_row_that_has_lost_its_token_and_its_ids_counts_once() {
    let (_, all) = losses(|row| *row = TenantRow::of_token(row.id.clone(), Err(unusable())));
    assert_eq!((all.tokens, all.ids, all.rows, all.is_total), (10, 10, 10, true));
}

#[test]
fn tokens_that_become_one_are_lost_and_a_token_that_rows_share_may_be_rotated() {
    let (before, all) = (rows(), |token: &str| {
        (0..10).map(|number| row(number, token)).collect::<Vec<_>>()
    });
    assert_eq!(loss(&before, &all("EAAGone")), lost_tokens(9, false));
    assert_eq!(loss(&all("EAAGone"), &all("EAAGanother")), Loss::default());
    assert_eq!(loss(&all("EAAGone"), &before), Loss::default());
    assert_eq!(loss(&before, &all("EAAGtoken3")), lost_tokens(9, false));
    let shifted: Vec<_> = (0..10)
        .map(|number| row(number, &format!("EAAGtoken{}", (number + 1) % 10)))
        .collect();
    assert_eq!(loss(&before, &shifted), lost_tokens(10, false), "a wrong join");
    let rotated: Vec<_> = (0..10).map(|number| row(number, &format!("EAAGnew{number}"))).collect();
    assert_eq!(loss(&before, &rotated), Loss::default());
}

#[test]
fn what_was_not_there_or_ends_by_its_date_is_not_lost() {
    let (some, none) = (rows(), Vec::new());
    assert_eq!(loss(&none, &some), Loss::default());
    let faulty: Vec<_> = some
        .iter()
        .map(|row| TenantRow::of_token(row.id.clone(), Err(unusable())))
        .collect();
    assert_eq!(loss(&none, &faulty), Loss::default());
    assert_eq!(loss(&faulty, &faulty), Loss::default());
    let mut expired = rows();
    for row in &mut expired {
        row.token.as_mut().unwrap().expires_at = Some(at(NOW - 1));
    }
    assert_eq!(loss(&expired, &expired), Loss::default());
}
