use proptest::prelude::*;

use super::*;

const FULL_RESPONSE: &str = r#"{"data":{"app_id":"1234567890","type":"SYSTEM_USER","application":"Shop",
    "data_access_expires_at":0,"expires_at":1764547200,"is_valid":true,"issued_at":1759363200,
    "scopes":["whatsapp_business_messaging","public_profile"],
    "granular_scopes":[{"scope":"whatsapp_business_management","target_ids":["1"]},
        {"scope":"whatsapp_business_messaging"}],"user_id":"9"}}"#;

fn of(data: &str) -> Option<Inspection> {
    Inspection::from_debug_token(format!(r#"{{"data":{data}}}"#).as_bytes())
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn every_field_of_the_documented_response_is_read() {
    let expected = Inspection {
        family: None,
        error: None,
        kind: Some(TokenKind::SystemUser),
        app_id: Some("1234567890".to_owned()),
        expires_at: Expiry::At(at(1_764_547_200)),
        data_access_expires_at: Expiry::Never,
        issued_at: Some(at(1_759_363_200)),
        scopes: Some(
            [
                "whatsapp_business_messaging",
                "public_profile",
                "whatsapp_business_management",
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        user_id: Some("9".to_owned()),
        whatsapp_accounts: vec!["1".to_owned()],
    };
    assert_eq!(Inspection::from_debug_token(FULL_RESPONSE.as_bytes()), Some(expected));
}

#[test]
fn a_dead_token_says_why_under_debug_tokens_own_name_for_the_subcode() {
    let inspection = of(
        r#"{"error":{"code":190,"message":"Malformed access token EAABsbCS1","subcode":463},
            "is_valid":false,"scopes":[],"expires_at":1700000000}"#,
    );
    let inspection = inspection.unwrap();
    let error = inspection.error.clone().unwrap();
    assert_eq!((error.code, error.subcode), (Some(190), Some(463)));
    assert!(!format!("{inspection:?}").contains("EAAB"));
    assert!(inspection.missing_scopes().is_empty(), "that is not what ails it");
}

#[test]
fn a_token_that_is_not_valid_is_dead_without_an_error_too() {
    for data in [
        r#"{"is_valid":false}"#,
        r#"{"is_valid":"false"}"#,
        r#"{"is_valid":0,"error":"novelty"}"#,
    ] {
        assert_eq!(of(data).unwrap().error, Some(GraphError::invalid_token()));
    }
    let inspection = of(r#"{"error":{"code":"190","error_subcode":"460"}}"#).unwrap();
    assert_eq!(inspection.error.unwrap().subcode, Some(460));
    let inspection = of(r#"{"is_valid":true,"error":{"code":190}}"#).unwrap();
    assert_eq!(inspection.error, None);
}

#[test]
fn zero_is_never_and_nothing_is_unknown() {
    for (value, expected) in [
        ("0", Expiry::Never),
        ("\"0\"", Expiry::Never),
        ("1700000000", Expiry::At(at(1_700_000_000))),
        ("\" 1700000000 \"", Expiry::At(at(1_700_000_000))),
        ("null", Expiry::Unknown),
        ("-1", Expiry::Unknown),
        ("1e400", Expiry::Unknown),
        ("\"soon\"", Expiry::Unknown),
        ("1700000000000", Expiry::Unknown),
        ("9223372036854775807", Expiry::Unknown),
        ("18446744073709551615", Expiry::Unknown),
        ("[]", Expiry::Unknown),
    ] {
        let data =
            format!(r#"{{"is_valid":true,"expires_at":{value},"data_access_expires_at":{value},"issued_at":{value}}}"#);
        let Some(inspection) = of(&data) else {
            assert_eq!(value, "1e400", "only what is no JSON may hide the rest");
            continue;
        };
        assert_eq!(inspection.expires_at, expected, "{value}");
        assert_eq!(inspection.data_access_expires_at, expected, "{value}");
        assert_eq!(inspection.issued_at, expected.as_system_time(), "{value}");
    }
    let inspection = of(r#"{"is_valid":true}"#).unwrap();
    assert_eq!(inspection, Inspection::default());
}

#[test]
fn every_kind_is_known_and_a_new_one_hides_nothing() {
    for (name, expected) in [
        ("USER", Some(TokenKind::User)),
        ("page", Some(TokenKind::Page)),
        ("APP", Some(TokenKind::App)),
        ("SYSTEM_USER", Some(TokenKind::SystemUser)),
        ("ROBOT", None),
    ] {
        let data = format!(r#"{{"is_valid":true,"type":"{name}","app_id":77}}"#);
        let inspection = of(&data).unwrap();
        assert_eq!(inspection.kind, expected, "{name}");
        assert_eq!(inspection.app_id.as_deref(), Some("77"));
    }
}

#[test]
fn what_whatsapp_needs_is_missed_only_where_permissions_are_known() {
    const BOTH_SCOPES: [&str; 2] = WHATSAPP_SCOPES;
    for (data, missing) in [
        (r#"{"is_valid":true}"#, &[][..]),
        (r#"{"is_valid":true,"scopes":"novelty"}"#, &[]),
        (r#"{"is_valid":true,"scopes":[]}"#, &BOTH_SCOPES),
        (r#"{"is_valid":true,"granular_scopes":[7,{}]}"#, &BOTH_SCOPES),
        (
            r#"{"is_valid":true,"scopes":["whatsapp_business_management",null]}"#,
            &["whatsapp_business_messaging"],
        ),
        (
            r#"{"is_valid":true,"scopes":[],"granular_scopes":[{"scope":"whatsapp_business_messaging"}]}"#,
            &["whatsapp_business_management"],
        ),
        (r#"{"is_valid":true,"type":"APP","scopes":[]}"#, &[]),
        (r#"{"is_valid":false,"scopes":[]}"#, &[]),
    ] {
        assert_eq!(of(data).unwrap().missing_scopes(), missing, "{data}");
    }
}

#[test]
fn a_body_that_does_not_say_whether_the_token_is_valid_is_no_inspection() {
    for body in [
        "",
        "null",
        "[]",
        "<html>",
        r#"{"data":[]}"#,
        r#"{"data":{}}"#,
        r#"{"data":{"is_valid":null,"expires_at":0}}"#,
        r#"{"data":{"is_valid":true"#,
        r#"{"error":{"code":190,"message":"of the one who asks"}}"#,
    ] {
        assert_eq!(Inspection::from_debug_token(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn a_me_response_is_valid_rejected_or_inconclusive() {
    let dead = r#"{"error":{"message":"m","type":"IGApiException","code":190,"error_subcode":463}}"#;
    let of = |status, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        Inspection::from_me_response(status, body.as_bytes())
    };
    assert_eq!(of(200, r#"{"id":"17841400"}"#), Some(Inspection::default()));
    for status in [400, 401, 404] {
        let error = of(status, dead).unwrap().error.unwrap();
        assert_eq!((error.code, error.subcode), (Some(190), Some(463)));
    }
    for (status, body) in [
        (200, "<html>Log in to this hotspot"),
        (200, "{}"),
        (200, dead),
        (302, r#"{"id":"1"}"#),
        (500, dead),
        (503, ""),
        (400, r#"{"error":{"code":4}}"#),
        (400, r#"{"error":{"code":100,"error_subcode":33}}"#),
        (429, r#"{"error":{"code":10}}"#),
        (401, "cut off"),
    ] {
        assert_eq!(of(status, body), None, "{status} {body}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(body: Vec<u8>, status in 100_u16..1000) {
        let _inspection = Inspection::from_debug_token(&body);
        let _inspection = Inspection::from_me_response(StatusCode::from_u16(status).unwrap(), &body);
    }

    #[test]
    fn whatever_a_field_holds_the_others_are_read(
        field in "[a-z_]{1,24}",
        value in prop_oneof![any::<i64>().prop_map(|number| number.to_string()),
            "\"[ -!#-\\[\\]-~]{0,80}\"", Just("[{}]".to_owned()), Just("{\"a\":[]}".to_owned())],
    ) {
        prop_assume!(field != "is_valid");
        let data = format!(r#"{{"is_valid":true,"{field}":{value}}}"#);
        let inspection = of(&data);
        prop_assert!(inspection.is_some_and(|inspection| inspection.error.is_none()));
    }

    #[test]
    fn a_moment_is_read_as_it_was_written(seconds in 1_u64..253_402_300_800) {
        let data = format!(r#"{{"is_valid":true,"expires_at":{seconds}}}"#);
        prop_assert_eq!(of(&data).unwrap().expires_at, Expiry::At(at(seconds)));
    }
}

#[test]
fn the_accounts_are_those_of_whatsapps_permissions_each_once() {
    let inspection = of(
        r#"{"is_valid":true,"granular_scopes":[{"scope":"whatsapp_business_management","target_ids":["1","2"]},
            {"scope":"whatsapp_business_messaging","target_ids":[2,"x y",{}]},{"scope":"whatsapp_business_messaging"},
            {"scope":"pages_messaging","target_ids":["3"]},7]}"#,
    );
    assert_eq!(inspection.unwrap().whatsapp_accounts, ["1", "2"]);
    assert!(of(r#"{"is_valid":true}"#).unwrap().whatsapp_accounts.is_empty());
}
