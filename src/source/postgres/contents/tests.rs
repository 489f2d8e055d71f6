use super::*;
use crate::types::Secret;

fn locate(names: &[&str]) -> Result<Columns, String> {
    Columns::locate(names.iter().copied())
}

fn row(name: &str, token: Result<&str, &'static str>, ids: &[&str]) -> TenantRow {
    let token = token.map(|text| Token::without_expiry(Secret::new(text).unwrap()));
    TenantRow {
        id: TenantId::new(name).unwrap(),
        object_ids: ids.iter().map(|id| Arc::from(*id)).collect(),
        app: None,
        reported_expires_at: None,
        token: token.map_err(|reason| Arc::new(ObtainError::permanent(reason, reason))),
    }
}

#[test]
fn columns_are_found_by_name_and_a_wrong_one_is_named() {
    let columns = locate(&["ids", "token", "tenant"]).unwrap();
    let expected = Columns {
        tenant: 2,
        token: 1,
        ids: Some(0),
        app: None,
        expires_at: None,
    };
    assert_eq!(columns, expected);
    for (names, words) in [
        (&["tenant"][..], "does not select the column `token`"),
        (&["token", "ids"], "does not select the column `tenant`"),
        (
            &["tenant", "token", "is_active", "Ids"],
            "unknown columns `is_active`, `Ids`",
        ),
        (&["tenant", "token", "token"], "`token` twice"),
        (&[], "`tenant`"),
    ] {
        let error = locate(names).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn ids_are_read_from_lists_of_any_form() {
    for (text, expected) in [
        ("106", &["106"][..]),
        (" 106, 107;108\n", &["106", "107", "108"]),
        ("[\"106\", null, 107]", &["106", "107"]),
        ("{106,NULL,\"107\"}", &["106", "107"]),
        ("", &[]),
        ("null", &[]),
    ] {
        let ids = split_ids(text);
        let ids: Vec<_> = ids.iter().map(|id| &**id).collect();
        assert_eq!(ids, expected, "{text}");
    }
}

#[test]
fn several_rows_of_a_tenant_are_one_if_their_tokens_are_the_same() {
    let mut collector = Collector::default();
    collector.add(row("acme", Ok("EAAGone"), &["1", "2"]));
    collector.add(row("shop", Err("empty"), &["9"]));
    collector.add(row("acme", Ok("EAAGone"), &["2", "3"]));
    collector.add(row("shop", Err("empty"), &[]));
    let contents = collector.finish();
    assert!(contents.faults.is_empty(), "{:?}", contents.faults);
    let [acme, shop] = &contents.rows[..] else {
        panic!("{contents:?}");
    };
    let ids: Vec<_> = acme.object_ids.iter().map(|id| &**id).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(shop.token.as_ref().unwrap_err().reason(), "empty");
}

#[test]
fn of_rows_with_different_tokens_the_first_is_kept_all_ids_are_the_tenants_and_the_fault_is_reported() {
    let mut collector = Collector::default();
    collector.add(row("acme", Ok("EAAGone"), &["1"]));
    collector.add(row("acme", Ok("EAAGtwo"), &["2"]));
    collector.add(row("acme", Err("empty"), &["3"]));
    let contents = collector.finish();
    let [acme] = &contents.rows[..] else {
        panic!("{contents:?}");
    };
    assert_eq!(acme.token.as_ref().unwrap().secret.expose(), "EAAGone");
    assert_eq!(acme.object_ids.len(), 3, "none becomes an id of no tenant");
    assert_eq!(contents.faults.len(), 2);
    assert!(
        contents
            .faults
            .iter()
            .all(|fault| fault.contains("acme") && !fault.contains("EAAG"))
    );
}

#[test]
fn a_tenant_has_the_same_ids_in_whichever_order_its_rows_are_read() {
    let rows = [
        row("acme", Ok("EAAGone"), &["2", "1"]),
        row("acme", Ok("EAAGone"), &["3", "2"]),
    ];
    let [one, other] = [[0, 1], [1, 0]].map(|order| {
        let mut collector = Collector::default();
        for index in order {
            collector.add(rows[index].clone());
        }
        collector.finish().rows.remove(0).object_ids
    });
    assert_eq!(one, other);
    assert_eq!(one.len(), 3);
}

#[test]
fn faults_are_few_escaped_and_without_secrets() {
    const TOKEN: &str = "EAAGm0PX4ZCpsBAKZA1234567890";
    let mut collector = Collector {
        unnamed: 3,
        ..Collector::default()
    };
    assert_eq!(collector.valid_name("Acme:1@x").unwrap().as_str(), "Acme:1@x");
    for name in ["", "..", "two\nlines", &"ö".repeat(200), TOKEN, "a|b"] {
        assert!(collector.valid_name(name).is_none(), "{name}");
    }
    let id = TenantId::new("acme").unwrap();
    let ids = collector.valid_ids(&id, vec!["106".into(), "+49 170".into(), TOKEN.repeat(9).into()]);
    assert_eq!(*ids, ["106".into()]);
    for _ in 0..100 {
        assert!(collector.valid_name("no name").is_none());
    }
    let contents = collector.finish();
    let faults = contents.faults.join("\n");
    assert_eq!(contents.faults.len(), MAX_FAULTS + 2);
    assert!(
        faults.contains("\"two\\nlines\"") && !faults.contains("two\nlines"),
        "{faults}"
    );
    assert!(
        faults.contains("3 rows have no tenant") && faults.contains("87 more"),
        "{faults}"
    );
    assert!(faults.contains("\"+49 170\"") && !faults.contains("EAAG"), "{faults}");
}
