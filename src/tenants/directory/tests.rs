use super::*;

fn entry(name: &str, object_ids: &[&str]) -> Arc<Entry<()>> {
    Arc::new(Entry {
        id: TenantId::new(name).unwrap(),
        object_ids: object_ids.iter().copied().map(Arc::from).collect(),
        standing: Standing::Active,
        tenant: (),
    })
}

#[test]
fn an_id_that_two_tenants_claim_belongs_to_neither_and_is_named() {
    let mut builder = Directory::builder();
    builder.add(entry("acme", &["1", "2", "1"])).unwrap();
    builder.add(entry("shop", &["2", "3"])).unwrap();
    builder.add(entry("third", &["2"])).unwrap();
    let directory = builder.build();
    let [(object, shared)] = *directory.unowned().collect::<Vec<_>>() else {
        panic!("{directory:?}");
    };
    let names: Vec<_> = shared.claimants.iter().map(TenantId::as_str).collect();
    assert_eq!((&**object, &*names), ("2", &["acme", "shop", "third"][..]));
    assert_eq!((shared.reason, shared.is_undecided()), (UnownedReason::Shared, false));
    let owner = |id| directory.owner_of(id).map(|entry| entry.id.as_str());
    assert_eq!(
        (owner("1"), owner("2"), owner("3"), owner("4")),
        (Some("acme"), None, Some("shop"), None)
    );
}

fn directory(entries: &[Arc<Entry<()>>]) -> Directory<()> {
    let mut builder = Directory::builder();
    for entry in entries {
        builder.add(Arc::clone(entry)).unwrap();
    }
    builder.build()
}

fn with(name: &str, standing: Standing, object_ids: &[&str]) -> Arc<Entry<()>> {
    let mut entry = entry(name, object_ids);
    Arc::get_mut(&mut entry).unwrap().standing = standing;
    entry
}

/// Returns the directory that takes the place of another one at this time. No id is released.
fn after(before: &Directory<()>, now: Instant, entries: &[Arc<Entry<()>>]) -> Directory<()> {
    let mut directory = directory(entries);
    directory.carry_over(before, Some(now), |_| false, |_| true);
    directory
}

fn unowned<'a>(directory: &'a Directory<()>, id: &str) -> Option<&'a Unowned> {
    directory
        .unowned()
        .find(|(other, _)| &***other == id)
        .map(|(_, unowned)| unowned)
}

#[test]
fn an_id_that_a_missing_tenant_has_is_that_of_another_one_that_has_it_too() {
    let missing = with("old", Standing::Missing, &["1", "2"]);
    let renamed = entry("new", &["1"]);
    for entries in [[Arc::clone(&missing), Arc::clone(&renamed)], [renamed, missing]] {
        let directory = directory(&entries);
        let owner = |id| directory.owner_of(id).map(|entry| entry.id.as_str());
        assert_eq!((owner("1"), owner("2")), (Some("new"), Some("old")));
        assert!(directory.find("old").is_some());
    }
    let two = directory(&["a", "b"].map(|name| with(name, Standing::Missing, &["1"])));
    assert_eq!(unowned(&two, "1").unwrap().reason, UnownedReason::Shared);
    let copied = directory(&[
        with("old", Standing::Missing, &["1"]),
        entry("a", &["1"]),
        entry("b", &["1"]),
    ]);
    let claimants = &unowned(&copied, "1").unwrap().claimants;
    assert_eq!(claimants.iter().map(TenantId::as_str).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn an_id_that_no_tenant_has_any_more_is_reserved_until_one_has_it() {
    let (now, acme) = (Instant::now(), entry("acme", &["1", "2"]));
    let before = directory(&[Arc::clone(&acme), entry("shop", &["3"])]);
    let freed = after(
        &before,
        now,
        &[entry("acme", &["1"]), with("shop", Standing::Inactive, &[])],
    );
    let (of_acme, of_shop) = (unowned(&freed, "2").unwrap(), unowned(&freed, "3").unwrap());
    assert!(of_acme.is_undecided(), "it may move to another row");
    assert!(!of_shop.is_undecided(), "its tenant was withdrawn");
    assert_eq!(of_acme.claimants, std::slice::from_ref(&acme.id));
    assert!(freed.owner_of("2").is_none());

    // However often the tenants change, until a read that began two seconds later.
    let mut later = after(&freed, now + CONFIRMATION_INTERVAL, &[entry("acme", &["1"])]);
    assert_eq!(later.confirm_at(), Some(now + CONFIRMATION_INTERVAL));
    later.confirm(now + CONFIRMATION_INTERVAL - CONFIRMATION_INTERVAL / 10);
    assert!(unowned(&later, "2").unwrap().is_undecided());
    later.confirm(now + CONFIRMATION_INTERVAL);
    assert!(!unowned(&later, "2").unwrap().is_undecided());
    assert_eq!(later.confirm_at(), None);

    let taken = after(&later, now, &[entry("acme", &["1"]), entry("new", &["2", "3"])]);
    assert_eq!(taken.owner_of("2").unwrap().id.as_str(), "new");
    assert_eq!(taken.unowned().count(), 0);
}

#[test]
fn an_id_that_two_tenants_have_is_undecided_until_it_is_confirmed_and_reserved_if_both_lose_it() {
    let (now, both) = (Instant::now(), [entry("acme", &["1"]), entry("shop", &["1"])]);
    let mut shared = after(&directory(&both[..1]), now, &both);
    assert!(unowned(&shared, "1").unwrap().is_undecided());
    shared.confirm(now + CONFIRMATION_INTERVAL);
    let shared = after(&shared, now + CONFIRMATION_INTERVAL, &both);
    assert!(!unowned(&shared, "1").unwrap().is_undecided());
    let lost = after(&shared, now, &[entry("acme", &[]), entry("shop", &[])]);
    let lost = unowned(&lost, "1").unwrap();
    assert_eq!((lost.reason, lost.claimants.len()), (UnownedReason::Former, 2));
}

#[test]
fn an_id_of_two_tenants_of_the_configuration_is_decided_since_no_read_says_more_of_them() {
    let (now, both) = (Instant::now(), [entry("acme", &["1"]), entry("shop", &["1"])]);
    let replace = |before: &Directory<()>, entries: &[Arc<Entry<()>>], row: Option<&str>| {
        let mut directory = directory(entries);
        directory.carry_over(before, Some(now), |_| false, |entry| Some(entry.id.as_str()) == row);
        directory
    };
    for row in [None, Some("acme"), Some("shop")] {
        let shared = replace(&directory(&both[..1]), &both, row);
        assert_eq!(unowned(&shared, "1").unwrap().is_undecided(), row.is_some(), "{row:?}");
        let lost = replace(&shared, &[entry("acme", &[]), entry("shop", &[])], row);
        assert_eq!(unowned(&lost, "1").unwrap().is_undecided(), row.is_some(), "{row:?}");
        assert_eq!(lost.confirm_at().is_some(), row.is_some(), "{row:?}");
    }
}

#[test]
fn ids_that_are_released_or_were_never_used_are_those_of_no_tenant() {
    let before = directory(&[entry("acme", &["1"]), entry("shop", &["2"])]);
    let mut released = directory(&[entry("acme", &[]), entry("shop", &[])]);
    released.carry_over(&before, None, |entry| entry.id.as_str() == "acme", |_| false);
    assert_eq!(unowned(&released, "1"), None);
    assert!(
        !unowned(&released, "2").unwrap().is_undecided(),
        "no table is read again"
    );

    released.reserve(&"3".into(), Unowned::withheld(TenantId::new("later").unwrap()));
    let mut later = after(&released, Instant::now(), &[entry("acme", &[])]);
    assert!(unowned(&later, "3").unwrap().is_undecided());
    later.forget_withheld();
    assert_eq!(unowned(&later, "3"), None);
    assert!(unowned(&later, "2").is_some());
}

#[test]
fn a_name_is_taken_once_and_a_tenant_serves_requests_without_a_sign_if_it_is_told_to() {
    let mut builder = Directory::builder();
    builder.add(entry("acme", &["1"])).unwrap();
    assert_eq!(builder.add(entry("acme", &["2"])).unwrap_err().id.as_str(), "acme");
    assert!(builder.directory.default_tenant.is_none());
    builder.add(entry("default", &[])).unwrap();
    assert!(
        builder.directory.default_tenant.is_none(),
        "its name alone makes it nothing"
    );
    builder.set_default_tenant(&TenantId::default());
    let directory = builder.build();
    assert_eq!(directory.default_tenant().unwrap().id, TenantId::default());
    assert!(directory.find("Acme").is_none(), "case counts");
    assert!(directory.owner_of("2").is_none());
    assert_eq!(directory.entries().len(), 2);
}
