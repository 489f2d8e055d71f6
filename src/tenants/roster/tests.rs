use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<TenantId> {
    let id = |number| TenantId::new(&format!("t{number}")).unwrap();
    numbers.into_iter().map(id).collect()
}

fn read(roster: &mut Roster, listed: &[TenantId], now: Instant) -> RosterDecision {
    roster.on_read(&listed.iter().collect(), Loss::default(), now)
}

fn applied(withdrawn: &[TenantId]) -> RosterDecision {
    RosterDecision::Apply {
        withdrawn: withdrawn.to_vec(),
        confirm_at: None,
    }
}

#[test]
fn a_tenant_is_withdrawn_by_two_reads_two_seconds_apart_that_lack_it() {
    let (mut roster, start) = (Roster::default(), Instant::now());
    let (all, rest, gone) = (ids(0..3), ids(0..2), ids([2]));
    assert_eq!(read(&mut roster, &all, start), applied(&[]));
    let unconfirmed = RosterDecision::Apply {
        withdrawn: Vec::new(),
        confirm_at: Some(start + 2 * SECOND),
    };
    assert_eq!(read(&mut roster, &rest, start), unconfirmed);
    assert_eq!(read(&mut roster, &rest, start + SECOND), unconfirmed, "too soon");
    assert_eq!(read(&mut roster, &rest, start + 2 * SECOND), applied(&gone));
    assert_eq!(read(&mut roster, &rest, start + 4 * SECOND), applied(&[]), "once");
    // It may come back, and is then as new.
    assert_eq!(read(&mut roster, &all, start + 5 * SECOND), applied(&[]));
    assert!(matches!(
        read(&mut roster, &rest, start + 9 * SECOND),
        RosterDecision::Apply {
            confirm_at: Some(_),
            ..
        }
    ));
}

#[test]
fn a_tenant_that_one_read_lacks_stays() {
    let (mut roster, start) = (Roster::default(), Instant::now());
    let (all, rest) = (ids(0..3), ids(0..2));
    for turn in 0..5_u32 {
        let now = start + turn * 4 * SECOND;
        assert_eq!(read(&mut roster, &all, now), applied(&[]));
        assert!(matches!(
            read(&mut roster, &rest, now + SECOND),
            RosterDecision::Apply { withdrawn, .. } if withdrawn.is_empty()
        ));
    }
}

#[test]
fn a_read_that_lacks_many_is_used_after_five_minutes_or_when_the_operator_says_so() {
    for listed in [ids(0..89), ids([]), ids(200..300)] {
        let (mut roster, start) = (Roster::default(), Instant::now());
        let all = ids(0..100);
        assert_eq!(read(&mut roster, &all, start), applied(&[]));
        for second in [0, 10, 299] {
            let decision = read(&mut roster, &listed, start + second * SECOND);
            assert!(
                matches!(&decision, RosterDecision::Withhold { new_loss, .. } if new_loss.is_some() == (second == 0)),
                "{decision:?}"
            );
            assert!(roster.is_withholding());
        }
        let RosterDecision::Apply {
            withdrawn,
            confirm_at: None,
        } = read(&mut roster, &listed, start + 300 * SECOND)
        else {
            panic!("it is believed now");
        };
        let missing: HashSet<_> = all.iter().filter(|id| !listed.contains(id)).collect();
        assert_eq!(withdrawn.iter().collect::<HashSet<_>>(), missing);

        let (mut roster, now) = (Roster::default(), start);
        read(&mut roster, &all, now);
        read(&mut roster, &listed, now);
        roster.accept_loss();
        assert!(
            matches!(read(&mut roster, &listed, now), RosterDecision::Apply { withdrawn, .. } if !withdrawn.is_empty())
        );
        assert!(!roster.is_withholding());
    }
}

#[test]
fn a_good_read_ends_the_doubt_and_a_later_loss_is_doubted_anew() {
    let (mut roster, start) = (Roster::default(), Instant::now());
    let (all, rest) = (ids(0..20), ids(0..10));
    read(&mut roster, &all, start);
    read(&mut roster, &rest, start);
    assert_eq!(read(&mut roster, &all, start + 299 * SECOND), applied(&[]));
    let decision = read(&mut roster, &rest, start + 301 * SECOND);
    assert!(
        matches!(decision, RosterDecision::Withhold { new_loss: Some(_), .. }),
        "{decision:?}"
    );
}

#[test]
fn a_loss_of_four_or_of_a_tenth_is_no_loss_of_many() {
    for (before, after) in [(6, 2), (100, 90)] {
        let (mut roster, start) = (Roster::default(), Instant::now());
        read(&mut roster, &ids(0..before), start);
        let decision = read(&mut roster, &ids(0..after), start);
        assert!(matches!(decision, RosterDecision::Apply { .. }), "{decision:?}");
    }
    for (before, after) in [(1, 0), (6, 1), (100, 89)] {
        let (mut roster, start) = (Roster::default(), Instant::now());
        read(&mut roster, &ids(0..before), start);
        let decision = read(&mut roster, &ids(0..after), start);
        assert!(matches!(decision, RosterDecision::Withhold { .. }), "{decision:?}");
    }
}

#[test]
fn rows_that_have_lost_their_tokens_or_ids_count_as_missing_ones_do() {
    let (all, start) = (ids(0..100), Instant::now());
    let lost = |rows, is_total| Loss {
        rows,
        is_total,
        ..Loss::default()
    };
    for (listed, loss, is_withheld) in [
        (100, lost(10, false), false),
        (100, lost(11, false), true),
        (95, lost(5, false), false),
        (95, lost(6, false), true),
        (100, lost(1, true), true),
    ] {
        let mut roster = Roster::default();
        read(&mut roster, &all, start);
        let listed: HashSet<_> = all.iter().take(listed).collect();
        let decision = roster.on_read(&listed, loss.clone(), start + SECOND);
        let case = format!("{} are listed, {loss:?}: {decision:?}", listed.len());
        assert_eq!(
            matches!(decision, RosterDecision::Withhold { .. }),
            is_withheld,
            "{case}"
        );
        assert_eq!(roster.is_withholding(), is_withheld, "{case}");
    }
}

#[test]
fn a_loss_of_tokens_is_believed_after_five_minutes_and_withdraws_no_tenant_by_its_first_absence() {
    let (all, rest, start) = (ids(0..100), ids(0..99), Instant::now());
    let loss = Loss {
        tokens: 99,
        rows: 99,
        is_total: true,
        ..Loss::default()
    };
    let mut roster = Roster::default();
    read(&mut roster, &all, start);
    let listed: HashSet<_> = all.iter().collect();
    let RosterDecision::Withhold {
        new_loss: Some(told), ..
    } = roster.on_read(&listed, loss.clone(), start)
    else {
        panic!("{roster:?}");
    };
    assert_eq!((told.known, told.tenants, told.tokens, told.ids), (100, 0, 99, 0));
    let decision = roster.on_read(&listed, loss.clone(), start + 299 * SECOND);
    assert!(
        matches!(decision, RosterDecision::Withhold { new_loss: None, .. }),
        "{decision:?}"
    );
    let now = start + 300 * SECOND;
    let applied = RosterDecision::Apply {
        withdrawn: Vec::new(),
        confirm_at: Some(now + 2 * SECOND),
    };
    assert_eq!(roster.on_read(&rest.iter().collect(), loss, now), applied);
}

proptest! {
    #[test]
    fn a_listed_tenant_is_never_withdrawn_and_one_that_stays_away_is_in_the_end(
        reads in prop::collection::vec((prop::collection::hash_set(0_usize..12, 0..12), 0_u32..400), 1..40),
    ) {
        let (mut roster, mut now) = (Roster::default(), Instant::now());
        let mut in_use: HashSet<TenantId> = HashSet::new();
        for (listed, seconds) in reads {
            now += seconds * SECOND;
            let listed = ids(listed);
            if let RosterDecision::Apply { withdrawn, .. } = read(&mut roster, &listed, now) {
                for id in &withdrawn {
                    prop_assert!(!listed.contains(id));
                    prop_assert!(in_use.remove(id), "{id} is withdrawn once");
                }
                in_use.extend(listed.iter().cloned());
            }
        }
        let last = ids([0]);
        for _ in 0..4 {
            now += 301 * SECOND;
            if let RosterDecision::Apply { withdrawn, .. } = read(&mut roster, &last, now) {
                in_use.extend(last.iter().cloned());
                withdrawn.iter().for_each(|id| { in_use.remove(id); });
            }
        }
        prop_assert_eq!(in_use, last.into_iter().collect());
    }
}
